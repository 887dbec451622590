"""Answers of the broker's own: why something was refused or failed, and what would help.

``Refusal`` answers every request so; ``RefusalAnswer`` is one such answer, which the fronts give when an origin raises ``OriginFailed``.
Plain text for
people, JSON where the client's ``Accept`` asks for it (the shape that the clients of language models read an error from).
"""

from __future__ import annotations

import json

from sentra_sandbox.network.exchange import Answering, Headers, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http1_heads import header, reason_of
from sentra_sandbox.network.stream import Stream

_TEXT, _JSON = b"text/plain; charset=utf-8", b"application/json"


class Refusal:
    """An ``Origin`` that refuses every request with this status, reason and remedy."""

    def __init__(self, status: int, reason: str, remedy: str = "") -> None:
        self._failure = OriginFailed(status, reason, remedy)

    async def open(self, head: RequestHead) -> Answering:
        return RefusalAnswer(self._failure, head)

    async def close(self) -> None:
        pass


class RefusalAnswer:
    """The answer to one request, and the end of its connection. An ``Answering``: takes whatever is sent and does nothing with it."""

    def __init__(self, failure: OriginFailed, request: RequestHead) -> None:
        wants_json = b"json" in header(request.headers, b"accept").lower()
        self._body = as_json(failure) if wants_json else as_text(failure)
        headers: Headers = [
            (b"Content-Type", _JSON if wants_json else _TEXT),
            (b"Content-Length", b"%d" % len(self._body)),
            (b"Server", b"sentra-sandbox"),
        ]
        if request.version != "2":
            headers.append((b"Connection", b"close"))
        self._head = ResponseHead(
            failure.status,
            reason_of(failure.status),
            headers,
            request.version,
            length=len(self._body),
            source="broker",
        )
        if request.method == b"HEAD":
            self._body = b""

    async def send(self, data: bytes) -> None:
        pass

    async def finish(self, trailers: Headers) -> None:
        pass

    async def head(self) -> ResponseHead:
        return self._head

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def trailers(self) -> Headers:
        return []

    async def upgraded(self) -> Stream:
        raise OriginFailed(502, "A refusal cannot be upgraded.")

    def abort(self) -> None:
        pass


def as_text(failure: OriginFailed) -> bytes:
    """For people."""
    lines = [f"sentra-sandbox: {failure.reason}", failure.remedy]
    return "".join(f"{line}\n" for line in lines if line).encode("utf-8", "replace")


def as_json(failure: OriginFailed) -> bytes:
    """``{"error": {"type": "sentra_sandbox", "message", "status", "reason", "remedy"}}``."""
    error = {
        "type": "sentra_sandbox",
        "message": " ".join(part for part in (failure.reason, failure.remedy) if part),
        "status": failure.status,
        "reason": failure.reason,
        "remedy": failure.remedy,
    }
    return json.dumps({"error": error}).encode() + b"\n"
