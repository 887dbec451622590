"""The HTTP/2 side towards the program, with the h2 library as its client over a socket pair."""

from __future__ import annotations

import asyncio
import random

import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, PingAckReceived
from http2_peer import Peer, ScriptedAnswer, ScriptedOrigin, echo, frame, front, in_loop, of, stream_pair

from sentra_sandbox.network.exchange import OriginFailed, ResponseHead
from sentra_sandbox.network.http2 import Http2Failed, serve
from sentra_sandbox.network.http2.front import MAX_EXCHANGES, MAX_STREAMS, WINDOW
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.trace.network_events import Direction, NetworkType


@in_loop
async def test_exchanges_at_once_each_with_its_own_events() -> None:
    async with front(ScriptedOrigin(echo)) as (client, journal):
        streams = [client.request(b"POST", b"/%d" % number, end=False) for number in range(20)]
        for stream in reversed(streams):
            await client.send(stream, b"body of %d" % stream, end=True)
        for number, stream in enumerate(streams):
            assert await client.answer(stream) == (200, b"POST /%d body of %d" % (number, stream))
    assert [event.exchange for event in of(journal, NetworkType.REQUEST)] == list(range(1, 21))
    for number, stream in enumerate(streams, 1):
        events = [event for event in journal.events if event.exchange == number]
        assert events[0].fields["stream"] == stream and events[0].fields["authority"] == "api.test" and events[0].fields["version"] == "2"
        sent = b"".join(event.data for event in events if event.type == NetworkType.BODY and event.direction == Direction.TO_SERVER)
        assert sent == b"body of %d" % stream
        assert [event.fields for event in events if event.type == NetworkType.END] == [{}, {}]


@in_loop
async def test_large_bodies_both_ways_pass_whole() -> None:
    data = random.Random(1).randbytes(3_000_000)
    async with front(ScriptedOrigin(echo)) as (client, _):
        stream = client.request(b"PUT", b"/", end=False)
        await client.send(stream, data, end=True)
        assert await client.answer(stream) == (200, b"PUT / " + data)


@in_loop
async def test_a_body_is_held_up_by_the_origin_and_others_go_on() -> None:
    async def script(answer: ScriptedAnswer) -> None:
        if answer.request.target == b"/slow":
            answer.takes.clear()
        await echo(answer)

    origin = ScriptedOrigin(script)
    async with front(origin) as (client, _):
        slow = client.request(b"POST", b"/slow", end=False)
        sending = asyncio.create_task(client.send(slow, bytes(4 * WINDOW), end=True))
        await asyncio.sleep(0.1)
        assert not sending.done() and client.h2.local_flow_control_window(slow) == 0
        assert len(origin.answers[0].sent) == 0
        other = client.request(b"POST", b"/other", end=False)
        await client.send(other, b"x", end=True)
        assert await client.answer(other) == (200, b"POST /other x")
        origin.answers[0].takes.set()
        await asyncio.wait_for(sending, 5)
        assert len((await client.answer(slow))[1]) == 4 * WINDOW + len(b"POST /slow ")


@in_loop
async def test_a_client_that_does_not_read_holds_the_origin_up() -> None:
    taken = 0

    async def script(answer: ScriptedAnswer) -> None:
        nonlocal taken
        answer.pieces = asyncio.Queue(1)
        answer.heads.put_nowait(ResponseHead(200, b"", [], "1.1"))
        for _ in range(200):
            await answer.pieces.put(bytes(10_000))
            taken += 1
        await answer.pieces.put(b"")

    async with front(ScriptedOrigin(script), auto=False) as (client, _):
        stream = client.request()
        await asyncio.sleep(0.2)
        assert taken < 15  # 65,535 bytes of window, one piece on the way, one waiting
        client.h2.increment_flow_control_window(3_000_000)
        client.h2.increment_flow_control_window(3_000_000, stream)
        client.flush()
        status, body = await client.answer(stream)
        assert (status, len(body)) == (200, 2_000_000)


@in_loop
async def test_both_directions_stream_at_once_with_trailers() -> None:
    async def script(answer: ScriptedAnswer) -> None:
        answer.heads.put_nowait(ResponseHead(200, b"", [(b"content-type", b"application/grpc")], "2"))
        seen = 0
        while not answer.finished:
            await asyncio.sleep(0)
            if len(answer.sent) > seen:
                answer.pieces.put_nowait(bytes(answer.sent[seen:]).upper())
                seen = len(answer.sent)
        answer.answer_trailers = [(b"grpc-status", b"0"), (b"x-back", answer.request_trailers[0][1])]
        answer.pieces.put_nowait(b"")

    async with front(ScriptedOrigin(script)) as (client, journal):
        stream = client.request(b"POST", b"/echo.Echo/Chat", [(b"te", b"trailers")], end=False)
        for word in (b"one", b"two", b"three"):
            await client.send(stream, word)
            await client.until(lambda word=word: client.bodies.get(stream, b"").endswith(word.upper()))
        client.h2.send_headers(stream, [(b"x-forth", b"yes")], end_stream=True)
        client.flush()
        assert await client.answer(stream) == (200, b"ONETWOTHREE")
        assert client.trailers[stream] == [(b"grpc-status", b"0"), (b"x-back", b"yes")]
    ends = {event.direction: event.fields["trailers"] for event in of(journal, NetworkType.END)}
    assert ends == {0: [["x-forth", "yes"]], 1: [["grpc-status", "0"], ["x-back", "yes"]]}


@in_loop
async def test_heads_cross_versions() -> None:
    origin = ScriptedOrigin()
    async with front(origin) as (client, _):
        headers = [(b"cookie", b"a=1"), (b"accept", b"*/*"), (b"cookie", b"b=2"), (b"host", b"API.test"), (b"content-length", b"0")]
        stream = client.request(b"POST", b"/p?q=1", headers)
        while not origin.answers:
            await asyncio.sleep(0.01)
        head = origin.answers[0].request
        assert head.headers == [(b"cookie", b"a=1; b=2"), (b"accept", b"*/*"), (b"content-length", b"0")]
        assert (head.authority, head.target, head.scheme, head.length) == (b"api.test", b"/p?q=1", b"https", 0)
        hop = [(b"Connection", b"Keep-Alive, X-Hop"), (b"Keep-Alive", b"5"), (b"X-Hop", b"1"), (b"Transfer-Encoding", b"chunked")]
        origin.answers[0].heads.put_nowait(ResponseHead(103, b"Early Hints", [(b"Link", b"</a>")], "1.1"))
        origin.answers[0].reply(200, b"abc", headers=[*hop, (b"Content-Type", b" text/x "), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")])
        assert await client.answer(stream) == (200, b"abc")
        early, final = client.heads[stream]
        assert early == [(b":status", b"103"), (b"link", b"</a>")]
        assert final == [(b":status", b"200"), (b"content-type", b"text/x"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]


@in_loop
async def test_a_response_without_a_body_ends_on_its_head() -> None:
    async def script(answer: ScriptedAnswer) -> None:
        answer.reply(204 if answer.request.method == b"DELETE" else 200, headers=[(b"content-length", b"500")], length=None)

    async with front(ScriptedOrigin(script)) as (client, _):
        for method in (b"HEAD", b"DELETE"):
            stream = client.request(method)
            await client.answer(stream)
            assert [type(event).__name__ for event in client.events if getattr(event, "stream_id", 0) == stream] == [
                "ResponseReceived",
                "StreamEnded",
            ]


@in_loop
async def test_why_the_origin_failed_is_told() -> None:
    origin = ScriptedOrigin()
    origin.failure = OriginFailed(403, "example.com is refused", "allow it with --allow-net example.com")
    async with front(origin) as (client, journal):
        status, body = await client.answer(client.request())
        assert status == 403 and b"example.com is refused\nallow it with" in body
        grpc = client.request(b"POST", b"/a.B/C", [(b"content-type", b"application/grpc+proto")])
        assert await client.answer(grpc) == (200, b"")
        assert (b"grpc-status", b"7") in client.heads[grpc][0] and len(client.heads[grpc]) == 1
    assert [event.fields["from"] for event in of(journal, NetworkType.RESPONSE)] == ["broker", "broker"]


@in_loop
async def test_resets_go_both_ways_with_their_code() -> None:
    origin = ScriptedOrigin()
    async with front(origin) as (client, journal):
        broken = client.request()
        cancelled = client.request(b"POST", end=False)
        while len(origin.answers) < 2:
            await asyncio.sleep(0.01)
        origin.answers[0].heads.put_nowait(ResponseHead(200, b"", [], "2"))
        origin.answers[0].pieces.put_nowait(b"part")
        origin.answers[0].pieces.put_nowait(Http2Failed("the server reset the stream", code=ErrorCodes.ENHANCE_YOUR_CALM))
        await client.until(lambda: broken in client.resets)
        assert client.resets[broken] == ErrorCodes.ENHANCE_YOUR_CALM and client.bodies[broken] == b"part"
        client.h2.reset_stream(cancelled, ErrorCodes.CANCEL)
        client.flush()
        await asyncio.wait_for(origin.answers[1].done.wait(), 5)
        assert origin.answers[1].aborted
    errors = [event.fields.get("error") for event in of(journal, NetworkType.END) if event.exchange == 2]
    assert errors == ["the client reset the stream (CANCEL)"] * 2


@in_loop
async def test_an_early_response_ends_the_upload() -> None:
    async def script(answer: ScriptedAnswer) -> None:
        answer.reply(413, b"too large")

    origin = ScriptedOrigin(script)
    async with front(origin) as (client, _):
        stream = client.request(b"POST", end=False)
        await client.until(lambda: stream in client.resets)
        assert client.status(stream) == 413 and client.bodies[stream] == b"too large" and stream in client.ended
        assert client.resets[stream] == ErrorCodes.NO_ERROR and origin.answers[0].aborted


@in_loop
async def test_a_client_that_vanishes_ends_everything() -> None:
    origin = ScriptedOrigin()
    async with front(origin) as (client, journal):
        client.request()
        client.request(b"POST", end=False)
        while len(origin.answers) < 2:
            await asyncio.sleep(0.01)
        client.stream.abort()
    assert origin.closed and all(answer.aborted for answer in origin.answers)
    assert len(of(journal, NetworkType.END)) == 4


@in_loop
async def test_streams_beyond_the_limit_are_refused_alone() -> None:
    origin = ScriptedOrigin()
    async with front(origin) as (client, _):
        client.h2.ping(b"12345678")
        streams = [client.request() for _ in range(MAX_EXCHANGES + 20)]  # before our SETTINGS have come
        await client.until(lambda: len(client.resets) == 20)
        assert any(isinstance(event, PingAckReceived) for event in client.events)
        assert client.resets == dict.fromkeys(streams[MAX_EXCHANGES:], ErrorCodes.REFUSED_STREAM)
        assert client.h2.remote_settings.max_concurrent_streams == MAX_STREAMS
        for answer in origin.answers:
            answer.reply(200, b"ok")
        for stream in streams[:MAX_EXCHANGES]:
            assert await client.answer(stream) == (200, b"ok")


@in_loop
async def test_a_graceful_goaway_of_the_client_lets_exchanges_finish() -> None:
    origin = ScriptedOrigin()
    async with front(origin) as (client, _):
        stream = client.request()
        client.stream.write(bytes([0, 0, 8, 7, 0, 0, 0, 0, 0]) + bytes(8))
        client.h2.ping(b"12345678")  # h2 itself refuses frames after a GOAWAY
        client.flush()
        await client.until(lambda: any(isinstance(event, PingAckReceived) for event in client.events))
        origin.answers[0].reply(200, b"still here")
        assert await client.answer(stream) == (200, b"still here")


BAD_REQUESTS = {
    "line break in a value": [(b"x-a", b"1\r\nHost: evil")],
    "nul in a value": [(b"x-a", b"1\x00")],
    "space in a name": [(b"x a", b"1")],
    "colon in a name": [(b"a:b", b"1")],
    "upper case": [(b"X-A", b"1")],
    "connection": [(b"connection", b"close")],
    "transfer-encoding": [(b"transfer-encoding", b"chunked")],
    "te": [(b"te", b"gzip")],
    "late pseudo header": [(b"a", b"1"), (b":path", b"/evil")],
    "two authorities": [(b"host", b"evil.test")],
    "two hosts": [(b"host", b"api.test"), (b"host", b"api.test")],
    "protocol": [(b":protocol", b"websocket")],
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
@in_loop
async def test_malformed_requests_are_refused_alone(name: str) -> None:
    origin = ScriptedOrigin(echo)
    async with front(origin) as (client, journal):
        bad = client.request(headers=BAD_REQUESTS[name])
        good = client.request(path=b"/good")
        assert await client.answer(good) == (200, b"GET /good ")
        assert client.resets == {bad: ErrorCodes.PROTOCOL_ERROR}
        assert [answer.request.target for answer in origin.answers] == [b"/good"]
    assert of(journal, NetworkType.PROBLEM)


@pytest.mark.parametrize("path", [b"/a b", b"/a\r\nx: y", b"http://x/", b"", b"*", b"/\x7f"])
@in_loop
async def test_malformed_paths_never_reach_an_origin(path: bytes) -> None:
    origin = ScriptedOrigin(echo)
    async with front(origin) as (client, _):
        bad = client.request(path=path)
        await client.until(lambda: bad in client.resets)
        assert not origin.answers


@in_loop
async def test_connect_is_refused() -> None:
    async with front(ScriptedOrigin(echo)) as (client, _):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(b":method", b"CONNECT"), (b":authority", b"a.test:1")], end_stream=True)
        client.flush()
        assert (await client.answer(stream))[0] == 501


FLOODS = {
    "settings": frame(4, 0, 0) * 3000,
    "ping": frame(6, 0, 0, bytes(8)) * 3000,
    "priority": frame(2, 0, 1, bytes([0, 0, 0, 3, 1])) * 3000,
    "unknown": frame(99, 0, 0) * 3000,
    "window updates": frame(8, 0, 0, (1).to_bytes(4, "big")) * 3000,
    "continuation": frame(1, 0, 1, bytes(10)) + frame(9, 0, 1, bytes(16000)) * 100,
    "huge frame": frame(0, 0, 1, bytes(20000)),
}


@pytest.mark.parametrize("name", FLOODS)
@in_loop
async def test_floods_end_the_connection(name: str) -> None:
    async with front(ScriptedOrigin(echo)) as (client, journal):
        await client.until(lambda: bool(client.events))
        client.stream.write(FLOODS[name])
        await client.until(lambda: client.over or any(isinstance(event, ConnectionTerminated) for event in client.events))
    assert "HTTP/2 connection ended" in [event.fields["what"] for event in of(journal, NetworkType.PROBLEM)]


@in_loop
async def test_rapid_resets_end_the_connection() -> None:
    origin = ScriptedOrigin()
    async with front(origin) as (client, _):
        for _ in range(1500):
            stream = client.request()
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
        await client.until(lambda: any(isinstance(event, ConnectionTerminated) for event in client.events))
        last = next(event for event in client.events if isinstance(event, ConnectionTerminated))
        assert last.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert len(origin.answers) <= 1100 and all(answer.aborted for answer in origin.answers)


@in_loop
async def test_a_header_bomb_ends_the_connection() -> None:
    """A large field in the dynamic table, named again and again by one byte each."""
    async with front(ScriptedOrigin(echo)) as (client, _):
        bomb = [(b"x", bytes(b"a" * 3500))] * 2000
        client.request(headers=bomb)
        await client.until(lambda: client.over or any(isinstance(event, ConnectionTerminated) for event in client.events))


@in_loop
async def test_garbage_never_kills_the_front() -> None:
    chance = random.Random(7)
    for round in range(120):
        ours, theirs = await stream_pair()
        journal, origin = ListJournal(), ScriptedOrigin(echo)
        task = asyncio.create_task(serve(ours, origin, journal, 1, b"https"))
        task.add_done_callback(lambda _, ours=ours: ours.abort())
        peer = Peer(theirs, client=True)
        peer.request(b"POST", end=False)
        for _ in range(chance.randrange(1, 12)):
            payload = chance.randbytes(chance.choice([0, 1, 4, 5, 6, 8, 9, 40, 300]))
            theirs.write(
                frame(chance.randrange(0, 12), chance.choice([0, 1, 4, 5, 8, 0x2D, 255]), chance.choice([0, 1, 1, 3, 5, 2]), payload)
            )
        if round % 3 == 0:
            theirs.write(chance.randbytes(50))
        await asyncio.sleep(0)
        await peer.close()
        await asyncio.wait_for(task, 5)
        assert origin.closed
        ended = [event for event in journal.events if event.type == NetworkType.END]
        assert len(ended) == 2 * len(of(journal, NetworkType.REQUEST))
        assert not any("internal error" in str(event.fields) for event in journal.events)
