"""What the clients of ``net_clients`` talk to, on this machine's loopback: HTTP/1.1 and HTTP/2 over TLS, and what they serve.

``api.test`` speaks HTTP/1.1 and is a model (tests/agents), an echo, a slow stream, a package index, a registry, git and WebSocket in one.
``h2.test`` speaks HTTP/2 and gRPC. Their authority is private: who does not know it refuses them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import subprocess
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agents"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "network"))

import model_server
from http2_peer import Peer, SocketStream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage

from sentra_sandbox.network.ca import CertificateAuthority

NAMES = ("api.test", "h2.test", "pypi.test", "npm.test", "git.test")
PIECES, GAP_S = 10, 0.03


class Handler(model_server.Handler):
    """The model's answers, and the paths below."""

    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._websocket()
        elif path.startswith("/git/"):
            self._git()
        elif path == "/pieces":
            self._send_stream((None, {"piece": number}) for number in range(PIECES))
        elif (self.server.files / path.lstrip("/")).is_file():
            self._send(200, (self.server.files / path.lstrip("/")).read_bytes())
        elif (self.server.files / path.lstrip("/") / "index.html").is_file():
            self._send(200, (self.server.files / path.lstrip("/") / "index.html").read_bytes(), "text/html")
        elif path.startswith("/hello"):
            self._send(200, f"hello {self.path} of {self.headers['Host']}\n".encode())
        elif path.startswith("/v1/"):
            super().do_GET()
        else:
            self._send(404, b"no such thing\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self.path.startswith("/v1/"):
            super().do_POST()
        elif self.path.startswith("/git/"):
            self._git()
        else:
            self._send(200, b"echo " + self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, body: bytes, kind: str = "text/plain", headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _git(self) -> None:
        """git http-backend, as a web server would run it."""
        path, _, query = self.path.partition("?")
        headers = {"CONTENT_TYPE": "Content-Type", "HTTP_CONTENT_ENCODING": "Content-Encoding", "GIT_PROTOCOL": "Git-Protocol"}
        env = {name: self.headers[header] for name, header in headers.items() if header in self.headers}
        env |= {"GIT_PROJECT_ROOT": str(self.server.files / "git"), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": self.command}
        env |= {"PATH_INFO": path.removeprefix("/git"), "QUERY_STRING": query, "REMOTE_USER": "tester", "PATH": os.environ["PATH"]}
        body = self._body()
        env |= {"CONTENT_LENGTH": str(len(body)), "HOME": str(self.server.files), "REMOTE_ADDR": "127.0.0.1"}
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, timeout=60, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        self._send(status, answer, fields.pop("Content-Type", "text/plain"), tuple(fields.items()))

    def _websocket(self) -> None:
        """Says everything again, until the client has enough."""
        session = WSConnection(ConnectionType.SERVER)
        head = f"{self.command} {self.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in self.headers.items()) + "\r\n"
        data = head.encode()
        self.close_connection = True
        while True:
            session.receive_data(data)
            for event in session.events():
                if isinstance(event, Request):
                    self.wfile.write(session.send(AcceptConnection()))
                elif isinstance(event, (TextMessage, BytesMessage)):
                    self.wfile.write(session.send(type(event)(event.data, message_finished=event.message_finished)))
                elif isinstance(event, (Ping, CloseConnection)):
                    self.wfile.write(session.send(event.response()))
                    if isinstance(event, CloseConnection):
                        return
            data = self.connection.recv(65536)
            if not data:
                return


class Server(ThreadingHTTPServer):
    """HTTP/1.1 over TLS, a thread for each connection; ``connections`` counts them."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, context: ssl.SSLContext, files: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.context, self.files, self.connections = context, files, 0

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        request.settimeout(60)
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


async def _grpc(peer: Peer, stream_id: int, times: int) -> None:
    """The request's message again, in one message or several, and that all went well."""
    peer.h2.send_headers(stream_id, [(b":status", b"200"), (b"content-type", b"application/grpc")])
    for _ in range(times):
        await peer.send(stream_id, bytes(peer.bodies[stream_id]))
    peer.h2.send_headers(stream_id, [(b"grpc-status", b"0")], end_stream=True)
    peer.flush()


async def _h2_connection(counted: list[int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    counted.append(1)
    peer = Peer(SocketStream(reader, writer), client=False)

    async def answer(stream_id: int) -> None:
        await peer.until(lambda: stream_id in peer.ended, 60)
        fields = dict(peer.heads[stream_id][0])
        path = fields[b":path"]
        if path.startswith(b"/grpc."):
            await _grpc(peer, stream_id, 3 if path.endswith(b"Three") else 1)
            return
        head = [(b":status", b"200"), (b"content-type", b"text/event-stream" if path == b"/pieces" else b"text/plain")]
        peer.h2.send_headers(stream_id, head)
        if path == b"/pieces":
            for number in range(PIECES):
                await peer.send(stream_id, b'data: {"piece": %d}\n\n' % number)
                await asyncio.sleep(GAP_S)
            await peer.send(stream_id, b"data: [DONE]\n\n", end=True)
        elif fields[b":method"] == b"POST":
            await peer.send(stream_id, b"echo " + bytes(peer.bodies.get(stream_id, b"")), end=True)
        else:
            await peer.send(stream_id, b"hello %s of %s\n" % (path, fields[b":authority"]), end=True)

    peer.on_request = answer
    with contextlib.suppress(AssertionError, asyncio.TimeoutError):
        await peer.until(lambda: False, 600)
    await peer.close()


def _run_h2(context: ssl.SSLContext, port: list[int], counted: list[int], ready: threading.Event, stop: list[Any]) -> None:
    async def main() -> None:
        ended = asyncio.Event()
        stop.append(functools.partial(asyncio.get_running_loop().call_soon_threadsafe, ended.set))
        server = await asyncio.start_server(functools.partial(_h2_connection, counted), "127.0.0.1", 0, ssl=context, backlog=256)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await ended.wait()
        server.close()

    asyncio.run(main())


class World:
    """Both servers. ``options`` are what ``exec`` is told; ``authority`` is the file that ``SSL_CERT_FILE`` names."""

    def __init__(self, directory: Path) -> None:
        authority = CertificateAuthority()
        self.authority = directory / "authority.pem"
        self.authority.write_text(authority.pem)
        self.files = directory / "files"
        self.files.mkdir()
        Handler.delay_s = GAP_S
        context = authority.context_for("api.test", ("http/1.1",))
        context.sni_callback = lambda session, name, _: setattr(session, "context", authority.context_for(name or "api.test", ("http/1.1",)))
        self.http1 = Server(context, self.files)
        threading.Thread(target=self.http1.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._h2_port, self._h2_counted, self._stop = [], [], []  # type: ignore[var-annotated]
        ready = threading.Event()
        context = authority.context_for("h2.test", ("h2",))
        arguments = (context, self._h2_port, self._h2_counted, ready, self._stop)
        threading.Thread(target=_run_h2, args=arguments, daemon=True).start()
        assert ready.wait(10)

    @property
    def connections(self) -> int:
        """How many there have been."""
        return self.http1.connections + len(self._h2_counted)

    @property
    def options(self) -> list[str]:
        ports = {name: self._h2_port[0] if name == "h2.test" else self.http1.server_port for name in NAMES}
        return [word for name, port in ports.items() for word in ("--map", f"{name}:443=127.0.0.1:{port}")]

    def stop(self) -> None:
        self._stop[0]()
        self.http1.shutdown()
        self.http1.server_close()


if __name__ == "__main__":  # by hand: prints the options of exec, and serves until it is ended
    place = Path(sys.argv[1])
    place.mkdir(exist_ok=True)
    from net_clients import make_files

    made = World(place)
    make_files(made.files)
    (place / "options").write_text(" ".join(made.options))
    print(*made.options, flush=True)
    while True:
        time.sleep(60)
