"""What is noted of WebSockets, and that what passes is untouched."""

from __future__ import annotations

import asyncio
import random
import zlib

import pytest
from http1_rig import Rig, read_all, read_count, read_until, run
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from sentra_sandbox.network.exchange import ExchangeLog
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.splice import opaque
from sentra_sandbox.network.websocket import MAX_INFLATED, WebSocketObserver
from sentra_sandbox.trace.network_events import MAX_BYTES, Direction, Flag, NetworkType

UP, DOWN = Direction.TO_SERVER, Direction.TO_CLIENT


def observer(extensions: bytes = b"") -> tuple[WebSocketObserver, ListJournal]:
    journal = ListJournal()
    log = ExchangeLog(journal, 1, journal.new_exchange())
    return WebSocketObserver(log, extensions, opaque(journal, 1, 1, keep=True)), journal


def messages(journal: ListJournal) -> list[tuple[int, str, bytes, int]]:
    return [(e.direction, e.fields["opcode"], e.data, e.flags) for e in journal.events if e.type == NetworkType.MESSAGE]


def program(*extensions: PerMessageDeflate) -> FrameProtocol:
    return FrameProtocol(True, list(extensions))


def server(*extensions: PerMessageDeflate) -> FrameProtocol:
    return FrameProtocol(False, list(extensions))


@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_messages_of_both_directions(step: int) -> None:
    observe, journal = observer()
    up, down = program(), server()
    sent = bytes(up.send_data("grüße") + up.ping(b"p") + up.send_data(b"\x00\xff", fin=False) + up.ping() + up.send_data(b"\x01"))
    got = bytes(down.send_data("") + down.pong(b"p") + down.close(1000, "bye"))
    for start in range(0, len(sent), step):
        observe(UP, sent[start : start + step])
    for start in range(0, len(got), step):
        observe(DOWN, got[start : start + step])
    final = Flag.FINAL
    assert messages(journal) == [
        (UP, "text", "grüße".encode(), final), (UP, "ping", b"p", final), (UP, "ping", b"", final), (UP, "binary", b"\x00\xff\x01", final),
        (DOWN, "text", b"", final), (DOWN, "pong", b"p", final), (DOWN, "close", b"bye", final),
    ]  # fmt: skip
    assert journal.events[-1].fields["code"] == 1000
    assert len(journal.events) == 7


def test_a_long_message_is_noted_in_pieces() -> None:
    observe, journal = observer()
    data = random.Random(1).randbytes(3 * MAX_BYTES)
    observe(UP, bytes(program().send_data(data)))
    noted = messages(journal)
    assert b"".join(piece for _, _, piece, _ in noted) == data
    assert [flags for *_, flags in noted] == [0, 0, Flag.FINAL]


@pytest.mark.parametrize("parameters", ["", "; client_no_context_takeover; server_no_context_takeover", "; server_max_window_bits=10"])
def test_compressed_messages_are_noted_as_they_were(parameters: str) -> None:
    observe, journal = observer(b"permessage-deflate" + parameters.encode())
    sides = []
    for _ in range(2):
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate" + parameters)
        sides.append(extension)
    up, down = program(sides[0]), server(sides[1])
    texts = ["the same text again and again " * 20] * 3
    for text in texts:
        observe(UP, bytes(up.send_data(text) + up.ping(b"x")))
        observe(DOWN, bytes(down.send_data(text.encode(), fin=False)))
        observe(DOWN, bytes(down.send_data(b"!", fin=True)))
    assert [data for direction, name, data, _ in messages(journal) if name == "text" and direction == UP] == [t.encode() for t in texts]
    assert [data for direction, name, data, _ in messages(journal) if name == "binary"] == [t.encode() + b"!" for t in texts]


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(bytes(size)) + packer.flush(zlib.Z_SYNC_FLUSH)
    data = data[:-4]
    return b"\xc2\xff" + len(data).to_bytes(8, "big") + bytes(4) + data  # masked with zeros


def test_a_bomb_is_not_inflated() -> None:
    observe, journal = observer(b"permessage-deflate")
    wire = bomb(10 * MAX_INFLATED)
    for start in range(0, len(wire), 65536):
        observe(UP, wire[start : start + 65536])
    assert sum(len(event.data) for event in journal.events if event.type == NetworkType.MESSAGE) <= MAX_INFLATED
    assert [event.fields["what"] for event in journal.events if event.type == NetworkType.PROBLEM] == ["WebSocket not understood"]
    assert journal.events[-1].type == NetworkType.DATA


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff",
        b"\x81\x05hello",  # from the program, unmasked
        b"\x83\x80\0\0\0\0",
        b"\x09\x80\0\0\0\0",
        b"\x80\x80\0\0\0\0",
        b"\xc1\x81\0\0\0\0x",  # compressed without an agreement
        b"\x81\x82\0\0\0\0\xff\xff",  # no UTF-8
        b"\x88\x81\0\0\0\0x",
        b"\x88\x82\0\0\0\0\0\0",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    ],
)
def test_garbage_ends_the_observing_of_its_direction_only(garbage: bytes) -> None:
    observe, journal = observer()
    observe(UP, garbage)
    observe(UP, b"more")
    observe(DOWN, bytes(server().send_data("fine")))
    assert [e.fields["what"] for e in journal.events if e.type == NetworkType.PROBLEM] == ["WebSocket not understood"]
    assert [e.data for e in journal.events if e.type == NetworkType.DATA] == [garbage, b"more"]
    assert messages(journal) == [(DOWN, "text", b"fine", Flag.FINAL)]


def test_mutated_frames_raise_nothing() -> None:
    chance = random.Random(3)
    for _ in range(400):
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        up = program(extension)
        wire = bytearray(up.send_data("text " * 30) + up.ping(b"x") + up.send_data(b"data") + up.close(1000))
        for _ in range(chance.randint(1, 4)):
            wire[chance.randrange(len(wire))] = chance.randrange(256)
        observe, _ = observer(b"permessage-deflate")
        for start in range(0, len(wire), 7):
            observe(UP, bytes(wire[start : start + 7]))


@pytest.mark.parametrize("garbage", [False, True])
def test_a_websocket_through_the_front(garbage: bool) -> None:
    async def test() -> None:
        rig = await Rig().start()
        head = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n"
        rig.client.write(head)
        upstream = await rig.server()
        assert await read_until(upstream, b"\r\n\r\n") == head
        down = bytes(server().send_data("hello"))
        answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
        upstream.write(answer + down)
        assert await read_count(rig.client, len(answer + down)) == answer + down
        up = b"\xff" * 100 if garbage else bytes(program().send_data(b"data"))
        rig.client.write(up)
        assert await read_count(upstream, len(up)) == up
        upstream.write_eof()
        assert await read_all(rig.client) == (b"", "end")
        await rig.finish()
        rig.check_complete()
        noted = [(e.direction, e.data) for e in rig.events(NetworkType.MESSAGE)]
        assert noted == [(DOWN, b"hello")] + ([] if garbage else [(UP, b"data")])
        assert len(rig.events(NetworkType.PROBLEM)) == garbage
        await asyncio.sleep(0)

    run(test)
