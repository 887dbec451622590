"""``Http2Origin``: one connection to an HTTP/2 server, many exchanges at once.

Rules. One task reads; what comes for an exchange waits in its ``_Call``, bounded by the window that the server has, which is given back as
the reader of the exchange takes the data. When the server allows no more streams, ``open`` waits. A server that goes away (GOAWAY) still
answers what it has begun; the rest fails as ``unprocessed``, and so does a refused stream: asking again elsewhere is safe then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)
from h2.events import (
    StreamReset as ResetReceived,
)
from h2.exceptions import H2Error

from sentra_sandbox.network.exchange import Headers, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http2.errors import BadHead, Http2Failed, StreamGone, WireBroken, code_name
from sentra_sandbox.network.http2.frames import GoAway
from sentra_sandbox.network.http2.heads import read_response, read_trailers, request_fields, trailer_fields
from sentra_sandbox.network.http2.wire import Wire
from sentra_sandbox.network.stream import Stream, StreamReset

WINDOW = 1024 * 1024
MAX_HEADER_BYTES = 256 * 1024
MAX_INFORMATIONAL = 32
_MANY_PIECES = 64
_FAREWELL_S = 2.0


class Http2Origin:
    """An ``Origin`` on a connected stream, which it owns and closes."""

    def __init__(self, stream: Stream) -> None:
        self._wire = Wire(stream, client=True, window=WINDOW, header_bytes=MAX_HEADER_BYTES)
        self._calls: dict[int, _Call] = {}
        self._queue: deque[asyncio.Future[None]] = deque()
        self._going: GoAway | None = None
        self._over: Http2Failed | None = None
        self._reader: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether a new exchange may be begun: the connection is up and the server is not going away."""
        return self._over is None and self._going is None

    async def open(self, head: RequestHead) -> _Call:
        """See ``Origin``. ``Http2Failed.unprocessed`` where the server has not seen the request."""
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read())
        if head.method == b"CONNECT":
            raise OriginFailed(501, "CONNECT is not supported over HTTP/2")
        try:
            fields = request_fields(head)
        except BadHead as bad:
            raise OriginFailed(400, f"the request does not fit HTTP/2: {bad}") from bad
        await self._slot()
        ended = head.length == 0
        try:
            stream_id = self._wire.h2.get_next_available_stream_id()
            self._wire.send_headers(stream_id, fields, end=ended)
        except (H2Error, StreamGone) as error:
            raise Http2Failed(f"the server's HTTP/2 connection takes no more: {error}", unprocessed=True) from error
        call = self._calls[stream_id] = _Call(self, stream_id, ended, head.method == b"HEAD")
        return call

    async def _slot(self) -> None:
        """Wait until the server allows one more stream."""
        waited = False
        while True:
            if self._over is not None:
                raise Http2Failed(self._over.reason, unprocessed=True)
            if self._going is not None:
                raise Http2Failed("the server is going away (GOAWAY)", unprocessed=True)
            # In the order of asking: who comes now stands behind those who wait.
            if len(self._calls) < self._wire.h2.remote_settings.max_concurrent_streams and (waited or not self._queue):
                return
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if waited:
                self._queue.appendleft(turn)
            else:
                self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake_one()
                raise
            finally:
                with contextlib.suppress(ValueError):
                    self._queue.remove(turn)
            waited = True

    def _wake_one(self) -> None:
        for turn in self._queue:
            if not turn.done():
                turn.set_result(None)
                return

    async def close(self) -> None:
        """See ``Origin``."""
        if self._over is None:
            self._wire.say_goodbye(ErrorCodes.NO_ERROR, "")
        self._end(Http2Failed("the connection was closed"))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        with contextlib.suppress(StreamReset, TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._wire.drain(), _FAREWELL_S)
        await self._wire.stream.close()

    # ---- what the server does

    async def _read(self) -> None:
        over = Http2Failed("the server closed the connection")
        try:
            self._wire.flush()
            while (events := await self._wire.receive()) is not None:
                for event in events:
                    self._handle(event)
        except StreamReset as error:
            over = Http2Failed(f"the connection to the server broke: {error}")
        except WireBroken as broken:
            over = Http2Failed(f"the server broke HTTP/2: {broken}", code=broken.code)
            with contextlib.suppress(StreamReset, TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._wire.drain(), _FAREWELL_S)
        finally:
            self._end(over)

    def _end(self, over: Http2Failed) -> None:
        if self._over is None:
            self._over = over
        self._wire.fail(StreamReset(over.reason))
        for call in list(self._calls.values()):
            call.fail(over)
        for turn in self._queue:
            if not turn.done():
                turn.set_result(None)

    def _handle(self, event: Event | GoAway) -> None:
        if isinstance(event, GoAway):
            self._goaway(event)
            return
        if isinstance(event, RemoteSettingsChanged):
            free = self._wire.h2.remote_settings.max_concurrent_streams - len(self._calls)
            for _ in range(min(free, len(self._queue))):
                self._wake_one()
            return
        stream_id: int = getattr(event, "stream_id", 0) or 0
        call = self._calls.get(stream_id)
        if call is None:
            if isinstance(event, DataReceived):
                self._wire.taken(event.flow_controlled_length or 0, stream_id)
            return
        try:
            _deliver(call, event)
        except BadHead as bad:
            self._wire.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
            call.fail(Http2Failed(f"the server's response is malformed: {bad}", code=ErrorCodes.PROTOCOL_ERROR))

    def _goaway(self, going: GoAway) -> None:
        self._going = going
        reason = f"the server is going away (GOAWAY, {code_name(going.code)}"
        reason += f": {going.debug[:200].decode('utf-8', 'replace')})" if going.debug else ")"
        for stream_id, call in list(self._calls.items()):
            if stream_id > going.last_stream:
                call.fail(Http2Failed(reason, code=ErrorCodes.REFUSED_STREAM, unprocessed=True))
        for turn in self._queue:
            if not turn.done():
                turn.set_result(None)
        self._leave()

    def released(self, stream_id: int) -> None:
        """A call is over: its stream is free."""
        if self._calls.pop(stream_id, None) is not None:
            self._wire.forget(stream_id)
            self._wake_one()
            self._leave()

    def _leave(self) -> None:
        """A server that goes away waits for us once it has answered everything."""
        if self._going is not None and not self._calls and self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self.close())


def _deliver(call: _Call, event: Event) -> None:
    if isinstance(event, InformationalResponseReceived):
        if len(call.heads) >= MAX_INFORMATIONAL:
            raise BadHead("too many informational responses")
        call.heads.append(read_response(event.headers or [], False))
    elif isinstance(event, ResponseReceived):
        call.heads.append(read_response(event.headers or [], event.stream_ended is not None))
    elif isinstance(event, DataReceived):
        call.add(event.data or b"", event.flow_controlled_length or 0)
    elif isinstance(event, TrailersReceived):
        call.received_trailers = read_trailers(event.headers or [])
    elif isinstance(event, StreamEnded):
        call.response_ended()
    elif isinstance(event, ResetReceived):
        call.was_reset(event.error_code or 0)
    call.news.set()


class _Call:
    """An exchange on its stream; an ``Answering``."""

    def __init__(self, origin: Http2Origin, stream_id: int, asked: bool, bodiless: bool) -> None:
        self._origin = origin
        self._wire = origin._wire
        self._id = stream_id
        self._asked = asked
        self._bodiless = bodiless
        self._answered = False
        self._error: Http2Failed | None = None
        self._pieces: deque[tuple[bytes | bytearray, int]] = deque()
        self.heads: deque[ResponseHead] = deque()
        self.received_trailers: Headers = []
        self.news = asyncio.Event()

    # ---- towards the server

    async def send(self, data: bytes) -> None:
        """See ``Answering``. What the server no longer wants, because it has answered, is dropped."""
        if not data or self._refused():
            return
        try:
            await self._wire.send_body(self._id, data)
        except (StreamGone, StreamReset) as error:
            if not self._refused():
                raise Http2Failed(f"the request could not be sent: {error}") from error

    async def finish(self, trailers: Headers) -> None:
        """See ``Answering``."""
        if self._asked or self._refused():
            return
        try:
            if trailers:
                self._wire.send_headers(self._id, trailer_fields(trailers), end=True)
            else:
                self._wire.end(self._id)
        except BadHead as bad:
            raise OriginFailed(400, f"the request's trailers do not fit HTTP/2: {bad}") from bad
        except StreamGone as error:
            if not self._refused():
                raise Http2Failed(f"the request could not be sent: {error}") from error
        self._asked = True
        self._free()

    def _refused(self) -> bool:
        """The server takes no more of the request: it has answered (True), or failed (raised)."""
        if self._error is not None:
            raise self._error
        return self._answered and self._id not in self._origin._calls

    # ---- from the server

    async def head(self) -> ResponseHead:
        """See ``Answering``."""
        while not self.heads:
            await self._more()
        head = self.heads.popleft()
        if self._bodiless:
            head.length = 0
        return head

    async def read(self) -> bytes:
        """See ``Answering``."""
        while not self._pieces:
            if self._answered:
                return b""
            await self._more()
        data, counted = self._pieces.popleft()
        self._wire.taken(counted, self._id)
        return bytes(data)

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        if self._answered:
            raise Http2Failed("the server ended the stream without a response", code=ErrorCodes.PROTOCOL_ERROR)
        self.news.clear()
        await self.news.wait()

    def trailers(self) -> Headers:
        """See ``Answering``."""
        return self.received_trailers

    async def upgraded(self) -> Stream:
        """See ``Answering``: HTTP/2 has no upgrade."""
        raise OriginFailed(502, "an HTTP/2 connection cannot be upgraded")

    def abort(self) -> None:
        """See ``Answering``."""
        if self._id in self._origin._calls:
            self._wire.reset(self._id, ErrorCodes.CANCEL)
            self.fail(Http2Failed("aborted", code=ErrorCodes.CANCEL))
        self._drop()

    # ---- called by the reading task

    def add(self, data: bytes, counted: int) -> None:
        """A piece of the body has come."""
        if not data:
            self._wire.taken(counted, self._id)
        elif len(self._pieces) >= _MANY_PIECES:
            last, so_far = self._pieces[-1]
            joined = last if isinstance(last, bytearray) else bytearray(last)
            joined += data
            self._pieces[-1] = (joined, so_far + counted)
        else:
            self._pieces.append((data, counted))

    def response_ended(self) -> None:
        """The response is whole."""
        self._answered = True
        self._free()

    def was_reset(self, code: int) -> None:
        """RST_STREAM from the server, or a stream error found by the library."""
        if not self._answered:  # after the whole response it only means: send no more
            refused = code == ErrorCodes.REFUSED_STREAM
            self.fail(Http2Failed(f"the server reset the stream ({code_name(code)})", code=code, unprocessed=refused))
        self._origin.released(self._id)

    def fail(self, error: Http2Failed) -> None:
        """No more will come, and not all has."""
        if self._error is None and not (self._answered and self._asked):
            self._error = error
        self._origin.released(self._id)
        self.news.set()

    def _free(self) -> None:
        if self._asked and self._answered:
            self._origin.released(self._id)

    def _drop(self) -> None:
        counted = sum(size for _, size in self._pieces)
        self._pieces.clear()
        self._wire.taken(counted, self._id)
