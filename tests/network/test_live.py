"""The live origin over both versions: HTTP/1 programs on HTTP/2 servers, and the connections that it opens."""

from __future__ import annotations

import asyncio

import pytest
from asyncio_stream import AsyncioStream, stream_pair
from http1_rig import Rig, read_count, read_until, run

from sentra_sandbox.network import http2
from sentra_sandbox.network.exchange import OriginFailed, RequestHead
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.live import LiveOrigin
from sentra_sandbox.network.stream import Stream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Both:
    """A server of HTTP/2 that asks the HTTP/1 server of a rig: program → HTTP/1 → HTTP/2 → HTTP/1."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.opened = 0
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> tuple[Stream, str]:
        self.opened += 1
        await asyncio.sleep(0.01)
        outer, inner = await stream_pair()
        self.tasks.append(asyncio.ensure_future(self._serve(outer)))
        return inner, "h2"

    async def _serve(self, outer: AsyncioStream) -> None:
        await http2.serve(outer, LiveOrigin(self.rig.open), ListJournal(), 2, b"https")
        await outer.close()

    async def finish(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self.tasks), 5)


def test_http1_to_http2_and_back() -> None:
    async def test() -> None:
        both = Both()
        rig = await Rig().start(LiveOrigin(both.open), "https")
        rig.client.write(b"POST /p?q HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nCookie: a=1\r\nCookie: b=2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        server = await both.rig.server()
        request = await read_until(server, b"0\r\n\r\n")
        assert request.startswith(b"POST /p?q HTTP/1.1\r\n") and b"\r\nhost: h\r\n" in request.lower() and b"abc" in request
        assert b"connection" not in request and b"a=1; b=2" in request
        server.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nX-A: b\r\n\r\n")
        head = await read_until(rig.client, b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head and b"x-a: b" in head and b"onnection" not in head
        for piece in (b"data: 1\n\n", b"data: 2\n\n"):  # each arrives before the next is sent
            server.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert await read_until(rig.client, piece + b"\r\n") == b"9\r\n" + piece + b"\r\n"
        server.write(b"0\r\n\r\n")
        assert await read_count(rig.client, 5) == b"0\r\n\r\n"
        rig.client.write(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        await read_until(server, b"\r\n\r\n")
        server.write(OK)
        assert (await read_until(rig.client, b"hi")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await asyncio.wait_for(rig.client.read(), 5) == b""  # what we made up does not promise to keep a 1.0 connection
        rig.client.write_eof()
        await asyncio.wait_for(rig.task, 5)
        await both.finish()
        rig.check_complete()
        assert both.opened == 1

    run(test)


def test_requests_at_once_wait_for_the_first_connection() -> None:
    async def test() -> None:
        both = Both()
        live = LiveOrigin(both.open)

        async def one(number: int) -> bytes:
            head = RequestHead(b"GET", b"https", b"h", b"/%d" % number, [], "2")
            answering = await live.open(head)
            await answering.finish([])
            assert (await answering.head()).status == 200
            return await answering.read()

        async def server() -> None:
            connection = await both.rig.server()
            while True:
                try:
                    await read_until(connection, b"\r\n\r\n")
                except AssertionError:
                    return
                connection.write(OK)

        servers = [asyncio.ensure_future(server()) for _ in range(8)]
        assert await asyncio.gather(*(one(number) for number in range(8))) == [b"hi"] * 8
        assert both.opened == 1
        await live.close()
        await both.finish()
        for each in servers:
            each.cancel()
        await asyncio.gather(*servers, return_exceptions=True)

    run(test)


def test_who_waits_is_told_when_the_server_cannot_be_reached() -> None:
    async def test() -> None:
        async def fails() -> tuple[Stream, str]:
            await asyncio.sleep(0.01)
            raise TimeoutError(110, "Connection timed out")

        live = LiveOrigin(fails)
        head = RequestHead(b"GET", b"https", b"h", b"/", [], "2")
        results = await asyncio.gather(*(live.open(head) for _ in range(3)), return_exceptions=True)
        assert [str(result) for result in results] == ["The server cannot be reached: Connection timed out."] * 3
        await live.close()

    run(test)


def test_headers_that_http1_cannot_hold_go_nowhere() -> None:
    async def test() -> None:
        rig = Rig()
        live = LiveOrigin(rig.open)
        with pytest.raises(OriginFailed) as caught:
            await live.open(RequestHead(b"GET", b"https", b"h", b"/", [(b"x", b"a\r\nGET /evil HTTP/1.1\r\n")], "2"))
        assert caught.value.status == 400
        await live.close()

    run(test)

