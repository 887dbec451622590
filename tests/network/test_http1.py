"""Exchanges over HTTP/1, from a program through the front and the live origin to a server, and back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asyncio_stream import AsyncioStream, stream_pair
from http1_rig import Rig, read_all, read_count, read_until, run

from sentra_sandbox.errors import RecordingError
from sentra_sandbox.network import http1_exchange
from sentra_sandbox.network.exchange import OriginFailed, RequestHead
from sentra_sandbox.network.http1 import Http1Origin
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.live import LiveOrigin
from sentra_sandbox.network.refusal import Refusal
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.trace.network_events import Direction, Flag, NetworkType

GET = b"GET /a?b=c HTTP/1.1\r\nHost: h.example\r\nX-Mixed-CASE:   kept  \r\n\r\n"
OK = b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Mixed:  a \r\n\r\nhi"
EMPTY = b"\r\n\r\n"


def test_an_exchange_and_its_events() -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        assert await read_until(server, EMPTY) == GET
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()
        kinds = [(NetworkType(event.type).name, event.direction, event.connection, event.exchange) for event in rig.events()]
        assert kinds == [("REQUEST", 0, 1, 1), ("END", 0, 1, 1), ("RESPONSE", 1, 1, 1), ("BODY", 1, 1, 1), ("END", 1, 1, 1)]
        request, _, response, body, _ = rig.events()
        assert request.data == GET and response.data + body.data == OK
        assert request.fields["path"] == "/a?b=c" and request.fields["headers"][1] == ["X-Mixed-CASE", "kept"]
        assert (request.fields["authority"], request.fields["method"], request.fields["version"]) == ("h.example", "GET", "1.1")
        assert (response.fields["status"], response.fields["reason"]) == (200, "Fine") and "from" not in response.fields

    run(test)


def test_the_connection_to_the_server_is_kept() -> None:
    async def test() -> None:
        rig = await Rig().start()
        server = None
        for _ in range(3):
            rig.client.write(GET)
            server = server or await rig.server()
            assert await read_until(server, EMPTY) == GET
            server.write(OK)
            assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        assert rig.opened == 1
        assert server is not None and await read_all(server) == (b"", "end")
        rig.check_complete()

    run(test)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def test() -> None:
        rig = await Rig().start()
        requests = [b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%d" % (number, number) for number in range(5)]
        rig.client.write(b"".join(requests))
        server = await rig.server()
        for number, request in enumerate(requests):
            assert await read_count(server, len(request)) == request
            await asyncio.sleep(0.01)
            with pytest.raises(asyncio.TimeoutError):  # the next one waits for this one's answer
                await asyncio.wait_for(server.read(), 0.01)
            server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        got = await read_count(rig.client, 5 * 39)
        assert [got[at + 38 : at + 39] for at in range(0, 195, 39)] == [b"0", b"1", b"2", b"3", b"4"]
        await rig.finish()
        rig.check_complete()

    run(test)


def test_events_of_a_stream_pass_one_by_one() -> None:
    """Each piece arrives before the server sends the next: nothing waits for more."""

    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        server.write(head)
        assert await read_until(rig.client, EMPTY) == head
        for piece in (b"9\r\n", b"data: 1\n\n", b"\r\n", b"5;x=y\r\nda", b"ta:", b"\r\n", b"0\r\n", b"X-T: 1\r\n", b"\r\n"):
            server.write(piece)
            if piece == b"X-T: 1\r\n":
                continue  # trailers are read whole
            if piece == b"\r\n" and rig.body(1, 1).endswith(b"data:"):
                assert await read_until(rig.client, piece)
                continue
            if piece == b"0\r\n":
                assert await read_count(rig.client, 3) == piece
                continue
            assert await read_until(rig.client, piece)
        await rig.finish()
        rig.check_complete()
        assert rig.body(1, 1) == b"data: 1\n\ndata:"
        assert rig.events(NetworkType.END)[-1].fields == {"trailers": [["X-T", "1"]]}

    run(test)


def test_a_request_streams_up_while_its_answer_streams_down() -> None:
    async def test() -> None:
        rig = await Rig().start()
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        rig.client.write(head)
        server = await rig.server()
        assert await read_until(server, EMPTY) == head
        server.write(answer)
        assert await read_until(rig.client, EMPTY) == answer
        for number in range(5):
            piece = b"1\r\n%d\r\n" % number
            rig.client.write(piece)
            assert await read_count(server, len(piece)) == piece
            server.write(piece)
            assert await read_count(rig.client, len(piece)) == piece
        rig.client.write(b"0\r\n\r\n")
        assert await read_until(server, EMPTY) == b"0\r\n\r\n"
        server.write(b"0\r\n\r\n")
        assert await read_until(rig.client, EMPTY) == b"0\r\n\r\n"
        rig.client.write(GET)  # and the connection goes on
        assert await read_until(server, EMPTY) == GET
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()
        assert rig.body(1, 0) == rig.body(1, 1) == b"01234"

    run(test)


def test_expect_100_continue() -> None:
    async def test() -> None:
        rig = await Rig().start()
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        rig.client.write(head)
        server = await rig.server()
        assert await read_until(server, EMPTY) == head
        server.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert await read_until(rig.client, EMPTY) == b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        assert await read_until(rig.client, EMPTY) == b"HTTP/1.1 100 Continue\r\n\r\n"
        rig.client.write(b"abc")
        assert await read_count(server, 3) == b"abc"
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()
        statuses = [(event.fields["status"], event.fields.get("informational")) for event in rig.events(NetworkType.RESPONSE)]
        assert statuses == [(103, True), (100, True), (200, None)]

    run(test)


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"),
        (b"GET http://h/x HTTP/1.1\r\nHost: other\r\n\r\n", OK),
    ],
)
def test_answers_that_keep_the_connection(request_head: bytes, answer: bytes) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(request_head)
        server = await rig.server()
        assert await read_until(server, EMPTY) == request_head
        server.write(answer)
        assert await read_count(rig.client, len(answer)) == answer
        rig.client.write(GET)
        assert await read_until(server, EMPTY) == GET
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()

    run(test)


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (GET, b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
        (GET, b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"),
        (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
    ],
)
def test_answers_that_end_the_connection(request_head: bytes, answer: bytes) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(request_head)
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(answer)
        await server.close()
        assert await read_all(rig.client) == (answer, "end")
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert "error" not in rig.events(NetworkType.END)[-1].fields

    run(test)


@pytest.mark.parametrize(
    ("answer", "reset"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nhalf", True),
    ],
)
def test_an_answer_that_breaks_off_is_seen_as_broken(answer: bytes, reset: bool) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(answer)
        got = await read_until(rig.client, answer)
        if reset:
            server.abort()
        else:
            await server.close()
        # where only the connection's end says that an answer is whole, an orderly end would hide that it is not
        assert await read_all(rig.client) == (b"", "reset" if reset else "end") and got == answer
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert "in the middle of its answer" in rig.events(NetworkType.END)[-1].fields["error"]

    run(test)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "without answering"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "in the middle of its answer's head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "several Content-Lengths"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", "folded"),
        (b"HTTP/1.1 200 OK\nX: a\n\n", "without CR"),
        (b"SSH-2.0-OpenSSH\r\n", "first line"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "nobody asked"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000, "more than 262144 bytes"),
    ],
)
def test_what_is_no_answer_is_told_as_502(answer: bytes, says: str) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(answer)
        rig.client.write_eof()
        if len(answer) < 100_000:
            await server.close()
        got, _ = await read_all(rig.client)
        assert got.startswith(b"HTTP/1.1 502 Bad Gateway\r\n") and says.encode() in got
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert rig.events(NetworkType.RESPONSE)[-1].fields["from"] == "broker"

    run(test)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"\x16\x03\x01\x00\x05hello\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 300_000,
        b"GET / HTTP/1.1\r\nHost: a",  # and then nothing
    ],
)
def test_what_is_no_request_is_refused_and_reaches_nobody(request_bytes: bytes) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(request_bytes)
        rig.client.write_eof()
        got, _ = await read_all(rig.client)
        status = b"431" if len(request_bytes) > 100_000 else b"400"
        assert got.startswith(b"HTTP/1.1 " + status) and b"\r\nConnection: close\r\n" in got
        await asyncio.wait_for(rig.task, 5)
        assert rig.opened == 0
        assert [event.fields["what"] for event in rig.events()] == ["request refused"]

    run(test)


@pytest.mark.parametrize(
    "chunks",
    [
        b"x\r\n", b"5 \r\nhello\r\n", b"-1\r\n", b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhelloX\r\n", b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n", b"5;\x00\r\nhello\r\n", b"5;a\rb\r\nhello\r\n", b"1000000000000000\r\n", b"5;" + b"x" * 9000, b"0\r\nX : y\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\n" + b"X: y\r\n" * 12000, b";x\r\n", b"\r\n0\r\n\r\n", b"5;x\nGET / HTTP/1.1\r\nhello",
    ],
)  # fmt: skip
def test_bad_chunks_end_both_connections(chunks: bytes) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        server = await rig.server()
        seen, how = await read_all(server)
        assert how == "reset" or not seen.endswith(b"0\r\n\r\n")
        rig.client.write_eof()
        got, _ = await read_all(rig.client)
        assert got.startswith(b"HTTP/1.1 400 ")
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert rig.events(NetworkType.PROBLEM)[0].exchange == 1
        assert "error" in rig.events(NetworkType.END)[0].fields

    run(test)


def test_bytes_that_nobody_asked_for_are_never_an_answer() -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        assert await read_count(rig.client, len(OK)) == OK
        rig.client.write(GET)
        second = await rig.server()
        await read_until(second, EMPTY)
        second.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        assert (await read_all(server))[1] in ("end", "reset")
        await rig.finish()
        assert rig.opened == 2

    run(test)


def test_a_program_that_vanishes_ends_its_exchange_at_the_server() -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        inner_lost = asyncio.ensure_future(read_all(server))
        server.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.05)
        rig.client.abort()  # with the head unread: a reset
        for _ in range(20):
            server.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)
        await inner_lost
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert rig.events(NetworkType.END)[-1].fields["error"] == "The program closed the connection."

    run(test)


def test_a_program_that_vanishes_in_its_request() -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
        server = await rig.server()
        assert (await read_until(server, b"half")).endswith(b"half")
        await rig.client.close()
        assert (await read_all(server))[0] == b""
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert all("error" in event.fields for event in rig.events(NetworkType.END))

    run(test)


def test_a_half_closed_program_still_gets_its_answer() -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET + GET)
        rig.client.write_eof()
        server = await rig.server()
        for _ in range(2):
            await read_until(server, EMPTY)
            await asyncio.sleep(0.02)
            server.write(OK)
        assert await read_all(rig.client) == (OK + OK, "end")
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()

    run(test)


def test_a_tls_program_that_ends_its_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_exchange, "HALF_CLOSED_S", 0.1)

    async def test() -> None:
        rig = await Rig().start(scheme="https")
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        rig.client.write_eof()
        assert await read_all(server) == (b"", "reset")
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()

    run(test)


@pytest.mark.parametrize("head", [b"Content-Length: 3\r\n\r\nabc", b"Content-Length: 100000\r\n\r\nabc"])
def test_a_journal_that_fails_ends_the_connection(head: bytes) -> None:
    class Full(ListJournal):
        def write(self, type: int, *args: Any, **named: Any) -> None:
            if type == NetworkType.BODY:
                raise RecordingError("The run is being closed.")
            super().write(type, *args, **named)

    async def test() -> None:
        rig = Rig()
        rig.journal = Full()
        await rig.start()
        rig.client.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + head)
        with pytest.raises(RecordingError):
            await asyncio.wait_for(rig.task, 5)
        assert (await read_all(rig.client))[0] == b"" or head.startswith(b"Content-Length: 100000")

    run(test)


def test_an_early_answer_to_a_long_request() -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
        server = await rig.server()
        await read_until(server, EMPTY)
        answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        server.write(answer)
        for _ in range(20):
            rig.client.write(b"x" * 65536)
            await rig.client.drain()
        assert await read_until(rig.client, EMPTY) == answer
        rig.client.write_eof()
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert rig.events(NetworkType.END)[-1].fields == {"error": "The exchange ended before the request was complete."}

    run(test)


def test_nobody_reads_and_nothing_grows() -> None:
    """A program that does not read its answer holds the server up."""

    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        sent = 0
        with pytest.raises(asyncio.TimeoutError):
            while sent < 100_000_000:
                server.write(b"x" * 65536)
                sent += 65536
                await asyncio.wait_for(server.drain(), 0.3)
        assert sent < 40_000_000  # what the kernel holds
        rig.client.abort()
        server.abort()
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()

    run(test)


def test_upgrade_to_an_unknown_protocol() -> None:
    async def test() -> None:
        rig = await Rig().start(scheme="https")
        rig.client.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nfirst")
        server = await rig.server()
        await read_until(server, EMPTY)
        answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"
        server.write(answer + b"second")
        assert await read_until(rig.client, b"second") == answer + b"second"
        assert await read_count(server, 5) == b"first"
        server.write(b"third")
        server.write_eof()
        assert await read_all(rig.client) == (b"third", "end")
        rig.client.write(b"fourth")
        rig.client.write_eof()
        assert await read_all(server) == (b"fourth", "end")
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        data = [(event.direction, event.data, event.flags) for event in rig.events(NetworkType.DATA)]
        assert sorted(data) == [(0, b"first", 0), (0, b"fourth", 0), (1, b"second", 0), (1, b"third", 0)]

    run(test)


def test_bytes_of_plain_upgrades_are_counted_only() -> None:
    async def test() -> None:
        rig = await Rig().start(scheme="http")
        rig.client.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nabc")
        await read_until(rig.client, b"abc")
        server.write_eof()
        await rig.finish()
        assert [(e.data, e.size, e.flags) for e in rig.events(NetworkType.DATA)] == [(b"", 3, Flag.NO_BYTES)]

    run(test)


@pytest.mark.parametrize("looked_into", [True, False])
def test_connect(looked_into: bool) -> None:
    async def test() -> None:
        heads: list[RequestHead] = []

        async def tunnel(client: Stream, upstream: Stream, head: RequestHead) -> None:
            heads.append(head)
            upstream.write(await client.read())
            client.write(await upstream.read())
            await upstream.close()

        rig = await Rig().start(tunnel=tunnel if looked_into else None)
        rig.client.write(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno")
        assert (await read_until(rig.client, b"\r\n\r\nno")).startswith(b"HTTP/1.1 407")
        rig.client.write(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        await read_until(server, EMPTY)
        server.write(b"HTTP/1.1 200 Established\r\n\r\n")
        assert await read_until(rig.client, EMPTY) == b"HTTP/1.1 200 Established\r\n\r\n"
        rig.client.write(b"ping")
        assert await read_count(server, 4) == b"ping"
        server.write(b"pong")
        assert await read_count(rig.client, 4) == b"pong"
        server.write_eof()
        await rig.finish()
        rig.check_complete()
        assert [head.target for head in heads] == ([b"h:443"] if looked_into else [])
        assert bool(rig.events(NetworkType.DATA)) == (not looked_into)

    run(test)


@pytest.mark.parametrize("accept", [b"*/*", b"application/json"])
def test_a_refusal_says_why_and_what_helps(accept: bytes) -> None:
    async def test() -> None:
        rig = await Rig().start(Refusal(403, "evil.example is not allowed.", "--allow-net evil.example"))
        rig.client.write(b"POST / HTTP/1.1\r\nHost: h\r\nAccept: %b\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n" % accept)
        got, how = await read_all(rig.client)
        head, _, body = got.partition(EMPTY)
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n") and how == "end"
        if b"json" in accept:
            error = json.loads(body)["error"]
            assert (error["status"], error["remedy"]) == (403, "--allow-net evil.example")
        else:
            assert body == b"sentra-sandbox: evil.example is not allowed.\n--allow-net evil.example\n"
        rig.client.write_eof()
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert rig.events(NetworkType.RESPONSE)[0].fields["from"] == "broker"
        assert rig.body(1, Direction.TO_CLIENT) == body

    run(test)


def test_what_a_refused_request_would_have_sent_is_noted() -> None:
    async def test() -> None:
        async def fails() -> tuple[Stream, str]:
            raise OriginFailed(403, "No.")

        for body, head in ((b"secret", b"Content-Length: 6"), (b"6\r\nsecret\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")):
            rig = await Rig().start(LiveOrigin(fails))
            rig.client.write(b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % head + body[:3])
            assert (await read_until(rig.client, EMPTY)).startswith(b"HTTP/1.1 403 ")
            rig.client.write(body[3:])
            await asyncio.wait_for(rig.task, 5)
            assert rig.body(1, Direction.TO_SERVER) == b"secret"
            rig.check_complete()

    run(test)


def test_a_refused_head_request_has_no_body() -> None:
    async def test() -> None:
        rig = await Rig().start(Refusal(504, "Too late."))
        rig.client.write(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        got, _ = await read_all(rig.client)
        assert got.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n") and got.endswith(EMPTY)
        await asyncio.wait_for(rig.task, 5)

    run(test)


def test_an_unreachable_server_is_told_as_502() -> None:
    async def test() -> None:
        async def fails() -> tuple[Stream, str]:
            raise ConnectionRefusedError(111, "Connection refused")

        rig = await Rig().start(LiveOrigin(fails))
        rig.client.write(GET)
        got, _ = await read_all(rig.client)
        assert got.startswith(b"HTTP/1.1 502 Bad Gateway\r\n") and b"Connection refused" in got
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()

    run(test)


async def stale(request: bytes, rig: Rig) -> AsyncioStream:
    """The rig after one exchange, with ``request`` sent on the kept connection, which the server now closes unanswered."""
    rig.client.write(GET)
    server = await rig.server()
    await read_until(server, EMPTY)
    server.write(OK)
    await read_count(rig.client, len(OK))
    rig.client.write(request)
    await read_until(server, EMPTY)
    await server.close()
    return server


def test_a_request_that_can_be_repeated_is_repeated() -> None:
    async def test() -> None:
        for request in (GET, b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n"):
            rig = await Rig().start()
            await stale(request, rig)
            again = await rig.server()
            assert await read_count(again, len(request)) == request
            again.write(OK)
            assert await read_count(rig.client, len(OK)) == OK
            await rig.finish()
            rig.check_complete()
            assert rig.opened == 2

    run(test)


def test_a_request_that_may_have_been_done_is_not_repeated() -> None:
    async def test() -> None:
        for request in (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"):
            rig = await Rig().start()
            await stale(request, rig)
            got, _ = await read_all(rig.client)
            assert got.startswith(b"HTTP/1.1 502 ") and b"without answering" in got
            await asyncio.wait_for(rig.task, 5)
            assert rig.opened == 1
            rig.check_complete()

    run(test)


def test_a_connection_that_ended_while_idle_is_not_used() -> None:
    async def test() -> None:
        rig = await Rig().start()
        for _ in range(3):
            rig.client.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
            server = await rig.server()
            await read_until(server, b"ab")
            server.write(OK)
            assert await read_count(rig.client, len(OK)) == OK
            await server.close()
            await asyncio.sleep(0.02)
        await rig.finish()
        rig.check_complete()

    run(test)


def http2_request(path: bytes, length: int | None = 0) -> RequestHead:
    return RequestHead(b"POST", b"https", b"h", path, [(b"x", b"y")], "2", length=length)


def test_many_requests_at_once_use_several_connections() -> None:
    async def test() -> None:
        rig = Rig()
        live = LiveOrigin(rig.open, most=3)

        async def one(number: int) -> bytes:
            answering = await live.open(http2_request(b"/%d" % number, None))
            await answering.send(b"body %d" % number)
            await answering.finish([(b"x-t", b"z")])
            head = await answering.head()
            assert head.status == 200
            body = b""
            while piece := await answering.read():
                body += piece
            return body

        async def serve_one() -> None:
            server = await rig.server()
            while True:
                try:
                    got = await read_until(server, b"x-t: z\r\n\r\n")
                except AssertionError:
                    return
                body = got.partition(EMPTY)[2]
                await asyncio.sleep(0.005)
                server.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        servers = [asyncio.ensure_future(serve_one()) for _ in range(3)]
        bodies = await asyncio.gather(*(one(number) for number in range(12)))
        assert bodies == [b"%x\r\nbody %d\r\n0\r\nx-t: z\r\n\r\n" % (len(b"body %d" % n), n) for n in range(12)]
        assert rig.opened == 3
        await live.close()
        await asyncio.gather(*servers)

    run(test)


@pytest.mark.parametrize("sent", [b"abc", b"a"])
def test_a_body_of_another_length_is_never_sent_as_if_it_fitted(sent: bytes) -> None:
    async def test() -> None:
        outer, inner = await stream_pair()
        origin = Http1Origin(inner)
        answering = await origin.open(http2_request(b"/", 2))
        with pytest.raises(OriginFailed) as caught:
            await answering.send(sent)
            await answering.finish([])
        assert caught.value.status == 400 and not origin.usable
        assert (await read_all(outer))[0].count(b"abc") == 0
        await origin.close()

    run(test)
