"""``Http1Origin``: one connection to a server that speaks HTTP/1, as an ``Origin``; one exchange after the other.

Heads and bodies go out as they came where they came as HTTP/1. What the server answers is read strictly; after any doubt (bytes that
nobody asked for, a body
cut short, a request that was not sent to its end) the connection is not used again.

Beyond ``Answering`` its answers offer the bytes on the wire, for a front that speaks HTTP/1 too: ``send_wire`` instead of ``send``,
``take_wire`` and ``read_wire``
instead of ``read``. A user keeps to one of the two ways in each direction.
"""

from __future__ import annotations

from collections.abc import Callable

from sentra_sandbox.network.exchange import Headers, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http1_bodies import Body, CutShort, Piece, body_of
from sentra_sandbox.network.http1_heads import (
    MAX_HEAD,
    BadMessage,
    build_fields,
    build_request,
    check_part,
    framing_of,
    parse_response,
    status_line,
)
from sentra_sandbox.network.inlet import Inlet, InletStream
from sentra_sandbox.network.stream import Stream, StreamReset

REMEDY_PROTOCOL = "If this server must be used as it is, let its connections pass without being looked into: tls: {exclude: [HOST]}."


class ConnectionStale(OriginFailed):
    """A kept connection was closed by the server when it was used again, before anything of the answer came."""

    def __init__(self) -> None:
        super().__init__(502, "The server closed the connection, which had been used before, without answering.")


class Http1Origin:
    """``usable``: idle and open, so that ``open`` may be called. ``on_idle`` is called when an exchange is over, whatever became of the
    connection."""

    def __init__(self, stream: Stream) -> None:
        self._inlet = Inlet(stream)
        self._stream = stream
        self._current: Http1Answering | None = None
        self._dead = self._given = False
        self.exchanges = 0
        self.on_idle: Callable[[], None] | None = None

    @property
    def usable(self) -> bool:
        """Whether another exchange may begin here. Bytes that nobody asked for spoil it, an end too."""
        return not self._dead and self._current is None and not self._inlet.ended and not self._inlet.buffer

    @property
    def spent(self) -> bool:
        """Whether nothing is under way and nothing can be; a connection that was given away is somebody's still."""
        return self._current is None and not self.usable and not self._given

    async def open(self, head: RequestHead) -> Http1Answering:
        """See ``Origin``. One exchange at a time."""
        if self._current is not None:
            raise OriginFailed(502, "The connection to the server is in use.")
        if not self.usable:
            if self.exchanges:
                raise ConnectionStale
            raise OriginFailed(502, "The server closed the connection, or spoke before it was asked.")
        try:
            raw = head.raw or build_request(head)
            framing = framing_of(head)
        except BadMessage as error:
            raise OriginFailed(400, f"The request cannot be sent on: {error.detail}.") from error
        self.exchanges += 1
        self._current = Http1Answering(self, self._inlet, head, raw, framing.keep)
        return self._current

    async def close(self) -> None:
        """See ``Origin``."""
        self._dead = True
        if self._current is not None:
            self.spoil()
        else:
            await self._inlet.stop()
            await self._stream.close()

    def spoil(self) -> None:
        """Never use this connection again: a doubt, or the client is gone."""
        self._dead = True
        self._inlet.fail()
        self._release()

    def done(self, keep: bool) -> None:
        """The exchange is over; ``keep``: both sides would use the connection again."""
        if not keep or self._inlet.buffer:
            self._dead = True
        self._release()

    def give_away(self) -> Stream:
        """The connection is somebody else's protocol now."""
        self._dead = self._given = True
        self._release()
        return InletStream(self._inlet)

    def _release(self) -> None:
        self._current = None
        if self.on_idle is not None:
            self.on_idle()


class Http1Answering:
    """One exchange. An ``Answering``."""

    __slots__ = (
        "_body",
        "_chunked",
        "_inlet",
        "_keep",
        "_left",
        "_method",
        "_origin",
        "_over",
        "_pending",
        "_sent",
        "_stream",
        "_trailers",
        "_wired",
    )

    def __init__(self, origin: Http1Origin, inlet: Inlet, head: RequestHead, raw: bytes, keep: bool) -> None:
        self._origin = origin
        self._inlet = inlet
        self._stream = inlet.stream
        self._method = head.method
        self._pending = raw  # the head, until there is something to send with it or somebody waits
        self._chunked = head.length is None
        self._left = head.length or 0
        self._keep = keep
        self._wired = self._sent = self._over = False
        self._body: Body | None = None
        self._trailers: Headers = []

    async def send(self, data: bytes) -> None:
        """See ``Answering``."""
        if not data:
            return
        if self._chunked:
            await self._push(b"%x\r\n%b\r\n" % (len(data), data))
            return
        self._left -= len(data)
        if self._left < 0:
            self._origin.spoil()
            raise OriginFailed(400, "The request's body is longer than its Content-Length.")
        await self._push(data)

    async def send_wire(self, wire: bytes) -> None:
        """A piece of the body with its framing, which was checked."""
        self._wired = True
        await self._push(wire)

    async def _push(self, wire: bytes) -> None:
        self._write(wire)
        try:
            await self._stream.drain()
        except StreamReset as error:
            raise OriginFailed(502, "The server closed the connection while the request was being sent.") from error

    async def finish(self, trailers: Headers) -> None:
        """See ``Answering``. After ``send_wire`` the end has been sent already."""
        if self._chunked and not self._wired:
            try:
                self._write(b"0\r\n%b\r\n" % build_fields(trailers))
            except BadMessage as error:
                self._origin.spoil()
                raise OriginFailed(400, f"The request cannot be sent on: {error.detail}.") from error
        elif self._left and not self._wired:
            self._origin.spoil()
            raise OriginFailed(400, "The request's body is shorter than its Content-Length.")
        elif self._pending:
            self._write(b"")
        self._sent = True
        self._settle()

    def _write(self, data: bytes) -> None:
        if self._over and not self._keep:
            return  # answered already, and the connection is not used again
        if self._pending:
            data = self._pending + data
            self._pending = b""
        self._stream.write(data)

    async def head(self) -> ResponseHead:
        """See ``Answering``."""
        if self._pending:
            self._write(b"")
        try:
            raw = await self._next_head()
            head, framing = parse_response(raw, self._method)
        except BadMessage as error:
            self._origin.spoil()
            raise OriginFailed(502, f"The server's answer is not valid HTTP/1: {error.detail}.", REMEDY_PROTOCOL) from error
        except StreamReset as error:
            stale = self._origin.exchanges > 1 and not self._inlet.buffer
            self._origin.spoil()
            if stale:
                raise ConnectionStale from error
            raise OriginFailed(502, "The server reset the connection before it answered.") from error
        if head.status >= 200 and not (head.status < 300 and self._method == b"CONNECT"):
            self._keep = self._keep and framing.keep
            self._body = body_of(framing, self._inlet, padded=True)
            if self._body.done:
                self._end_of_body()
        return head

    async def _next_head(self) -> bytes:
        inlet = self._inlet
        buffer = inlet.buffer
        seen = 0
        while True:
            end = buffer.find(b"\r\n\r\n", max(seen - 3, 0))
            if 0 <= end <= MAX_HEAD - 4:
                return inlet.take(end + 4)
            if buffer:
                check_part(buffer, status_line, seen)
            seen = len(buffer)
            if not await inlet.more():
                if not buffer and self._origin.exchanges > 1:
                    self._origin.spoil()
                    raise ConnectionStale
                where = "in the middle of its answer's head" if buffer else "without answering"
                self._origin.spoil()
                raise OriginFailed(502, f"The server closed the connection {where}.")

    async def read(self) -> bytes:
        """See ``Answering``."""
        while True:
            data, wire = await self.read_wire()
            if data or not wire:
                return data

    def take_wire(self) -> Piece | None:
        """The next piece of the answer's body and its bytes on the wire, if it is there already; ``(b"", b"")`` at the end."""
        body = self._body
        if body is None or body.done:
            return b"", b""
        try:
            piece = body.take()
        except BadMessage as error:
            raise self._broken(f"The server's answer is not valid HTTP/1: {error.detail}.") from error
        if body.done:
            self._end_of_body()
        return piece

    async def read_wire(self) -> Piece:
        """The next piece as soon as it comes."""
        piece = self.take_wire()
        if piece is not None:
            return piece
        body = self._body
        assert body is not None
        try:
            piece = await body.next()
        except CutShort as error:
            raise self._broken("The server closed the connection in the middle of its answer.") from error
        except StreamReset as error:
            raise self._broken("The server reset the connection in the middle of its answer.") from error
        except BadMessage as error:
            raise self._broken(f"The server's answer is not valid HTTP/1: {error.detail}.") from error
        if body.done:
            self._end_of_body()
        return piece

    def _broken(self, reason: str) -> OriginFailed:
        self._origin.spoil()
        return OriginFailed(502, reason)

    def _end_of_body(self) -> None:
        body = self._body
        if body is None or self._over:
            return
        self._trailers = body.trailers
        self._over = True
        if self._inlet.ended:
            self._keep = False
        self._settle()

    def _settle(self) -> None:
        if self._over and self._sent:
            self._origin.done(self._keep)

    def trailers(self) -> Headers:
        """See ``Answering``."""
        return self._trailers

    @property
    def truncated(self) -> bool:
        """Whether the server ended a TLS connection without saying so: an answer until the end may not be whole."""
        return bool(getattr(self._stream, "truncated", False))

    async def upgraded(self) -> Stream:
        """See ``Answering``."""
        self._over = True
        return self._origin.give_away()

    def abort(self) -> None:
        """See ``Answering``."""
        if not (self._over and self._sent):
            self._over = self._sent = True
            self._origin.spoil()
