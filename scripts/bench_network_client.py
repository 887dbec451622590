"""The client of bench_network: does what each line of JSON on its standard input says, answers with a line of JSON."""

from __future__ import annotations

import json
import socket
import ssl
import statistics
import sys
import time
from typing import Any

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE
BODY = b'{"ask": "' + b"y" * 500 + b'"}'
IDLE: list[socket.socket] = []


def connect(request: dict[str, Any]) -> socket.socket:
    host, port = request["host"], request["port"]
    if "proxy" in request:
        plain = socket.create_connection(("127.0.0.1", request["proxy"]))
        plain.sendall(b"CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (host.encode(), port, host.encode(), port))
        assert b" 200 " in plain.recv(65536)
    else:
        plain = socket.create_connection((host, port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if request.get("scheme", "https") == "http":
        return plain
    return CONTEXT.wrap_socket(plain, server_hostname=host)


def requests(request: dict[str, Any]) -> dict[str, Any]:
    connection = connect(request)
    head = b"POST /v1/ask HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    message = head % (request["host"].encode(), len(BODY)) + BODY
    for _ in range(request["count"]):
        connection.sendall(message)
        answer = connection.recv(65536)
        while not answer.endswith(b'"}'):
            answer += connection.recv(65536)
    connection.close()
    return {}


def idle(request: dict[str, Any]) -> dict[str, Any]:
    IDLE.extend(connect(request) for _ in range(request["count"]))
    return {}


def sse(request: dict[str, Any]) -> dict[str, Any]:
    connection = connect(request)
    connection.sendall(b"GET /sse HTTP/1.1\r\nHost: %s\r\n\r\n" % request["host"].encode())
    delays, text = [], b""
    while not text.endswith(b"0\r\n\r\n"):
        piece = connection.recv(65536)
        now = time.monotonic_ns()
        text += piece
        delays += [(now - int(line.split()[1])) / 1e6 for line in piece.split(b"\n") if line.startswith(b"data: ")]
    return {"median_ms": statistics.median(delays), "first_ms": delays[0], "events": len(delays)}


def download(request: dict[str, Any]) -> dict[str, Any]:
    connection = connect({**request, "scheme": "http"})
    buffer = bytearray(1 << 20)
    started = time.perf_counter()
    connection.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (request["bytes"], request["host"].encode()))
    left = request["bytes"]
    while left > 0:
        got = connection.recv_into(buffer)
        if not got:
            raise SystemExit("the download ended early")
        left -= got
    return {"seconds": time.perf_counter() - started}


DO = {"requests": requests, "idle": idle, "sse": sse, "download": download}
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(DO[asked["do"]](asked)), flush=True)
