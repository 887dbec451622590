"""Real programs and a real server on loopback, with the front between them."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from asyncio_stream import stream_of
from needs import lacking

from sentra_sandbox.network.http1 import serve
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.live import LiveOrigin
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.trace.network_events import NetworkType


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one ", b"two ", b"three"):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path == "/endless":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"e" * 300_000)
            return
        self.answer(b"got " + self.path.encode())

    do_HEAD = do_GET

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"%d bytes, sum %d" % (len(body), sum(body)))

    do_PUT = do_POST

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Between:
    """The front on a port of its own, in a thread. ``journal``: what it noted."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.journal = ListJournal()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._accept(),))
        self._thread.start()

    async def _accept(self) -> None:
        self._stop = asyncio.Event()
        self.listener.setblocking(False)
        tasks = set()
        accepting = asyncio.ensure_future(self._one_after_the_other(tasks))
        await self._stop.wait()
        accepting.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(accepting, *tasks, return_exceptions=True)

    async def _one_after_the_other(self, tasks: set[asyncio.Task[None]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connected, _ = await loop.sock_accept(self.listener)
            tasks.add(asyncio.ensure_future(self._carry(connected)))

    async def _carry(self, connected: socket.socket) -> None:
        async def upstream() -> tuple[Stream, str]:
            return await stream_of(socket.create_connection(self._server)), ""

        await serve(await stream_of(connected), LiveOrigin(upstream), self.journal, self.journal.new_connection(), "http")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._stop.set())
        self._thread.join(10)
        self.listener.close()
        self._loop.close()

    def exchanges(self) -> list[tuple[str, str, int]]:
        asked = {e.exchange: (e.fields["method"], e.fields["path"]) for e in self.journal.events if e.type == NetworkType.REQUEST}
        answered = [
            (e.exchange, e.fields["status"]) for e in self.journal.events if e.type == NetworkType.RESPONSE and e.fields["status"] >= 200
        ]
        return [(*asked[exchange], status) for exchange, status in answered]


@pytest.fixture
def between() -> Iterator[Between]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    middle = Between(("127.0.0.1", server.server_address[1]))
    yield middle
    middle.stop()
    server.shutdown()
    thread.join()
    server.server_close()


def test_http_client(between: Between) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", between.port, timeout=5)
    for path in ("/a", "/chunks", "/b"):
        connection.request("GET", path)
        body = connection.getresponse().read()
        assert body == (b"one two three" if path == "/chunks" else b"got " + path.encode())
    connection.request("POST", "/post", body=b"\x01" * 500_000)
    assert connection.getresponse().read() == b"500000 bytes, sum 500000"
    connection.request("PUT", "/put", body=iter([b"\x02", b"\x03" * 70_000]))
    assert connection.getresponse().read() == b"70001 bytes, sum 210002"
    connection.request("HEAD", "/head")
    answer = connection.getresponse()
    assert (answer.read(), answer.headers["Content-Length"]) == (b"", "9")
    connection.close()
    assert len(between.exchanges()) == 6


def test_urllib(between: Between) -> None:
    for path, body in (("/x", b"got /x"), ("/endless", b"e" * 300_000)):
        with urllib.request.urlopen(f"http://127.0.0.1:{between.port}{path}", timeout=5) as answer:
            assert answer.read() == body
    assert between.exchanges() == [("GET", "/x", 200), ("GET", "/endless", 200)]


def test_curl(between: Between, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        lacking("curl")
    upload = tmp_path / "upload"
    upload.write_bytes(b"\x01" * 2_000_000)
    url = f"http://127.0.0.1:{between.port}"
    base = ["curl", "-sS", "--noproxy", "*", "-m", "10"]

    def curl(*arguments: str) -> bytes:
        return subprocess.run([*base, *arguments], check=True, stdout=subprocess.PIPE, timeout=15).stdout

    assert curl(f"{url}/a", f"{url}/chunks", f"{url}/b") == b"got /aone two threegot /b"
    assert curl("-T", str(upload), "-H", "Expect: 100-continue", f"{url}/put") == b"2000000 bytes, sum 2000000"
    assert curl("-T", str(upload), "-H", "Transfer-Encoding: chunked", f"{url}/put") == b"2000000 bytes, sum 2000000"
    assert curl("--http1.0", f"{url}/old") == b"got /old"
    assert curl("-x", f"http://127.0.0.1:{between.port}", "http://else.example/p", "--noproxy", "") == b"got http://else.example/p"
    statuses = [e.fields["status"] for e in between.journal.events if e.type == NetworkType.RESPONSE]
    assert statuses == [200, 200, 200, 100, 200, 200, 200, 200] or statuses == [200, 200, 200, 100, 200, 100, 200, 200, 200]
