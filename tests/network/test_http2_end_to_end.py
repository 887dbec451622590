"""HTTP/2 through the sandbox's own network: programs that others wrote, TLS on both sides, a server on this machine's loopback."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents.agents import PYTHON as AGENTS_PYTHON
from agents.agents import make_certificates
from http2_peer import ScriptedOrigin, SocketStream, echo
from needs import lacking
from running import Finished, Product

from sentra_sandbox.network.http2 import serve
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType, from_event
from sentra_sandbox.trace.reader import Trace


@pytest.fixture(autouse=True)
def _only_ours(native: bool, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    if native:
        pytest.skip("says something about sentra-sandbox only")
    for name in ("XDG_DATA_HOME", "SENTRA_SANDBOX_HOME"):  # this process reads runs of the same store
        if name in product.env:
            monkeypatch.setenv(name, product.env[name])


@contextlib.contextmanager
def h2_server(directory: Path) -> Iterator[int]:
    """An HTTP/2 server with TLS on a port of localhost, in a thread with a loop of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    context.set_alpn_protocols(["h2"])
    loop = asyncio.new_event_loop()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = SocketStream(reader, writer)
        await serve(stream, ScriptedOrigin(echo), ListJournal(), 1, b"https")
        await stream.close()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield server.sockets[0].getsockname()[1]
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run(product: Product, directory: Path, port: int, *command: str) -> tuple[Finished, list[NetworkEvent]]:
    """The command in the sandbox, with the test's authority trusted outside, and the network's events."""
    place = product.work / "run"
    options = ["-q", "-o", str(place), "--allow-net", f"localhost:{port}", "-e", f"SSL_CERT_FILE={directory / 'ca.pem'}"]
    finished = product("exec", *options, "--", *command)
    with Trace(place) as trace:
        return finished, [found for event in trace.events() if (found := from_event(event)) is not None]


def versions(events: list[NetworkEvent]) -> list[tuple[str, str]]:
    """Of each exchange: the program's version, the server's."""
    responses = {event.exchange: event for event in events if event.type == NetworkType.RESPONSE}
    return [(each.fields["version"], responses[each.exchange].fields["version"]) for each in events if each.type == NetworkType.REQUEST]


def test_curl_with_a_body_both_ways(product: Product, tmp_path: Path) -> None:
    if not shutil.which("curl") or b"HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True).stdout:
        lacking("a curl with HTTP/2")
    make_certificates(tmp_path)
    with h2_server(tmp_path) as port:
        url = f"https://localhost:{port}/a"
        script = f"head -c 300000 /dev/zero | tr '\\0' z > big; curl -sS --data-binary @big -w ' %{{http_version}}\\n' {url} | tail -c 20"
        finished, events = run(product, tmp_path, port, "sh", "-c", script)
    assert finished.stdout == b"z" * 17 + b" 2\n", finished
    assert versions(events)[0] == ("2", "2")
    bodies = [event for event in events if event.type == NetworkType.BODY and event.exchange == 1]
    assert [sum(len(event.data) for event in bodies if event.direction == way) for way in (0, 1)] == [300_000, 300_000 + len("POST /a ")]


HTTPX = """
import asyncio, httpx, sys
async def main():
    async with httpx.AsyncClient(http2=True, timeout=20) as client:
        answers = await asyncio.gather(*(client.post(f"{sys.argv[1]}/{n}", content=b"x" * n) for n in range(40)))
    print({answer.http_version for answer in answers}, all(answer.text == f"POST /{n} " + "x" * n for n, answer in enumerate(answers)))
asyncio.run(main())
"""


def test_forty_exchanges_at_once_on_one_connection(product: Product, tmp_path: Path) -> None:
    if not AGENTS_PYTHON.exists() or subprocess.run([AGENTS_PYTHON, "-c", "import httpx, h2"], capture_output=True).returncode:
        lacking("httpx with h2 (tests/agents/install puts them there)")
    make_certificates(tmp_path)
    with h2_server(tmp_path) as port:
        finished, events = run(product, tmp_path, port, str(AGENTS_PYTHON), "-c", HTTPX, f"https://localhost:{port}")
    assert finished.stdout == b"{'HTTP/2'} True\n", finished
    assert versions(events) == [("2", "2")] * 40
    assert len({event.connection for event in events if event.type == NetworkType.REQUEST}) == 1
    assert len([event for event in events if event.type == NetworkType.UPSTREAM]) == 1


GRPC = """
import grpc, sys
with grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary("/test.Echo/Unary")(b"hello", timeout=20))
    print(list(channel.stream_stream("/test.Echo/Chat")(iter([b"a", b"b"]), timeout=20)))
"""


def test_grpc_over_tls(product: Product, tmp_path: Path) -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    from concurrent.futures import ThreadPoolExecutor

    make_certificates(tmp_path)
    server = grpc.server(ThreadPoolExecutor(4))
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(lambda request, context: request.upper()),
        "Chat": grpc.stream_stream_rpc_method_handler(lambda requests, context: (b"re: " + each for each in requests)),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    pair = ((tmp_path / "server.key").read_bytes(), (tmp_path / "server.pem").read_bytes())
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        finished, events = run(product, tmp_path, port, sys.executable, "-c", GRPC, f"localhost:{port}")
    finally:
        server.stop(None)
    assert finished.stdout == b"b'HELLO'\n[b're: a', b're: b']\n", finished
    ends = [event.fields.get("trailers") for event in events if event.type == NetworkType.END and event.direction == 1]
    assert [["grpc-status", "0"] in (each or []) for each in ends] == [True, True]
