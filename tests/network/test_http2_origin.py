"""``Http2Origin``, with the h2 library as its server over a socket pair, and both sides of ours in a row."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from h2.errors import ErrorCodes
from http2_peer import Peer, frame, front, in_loop, stream_pair

from sentra_sandbox.network.exchange import Answering, Headers, OriginFailed, RequestHead
from sentra_sandbox.network.http2 import Http2Failed, Http2Origin
from sentra_sandbox.network.http2.origin import WINDOW
from sentra_sandbox.network.live import LiveOrigin


def head(method: bytes = b"GET", target: bytes = b"/", headers: Headers | None = None, length: int | None = 0) -> RequestHead:
    return RequestHead(method, b"https", b"api.test", target, headers or [], "1.1", length=length)


async def body_of(answering: Answering) -> bytes:
    body = b""
    while piece := await answering.read():
        body += piece
    return body


@contextlib.asynccontextmanager
async def origin(**peer: Any) -> AsyncIterator[tuple[Http2Origin, Peer]]:
    ours, theirs = await stream_pair()
    made = Http2Origin(ours)
    server = Peer(theirs, client=False, **peer)
    try:
        yield made, server
    finally:
        await asyncio.wait_for(asyncio.gather(made.close(), server.close()), 5)


def answers(server: Peer, *, body: bytes | None = None) -> None:
    """Makes the server echo."""

    async def on_request(stream: int) -> None:
        await server.until(lambda: stream in server.ended)
        server.h2.send_headers(stream, [(b":status", b"200")])
        path = dict(server.heads[stream][0])[b":path"]
        await server.send(stream, path + b" " + bytes(server.bodies.get(stream, b"")) if body is None else body, end=True)

    server.on_request = on_request


@in_loop
async def test_many_exchanges_at_once() -> None:
    async with origin() as (upstream, server):
        answers(server)

        async def ask(number: int) -> bytes:
            answering = await upstream.open(head(b"POST", b"/%d" % number, length=None))
            await answering.send(b"a")
            await answering.send(b"b")
            await answering.finish([])
            assert (await answering.head()).status == 200
            return await body_of(answering)

        assert await asyncio.gather(*(ask(number) for number in range(50))) == [b"/%d ab" % number for number in range(50)]


@in_loop
async def test_it_waits_when_the_server_allows_no_more() -> None:
    async with origin(streams=2) as (upstream, server):
        upstream_first = await upstream.open(head(target=b"/first"))
        await server.until(lambda: len(server.heads) == 1)
        await asyncio.sleep(0.05)  # the server's SETTINGS have come
        second = await upstream.open(head(target=b"/second"))
        waiting = [asyncio.create_task(upstream.open(head(target=b"/%d" % number))) for number in range(3)]
        await asyncio.sleep(0.05)
        assert len(server.heads) == 2 and not any(task.done() for task in waiting)
        waiting[0].cancel()
        second.abort()
        third = await asyncio.wait_for(waiting[1], 5)
        await server.until(lambda: len(server.heads) == 3)
        assert not waiting[2].done()
        upstream_first.abort()
        fourth = await asyncio.wait_for(waiting[2], 5)
        third.abort()
        fourth.abort()
        await server.until(lambda: set(server.resets.values()) == {ErrorCodes.CANCEL} and len(server.resets) == 4)


@in_loop
async def test_heads_cross_versions() -> None:
    async with origin() as (upstream, server):
        answers(server)
        headers = [
            (b"Host", b"api.test"), (b"Connection", b"keep-alive, X-Hop, TE"), (b"X-Hop", b"1"), (b"Keep-Alive", b"3"), (b"TE", b"gzip, trailers"),
            (b"Transfer-Encoding", b"chunked"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AA"), (b"Proxy-Connection", b"x"), (b"X-Kept", b" v\xe9 "),
        ]  # fmt: skip
        answering = await upstream.open(head(b"GET", b"http://api.test/p?q#f", headers))
        await answering.head()
        pseudo = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"api.test"), (b":path", b"/p?q")]
        assert server.heads[1][0] == [*pseudo, (b"te", b"trailers"), (b"x-kept", b"v\xe9")]


@in_loop
async def test_bodies_are_held_up_by_their_reader() -> None:
    async with origin() as (upstream, server):
        answers(server, body=bytes(3 * WINDOW))
        slow = await upstream.open(head())
        await slow.head()
        await asyncio.sleep(0.3)
        assert server.h2.local_flow_control_window(1) == 0
        other = await upstream.open(head())
        await other.head()
        assert len(await body_of(other)) == 3 * WINDOW
        assert len(await body_of(slow)) == 3 * WINDOW


@in_loop
async def test_a_dropped_response_gives_its_window_back() -> None:
    async with origin() as (upstream, server):
        answers(server, body=bytes(WINDOW))
        for _ in range(40):  # 40 MiB through a window of 16
            answering = await upstream.open(head())
            await answering.head()
            await answering.read()
            answering.abort()
            answering.abort()


@in_loop
async def test_informational_heads_and_trailers() -> None:
    async with origin() as (upstream, server):

        async def on_request(stream: int) -> None:
            server.h2.send_headers(stream, [(b":status", b"103"), (b"link", b"</a>")])
            server.h2.send_headers(stream, [(b":status", b"200"), (b"content-length", b"2")])
            server.h2.send_data(stream, b"ok")
            server.h2.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
            server.flush()

        server.on_request = on_request
        answering = await upstream.open(head())
        assert (await answering.head()).status == 103
        final = await answering.head()
        assert (final.status, final.length, await body_of(answering), answering.trailers()) == (200, 2, b"ok", [(b"grpc-status", b"0")])


@in_loop
async def test_a_graceful_goaway_lets_what_has_begun_finish() -> None:
    async with origin() as (upstream, server):
        first = await upstream.open(head())
        second = await upstream.open(head(b"POST", length=None))
        await server.until(lambda: len(server.heads) == 2)
        server.stream.write(frame(7, 0, 0, (1).to_bytes(4, "big") + bytes(4) + b"maintenance"))
        server.h2.send_headers(1, [(b":status", b"200")])
        server.h2.send_data(1, b"late", end_stream=True)
        server.flush()
        await first.head()
        assert await body_of(first) == b"late"
        for attempt in (second.head(), upstream.open(head())):
            with pytest.raises(Http2Failed, match="going away") as failed:
                await attempt
            assert failed.value.unprocessed
        assert not upstream.usable


@in_loop
async def test_resets_of_the_server_keep_their_code() -> None:
    async with origin() as (upstream, server):
        calls = [await upstream.open(head(b"POST", length=None)) for _ in range(3)]
        await server.until(lambda: len(server.heads) == 3)
        for stream, code in ((1, ErrorCodes.REFUSED_STREAM), (3, ErrorCodes.ENHANCE_YOUR_CALM)):
            server.h2.reset_stream(stream, code)
        server.h2.send_headers(5, [(b":status", b"413")], end_stream=True)
        server.h2.reset_stream(5, ErrorCodes.NO_ERROR)
        server.flush()
        for call, code in zip(calls, (ErrorCodes.REFUSED_STREAM, ErrorCodes.ENHANCE_YOUR_CALM), strict=False):
            with pytest.raises(Http2Failed) as failed:
                await call.head()
            assert failed.value.code == code and failed.value.unprocessed == (code == ErrorCodes.REFUSED_STREAM)
        assert (await calls[2].head()).status == 413
        await calls[2].send(b"nobody wants this")  # dropped: the response is whole
        await calls[2].finish([])
        assert await calls[2].read() == b""


@in_loop
async def test_a_server_that_vanishes_fails_everything() -> None:
    async with origin() as (upstream, server):
        answering = await upstream.open(head(b"POST", length=None))
        sending = asyncio.create_task(answering.send(bytes(1_000_000)))
        await server.until(lambda: len(server.heads) == 1)
        server.auto = False
        await asyncio.sleep(0.05)
        server.stream.abort()
        with pytest.raises(OriginFailed):
            await sending
        with pytest.raises(OriginFailed):
            await answering.head()
        with pytest.raises(Http2Failed) as failed:
            await upstream.open(head())
        assert failed.value.unprocessed and not upstream.usable


@pytest.mark.parametrize(
    "bad",
    [
        [(b":status", b"99")],
        [(b":status", b"abc")],
        [(b":status", b"101")],
        [(b":status", b"200"), (b"x", b"a\r\nb")],
        [(b":status", b"200"), (b"connection", b"x")],
    ],
)
@in_loop
async def test_malformed_responses_fail_alone(bad: Headers) -> None:
    async with origin() as (upstream, server):
        wrong, right = await upstream.open(head()), await upstream.open(head())
        await server.until(lambda: len(server.heads) == 2)
        server.h2.send_headers(1, bad)
        server.h2.send_headers(3, [(b":status", b"200")], end_stream=True)
        server.flush()
        assert (await right.head()).status == 200
        with pytest.raises(Http2Failed, match="malformed"):
            await wrong.head()


@in_loop
async def test_our_two_sides_in_a_row() -> None:
    data = random.Random(3).randbytes(400_000)
    async with origin() as (upstream, server), front(upstream) as (client, _):
        answers(server)
        stream = client.request(b"POST", b"/x", [(b"cookie", b"a=1")], end=False)
        await client.send(stream, data, end=True)
        assert await client.answer(stream) == (200, b"/x " + data)
        cancelled = client.request(b"POST", end=False)
        await server.until(lambda: 3 in server.heads)
        client.h2.reset_stream(cancelled, ErrorCodes.CANCEL)
        client.flush()
        await server.until(lambda: server.resets == {3: ErrorCodes.CANCEL})


@in_loop
async def test_garbage_of_a_server_never_hangs_or_kills() -> None:
    chance = random.Random(11)
    for _ in range(120):
        async with origin() as (upstream, server):
            answering = await upstream.open(head(b"POST", length=None))
            for _ in range(chance.randrange(1, 10)):
                payload = chance.randbytes(chance.choice([0, 1, 4, 5, 6, 8, 9, 40, 300]))
                server.stream.write(
                    frame(chance.randrange(0, 12), chance.choice([0, 1, 4, 5, 8, 255]), chance.choice([0, 1, 1, 3, 2]), payload)
                )
            await asyncio.sleep(0)
            server.stream.write(chance.randbytes(40))
            server.stream.write_eof()
            with contextlib.suppress(OriginFailed):
                await asyncio.wait_for(answering.send(bytes(200_000)), 5)
                await asyncio.wait_for(answering.head(), 5)
                await asyncio.wait_for(body_of(answering), 5)


class Servers:
    """Connections to servers that a test moves, one after the other; ``prepare`` sees each at its beginning."""

    def __init__(self, prepare: Callable[[Peer], None]) -> None:
        self.made: list[Peer] = []
        self.prepare = prepare

    async def open(self) -> tuple[Any, str]:
        ours, theirs = await stream_pair()
        self.made.append(Peer(theirs, client=False))
        self.prepare(self.made[-1])
        return ours, "h2"

    async def close(self) -> None:
        for each in self.made:
            await each.close()


@in_loop
async def test_what_a_server_did_not_look_at_is_asked_again() -> None:
    servers = Servers(lambda server: answers(server) if len(servers.made) == 2 else None)
    live = LiveOrigin(servers.open)
    first = await live.open(head(b"POST", b"/first", length=None))
    second = await live.open(head(b"POST", b"/second", length=None))
    await first.send(b"1")
    await second.send(b"2")
    await servers.made[0].until(lambda: len(servers.made[0].bodies) == 2)
    servers.made[0].stream.write(frame(7, 0, 0, (1).to_bytes(4, "big") + bytes(4)))
    second_head = asyncio.create_task(second.head())
    while len(servers.made) < 2:
        await asyncio.sleep(0.01)
    await second.send(b"2")
    await second.finish([])
    assert (await second_head).status == 200 and await body_of(second) == b"/second 22"
    servers.made[0].h2.send_headers(1, [(b":status", b"200")], end_stream=True)
    servers.made[0].flush()
    await first.finish([])
    assert (await first.head()).status == 200 and await body_of(first) == b""
    await servers.made[0].until(lambda: servers.made[0].ended == {1})
    async with servers.made[0].news:
        await asyncio.wait_for(servers.made[0].news.wait_for(lambda: servers.made[0].over), 5)  # we left once it had answered
    refused = await live.open(head())
    servers.made[1].on_request = None
    await asyncio.gather(live.close(), servers.close())
    with pytest.raises(OriginFailed):
        await refused.head()


@in_loop
async def test_a_server_that_always_refuses_is_not_asked_for_ever() -> None:
    def refuses(server: Peer) -> None:
        async def refuse(refused: int) -> None:
            server.h2.reset_stream(refused, ErrorCodes.REFUSED_STREAM)
            server.flush()

        server.on_request = refuse

    servers = Servers(refuses)
    live = LiveOrigin(servers.open)
    async with front(live) as (client, _):
        stream = client.request()
        await client.until(lambda: stream in client.resets)
        assert client.resets[stream] == ErrorCodes.REFUSED_STREAM and len(servers.made[0].heads) == 3
    await servers.close()
