"""Requests that the broker answers itself, asks again, or spreads over connections."""

from __future__ import annotations

import asyncio
import json

import pytest
from asyncio_stream import AsyncioStream
from http1_rig import EMPTY, GET, OK, Rig, http2_request, read_all, read_count, read_until, run

from sentra_sandbox.network.exchange import OriginFailed
from sentra_sandbox.network.live import LiveOrigin
from sentra_sandbox.network.refusal import Refusal
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.trace.network_events import Direction, NetworkType


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
