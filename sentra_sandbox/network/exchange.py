"""An HTTP exchange, independent of protocol version: heads, bodies, and the ``Origin`` that answers.

A *front* (http1, http2: the side towards the program) reads requests and asks an ``Origin`` for each. Origins: the real server (live), a
recording
(recorded), a refusal (``Refusal``). Fronts write the exchange into the journal through ``ExchangeLog``, so it is done the same way
whoever answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.trace.network_events import Direction, Flag, NetworkType

Headers = list[tuple[bytes, bytes]]
"""Names and values in order and case as on the wire; HTTP/2 pseudo headers are not among them."""


@dataclass(slots=True)
class RequestHead:
    """``target`` is the request target as sent (a path with query, or an absolute URI, ``*``, or host:port for CONNECT)."""

    method: bytes
    scheme: bytes  # b"http", b"https"
    authority: bytes  # host[:port] of Host or :authority, b"" if there is none
    target: bytes
    headers: Headers
    version: str  # "1.0", "1.1", "2"
    raw: bytes = b""  # the head as it came, HTTP/1 only
    length: int | None = 0  # bytes of the body; None: unknown until it ends
    stream: int = 0


@dataclass(slots=True)
class ResponseHead:
    """A response's head; ``informational`` ones (1xx) come before the final one."""

    status: int
    reason: bytes
    headers: Headers
    version: str
    raw: bytes = b""
    length: int | None = None  # None: unknown until it ends
    source: str = ""  # "broker" if we made it, "recording" if a recording did


class OriginFailed(Exception):
    """The origin could not answer. ``status`` (502, 504, 403, ...) and ``reason`` are for the client, in words that a person can act on."""

    def __init__(self, status: int, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.remedy = remedy


class Answering(Protocol):
    """One exchange under way at an origin. Sending and receiving may overlap."""

    async def send(self, data: bytes) -> None:
        """A piece of the request's body. May wait (back-pressure). Raises ``OriginFailed``."""
        ...

    async def finish(self, trailers: Headers) -> None:
        """The request is complete. Raises ``OriginFailed``."""
        ...

    async def head(self) -> ResponseHead:
        """The next head: informational ones first, then the final one. Raises ``OriginFailed``."""
        ...

    async def read(self) -> bytes:
        """The next piece of the response's body as soon as it comes; ``b""`` at its end. Raises ``OriginFailed`` if it breaks off."""
        ...

    def trailers(self) -> Headers:
        """After the end."""
        ...

    async def upgraded(self) -> Stream:
        """After a head of status 101 (or 2xx to CONNECT): the bytes both ways."""
        ...

    def abort(self) -> None:
        """The client is gone: end it at the origin too. Allowed at any time, also after the end."""
        ...


class Origin(Protocol):
    """Answers the exchanges of one client connection."""

    async def open(self, head: RequestHead) -> Answering:
        """Begin an exchange. Raises ``OriginFailed`` (unreachable, refused by policy, not in the recording)."""
        ...

    async def close(self) -> None:
        """The client's connection has ended. Never raises."""
        ...


@dataclass(slots=True)
class ExchangeLog:
    """Writes one exchange into the journal. Fronts call it as things happen, so that times are true."""

    journal: Journal
    connection: int
    number: int = 0
    sizes: list[int] = field(default_factory=lambda: [0, 0])

    def request(self, head: RequestHead) -> None:
        """A request has come; gives the exchange its number."""
        self.number = self.journal.new_exchange()
        fields: dict[str, object] = {
            "method": text(head.method),
            "scheme": text(head.scheme),
            "authority": text(head.authority),
            "path": text(head.target),
            "version": head.version,
            "headers": pairs(head.headers),
        }
        if head.stream:
            fields["stream"] = head.stream
        self.journal.write(NetworkType.REQUEST, fields, head.raw, connection=self.connection, exchange=self.number)

    def response(self, head: ResponseHead) -> None:
        """A head of the response goes to the client."""
        fields: dict[str, object] = {
            "status": head.status,
            "reason": text(head.reason),
            "version": head.version,
            "headers": pairs(head.headers),
        }
        if head.status < 200 and head.status != 101:
            fields["informational"] = True
        if head.source:
            fields["from"] = head.source
        self.journal.write(
            NetworkType.RESPONSE, fields, head.raw, connection=self.connection, exchange=self.number, direction=Direction.TO_CLIENT
        )

    def body(self, direction: Direction, data: bytes) -> None:
        """A piece of a body passes."""
        self.sizes[direction] += len(data)
        self.journal.write(NetworkType.BODY, None, data, connection=self.connection, exchange=self.number, direction=direction)

    def end(self, direction: Direction, trailers: Sequence[tuple[bytes, bytes]] = (), error: str = "") -> None:
        """A message is complete, or broke off."""
        fields: dict[str, object] = {}
        if trailers:
            fields["trailers"] = pairs(trailers)
        if error:
            fields["error"] = error
        self.journal.write(
            NetworkType.END, fields, connection=self.connection, exchange=self.number, direction=direction, size=self.sizes[direction]
        )

    def message(self, direction: Direction, opcode: str, data: bytes, *, final: bool = True, code: int | None = None) -> None:
        """A WebSocket message, a piece of one, or a control frame passes."""
        fields: dict[str, object] = {"opcode": opcode}
        if code is not None:
            fields["code"] = code
        flags = Flag.FINAL if final else 0
        self.journal.write(
            NetworkType.MESSAGE, fields, data, connection=self.connection, exchange=self.number, direction=direction, flags=flags
        )


def text(value: bytes) -> str:
    """Header bytes as text: Latin-1, so that every byte survives."""
    return value.decode("latin-1")


def pairs(headers: Sequence[tuple[bytes, bytes]]) -> list[list[str]]:
    """Headers as JSON holds them."""
    return [[text(name), text(value)] for name, value in headers]
