"""A real program in a network of its own: what the views, the summary and the exports say of it."""

from __future__ import annotations

import http.server
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from needs import lacking
from running import Product

pytest.importorskip("sentra_sandbox.network.broker")

CHUNKS = [
    {"model": "m-2", "choices": [{"index": 0, "delta": {"content": "Hel"}}]},
    {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
]
AGENT = """
import json, socket, sys, urllib.request
base = "http://localhost:" + sys.argv[1]
print(urllib.request.urlopen(base + "/hello?token=topsecret").read())
body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
head = {"Content-Type": "application/json", "Authorization": "Bearer topsecret"}
urllib.request.urlopen(urllib.request.Request(base + "/v1/chat/completions", body, head)).read()
for address in (("127.0.0.1", int(sys.argv[2])), ("10.1.2.3", 80)):
    try:
        socket.create_connection(address, 5).recv(1)
    except OSError:
        pass
"""


class Model(http.server.BaseHTTPRequestHandler):
    """Greets, and streams a model's answer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._head("text/plain", ("Content-Length", "5"))
        self.wfile.write(b"hello")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._head("text/event-stream", ("Transfer-Encoding", "chunked"))
        for chunk in (*map(json.dumps, CHUNKS), "[DONE]"):
            data = f"data: {chunk}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, media: str, length: tuple[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media)
        self.send_header(*length)
        self.end_headers()


@pytest.fixture
def port() -> Iterator[int]:
    """Where a model's server listens on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_run_with_its_own_network(product: Product, port: int) -> None:
    closed = port - 1 if port > 1024 else port + 1
    (product.work / "agent.py").write_text(AGENT)
    finished = product("exec", "--net", "open", "--allow-net", f"localhost:{port}", "--", sys.executable, "agent.py", str(port), str(closed))
    said = finished.stderr.decode()
    assert finished.status == 0 and finished.stdout == b"b'hello'\n", finished
    assert f"hosts contacted: localhost:{port} (2 requests, " in said
    assert "10.1.2.3:80 (--allow-net 10.1.2.3:80)" in said and f"localhost:{closed} (--allow-net localhost:{closed})" in said

    found = product.json("show", "last", "--net", "--json")
    exchanges = [item for item in found if item["kind"] == "exchange"]
    assert [(item["url"], item["response"]["status"]) for item in exchanges] == [(f"http://localhost:{port}/hello?token=***", 200), (f"http://localhost:{port}/v1/chat/completions", 200)]
    assert all(item["task"] for item in found if item["kind"] in ("exchange", "connection"))
    refused = next(item for item in found if item["kind"] == "connection" and not item["allowed"])
    assert refused["server"] == ["10.1.2.3", 80] and refused["remedy"] == "--allow-net 10.1.2.3:80"

    (whole,) = product.json("show", "last", "--http", str(exchanges[1]["number"]), "--json")
    assert (whole["llm"]["text"], whole["llm"]["usage"], whole["llm"]["complete"]) == ("Hello", {"input_tokens": 3, "output_tokens": 2}, True)
    times = [event["time_ns"] for event in whole["server_sent_events"]]
    assert len(times) == 4 and all(after - before > 20_000_000 for before, after in itertools.pairwise(times))
    text = product("show", "last", "--net").stdout + product("show", "last", "--http", "2").stdout + product("show", "last", "--class", "network").stdout
    assert b"chat m-2: 3 -> 2 tokens" in text and b"exchange 1: 200 OK" in text

    har = json.loads(product("export", "--har", "-", "last").stdout)
    assert [entry["request"]["url"] for entry in har["log"]["entries"]] == [item["url"] for item in exchanges]
    assert b"topsecret" not in product("export", "--otlp", "-", "last").stdout
    assert product("export", "--pcapng", "net.pcapng", "last").status == 0
    command = ["tshark", "-r", str(product.work / "net.pcapng"), "-Y", "http.request", "-T", "fields", "-e", "http.request.full_uri"]
    try:
        seen = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        lacking("tshark")
    assert seen.stdout.split() == [item["url"] for item in exchanges]
