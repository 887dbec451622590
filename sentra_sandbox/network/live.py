"""``LiveOrigin``: the real server behind one of the program's connections, over HTTP/1 or HTTP/2, on as many connections as it takes.

The program's connection and the server's are not one: the server may close its side between two exchanges, and a program that speaks
HTTP/2 asks for several things
at once of a server that speaks HTTP/1. A request is sent a second time only where that cannot be noticed: nothing of an answer was seen,
and either the method may be
repeated (RFC 9110, 9.2.2) and the body is still at hand, or a body was announced of which nothing was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sentra_sandbox.network.exchange import Answering, Headers, Origin, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http1_bodies import Piece
from sentra_sandbox.network.http1_origin import ConnectionStale, Http1Answering, Http1Origin
from sentra_sandbox.network.stream import Stream

MOST_CONNECTIONS = 32
KEPT_BODY = 64 * 1024
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

OpenStream = Callable[[], Awaitable[tuple[Stream, str]]]


class LiveOrigin:
    """An ``Origin``. ``open_stream`` makes a connection to the server and says which protocol was agreed on (``h2``; anything else is
    HTTP/1); it raises
    ``OriginFailed``, or ``OSError`` for a server that cannot be reached. Nothing is opened before the first request.
    """

    def __init__(self, open_stream: OpenStream, most: int = MOST_CONNECTIONS) -> None:
        self._open_stream = open_stream
        self._most = most
        self._http1: list[Http1Origin] = []
        self._http2: Any = None
        self._repeating: Any = None
        self._parting: list[Any] = []  # HTTP/2 connections that take no more, and may have exchanges under way
        self._speaks_http1 = False
        self._opening = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, head: RequestHead) -> Answering:
        """See ``Origin``."""
        again = True
        while True:
            if self._http2 is not None and self._http2.usable:
                try:
                    answering: Answering = await self._http2.open(head)
                    repeating: Answering = self._repeating(self.open, head, answering)
                    return repeating
                except OriginFailed as failure:
                    if not again or not getattr(failure, "unprocessed", False):
                        raise
                    again = False  # the server says that it did not look at it: once more, on a new connection
            for each in self._http1:
                if each.usable:
                    return _Repeating(self, head, await each.open(head))
            # as long as the server may speak HTTP/2, one connection could be enough for all who wait
            if len(self._http1) + self._opening >= self._most or (self._opening and not self._speaks_http1):
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.append(waiter)
                await waiter
                continue
            origin = await self.connect()
            if origin is not None:
                return await origin.open(head)

    async def connect(self) -> Http1Origin | None:
        """One more connection; None if the server speaks HTTP/2 on it. Raises ``OriginFailed``."""
        self._opening += 1
        try:
            stream, protocol = await self._open_stream()
        except OSError as error:
            raise OriginFailed(502, f"The server cannot be reached: {error.strerror or error}.") from error
        finally:
            self._opening -= 1
            self._wake()
        self._speaks_http1 = protocol != "h2"
        if protocol == "h2":
            await self._take_http2(stream)
            return None
        origin = Http1Origin(stream)
        origin.on_idle = self._tidy
        self._http1.append(origin)
        return origin

    async def _take_http2(self, stream: Stream) -> None:
        from sentra_sandbox.network.http2 import Http2Origin, Repeating

        self._repeating = Repeating
        if self._http2 is not None:
            if self._http2.usable:  # a repetition asked for a connection of its own
                await stream.close()
                return
            self._parting.append(self._http2)
        self._http2 = Http2Origin(stream)

    def _tidy(self) -> None:
        """An exchange is over: let go of connections that cannot be used again, and let the next one begin."""
        for each in [each for each in self._http1 if each.spent]:
            self._http1.remove(each)
            self._close_later(each)
        self._wake()

    def _wake(self) -> None:
        """All who wait look again."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _close_later(self, origin: Origin) -> None:
        task = asyncio.ensure_future(origin.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """See ``Origin``."""
        for each in self._http1:
            each.on_idle = None
        origins: list[Origin] = [*self._http1, *self._parting, *([self._http2] if self._http2 is not None else [])]
        self._http1, self._parting, self._http2 = [], [], None
        for origin in origins:
            await origin.close()
        if self._closing:
            await asyncio.wait(self._closing)


class _Repeating:
    """An exchange on a connection that was used before, so that the server may just have closed it. An ``Answering`` with the HTTP/1
    extras."""

    __slots__ = ("_finished", "_head", "_inner", "_kept", "_live", "_moving", "_size", "read", "read_wire", "take_wire", "trailers")

    def __init__(self, live: LiveOrigin, head: RequestHead, inner: Http1Answering) -> None:
        self._live = live
        self._head = head
        self._kept: list[tuple[bool, bytes]] | None = []  # (as on the wire?, bytes); None: too much, or an answer has begun
        self._size = 0  # of the body, as far as it was sent
        self._finished: Headers | None = None
        self._moving: asyncio.Future[None] | None = None
        self._use(inner)

    def _use(self, inner: Http1Answering) -> None:
        self._inner = inner
        self.read: Callable[[], Coroutine[Any, Any, bytes]] = inner.read
        self.read_wire: Callable[[], Coroutine[Any, Any, Piece]] = inner.read_wire
        self.take_wire: Callable[[], Piece | None] = inner.take_wire
        self.trailers: Callable[[], Headers] = inner.trailers

    async def send(self, data: bytes) -> None:
        if data:
            await self._send(False, data)

    async def send_wire(self, wire: bytes) -> None:
        await self._send(True, wire)

    async def _send(self, wired: bool, data: bytes) -> None:
        if self._moving is not None:
            await asyncio.wait((self._moving,))
        self._size += len(data)
        if self._kept is not None:
            self._kept.append((wired, data))
            if self._size > KEPT_BODY:
                self._kept = None
        inner = self._inner
        try:
            await (inner.send_wire(data) if wired else inner.send(data))
        except OriginFailed:
            if not self._repeatable():
                raise

    async def finish(self, trailers: Headers) -> None:
        if self._moving is not None:
            await asyncio.wait((self._moving,))
        self._finished = trailers
        try:
            await self._inner.finish(trailers)
        except OriginFailed:
            if not self._repeatable():
                raise

    async def head(self) -> ResponseHead:
        try:
            head = await self._inner.head()
        except ConnectionStale:
            if not self._repeatable():
                raise
            await self._repeat()
            head = await self._inner.head()
        self._kept = None
        return head

    def _repeatable(self) -> bool:
        if self._kept is None:
            return False
        return self._head.method in _REPEATABLE or (self._head.length != 0 and not self._size)

    async def _repeat(self) -> None:
        """The same again on a new connection."""
        self._moving = asyncio.get_running_loop().create_future()
        try:
            origin = await self._live.connect()
            if origin is None:
                raise ConnectionStale  # it speaks HTTP/2 now: what was sent is in another form
            inner = await origin.open(self._head)
            self._use(inner)
            for wired, data in self._kept or ():
                await (inner.send_wire(data) if wired else inner.send(data))
            if self._finished is not None:
                await inner.finish(self._finished)
        finally:
            self._moving.set_result(None)
            self._moving = None

    @property
    def truncated(self) -> bool:
        return self._inner.truncated

    async def upgraded(self) -> Stream:
        return await self._inner.upgraded()

    def abort(self) -> None:
        self._kept = None
        self._inner.abort()
