"""The recorded world: what it answers, what it refuses, and what it says then."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from http2_peer import Peer, in_loop, of, stream_pair
from network_recordings import Made, ask, events_of, head_of, recording
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage

from sentra_sandbox.errors import TraceError
from sentra_sandbox.network import http1, http2
from sentra_sandbox.network.exchange import ExchangeLog, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.match_rules import rules_of
from sentra_sandbox.network.recorded import Recording
from sentra_sandbox.network.recording_file import FILE, mask_query
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.network_events import Direction, NetworkType, to_event
from sentra_sandbox.views.network import Network

CHAT = "https://api.test/v1/chat"


def asked(prompt: str, **more: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


@in_loop
async def test_equal_requests_get_their_answers_in_order() -> None:
    first, second = Made("POST", CHAT, asked("a"), (b"1", b"2")), Made("POST", CHAT, asked("a"), (b"3",), 201)
    other = Made("GET", "https://api.test/models?b=2&a=1", pieces=(b"list",))
    world, journal = recording(first, second, other)
    reordered = Made("GET", "https://API.test:443/models?a=1&b=2", headers=[(b"Authorization", b"Bearer other")])
    assert await ask(world, reordered) == (200, b"list")
    assert await ask(world, first) == (200, b"12")
    assert await ask(world, second) == (201, b"3")
    status, body = await ask(world, first)
    assert status == 502 and b"it was recorded 2 times, and each was answered already" in body
    world.finish()
    (end,) = of(journal, NetworkType.WORLD)
    assert end.fields == {"answered": 3, "missed": 1, "recorded": 3, "unused": 0, "first_unused": []}


@in_loop
async def test_a_miss_names_the_nearest_and_what_differs() -> None:
    world, journal = recording(
        Made("GET", "https://other.test/"),
        Made("POST", CHAT, asked("write a poem", temperature=1)),
        Made("POST", CHAT, asked("write a long story about the sea", temperature=0)),
    )
    status, body = await ask(world, Made("POST", CHAT, asked("write an ode", temperature=1)))
    text = body.decode()
    assert status == 502
    assert f"The recording has no answer to POST {CHAT}: none like it was recorded." in text
    assert f"Nearest recorded request: exchange 2, POST {CHAT}" in text
    assert '  body $.messages[0].content: sent "write an ode", recorded "write a poem"\n' in text
    assert "temperature" not in text and "--match-ignore" in text
    (problem,) = of(journal, NetworkType.PROBLEM)
    assert problem.fields["what"] == "not in the recording" and "write an ode" in problem.fields["detail"]
    world.finish()
    assert of(journal, NetworkType.WORLD)[0].fields["unused"] == 3


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (Made("GET", CHAT + "?a=1"), "  query a: sent 1, recorded 2"),
        (Made("PUT", CHAT + "?a=2"), "  method: sent PUT, recorded GET"),
        (Made("GET", CHAT + "s?a=2"), "  path: sent /v1/chats, recorded /v1/chat"),
        (Made("GET", "http://api.test/v1/chat?a=2"), "  scheme: sent http, recorded https"),
        (Made("GET", "https://api.test:444/v1/chat?a=2"), "  host: sent api.test:444, recorded api.test"),
    ],
)
@in_loop
async def test_each_part_of_the_head_is_compared(made: Made, line: str) -> None:
    world, _ = recording(Made("GET", CHAT + "?a=2"), Made("DELETE", "https://unlike.test/x"))
    status, body = await ask(world, made)
    assert status == 502 and [each for each in body.decode().split("\n") if each.startswith("  ")] == [line]


@in_loop
async def test_ignored_parts_do_not_matter() -> None:
    world, _ = recording(Made("POST", CHAT + "?nonce=1", asked("a", metadata={"run": 1})), ignore=["$.metadata"], ignoreQuery=["nonce"])
    assert (await ask(world, Made("POST", CHAT + "?nonce=2", asked("a", metadata={"run": 2}))))[0] == 200


@in_loop
async def test_strict_order_is_the_whole_runs() -> None:
    a, b = Made("GET", "https://api.test/a", pieces=(b"a",)), Made("GET", "https://api.test/b", pieces=(b"b",))
    world, _ = recording(a, b, a, order="strict")
    status, text = await ask(world, b)
    assert status == 502 and b"expects another one now, number 1 of 3" in text and b"path: sent /b, recorded /a" in text
    assert [await ask(world, each) for each in (a, b, a)] == [(200, b"a"), (200, b"b"), (200, b"a")]
    assert b"all 3 recorded requests have been answered" in (await ask(world, a))[1]


@in_loop
async def test_any_gives_the_last_answer_again_and_again() -> None:
    world, _ = recording(Made("GET", CHAT, pieces=(b"1",)), Made("GET", CHAT, pieces=(b"2",)), order="any")
    assert [(await ask(world, Made("GET", CHAT)))[1] for _ in range(4)] == [b"1", b"2", b"2", b"2"]


@in_loop
async def test_an_empty_recording_and_one_without_an_answer() -> None:
    world, _ = recording()
    assert b"it holds no HTTP request at all" in (await ask(world, Made("GET", CHAT)))[1]
    world, _ = recording(Made("GET", CHAT, status=0))
    with pytest.raises(OriginFailed, match="got no answer"):
        await ask(world, Made("GET", CHAT))


@in_loop
async def test_an_answer_breaks_off_where_it_did() -> None:
    world, _ = recording(Made("GET", CHAT, pieces=(b"half",), error="reset"))
    assert await ask(world, Made("GET", CHAT)) == (200, b"half!The recorded answer broke off here (reset).")


@in_loop
async def test_pieces_stay_pieces_and_can_keep_their_times() -> None:
    events = events_of(Made("GET", CHAT, pieces=(b"one", b"two", b"three")))
    start = events[0].time_ns
    timed = [
        type(each)(**{**{name: getattr(each, name) for name in each.__slots__}, "time_ns": start + 30_000_000 * at})
        for at, each in enumerate(events)
    ]
    for timing, at_least in (("none", 0.0), ("recorded", 0.1)):
        world = Recording(Network.from_events(timed), rules_of({"timing": timing}), ListJournal())
        began = time.monotonic()
        answering = await world.world("api.test", 443).open(head_of(Made("GET", CHAT))[0])
        await answering.finish([])
        await answering.head()
        assert [await answering.read() for _ in range(4)] == [b"one", b"two", b"three", b""]
        assert at_least <= time.monotonic() - began < at_least + 0.1


SSE = (b"data: 1\n\n", b"data: 2\n\n")


@pytest.mark.parametrize("recorded_as", ["1.1", "2"])
@in_loop
async def test_both_versions_of_http_are_answered(recorded_as: str) -> None:
    chunked = [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"keep-alive")] if recorded_as == "1.1" else []
    made = Made("POST", CHAT, asked("a"), SSE, answer_headers=[(b"Content-Type", b"text/event-stream"), *chunked])
    world, journal = recording(made, made)
    ours, theirs = await stream_pair()
    task = asyncio.create_task(http2.serve(ours, world.world("api.test", 443), journal, 1, b"https"))
    peer = Peer(theirs, client=True)
    stream = peer.request(b"POST", b"/v1/chat", [(b"content-type", b"application/json")], end=False)
    await peer.send(stream, json.dumps(made.body).encode(), end=True)
    assert await peer.answer(stream) == (200, b"".join(SSE))
    await peer.close()
    await task

    ours, theirs = await stream_pair()
    task = asyncio.create_task(http1.serve(ours, world.world("api.test", 443), journal, 2, "https"))
    body = json.dumps(made.body).encode()
    for _ in range(2):  # the second one is a miss, and the last
        theirs.write(b"POST /v1/chat HTTP/1.1\r\nHost: api.test\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    answer = b""
    while data := await theirs.read():
        answer += data
    await task
    assert answer.startswith(b"HTTP/1.1 200 ") and b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n" in answer
    assert b"HTTP/1.1 502 " in answer and b"x-should-retry: false" in answer
    sources = [event.fields.get("from") for event in of(journal, NetworkType.RESPONSE)]
    assert sources == ["recording", "recording", "broker"]


@in_loop
async def test_only_recorded_names_exist() -> None:
    world, _ = recording(Made("GET", CHAT))
    resolver = world.resolver()
    found = await resolver.lookup("api.test", "ADDRESS")
    assert found.rcode == "NOERROR" and len(found.addresses) == 2
    assert (await resolver.lookup("api.test", "AAAA")).addresses == ("2001:db8::1",)
    assert (await resolver.lookup("api.test", "TXT")).rcode == "NOERROR"
    assert (await resolver.lookup("evil.test", "A")).rcode == "NXDOMAIN"


def test_secrets_in_queries_are_masked() -> None:
    assert mask_query("key=abc&q=1&access_token=x&monkey=1&api-key=2") == "key=***&q=1&access_token=***&monkey=1&api-key=***"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "not json", '{"format": "x", "version": 1}', '{"format":"sentra-sandbox network recording","version":1}\n{"type":"NONE"}',
     '{"format":"sentra-sandbox network recording","version":1}\n{"type":"BODY","base64":"$"}',
     '{"format":"sentra-sandbox network recording","version":1}\n{"type":"BODY","exchange":-1}', "[" * 100000],
)  # fmt: skip
def test_damaged_recordings_give_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(TraceError, match="is no recording"):
        Recording.open(tmp_path, rules_of({}), ListJournal())


UPGRADE = [
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
]


def websocket_events() -> list[Event]:
    journal = ListJournal()
    log = ExchangeLog(journal, 1)
    log.request(RequestHead(b"GET", b"http", b"ws.test", b"/live", UPGRADE, "1.1"))
    log.end(Direction.TO_SERVER)
    log.response(
        ResponseHead(
            101, b"", [*UPGRADE[:2], (b"Sec-WebSocket-Accept", b"old"), (b"Sec-WebSocket-Extensions", b"permessage-deflate")], "1.1"
        )
    )
    log.message(Direction.TO_CLIENT, "text", b"hello")
    log.message(Direction.TO_SERVER, "text", b'{"say": "a", "id": 1}')
    log.message(Direction.TO_CLIENT, "ping", b"p")
    log.message(Direction.TO_CLIENT, "binary", b"\x00\x01")
    log.message(Direction.TO_SERVER, "text", b"bye")
    log.message(Direction.TO_CLIENT, "close", b"done", code=1000)
    log.end(Direction.TO_CLIENT)
    for seq, event in enumerate(journal.events):
        event.seq = seq
    return [to_event(event) for event in journal.events]


@pytest.mark.parametrize("deviates", [False, True])
@in_loop
async def test_websockets_answer_what_was_recorded(deviates: bool) -> None:
    journal = ListJournal()
    world = Recording(Network.from_events(websocket_events()), rules_of({"ignore": ["$.id"]}), journal)
    ours, theirs = await stream_pair()
    task = asyncio.create_task(http1.serve(ours, world.world("ws.test", 80), journal, 1, "http"))
    client = WSConnection(ConnectionType.CLIENT)
    theirs.write(client.send(Request(host="ws.test", target="/live")))
    seen: list[object] = []
    while not isinstance(seen[-1] if seen else None, CloseConnection):
        client.receive_data(await theirs.read() or None)
        for event in client.events():
            seen.append(event)
            if isinstance(event, TextMessage):
                theirs.write(client.send(Ping(b"x")) + client.send(TextMessage('{"id": 2, "say": "%s"}' % ("b" if deviates else "a"))))
            elif isinstance(event, BytesMessage):
                theirs.write(client.send(TextMessage("bye")))
    theirs.write(client.send(seen[-1].response()))
    await theirs.close()
    await asyncio.wait_for(task, 5)
    assert isinstance(seen[0], AcceptConnection) and seen[1].data == "hello" and any(isinstance(event, Pong) for event in seen)
    if deviates:
        assert seen[-1].code == 1008 and world.missed == 1
        assert 'body $.say: sent "b", recorded "a"' in of(journal, NetworkType.PROBLEM)[0].fields["detail"]
    else:
        assert (seen[-1].code, seen[-1].reason, world.missed) == (1000, "done", 0) and any(
            isinstance(event, BytesMessage) for event in seen
        )
