"""``exec --net open`` from end to end: real clients in the sandbox, servers on this machine's loopback, nothing beyond."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import SANDBOX, Finished, Product, run

from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType, from_event
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.trace.run import read_metadata

PYTHON = sys.executable
GET = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"


@pytest.fixture(autouse=True)
def _same_store(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test reads runs from where the product puts them."""
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", product.env["SENTRA_SANDBOX_HOME"])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.path} for {self.headers['Host']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def http_server(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    class Each(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                serve(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Each) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Run:
    """A finished recording."""

    def __init__(self, product: Product, finished: Finished, directory: Path) -> None:
        self.product, self.finished, self.directory = product, finished, directory
        self.metadata = read_metadata(directory)
        with Trace(directory) as trace:
            every = list(trace.events())
        self.numbers = [event.seq for event in every]
        self.events: list[NetworkEvent] = [found for event in every if (found := from_event(event)) is not None]

    def of(self, kind: NetworkType) -> list[NetworkEvent]:
        return [event for event in self.events if event.type == kind]

    def replays(self) -> None:
        again = self.product("replay", "-q", str(self.directory))
        assert (again.status, again.stdout, again.stderr) == (self.finished.status, self.finished.stdout, self.finished.stderr)


@pytest.fixture
def record(product: Product) -> Callable[..., Run]:
    count = 0

    def record(options: list[str], *command: str, **env: str) -> Run:
        nonlocal count
        count += 1
        directory = product.work / f"run-{count}"
        finished = product("exec", "-q", "-o", str(directory), *options, "--", *command, **env)
        return Run(product, finished, directory)

    return record


def test_a_plain_http_request_is_carried_recorded_and_replayed(record: Callable[..., Run]) -> None:
    with http_server() as port:
        done = record(["--map", f"api.test=127.0.0.1:{port}"], PYTHON, "-c", GET, "http://api.test/x?y=1")
    assert done.finished.stdout == b"/x?y=1 for api.test\n", done.finished
    (opened,) = done.of(NetworkType.OPEN)
    assert opened.fields["name"] == "api.test" and opened.fields["allowed"] and opened.fields["server"][1] == 80
    (request,) = done.of(NetworkType.REQUEST)
    assert request.fields["path"] == "/x?y=1" and request.connection == opened.connection
    (up,) = done.of(NetworkType.UPSTREAM)
    assert up.fields["peer"] == ["127.0.0.1", port]
    (close,) = done.of(NetworkType.CLOSE)
    assert close.fields["sent"] > 50 and close.fields["received"] > 50
    assert b"".join(event.data for event in done.of(NetworkType.BODY)) == done.finished.stdout
    assert {event.fields["name"] for event in done.of(NetworkType.DNS)} == {"api.test"}
    endpoints = [event for event in done.of(NetworkType.ENDPOINT) if event.fields["local"] == opened.fields["client"]]
    assert [event.fields["remote"] for event in endpoints] == [opened.fields["server"]], "the connection is tied to its task"
    assert done.numbers == list(range(1, len(done.numbers) + 1)), "two rings, one order, no gap"
    assert done.metadata.grade == "exact" and not done.metadata.note
    done.replays()
    assert not (done.directory / "trust").exists() and not (done.directory / "broker.log").exists()


def test_tls_is_intercepted_with_a_certificate_that_the_program_trusts(record: Callable[..., Run], tmp_path: Path) -> None:
    from sentra_sandbox.network.ca import CertificateAuthority

    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    with http_server(authority.context_for("api.test", ("http/1.1",))) as port:
        options = ["--map", f"api.test=127.0.0.1:{port}"]
        done = record(options, PYTHON, "-c", GET, "https://api.test/secret", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
        distrusted = record(options, PYTHON, "-c", GET, "https://api.test/secret")
    assert done.finished.stdout == b"/secret for api.test\n", done.finished
    (tls,) = done.of(NetworkType.TLS)
    assert tls.fields["mode"] == "intercept" and tls.fields["sni"] == "api.test"
    (request,) = done.of(NetworkType.REQUEST)
    assert request.fields["scheme"] == "https" and request.fields["path"] == "/secret"
    done.replays()
    assert b"502" in distrusted.finished.stderr, "the server's certificate is verified by us"
    (response,) = distrusted.of(NetworkType.RESPONSE)
    assert response.fields["from"] == "broker"


@pytest.mark.parametrize("address", ["10.1.2.3", "169.254.169.254", "192.168.1.1"])
def test_private_addresses_are_refused_with_the_option_that_allows_them(record: Callable[..., Run], address: str) -> None:
    text = f"import urllib.request, urllib.error\ntry: urllib.request.urlopen('http://{address}/')\n"
    text += "except urllib.error.HTTPError as error: print(error.code, error.read().decode())"
    done = record([], PYTHON, "-c", text)
    assert done.finished.stdout.startswith(b"403 "), done.finished
    assert f"--allow-net {address}:80".encode() in done.finished.stdout
    (opened,) = done.of(NetworkType.OPEN)
    assert not opened.fields["allowed"] and opened.fields["remedy"] == f"--allow-net {address}:80"
    assert not done.of(NetworkType.UPSTREAM), "nothing was connected to"
    assert done.of(NetworkType.CLOSE)[0].fields["how"] == "refused"


def test_a_refused_connection_that_is_not_http_is_reset(record: Callable[..., Run]) -> None:
    text = "import socket; s = socket.create_connection(('10.1.2.3', 5432)); s.sendall(b'\\0\\0\\0\\10\\4\\322\\26\\57')\n"
    text += "try: print(s.recv(1))\nexcept ConnectionResetError: print('reset')"
    done = record([], PYTHON, "-c", text)
    assert done.finished.stdout == b"reset\n", done.finished


def test_the_hosts_loopback_only_where_it_is_named(record: Callable[..., Run]) -> None:
    with http_server() as port:
        url = f"http://localhost:{port}/l"
        refused = record([], PYTHON, "-c", GET, url)
        done = record(["--allow-net", f"localhost:{port}"], PYTHON, "-c", GET, url)
    assert refused.finished.status != 0 and b"refused" in refused.finished.stderr
    assert done.finished.stdout == f"/l for localhost:{port}\n".encode(), done.finished


def test_a_name_that_policy_refuses_is_not_found_and_fronting_does_not_help(record: Callable[..., Run], tmp_path: Path) -> None:
    text = "import http.client\nc = http.client.HTTPConnection('good.test'); c.request('GET', '/', headers={'Host': 'localhost:9'})\n"
    text += "r = c.getresponse(); print(r.status, r.read().decode())"
    with http_server() as port:
        done = record(["--map", f"good.test=127.0.0.1:{port}"], PYTHON, "-c", text)
    assert done.finished.stdout.startswith(b"403 ") and b"localhost:9" in done.finished.stdout, done.finished


def test_a_server_that_speaks_first_and_half_closes(record: Callable[..., Run]) -> None:
    def serve(client: socket.socket) -> None:
        client.sendall(b"220 ready\r\n")
        received = b""
        while data := client.recv(100):
            received += data
        client.sendall(b"got " + received)  # after the client's FIN

    text = "import socket; s = socket.create_connection(('mail.test', 25)); print(s.recv(100)); s.sendall(b'EHLO'); s.shutdown(1)\n"
    text += "print(s.recv(100), s.recv(100))"
    with tcp_server(serve) as port:
        done = record(["--map", f"mail.test=127.0.0.1:{port}"], PYTHON, "-c", text)
    assert done.finished.stdout == b"b'220 ready\\r\\n'\nb'got EHLO' b''\n", done.finished
    close = done.of(NetworkType.CLOSE)[0].fields
    assert (close["by"], close["how"], close["sent"], close["received"]) == ("client", "end", 4, 19)
    done.replays()


def test_datagrams_go_and_come_back(record: Callable[..., Run]) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(2):
            data, client = server.recvfrom(100)
            server.sendto(b"re: " + data, client)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    text = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)\n"
    text += "a = socket.getaddrinfo('ntp.test', 123, socket.AF_INET, socket.SOCK_DGRAM)[0][4]\n"
    text += "for m in (b'one', b'two'): s.sendto(m, a); d, f = s.recvfrom(100); print(d, f == a)"
    done = record(["--map", f"ntp.test=127.0.0.1:{server.getsockname()[1]}"], PYTHON, "-c", text)
    server.close()
    assert done.finished.stdout == b"b're: one' True\nb're: two' True\n", done.finished
    assert [event.data for event in done.of(NetworkType.DATAGRAM)] == [b"one", b"re: one", b"two", b"re: two"]
    done.replays()


def test_a_large_download_is_a_few_events(record: Callable[..., Run]) -> None:
    size = 40_000_000

    def serve(client: socket.socket) -> None:
        client.recv(1)
        client.sendall(bytes(size))

    text = "import socket; s = socket.create_connection(('bulk.test', 9999)); s.sendall(b'x'); n = 0; b = bytearray(1 << 20)\n"
    text += "while k := s.recv_into(b): n += k\nprint(n)"
    with tcp_server(serve) as port:
        done = record(["--map", f"bulk.test=127.0.0.1:{port}"], PYTHON, "-c", text)
    assert done.finished.stdout == f"{size}\n".encode(), done.finished
    down = [event for event in done.of(NetworkType.DATA) if event.direction == 1]
    assert sum(event.size for event in down) == size and len(down) < 200
    assert done.of(NetworkType.CLOSE)[0].fields["received"] == size


def broker_of(directory: Path, seconds: float = 10) -> int:
    """The process whose standard error is the run's log."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and os.readlink(f"/proc/{name}/fd/2") == f"{directory}/broker.log":
                    return int(name)
        time.sleep(0.02)
    raise AssertionError("no broker")


WAITING = """
import socket, sys, urllib.request
print(urllib.request.urlopen('http://api.test/1').read().decode(), end='', flush=True)
sys.stdin.readline()
try: urllib.request.urlopen('http://api.test/2', timeout=10); print('reached')
except OSError: print('no network')
print('goes on')
"""


def waiting_program(product: Product, directory: Path, port: int) -> subprocess.Popen[bytes]:
    process = product.start("exec", "-o", str(directory), "--map", f"api.test=127.0.0.1:{port}", "--", PYTHON, "-c", WAITING)
    assert process.stdout is not None
    assert process.stdout.readline() == b"/1 for api.test\n"
    return process


def test_a_killed_broker_ends_the_network_and_not_the_recording(product: Product) -> None:
    directory = product.work / "run"
    with http_server() as port:
        process = waiting_program(product, directory, port)
        os.kill(broker_of(directory), signal.SIGKILL)
        time.sleep(0.3)
        out, err = process.communicate(b"\n", timeout=60)
    assert out == b"no network\ngoes on\n", (out, err)
    assert process.returncode == 0
    assert b"broker ended unexpectedly (signal 9)" in err, "the summary says so"
    done = Run(product, Finished(0, b"/1 for api.test\n" + out, b"", 0), directory)
    assert done.metadata.state == "sealed" and "refused" in done.metadata.note
    (problem,) = done.of(NetworkType.PROBLEM)
    assert "signal 9" in problem.fields["detail"]
    assert done.metadata.grade == "exact"


def test_a_killed_supervisor_takes_the_broker_along_and_the_run_is_recovered(product: Product) -> None:
    directory = product.work / "run"
    with http_server() as port:
        process = waiting_program(product, directory, port)
        broker = broker_of(directory)
        process.kill()
        process.communicate()
        end = time.monotonic() + 5
        while os.path.exists(f"/proc/{broker}") and time.monotonic() < end:
            time.sleep(0.02)
        assert not os.path.exists(f"/proc/{broker}")
    assert product("show", str(directory)).status == 0
    done = Run(product, Finished(0, b"", b"", 0), directory)
    assert done.metadata.state == "recovered"
    assert [event.fields["path"] for event in done.of(NetworkType.REQUEST)] == ["/1"]
    assert done.numbers == list(range(1, len(done.numbers) + 1))


def test_a_killed_program_ends_the_run_with_its_connections_closed(record: Callable[..., Run]) -> None:
    def hold(client: socket.socket) -> None:
        client.sendall(b"hello")
        client.recv(1)

    text = "import os, socket; s = socket.create_connection(('held.test', 9)); s.recv(5); os.kill(os.getpid(), 9)"
    with tcp_server(hold) as port:
        done = record(["--map", f"held.test=127.0.0.1:{port}"], PYTHON, "-c", text)
    assert done.finished.status == 137, done.finished
    (close,) = done.of(NetworkType.CLOSE)
    assert close.fields["by"] == "client" and close.fields["received"] == 5
    assert done.metadata.state == "sealed" and not done.metadata.note
    assert done.numbers == list(range(1, len(done.numbers) + 1))
    done.replays()


def test_an_interrupt_reaches_the_program_and_not_the_broker(product: Product) -> None:
    directory = product.work / "run"
    with http_server() as port:
        process = waiting_program(product, directory, port)
        broker = broker_of(directory)
        assert os.getsid(broker) == broker, "not in the terminal's session"
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert read_metadata(directory).state == "sealed" and not read_metadata(directory).note


def test_no_broker_for_a_program_without_network(product: Product) -> None:
    finished = product("exec", "-q", "-o", str(product.work / "run"), "--", "sh", "-c", f"ls {product.work}/run; cat {product.work}/run/broker.log")
    assert b"broker.log\n" not in finished.stdout, finished


def test_options_that_contradict_each_other(product: Product) -> None:
    finished = product("exec", "--net", "host", "--allow-net", "localhost:1", "--", "true")
    assert finished.status == 125 and b"--allow-net" in finished.stderr
    finished = product("exec", "--map", "nonsense", "--", "true")
    assert finished.status == 125 and b"--map" in finished.stderr


def test_as_an_ordinary_user(product: Product) -> None:
    if os.geteuid() != 0:
        pytest.skip("runs as an ordinary user already")
    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    if run([*as_user, "test", "-x", str(SANDBOX)], cwd=Path("/"), env=product.env).status:
        pytest.skip("this Python is not readable for others; .ci/run runs the suite as an ordinary user of its own")
    home = Path(product.work.parent, "user-home")
    home.mkdir()
    os.chown(home, 65534, 65534)
    env = {**product.env, "HOME": str(home), "XDG_DATA_HOME": str(home)}
    with http_server() as port:
        command = [*as_user, str(SANDBOX), "exec", "-q", "--map", f"api.test=127.0.0.1:{port}", "--", PYTHON, "-c", GET, "http://api.test/u"]
        finished = run(command, cwd=Path("/"), env=env)
    if b"Permission denied" in finished.stderr:
        pytest.skip("this Python is not readable for others; .ci/run runs the suite as an ordinary user of its own")
    assert finished.stdout == b"/u for api.test\n", finished
