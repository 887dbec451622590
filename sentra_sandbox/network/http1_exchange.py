"""One exchange of an HTTP/1 connection: the request's body up and the answer down, at the same time, as they come.

Every exchange leaves in the journal: REQUEST, its body, END; RESPONSE (informational ones before), its body, END; an END with an error
where something broke off.
Nothing is held back: each piece is written and drained as it comes. A head goes out together with the body's first piece only if that has
come already.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from sentra_sandbox.network.exchange import Answering, ExchangeLog, Origin, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http1_bodies import Body, CutShort, LengthBody, Piece, body_of
from sentra_sandbox.network.http1_heads import (
    BadMessage,
    Framing,
    bodiless,
    build_fields,
    build_response,
    framing_of,
    header,
)
from sentra_sandbox.network.inlet import Inlet, InletStream
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.refusal import RefusalAnswer
from sentra_sandbox.network.splice import Observer, opaque, splice
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.trace.network_events import Direction, NetworkType

AT_ONCE = 32 * 1024  # a body that is here already and not longer is sent before anything is awaited
LINGER_S = 2.0  # so long a program that was answered may go on sending
HALF_CLOSED_S = 2.0  # a program that ended its TLS connection is given up after this; hardly any half-closes one

UP, DOWN = Direction.TO_SERVER, Direction.TO_CLIENT
GONE = "The program closed the connection."

Tunnel = Callable[[Stream, Stream, RequestHead], Awaitable[None]]


class Front:
    """A client's connection, as its exchanges need it."""

    __slots__ = ("client", "connection", "inlet", "journal", "origin", "scheme", "tunnel")

    def __init__(
        self,
        client: Stream,
        inlet: Inlet,
        origin: Origin,
        journal: Journal,
        connection: int,
        scheme: str,
        tunnel: Tunnel | None,
    ) -> None:
        self.client = client
        self.inlet = inlet
        self.origin = origin
        self.journal = journal
        self.connection = connection
        self.scheme = scheme
        self.tunnel = tunnel

    def problem(self, what: str, detail: str, data: bytes = b"", exchange: int = 0) -> None:
        """A PROBLEM event."""
        fields = {"what": what, "detail": detail}
        self.journal.write(NetworkType.PROBLEM, fields, data, connection=self.connection, exchange=exchange)


class _Gone(Exception):
    """The client is gone: nothing more can be said to it."""


class Exchange:
    """``run`` it once. ``uploaded``: the request's body was read to its end."""

    def __init__(self, front: Front, head: RequestHead, framing: Framing) -> None:
        self.front = front
        self.head = head
        self.framing = framing
        self.log = ExchangeLog(front.journal, front.connection)
        self.body: Body = body_of(framing, front.inlet)
        self.answering: Answering | None = None
        self.uploaded = self.body.done
        self._request_ended = self._response_ended = False
        self._fault: OriginFailed | None = None  # the request's own, found while its body came
        self._gone = False
        self._upload: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> bool:
        """Returns whether the connection can take another request."""
        front = self.front
        self.log.request(self.head)
        front.inlet.on_end = self._client_ended
        if front.inlet.ended:
            self._client_ended(front.inlet.reset is not None)
        try:
            return await self._carry()
        except (_Gone, StreamReset):
            self._end_request(GONE)
            self._end_response(GONE)
            front.inlet.fail()
            return False
        finally:
            front.inlet.on_end = None
            await self._stop()

    async def _carry(self) -> bool:
        try:
            self.answering = await self.front.origin.open(self.head)
        except OriginFailed as failure:
            return await self._refuse(failure, unopened=True)
        try:
            if self._gone:
                raise _Gone
            await self._begin_upload(self.answering)
            head = await self._final_head(self.answering)
        except OriginFailed as failure:
            return await self._refuse(self._fault or failure)
        if head.status == 101 or (head.status < 300 and self.head.method == b"CONNECT"):
            return await self._switch(head, self.answering)
        keep = await self._download(head, self.answering)
        if self._upload is not None and keep:
            await self._upload
        return keep and self.uploaded and not self._gone and self._fault is None

    async def _stop(self) -> None:
        """Leave nothing running, and nothing open that is in doubt."""
        if self._timer is not None:
            self._timer.cancel()
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
            await asyncio.wait((self._upload,))
        if not self._request_ended:
            self._end_request("" if self.uploaded else "The exchange ended before the request was complete.")
        if not self._response_ended:
            self._end_response("The exchange was given up.")
        if self.answering is not None:
            self.answering.abort()  # no effect on one that is complete
        if self._upload is not None and not self._upload.cancelled():
            self._upload.result()  # the journal's error, if there was one

    def _client_ended(self, reset: bool) -> None:
        if reset:
            self._client_gone()
        elif self.front.scheme == "https" and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HALF_CLOSED_S, self._client_gone)

    def _client_gone(self) -> None:
        self._gone = True
        if self.answering is not None:
            self.answering.abort()

    # ---- up

    async def _begin_upload(self, answering: Answering) -> None:
        body = self.body
        if not body.done and isinstance(body, LengthBody) and body.left <= min(AT_ONCE, len(body.inlet.buffer)):
            piece = body.take()
            assert piece is not None
            self.log.body(UP, piece[0])
            self.uploaded = True
            self._end_request()
            with contextlib.suppress(OriginFailed):  # the answer may be there nevertheless; ``head`` knows
                await answering.send(piece[0])
                await answering.finish([])
        elif body.done:
            self.uploaded = True
            self._end_request()
            await answering.finish([])
        else:
            self._upload = asyncio.get_running_loop().create_task(self._send_body(answering))

    async def _send_body(self, answering: Answering) -> None:
        """Raises only what the journal raises."""
        try:
            await self._send_pieces(answering)
        except Exception:
            answering.abort()
            raise

    async def _send_pieces(self, answering: Answering) -> None:
        body = self.body
        send_wire: Callable[[bytes], Awaitable[None]] | None = getattr(answering, "send_wire", None)
        try:
            while not body.done:
                data, wire = body.take() or await body.next()
                if data:
                    self.log.body(UP, data)
                if send_wire is not None:
                    await send_wire(wire)
                else:
                    await answering.send(data)
            await answering.finish(body.trailers)
            self.uploaded = True
            self._end_request()
        except BadMessage as error:
            detail = f"The request's body is not valid HTTP/1: {error.detail}."
            self._fault = OriginFailed(400, detail)
            self.front.problem("request refused", detail, exchange=self.log.number)
            self._end_request(detail)
            answering.abort()
        except (CutShort, StreamReset):
            self._gone = True
            self._end_request("The program closed the connection before its request was complete.")
            answering.abort()
        except OriginFailed as failure:  # the answer may be there nevertheless; who reads it finds out
            self._end_request(failure.reason)

    def _end_request(self, error: str = "") -> None:
        if not self._request_ended:
            self._request_ended = True
            self.log.end(UP, self.body.trailers, error)

    # ---- down

    async def _final_head(self, answering: Answering) -> ResponseHead:
        """Passes the informational ones on."""
        while True:
            head = await answering.head()
            if head.status >= 200 or head.status == 101:
                return head
            try:
                raw = head.raw or build_response(head, self.head.method, self.head.version)[0]
            except BadMessage as error:
                raise OriginFailed(502, f"The server's answer cannot be passed on: {error.detail}.") from error
            self.log.response(head)
            self.front.client.write(raw)
            await self.front.client.drain()

    async def _download(self, head: ResponseHead, answering: Answering) -> bool:
        """The final answer. Returns whether both sides would keep the connection."""
        method = self.head.method
        try:
            if head.raw:
                raw, framing = head.raw, framing_of(head)
                if bodiless(method, head.status):
                    framing.length, framing.chunked = 0, False
            else:
                raw, framing = build_response(head, method, self.head.version)
        except BadMessage as error:
            return await self._refuse(OriginFailed(502, f"The server's answer cannot be passed on: {error.detail}."))
        endless = framing.length is None and not framing.chunked
        self.log.response(head)
        try:
            take_wire = getattr(answering, "take_wire", None) if head.raw else None
            if take_wire is not None:
                await self._pass_wire(raw, answering, take_wire)
            else:
                await self._pass_data(raw, answering, framing)
        except OriginFailed as failure:
            if self._gone:
                raise _Gone from failure
            await self._break_off(failure.reason, endless)
            return False
        self._end_response(trailers=answering.trailers())
        if endless and getattr(answering, "truncated", False):
            truncate = getattr(self.front.client, "truncate", None)
            if truncate is not None:  # TLS: the server left without a word, and so do we
                truncate()
        return framing.keep and self.framing.keep and not endless and (bool(head.raw) or self.head.version != "1.0")

    async def _pass_wire(self, raw: bytes, answering: Any, take: Callable[[], Piece | None]) -> None:
        """Bytes as they came from an HTTP/1 server, which were checked; ``raw`` is the head, not yet sent."""
        client = self.front.client
        try:
            while True:
                piece = take()
                if piece is None:
                    if raw:
                        client.write(raw)
                        raw = b""
                        await client.drain()
                    piece = await answering.read_wire()
                data, wire = piece
                if not wire:
                    break
                if data:
                    self.log.body(DOWN, data)
                client.write(raw + wire if raw else wire)
                raw = b""
                await client.drain()
        finally:
            if raw:
                client.write(raw)
        await client.drain()

    async def _pass_data(self, raw: bytes, answering: Answering, framing: Framing) -> None:
        """From an origin that gives the body alone."""
        client = self.front.client
        left = framing.length
        client.write(raw)
        await client.drain()
        silent = bodiless(self.head.method, 200) or left == 0
        while data := await answering.read():
            if silent:
                continue
            self.log.body(DOWN, data)
            if left is not None:
                left -= len(data)
                if left < 0:
                    raise OriginFailed(502, "The answer's body is longer than its Content-Length.")
            client.write(b"%x\r\n%b\r\n" % (len(data), data) if framing.chunked else data)
            await client.drain()
        if left:
            raise OriginFailed(502, "The answer's body is shorter than its Content-Length.")
        if framing.chunked:
            try:
                client.write(b"0\r\n%b\r\n" % build_fields(answering.trailers()))
            except BadMessage as error:
                raise OriginFailed(502, f"The answer's trailers cannot be passed on: {error.detail}.") from error
            await client.drain()

    async def _break_off(self, reason: str, endless: bool) -> None:
        """The answer broke off: the client must see that it is not whole."""
        self._end_response(reason)
        if endless:  # an orderly end would look like the end of the body
            self.front.inlet.fail()
        else:
            await self.front.client.close()

    async def _refuse(self, failure: OriginFailed, *, unopened: bool = False) -> bool:
        """Nothing was answered yet: say why there will be no answer. The connection ends.

        ``unopened``: the request went nowhere. What the program would have sent is of interest all the same: as much of it as comes soon
        is noted.
        """
        if self._gone:
            raise _Gone
        if self.answering is not None:
            self.answering.abort()
        answer = RefusalAnswer(failure, self.head)
        if unopened:
            await self._begin_upload(answer)
        head = await answer.head()
        raw, framing = build_response(head, self.head.method, self.head.version)
        self.log.response(head)
        await self._pass_data(raw, answer, framing)
        self._end_response()
        if unopened and self._upload is not None:
            self.front.client.write_eof()
            await asyncio.wait((self._upload,), timeout=LINGER_S)
        return False

    def _end_response(self, error: str = "", trailers: list[tuple[bytes, bytes]] | None = None) -> None:
        if not self._response_ended:
            self._response_ended = True
            self.log.end(DOWN, trailers or (), error)

    # ---- another protocol from here on

    async def _switch(self, head: ResponseHead, answering: Answering) -> bool:
        front = self.front
        if head.status == 101 and not self.framing.upgrade:
            front.problem("answer refused", "The server switched protocols unasked.", exchange=self.log.number)
            return await self._refuse(OriginFailed(502, "The server switched to another protocol although nobody asked for it."))
        if self._upload is not None:
            await self._upload
        raw = head.raw or build_response(head, self.head.method, self.head.version)[0]
        self.log.response(head)
        front.inlet.on_end = None
        front.client.write(raw)
        await front.client.drain()
        upstream = await answering.upgraded()
        client = InletStream(front.inlet)
        if head.status != 101 and front.tunnel is not None:
            self._end_response()
            await front.tunnel(client, upstream, self.head)
            return False
        error = await splice(client, upstream, self._observer(head))
        self._end_response(error)
        return False

    def _observer(self, head: ResponseHead) -> Observer:
        front = self.front
        unseen = opaque(front.journal, front.connection, self.log.number, keep=front.scheme == "https")
        if head.status == 101 and header(head.headers, b"upgrade").lower() == b"websocket":
            from sentra_sandbox.network.websocket import WebSocketObserver

            return WebSocketObserver(self.log, header(head.headers, b"sec-websocket-extensions"), unseen)
        return unseen
