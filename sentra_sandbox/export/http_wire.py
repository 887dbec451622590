"""Exchanges as HTTP/1.1 and WebSocket bytes on a wire, made again from what was recorded: ``(time, to the client?, bytes)`` in order. Pure.

Heads come from the parsed fields, so that secrets can be masked and HTTP/2 reads as HTTP/1.1; each recorded piece of a body without a
length becomes one chunk.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator

from sentra_sandbox.views.exchanges import Exchange, Headers, Message, Request, Response, WebSocketMessage
from sentra_sandbox.views.network_json import shown
from sentra_sandbox.views.secrets import mask_url

Wire = tuple[int, bool, bytes]
_OPCODES = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
_HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade")


def exchange_wire(exchange: Exchange, *, secrets: bool) -> Iterator[Wire]:
    """Everything that an exchange put on the wire."""
    request, response = exchange.request, exchange.response
    directions = [_request_wire(exchange, request, secrets), _response_wire(exchange, response, secrets), _messages_wire(exchange)]
    return heapq.merge(*directions, key=lambda wire: wire[0])


def _request_wire(exchange: Exchange, request: Request, secrets: bool) -> Iterator[Wire]:
    if not request.seen:
        return
    target = request.target or "/"
    line = f"{request.method or 'GET'} {target if secrets else mask_url(target)} HTTP/1.1"
    headers = shown(request.headers, secrets)
    if not request.header("host"):
        headers = [("Host", exchange.authority), *headers]
    yield from _message_wire(request, line, headers, False, exchange.is_websocket or request.method == "CONNECT")


def _response_wire(exchange: Exchange, response: Response, secrets: bool) -> Iterator[Wire]:
    for head in exchange.informational:
        yield head.time_ns, True, _head(f"HTTP/1.1 {head.status % 1000:03} {head.reason}", shown(head.headers, secrets))
    if response.seen:
        line = f"HTTP/1.1 {response.status % 1000:03} {response.reason}"
        bodiless = exchange.request.method in ("HEAD", "CONNECT") or response.status in (101, 204, 304)
        yield from _message_wire(response, line, shown(response.headers, secrets), True, bodiless and not response.size)


def _message_wire(message: Message, line: str, headers: Headers, to_client: bool, bodiless: bool) -> Iterator[Wire]:
    sized = any(name.lower() == "content-length" for name, _ in headers)
    chunked = not sized and not bodiless and (bool(message.size) or to_client)
    headers = [(name, value) for name, value in headers if name.lower() != "transfer-encoding"]
    if message.version == "2":
        headers = [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    yield message.time_ns, to_client, _head(line, headers)
    last = message.time_ns
    for time_ns, data in message.chunks():
        last = max(last, time_ns)
        if data:
            yield last, to_client, b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
    if chunked and not message.error:
        trailers = b"".join(_line(f"{name}: {value}") for name, value in message.trailers)
        yield max(last, message.ended_ns), to_client, b"0\r\n" + trailers + b"\r\n"


def _head(line: str, headers: Headers) -> bytes:
    return _line(line) + b"".join(_line(f"{name}: {value}") for name, value in headers) + b"\r\n"


def _line(text: str) -> bytes:
    return text.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace") + b"\r\n"


def _messages_wire(exchange: Exchange) -> Iterator[Wire]:
    for message in exchange.messages:
        yield max(message.time_ns, exchange.response.time_ns), message.to_client, websocket_frame(message)


def websocket_frame(message: WebSocketMessage) -> bytes:
    """The message as one frame (RFC 6455); the client's are masked with zeros, so that their bytes can be read."""
    data = message.data
    if message.opcode == "close" and message.code is not None:
        data = struct.pack("!H", message.code & 0xFFFF) + data
    masked = 0 if message.to_client else 0x80
    opcode = 0x80 | _OPCODES.get(message.opcode, 2)
    if len(data) < 126:
        head = struct.pack("!BB", opcode, masked | len(data))
    elif len(data) < 1 << 16:
        head = struct.pack("!BBH", opcode, masked | 126, len(data))
    else:
        head = struct.pack("!BBQ", opcode, masked | 127, len(data))
    return head + (bytes(4) if masked else b"") + data
