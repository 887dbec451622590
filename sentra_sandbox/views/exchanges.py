"""One HTTP exchange of a recorded run: heads, bodies with the time of each piece, WebSocket messages. Data; ``network`` fills it.

Bodies may be large: a piece beyond what a ``Keep`` holds in memory is fetched from the trace again when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sentra_sandbox.views.content_codings import DECODED_MAX, Chunk, Decoded, decode
from sentra_sandbox.views.server_sent_events import ServerSentEvent, events_of

KEEP_BYTES = 32 << 20
RAW_MAX = 256 << 20  # of one body in memory at once
Headers = list[tuple[str, str]]
"""In order and case as sent; every character stands for one byte (Latin-1)."""
Fetch = Callable[[Iterable[int]], Iterator[bytes]]
"""The bytes of the events with these seqs, which rise."""


@dataclass(slots=True)
class Piece:
    """What one event holds of a body: ``data`` is None if it was not kept in memory."""

    seq: int
    time_ns: int
    size: int
    data: bytes | None


class Keep:
    """How much is held in memory, and the way to the rest. Without ``fetch`` what was not kept reads as nothing."""

    def __init__(self, fetch: Fetch | None = None, keep_bytes: int = KEEP_BYTES) -> None:
        self._fetch = fetch
        self._room = keep_bytes

    def piece(self, seq: int, time_ns: int, size: int, data: bytes) -> Piece:
        """A piece, with its bytes if there is room."""
        if self._fetch is not None and len(data) > self._room:
            return Piece(seq, time_ns, size, None)
        self._room -= len(data)
        return Piece(seq, time_ns, size, data)

    def chunks(self, pieces: list[Piece]) -> Iterator[Chunk]:
        """Times and bytes of the pieces, at most ``RAW_MAX`` bytes."""
        absent = self._fetch(piece.seq for piece in pieces if piece.data is None) if self._fetch else iter(())
        room = RAW_MAX
        for piece in pieces:
            data = next(absent, b"") if piece.data is None else piece.data
            yield piece.time_ns, data[:room]
            room -= len(data)
            if room <= 0:
                return


@dataclass(slots=True)
class Message:
    """What requests and responses have in common. ``time_ns``: of the head, 0 if none was seen; ``ended_ns``: 0 while it has not
    ended. ``error``: why it broke off.
    """

    keep: Keep
    seen: bool = False
    seq: int = 0
    time_ns: int = 0
    version: str = ""
    headers: Headers = field(default_factory=list)
    trailers: Headers = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    head_pieces: list[Piece] = field(default_factory=list)
    size: int = 0  # bytes of the body as recorded, content coding on
    ended_ns: int = 0
    error: str = ""

    def header(self, name: str) -> str:
        """The value of a header, several joined by ``, `` (RFC 9110 5.3); ``""`` if there is none."""
        name = name.lower()
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    @property
    def media_type(self) -> str:
        """``application/json``, without parameters, in lower case."""
        return self.header("content-type").split(";")[0].strip().lower()

    @property
    def raw_head(self) -> bytes:
        """The head as it came (HTTP/1 only)."""
        return b"".join(data for _, data in self.keep.chunks(self.head_pieces))

    def chunks(self) -> Iterator[Chunk]:
        """The body as it came: transfer coding off, content coding on."""
        return self.keep.chunks(self.pieces)

    @property
    def body(self) -> bytes:
        """All chunks."""
        return b"".join(data for _, data in self.chunks())

    def decoded(self, limit: int = DECODED_MAX) -> Decoded:
        """The body without content codings; see ``decode``. Not remembered: ask once."""
        return decode(self.chunks(), self.header("content-encoding"), limit)

    @property
    def first_byte_ns(self) -> int:
        """When the first piece of the body passed; 0 if there is none."""
        return next((piece.time_ns for piece in self.pieces if piece.size), 0)

    @property
    def last_ns(self) -> int:
        """The last that is known of it."""
        return max(self.time_ns, self.ended_ns, self.pieces[-1].time_ns if self.pieces else 0)


@dataclass(slots=True)
class Request(Message):
    """``target`` as sent: a path with query, an absolute URI, ``*``, or host:port for CONNECT."""

    method: str = ""
    scheme: str = ""
    authority: str = ""
    target: str = ""
    stream: int = 0


@dataclass(slots=True)
class Response(Message):
    """``source``: ``broker`` or ``recording`` if not the server answered."""

    status: int = 0
    reason: str = ""
    source: str = ""


@dataclass(slots=True)
class WebSocketMessage:
    """A message or control frame; ``complete`` is false if its end was not seen."""

    keep: Keep
    time_ns: int
    to_client: bool
    opcode: str
    code: int | None = None
    complete: bool = False
    pieces: list[Piece] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.keep.chunks(self.pieces))


@dataclass(slots=True)
class Exchange:
    """``task``, ``host`` and ``server`` are those of its connection; ``connection`` is its number."""

    number: int
    connection: int
    request: Request
    response: Response
    task: int = 0
    host: str = ""
    server: tuple[str, int] = ("", 0)
    informational: list[Response] = field(default_factory=list)
    messages: list[WebSocketMessage] = field(default_factory=list)

    @property
    def authority(self) -> str:
        """host[:port] that the request names, else the connection's."""
        return self.request.authority or self.request.header("host") or self.host

    @property
    def url(self) -> str:
        """As one would type it; what a request to a proxy names in full is taken as it is."""
        target = self.request.target
        if self.request.method == "CONNECT":
            return target or self.authority
        if target.lower().startswith(("http://", "https://")):
            return target
        scheme = self.request.scheme or "http"
        return f"{scheme}://{self.authority}{target if target.startswith('/') else '/' + target.lstrip('*')}"

    @property
    def path(self) -> str:
        """The target's path, without query."""
        return self.request.target.split("?", 1)[0]

    @property
    def began_ns(self) -> int:
        return self.request.time_ns if self.request.seen else self.response.time_ns or self.last_ns

    @property
    def last_ns(self) -> int:
        """The last that is known of it."""
        message = self.messages[-1].time_ns if self.messages else 0
        return max(self.request.last_ns, self.response.last_ns, message)

    @property
    def error(self) -> str:
        return self.response.error or self.request.error

    @property
    def is_websocket(self) -> bool:
        return bool(self.messages) or (self.response.status == 101 and self.request.header("upgrade").lower() == "websocket")

    def server_sent_events(self, limit: int = DECODED_MAX) -> list[ServerSentEvent]:
        """The events of a ``text/event-stream`` answer, with their times; none for other answers."""
        if self.response.media_type != "text/event-stream":
            return []
        return list(events_of(self.response.decoded(limit).chunks))
