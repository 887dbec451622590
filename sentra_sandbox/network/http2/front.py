"""The HTTP/2 side towards the program: each stream is an exchange, asked of an ``Origin``.

Rules. One task reads the connection; each exchange has a task of its own, which writes its response, and a second one while a body goes up,
so both directions stream at once. A request's body is given back to the flow control as the origin takes it. What a client can make
us hold is bounded: ``MAX_EXCHANGES`` times ``WINDOW`` bytes. Whatever happens to one stream, the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, TrailersReceived
from h2.events import StreamReset as ResetReceived
from h2.exceptions import H2Error
from h2.settings import SettingCodes

from sentra_sandbox.network.exchange import Answering, ExchangeLog, Headers, Origin, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http2.errors import BadHead, Http2Failed, StreamGone, WireBroken, code_name
from sentra_sandbox.network.http2.frames import GoAway
from sentra_sandbox.network.http2.heads import read_request, read_trailers, response_fields, trailer_fields
from sentra_sandbox.network.http2.wire import Wire
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.trace.network_events import Direction, NetworkType

MAX_STREAMS = 128
MAX_EXCHANGES = 2 * MAX_STREAMS  # a stream is over for the client a moment before it is for us
WINDOW = 256 * 1024
MAX_HEADER_BYTES = 64 * 1024
_MANY_PIECES = 64  # from then on small pieces that wait are joined
_FAREWELL_S = 2.0  # for a GOAWAY to go out
_UPLOAD_GRACE_S = 2.0  # for a request that has come whole to go on, when its response is there already


async def serve(client: Stream, origin: Origin, journal: Journal, connection: int, scheme: bytes) -> None:
    """Serve the program's HTTP/2 connection until it ends. Returns when every exchange is over and ``origin`` closed; the stream is left
    to the caller. Never raises for what the client or the origin does.
    """
    await _Front(client, origin, journal, connection, scheme).run()


class _Exchange:
    """One stream. ``pieces`` are what has come of the request's body and not gone on, with what each counts in the flow control."""

    __slots__ = ("answering", "arrived", "asked", "begun", "complete", "ended", "error", "head", "log", "pieces", "task", "trailers")

    def __init__(self, head: RequestHead, log: ExchangeLog, complete: bool) -> None:
        self.head = head
        self.log = log
        self.complete = complete  # the request has come whole
        self.pieces: deque[tuple[bytes | bytearray, int]] = deque()
        self.arrived = asyncio.Event()
        self.trailers: Headers = []
        self.answering: Answering | None = None
        self.task: asyncio.Task[None] | None = None
        self.asked = False  # the request's end is in the journal
        self.begun = False  # the final head of the response has gone out
        self.ended = False  # the response's end has
        self.error = ""


class _Front:
    def __init__(self, client: Stream, origin: Origin, journal: Journal, connection: int, scheme: bytes) -> None:
        self.origin = origin
        self.journal = journal
        self.connection = connection
        self.scheme = scheme
        self.exchanges: dict[int, _Exchange] = {}
        self.wire = Wire(client, client=False, window=WINDOW, header_bytes=MAX_HEADER_BYTES)
        # Binds once the client has confirmed it; until then what is too much is refused below, stream by stream.
        self.wire.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS})

    # ---- the connection

    async def run(self) -> None:
        why = "the client closed the connection"
        try:
            self.wire.flush()
            while (events := await self.wire.receive()) is not None:
                for event in events:
                    self._handle(event)
        except StreamReset as error:
            why = f"the client's connection broke: {error}"
        except WireBroken as broken:
            why = f"the client broke HTTP/2: {broken}"
            self._problem("HTTP/2 connection ended", f"{broken} ({code_name(broken.code)})")
        finally:
            await self._finish(why)

    async def _finish(self, why: str) -> None:
        self.wire.fail(StreamReset(why))
        tasks = []
        for exchange in list(self.exchanges.values()):
            tasks.append(self._break_off(exchange, why))
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        await self.origin.close()
        with contextlib.suppress(StreamReset, TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self.wire.drain(), _FAREWELL_S)

    def _break_off(self, exchange: _Exchange, why: str) -> asyncio.Task[None] | None:
        exchange.error = exchange.error or why
        if exchange.task is not None:
            exchange.task.cancel()
        return exchange.task

    def _problem(self, what: str, detail: str) -> None:
        self.journal.write(NetworkType.PROBLEM, {"what": what, "detail": detail}, connection=self.connection)

    # ---- what the client does

    def _handle(self, event: Event | GoAway) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            self._body(event)
        elif isinstance(event, TrailersReceived):
            self._trailers(event)
        elif isinstance(event, StreamEnded):
            exchange = self.exchanges.get(event.stream_id or 0)
            if exchange is not None:
                exchange.complete = True
                exchange.arrived.set()
        elif isinstance(event, ResetReceived):
            exchange = self.exchanges.get(event.stream_id or 0)
            if exchange is not None and event.remote_reset is not False:
                self._break_off(exchange, f"the client reset the stream ({code_name(event.error_code)})")

    def _begin(self, event: RequestReceived) -> None:
        stream_id = event.stream_id or 0
        if len(self.exchanges) >= MAX_EXCHANGES:
            self.wire.reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        ended = event.stream_ended is not None
        try:
            head = read_request(event.headers or [], self.scheme, stream_id, ended)
        except BadHead as bad:
            self._problem("malformed HTTP/2 request refused", str(bad))
            self.wire.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        exchange = _Exchange(head, ExchangeLog(self.journal, self.connection), ended)
        exchange.log.request(head)
        self.exchanges[stream_id] = exchange
        exchange.task = asyncio.get_running_loop().create_task(self._run(exchange))
        exchange.task.add_done_callback(lambda _task: self._over(exchange))

    def _body(self, event: DataReceived) -> None:
        stream_id, data, counted = event.stream_id or 0, event.data or b"", event.flow_controlled_length or 0
        exchange = self.exchanges.get(stream_id)
        if exchange is None or not data:
            self.wire.taken(counted, stream_id)
            return
        pieces = exchange.pieces
        if len(pieces) >= _MANY_PIECES:
            last, so_far = pieces[-1]
            joined = last if isinstance(last, bytearray) else bytearray(last)
            joined += data
            pieces[-1] = (joined, so_far + counted)
        else:
            pieces.append((data, counted))
        exchange.arrived.set()

    def _trailers(self, event: TrailersReceived) -> None:
        exchange = self.exchanges.get(event.stream_id or 0)
        if exchange is None:
            return
        try:
            exchange.trailers = read_trailers(event.headers or [])
        except BadHead as bad:
            self._problem("malformed HTTP/2 trailers refused", str(bad))
            self.wire.reset(exchange.head.stream, ErrorCodes.PROTOCOL_ERROR)
            self._break_off(exchange, str(bad))

    # ---- one exchange

    async def _run(self, exchange: _Exchange) -> None:
        upload: asyncio.Task[None] | None = None
        try:
            if exchange.head.method == b"CONNECT":
                raise OriginFailed(501, "CONNECT is not supported over HTTP/2 here; connect directly, the sandbox carries any connection")
            exchange.answering = await self.origin.open(exchange.head)
            if exchange.complete and not exchange.pieces:
                await self._upload(exchange, exchange.answering)
            else:
                upload = asyncio.get_running_loop().create_task(self._upload(exchange, exchange.answering))
            await self._download(exchange, exchange.answering)
            if upload is not None and exchange.complete:
                await asyncio.wait({upload}, timeout=_UPLOAD_GRACE_S)
        except OriginFailed as failure:
            await self._refuse(exchange, failure)
        except BadHead as bad:
            await self._refuse(exchange, OriginFailed(502, f"the server's answer does not fit HTTP/2: {bad}"))
        except StreamGone as gone:
            exchange.error = exchange.error or str(gone)
        except StreamReset as broken:
            exchange.error = exchange.error or f"the client's connection broke: {broken}"
        finally:
            if upload is not None and not upload.done():
                upload.cancel()
                await asyncio.gather(upload, return_exceptions=True)

    def _over(self, exchange: _Exchange) -> None:
        """Whatever way it ended: the journal is complete, the origin knows, the stream is gone."""
        stream_id = exchange.head.stream
        task = exchange.task
        if task is not None and not task.cancelled() and task.exception() is not None:
            exchange.error = exchange.error or f"internal error: {task.exception()!r}"
            self._problem("internal error in an HTTP/2 exchange", repr(task.exception()))
        whole = exchange.ended and exchange.asked
        if exchange.answering is not None and not whole:
            exchange.answering.abort()
        self._log_rest(exchange)
        if not exchange.ended:
            self.wire.reset(stream_id, ErrorCodes.INTERNAL_ERROR)
        elif not exchange.complete:
            self.wire.reset(stream_id, ErrorCodes.NO_ERROR)  # the response is whole: the client need not send the rest (RFC 9113, 8.1)
        self.wire.taken(sum(counted for _, counted in exchange.pieces), stream_id)
        exchange.pieces.clear()
        self.wire.forget(stream_id)
        del self.exchanges[stream_id]

    def _log_rest(self, exchange: _Exchange) -> None:
        if not exchange.asked:
            exchange.log.end(Direction.TO_SERVER, error=exchange.error or "the response ended first")
        if not exchange.ended:
            exchange.log.end(Direction.TO_CLIENT, error=exchange.error or "broken off")

    async def _upload(self, exchange: _Exchange, answering: Answering) -> None:
        stream_id, log, pieces = exchange.head.stream, exchange.log, exchange.pieces
        try:
            while True:
                while pieces:
                    data, counted = pieces.popleft()
                    try:
                        log.body(Direction.TO_SERVER, bytes(data))
                        await answering.send(bytes(data))
                    finally:
                        self.wire.taken(counted, stream_id)
                if exchange.complete:
                    break
                exchange.arrived.clear()
                await exchange.arrived.wait()
            await answering.finish(exchange.trailers)
        except OriginFailed as failure:
            exchange.error = exchange.error or failure.reason  # the response's side says what becomes of the exchange
            return
        exchange.asked = True
        log.end(Direction.TO_SERVER, exchange.trailers)

    async def _download(self, exchange: _Exchange, answering: Answering) -> None:
        head = await answering.head()
        while head.status < 200 and head.status != 101:
            self._head(exchange, head, end=False)
            head = await answering.head()
        data = None
        bodiless = head.status in (204, 304) or exchange.head.method == b"HEAD"
        if bodiless or head.length == 0:
            data = await answering.read()  # the end is known already; for gRPC it must be on the head itself
            while data and bodiless:
                data = await answering.read()
            if not data and not answering.trailers():
                self._head(exchange, head, end=True)
                self._ended(exchange, [])
                return
        self._head(exchange, head, end=False)
        stream_id, log = exchange.head.stream, exchange.log
        if data is None:
            data = await answering.read()
        while data:
            log.body(Direction.TO_CLIENT, data)
            await self.wire.send_body(stream_id, data)
            data = await answering.read()
        trailers = answering.trailers()
        if trailers:
            self.wire.send_headers(stream_id, trailer_fields(trailers), end=True)
        else:
            self.wire.end(stream_id)
        self._ended(exchange, trailers)

    def _head(self, exchange: _Exchange, head: ResponseHead, *, end: bool) -> None:
        fields = response_fields(head)
        exchange.log.response(head)
        exchange.begun = head.status >= 200
        self.wire.send_headers(exchange.head.stream, fields, end=end)

    def _ended(self, exchange: _Exchange, trailers: Headers) -> None:
        exchange.ended = True
        exchange.log.end(Direction.TO_CLIENT, trailers)

    async def _refuse(self, exchange: _Exchange, failure: OriginFailed) -> None:
        """Say it in a response if none has begun, else reset the stream with the server's code."""
        exchange.error = failure.reason
        stream_id = exchange.head.stream
        if isinstance(failure, Http2Failed) and failure.unprocessed and not exchange.begun:
            self.wire.reset(stream_id, ErrorCodes.REFUSED_STREAM)  # the client may ask again, and knows it
            return
        if exchange.begun:
            code = failure.code if isinstance(failure, Http2Failed) else ErrorCodes.INTERNAL_ERROR
            self.wire.reset(stream_id, code or ErrorCodes.INTERNAL_ERROR)
            return
        head, body = refusal(exchange.head, failure)
        with contextlib.suppress(StreamGone, StreamReset, H2Error):
            self._head(exchange, head, end=not body)
            if body:
                exchange.log.body(Direction.TO_CLIENT, body)
                await self.wire.send_body(stream_id, body)
                self.wire.end(stream_id)
            self._ended(exchange, [])


def refusal(request: RequestHead, failure: OriginFailed) -> tuple[ResponseHead, bytes]:
    """The response that says why there is none: text, or for gRPC its own status, since its clients show no bodies."""
    text = f"sentra-sandbox: {failure.reason}\n" + (f"{failure.remedy}\n" if failure.remedy else "")
    kind = next((value for name, value in request.headers if name == b"content-type"), b"")
    if kind.startswith(b"application/grpc"):
        code = b"7" if failure.status == 403 else b"14"  # PERMISSION_DENIED, UNAVAILABLE
        headers = [(b"content-type", b"application/grpc"), (b"grpc-status", code), (b"grpc-message", _percent(text.strip()))]
        return ResponseHead(200, b"", headers, "2", length=0, source="broker"), b""
    body = b"" if request.method == b"HEAD" else text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text.encode()))]
    return ResponseHead(failure.status, b"", headers, "2", length=len(body), source="broker"), body


def _percent(text: str) -> bytes:
    """As gRPC spells messages: printable ASCII, the rest percent-encoded."""
    return b"".join(bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text.encode())
