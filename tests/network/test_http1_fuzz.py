"""Random traffic through the front and an HTTP/1 origin: valid messages pass byte for byte however they are split, broken ones harm
nobody.

The server answers each request with what that request names, so an answer that reached another one would be seen.
"""

from __future__ import annotations

import asyncio
import random
import re
import tracemalloc

import pytest
from asyncio_stream import AsyncioStream
from http1_rig import Rig, read_count, run

from sentra_sandbox.network.stream import StreamReset
from sentra_sandbox.trace.network_events import NetworkType

MARKERS = ["12345678", "23456781", "34567812", "45678123"]  # no small change makes one another
TOKENS = b"abcXYZ019-_.~!#$%&'*+^`|"


def field(chance: random.Random) -> bytes:
    name = b"X-" + bytes(chance.choice(TOKENS) for _ in range(chance.randint(1, 12)))
    value = bytes(chance.choice(b"azAZ09 \t:;,=\"\xe9\xff()") for _ in range(chance.randint(0, 40)))
    return name + b":" + chance.choice((b"", b" ", b"\t ")) + value + chance.choice((b"", b" ")) + b"\r\n"


def body(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 5, 300, 3000, 100_000 if chance.random() < 0.1 else 10)))


def chunked(chance: random.Random, data: bytes) -> bytes:
    wire = b""
    while data:
        piece = data[: chance.choice((1, 2, 7, 500, 65536))]
        data = data[len(piece) :]
        if len(data) > 3000 and len(piece) < 10:
            piece, data = piece + data[:3000], data[3000:]
        extension = chance.choice((b"", b"", b";a", b";a=b", b' ;x="y z"'[1:]))
        wire += chance.choice((b"%x", b"%X", b"0%x")) % len(piece) + extension + b"\r\n" + piece + b"\r\n"
    trailers = chance.choice((b"", field(chance)))
    return wire + chance.choice((b"0", b"000")) + b"\r\n" + trailers + b"\r\n"


def message(chance: random.Random, first: bytes, data: bytes, bodiless: bool = False) -> tuple[bytes, bytes]:
    """A message, and its body without framing."""
    fields = [field(chance) for _ in range(chance.randint(0, 6))]
    if bodiless:
        wire = data = b""
    elif chance.random() < 0.5:
        fields.append(chance.choice((b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:CHUNKED\r\n")))
        wire = chunked(chance, data)
    else:
        fields.append(chance.choice((b"Content-Length: %d\r\n", b"content-length:\t%d \r\n")) % len(data))
        wire = data
    chance.shuffle(fields)
    return first + b"".join(fields) + b"\r\n" + wire, data


async def dribble(chance: random.Random, stream: AsyncioStream, data: bytes) -> None:
    """In pieces, so that messages are cut anywhere."""
    while data:
        count = chance.choice((1, 2, 3, 10, 100, 5000, 70_000))
        if len(data) > 5000:
            count = max(count, 1000)
        stream.write(data[:count])
        await stream.drain()
        data = data[count:]
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(12))
def test_valid_messages_pass_byte_for_byte(seed: int) -> None:
    chance = random.Random(seed)

    async def test() -> None:
        rig = await Rig().start()
        exchanges = []
        for number in range(8):
            method = chance.choice((b"GET", b"POST", b"PUT", b"HEAD", b"X-Y"))
            line = method + b" /%d?%b HTTP/1.1\r\nHost: h\r\n" % (number, chance.choice((b"", b"q=1", b"\xc3\xa9")))
            request = message(chance, line, body(chance), bodiless=method == b"GET")
            status = chance.choice((200, 404, 500, 204, 304))
            silent = method == b"HEAD" or status in (204, 304)
            answer = message(chance, b"HTTP/1.1 %d %b\r\n" % (status, chance.choice((b"", b"OK \xe9"))), body(chance), silent)
            if silent and status != 204 and chance.random() < 0.5:
                answer = (answer[0].replace(b"\r\n", b"\r\nContent-Length: 5\r\n", 1), b"")
            early = b"".join(message(chance, b"HTTP/1.1 103 Hints\r\n", b"", True)[0] for _ in range(chance.randint(0, 2)))
            exchanges.append((request, early + answer[0], answer[1]))

        async def program() -> None:
            everything = b"".join(request[0] for request, _, _ in exchanges)
            sending = asyncio.ensure_future(dribble(chance, rig.client, everything))
            for _, answer, _ in exchanges:
                assert await read_count(rig.client, len(answer)) == answer
            await asyncio.wait_for(sending, 5)

        async def server() -> None:
            connection = await rig.server()
            for request, answer, _ in exchanges:
                assert await read_count(connection, len(request[0])) == request[0]
                await dribble(chance, connection, answer)

        await asyncio.gather(program(), server())
        await rig.finish()
        rig.check_complete()
        assert rig.opened == 1
        for number, (request, _, sent) in enumerate(exchanges, 1):
            assert (rig.body(number, 0), rig.body(number, 1)) == (request[1], sent)

    run(test)


def mutate(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] = chance.choice(b"\r\n\0 :;,09aZ\xff")
        elif kind == 1:
            del changed[at : at + chance.randint(1, 20)]
        elif kind == 2:
            changed[at:at] = chance.choice((b"\r\n", b"\n", b"\r\n\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"))
        else:
            changed[at:at] = changed[at : at + 30]
        if not changed:
            changed += b"x"
    return bytes(changed)


async def lenient_server(chance: random.Random, rig: Rig, broken: bool) -> None:
    """Answers whatever looks like a head to it, with the marker that it names, correctly or not."""

    async def one(connection: AsyncioStream) -> None:
        seen = b""
        try:
            while piece := await connection.read():
                seen = seen[-200:] + piece
                for marker in re.findall(rb"/m(\d{8})", seen):
                    seen = b""
                    data = b"answer to m%b." % marker
                    answer, _ = message(chance, b"HTTP/1.1 200 OK\r\nX-Marker: %b\r\n" % marker, data)
                    await dribble(chance, connection, mutate(chance, answer) if broken and chance.random() < 0.5 else answer)
                    if broken and chance.random() < 0.2:
                        await connection.close()
                        return
        except StreamReset:
            pass
        finally:
            connection.abort()

    tasks: list[asyncio.Task[None]] = []
    try:
        while True:
            tasks.append(asyncio.ensure_future(one(await rig.server())))
    except asyncio.TimeoutError:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(40))
def test_broken_messages_harm_nobody(seed: int) -> None:
    chance = random.Random(1000 + seed)
    breaks_requests = bool(seed % 2)

    async def test() -> None:
        rig = await Rig().start(scheme=chance.choice(("http", "https")))
        server = asyncio.ensure_future(lenient_server(chance, rig, not breaks_requests))
        requests = []
        for number in range(4):
            requests.append(message(chance, b"POST /m%b HTTP/1.1\r\nHost: h\r\n" % MARKERS[number].encode(), body(chance))[0])
        stream = b"".join(requests)
        if breaks_requests:
            stream = mutate(chance, stream)

        async def program() -> None:
            try:
                await dribble(chance, rig.client, stream)
                await asyncio.sleep(0.05)
                if chance.random() < 0.3:
                    rig.client.abort()
                else:
                    rig.client.write_eof()
                while await asyncio.wait_for(rig.client.read(), 0.3):
                    pass
            except (StreamReset, asyncio.TimeoutError):
                pass
            rig.client.abort()

        await asyncio.wait_for(program(), 10)
        await asyncio.wait_for(rig.task, 5)
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
        rig.check_complete()
        asked = {event.exchange: event.fields["path"] for event in rig.events(NetworkType.REQUEST)}
        for event in rig.events(NetworkType.RESPONSE):
            for name, value in event.fields["headers"]:
                if name == "X-Marker" and value in MARKERS:
                    others = [marker for marker in MARKERS if marker != value]
                    assert f"/m{value}" in asked[event.exchange] or not any(marker in asked[event.exchange] for marker in others)

    run(test)


def test_memory_is_bounded() -> None:
    """Endless heads, chunk lines, trailers and pipelined requests: what is held stays small."""

    async def attack(start: bytes, piece: bytes, answered: bool) -> None:
        rig = await Rig().start()
        rig.journal.events = _Nothing()  # type: ignore[assignment]
        rig.client.write(start)

        async def swallow(stream: AsyncioStream) -> None:
            try:
                while await stream.read():
                    pass
            except StreamReset:
                pass

        tasks = [asyncio.ensure_future(swallow(rig.client))]
        server = await rig.server() if answered else None
        if server is not None:
            tasks.append(asyncio.ensure_future(swallow(server)))
        try:
            for _ in range(60):
                rig.client.write(piece)
                await asyncio.wait_for(rig.client.drain(), 0.2)
                await asyncio.sleep(0)
        except (StreamReset, asyncio.TimeoutError):
            pass
        rig.client.abort()
        if server is not None:
            server.abort()
        await asyncio.wait_for(rig.task, 8)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test() -> None:
        chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        tracemalloc.start()
        await attack(b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 60_000 + b"\r\n", False)
        await attack(b"GET / HTTP/1.1\r\nX: ", b"y" * 60_000, False)
        await attack(chunked, b"1;" + b"y" * 60_000, True)
        await attack(chunked + b"0\r\n", b"X: " + b"y" * 60_000 + b"\r\n", True)
        await attack(chunked, b"1\r\nx\r\n" * 1000, True)
        await attack(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 2000, True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6_000_000

    run(test)


def test_idle_connections_hold_little() -> None:
    async def test() -> None:
        rigs = []
        request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            rig = await Rig().start()
            rig.journal.events = _Nothing()  # type: ignore[assignment]
            rig.client.write(request)
            server = await rig.server()
            assert await read_count(server, len(request)) == request
            server.write(answer)
            assert await read_count(rig.client, len(answer)) == answer
            rigs.append(rig)
        await asyncio.sleep(0.05)
        held = (tracemalloc.get_traced_memory()[0] - before) / 20
        tracemalloc.stop()
        for rig in rigs:
            await rig.finish()
        assert held < 40_000  # of it about 10 KB are the test's own

    run(test)


class _Nothing(list):  # type: ignore[type-arg]
    """Keeps nothing."""

    def append(self, item: object) -> None:
        pass
