"""HTTP/1 that is broken or breaks off, on either side: who is told what, and what reaches nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asyncio_stream import stream_pair
from http1_rig import EMPTY, GET, OK, Rig, http2_request, read_all, read_count, read_until, run

from sentra_sandbox.errors import RecordingError
from sentra_sandbox.network import http1_exchange
from sentra_sandbox.network.exchange import OriginFailed
from sentra_sandbox.network.http1 import Http1Origin
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.trace.network_events import NetworkType


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
