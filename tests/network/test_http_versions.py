"""The same exchanges over every pair of versions: program and server may each speak HTTP/1 or HTTP/2, and what arrives is the same."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from http2_peer import ScriptedAnswer, ScriptedOrigin, in_loop, of, stream_pair

from sentra_sandbox.network import http1, http2
from sentra_sandbox.network.exchange import Headers, OriginFailed, RequestHead
from sentra_sandbox.network.http1 import Http1Origin
from sentra_sandbox.network.http2 import Http2Origin
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.live import LiveOrigin
from sentra_sandbox.trace.network_events import NetworkType

BIG = random.Random(2).randbytes(300_000)
FRAMING = {b"connection", b"transfer-encoding", b"content-length", b"host", b"date", b"server", b"keep-alive"}

# method, target, headers, body (None: none), whether its length is told
REQUESTS: list[tuple[bytes, bytes, Headers, bytes | None, bool]] = [
    (b"GET", b"/a?b=c&d=%20", [(b"accept", b"*/*"), (b"cookie", b"a=1; b=2"), (b"x-latin", b"caf\xe9")], None, True),
    (b"POST", b"/post", [(b"content-type", b"application/json")], b'{"a": 1}', True),
    (b"PUT", b"/chunked", [(b"x-empty", b"")], BIG, False),
    (b"POST", b"/empty", [], b"", True),
    (b"HEAD", b"/head", [], None, True),
    (b"DELETE", b"/none", [(b"x-twice", b"1"), (b"x-twice", b"2")], None, True),
    (b"OPTIONS", b"*", [], None, True),
    (b"GET", b"/broken", [], None, True),
    (b"GET", b"/refused", [], None, True),
]


async def script(answer: ScriptedAnswer) -> None:
    """A server that says what it was asked."""
    await answer.done.wait()
    target = answer.request.target
    if answer.aborted:
        return
    if target == b"/refused":
        answer.heads.put_nowait(OriginFailed(503, "not today"))
        return
    seen = b"\n".join(sorted(name.lower() + b"=" + value for name, value in answer.request.headers if name.lower() not in FRAMING))
    if target == b"/none":
        answer.reply(204)
    else:
        answer.reply(200, seen + b"\n", bytes(answer.sent), headers=[(b"Content-Type", b"text/x"), (b"X-Seen", answer.request.authority)])
    if target == b"/broken":
        answer.pieces.get_nowait()
        answer.pieces = asyncio.Queue()
        answer.pieces.put_nowait(b"half")
        answer.pieces.put_nowait(OriginFailed(502, "broke off"))


def side(version: str, stream: Any) -> Any:
    return Http2Origin(stream) if version == "2" else Http1Origin(stream)


async def serve(version: str, stream: Any, origin: Any, journal: ListJournal) -> None:
    if version == "2":
        await http2.serve(stream, origin, journal, 1, b"https")
    else:
        await http1.serve(stream, origin, journal, 1, "https")
    await stream.close()


async def exchange(origin: Any, method: bytes, target: bytes, headers: Headers, body: bytes | None, told: bool) -> tuple[Any, ...]:
    length = 0 if body is None else len(body) if told else None
    lengths = [] if body is None else [(b"Content-Length", b"%d" % length)] if told else [(b"Transfer-Encoding", b"chunked")]
    head = RequestHead(method, b"https", b"api.test", target, [(b"Host", b"api.test"), *headers, *lengths], "1.1", length=length)
    answering = await origin.open(head)
    if body:
        sent = 0
        while sent < len(body):
            await answering.send(body[sent : sent + 50_000])
            sent += 50_000
    await answering.finish([])
    answer, data, error = await answering.head(), b"", False
    try:
        while piece := await answering.read():
            data += piece
    except OriginFailed:
        error = True
    kept = sorted((name.lower(), value) for name, value in answer.headers if name.lower() not in FRAMING)
    return answer.status, kept, data, error


async def through(program: str, server: str) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """All requests: program → our front → our origin → a server."""
    journal, results = ListJournal(), []
    tasks: list[asyncio.Task[None]] = []

    async def open_server() -> tuple[Any, str]:
        ours, theirs = await stream_pair()
        tasks.append(asyncio.ensure_future(serve(server, theirs, ScriptedOrigin(script), ListJournal())))
        return ours, "h2" if server == "2" else "http/1.1"

    async def open_front() -> tuple[Any, str]:
        ours, theirs = await stream_pair()
        tasks.append(asyncio.ensure_future(serve(program, theirs, LiveOrigin(open_server), journal)))
        return ours, "h2" if program == "2" else "http/1.1"

    client = LiveOrigin(open_front)
    for request in REQUESTS:
        results.append(await exchange(client, *request))
    await client.close()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    heads = [(each.fields["method"], each.fields["authority"], each.fields["path"]) for each in of(journal, NetworkType.REQUEST)]
    bodies: dict[tuple[int, int], int] = {}
    for event in of(journal, NetworkType.BODY):
        bodies[event.exchange, event.direction] = bodies.get((event.exchange, event.direction), 0) + len(event.data)
    errors = [(event.exchange, event.direction) for event in of(journal, NetworkType.END) if "error" in event.fields]
    return results, [heads, bodies, errors]


@pytest.mark.parametrize(("program", "server"), [("1", "2"), ("2", "1"), ("2", "2")])
@in_loop
async def test_every_pair_of_versions_carries_the_same(program: str, server: str) -> None:
    expected, recorded = await through("1", "1")
    results, seen = await through(program, server)
    for request, wanted, got in zip(REQUESTS, expected, results, strict=True):
        assert got == wanted, request[:2]
    assert seen == recorded
    assert [each[0] for each in results] == [200, 200, 200, 200, 200, 204, 200, 200, 503]
    assert results[2][2].endswith(BIG) and results[7][3]
