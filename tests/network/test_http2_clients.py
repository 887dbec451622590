"""HTTP/2 with programs that others wrote: curl, httpx, gRPC; and the same exchanges over HTTP/2 and as the origin saw them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents.agents import PYTHON
from http2_peer import ScriptedAnswer, ScriptedOrigin, SocketStream, echo, in_loop, of
from needs import lacking

from sentra_sandbox.network.exchange import Origin
from sentra_sandbox.network.http2 import Http2Origin, serve
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.trace.network_events import Direction, NetworkType


@contextlib.asynccontextmanager
async def listening(origin_of: Any, journal: ListJournal) -> AsyncIterator[int]:
    """A front on a port of its own, an origin for each connection."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = SocketStream(reader, writer)
        await serve(stream, await origin_of(), journal, journal.new_connection(), b"http")
        await stream.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def run(*command: str, stdin: bytes = b"") -> str:
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = await process.communicate(stdin)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def scripted() -> Origin:
    return ScriptedOrigin(echo)


@in_loop
async def test_curl() -> None:
    if not shutil.which("curl"):
        lacking("curl")
    if "HTTP2" not in await run("curl", "--version"):
        lacking("a curl with HTTP/2")
    journal = ListJournal()
    async with listening(scripted, journal) as port:
        base = ["curl", "-sS", "--http2-prior-knowledge", "-w", " %{http_version} %{http_code}", f"http://127.0.0.1:{port}/a?b"]
        assert await run(*base) == "GET /a?b  2 200"
        big = b"x" * 1_000_000
        assert await run(*base, "--data-binary", "@-", stdin=big) == "POST /a?b " + big.decode() + " 2 200"
    assert [event.fields["authority"] for event in of(journal, NetworkType.REQUEST)] == [f"127.0.0.1:{port}"] * 2


HTTPX = """
import asyncio, httpx, json, sys
async def main():
    async with httpx.AsyncClient(http1=False, http2=True, base_url=sys.argv[1], trust_env=False) as client:
        async def ask(n):
            answer = await client.post(f"/{n}", json={"n": n}, headers={"cookie": "a=1"})
            return [answer.http_version, answer.status_code, answer.text]
        many = await asyncio.gather(*(ask(n) for n in range(60)))
        async with client.stream("GET", "/pieces") as answer:
            pieces = [piece async for piece in answer.aiter_raw()]
        print(json.dumps([many, pieces and b"".join(pieces).decode()]))
asyncio.run(main())
"""


@in_loop
async def test_httpx() -> None:
    if not PYTHON.exists() or (await asyncio.to_thread(subprocess.run, [PYTHON, "-c", "import httpx, h2"], capture_output=True)).returncode:
        lacking("httpx with h2 (tests/agents/install puts them there)")
    journal = ListJournal()
    async with listening(scripted, journal) as port:
        many, pieces = json.loads(await run(str(PYTHON), "-c", HTTPX, f"http://127.0.0.1:{port}"))
    assert many == [["HTTP/2", 200, f'POST /{n} {{"n":{n}}}'] for n in range(60)]
    assert pieces == "GET /pieces "
    assert {event.connection for event in of(journal, NetworkType.REQUEST)} == {1}


def grpc_handlers(grpc: Any) -> Any:
    async def unary(request: bytes, context: Any) -> bytes:
        if request == b"fail":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        context.set_trailing_metadata((("x-trailer", "t"),))
        return request.upper()

    async def chat(requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield b"re: " + request

    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    return grpc.method_handlers_generic_handler("test.Echo", methods)


@in_loop
async def test_grpc_passes() -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    aio = pytest.importorskip("grpc.aio")
    server = aio.server()
    server.add_generic_rpc_handlers((grpc_handlers(grpc),))
    upstream_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    journal = ListJournal()

    async def origin() -> Origin:
        return Http2Origin(SocketStream(*await asyncio.open_connection("127.0.0.1", upstream_port)))

    async with listening(origin, journal) as port, aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/test.Echo/Unary")
        pending = call(b"hello")
        assert await pending == b"HELLO" and ("x-trailer", "t") in list(await pending.trailing_metadata())
        assert await call(b"x" * 2_000_000) == b"X" * 2_000_000
        with pytest.raises(aio.AioRpcError) as failed:
            await call(b"fail")
        assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
        chat = channel.stream_stream("/test.Echo/Chat")()
        for number in range(5):  # each answer comes before the next question
            await chat.write(b"%d" % number)
            assert await chat.read() == b"re: %d" % number
        await chat.done_writing()
        assert await chat.read() == aio.EOF
        cancelled = channel.stream_stream("/test.Echo/Chat")()
        await cancelled.write(b"x")
        await cancelled.read()
        cancelled.cancel()
        assert await asyncio.gather(*(call(b"%d" % n) for n in range(200))) == [b"%d" % n for n in range(200)]
    await server.stop(None)
    trailers = [event.fields.get("trailers") for event in of(journal, NetworkType.END) if event.direction == Direction.TO_CLIENT]
    assert ["grpc-status", "0"] in trailers[0]
    assert trailers.count(None) == 2  # the failed call ends on its head, the cancelled one with an error


@in_loop
async def test_grpc_clients_see_why_they_are_refused() -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    from sentra_sandbox.network.exchange import OriginFailed

    async def refuse(answer: ScriptedAnswer) -> None:
        answer.heads.put_nowait(OriginFailed(403, "api.test is not allowed"))  # type: ignore[arg-type]

    async def refusing() -> Origin:
        return ScriptedOrigin(refuse)

    async with listening(refusing, ListJournal()) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/a.B/C")(b"")
        assert failed.value.code() == grpc.StatusCode.PERMISSION_DENIED and "api.test is not allowed" in failed.value.details()
