"""HTTP/1 towards the program: ``serve`` reads its requests one after the other and answers each from an ``Origin``.

Requests are answered in order, also when several come at once; the next one is not read before the one before it is over. What is not
HTTP/1, or has more than
one meaning, is refused with 400 and the connection ends. ``http1_exchange`` does one exchange, ``http1_heads`` says what is refused.
"""

from __future__ import annotations

import asyncio
import contextlib

from sentra_sandbox.network.exchange import Origin, OriginFailed, RequestHead
from sentra_sandbox.network.http1_exchange import LINGER_S, Exchange, Front, Tunnel
from sentra_sandbox.network.http1_heads import MAX_HEAD, BadMessage, Framing, check_part, parse_request, reason_of, request_line
from sentra_sandbox.network.http1_origin import ConnectionStale, Http1Answering, Http1Origin
from sentra_sandbox.network.inlet import READ_AHEAD, Inlet
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.refusal import as_text
from sentra_sandbox.network.stream import Stream, StreamReset

__all__ = ["ConnectionStale", "Http1Answering", "Http1Origin", "Tunnel", "serve"]

LINGER_BYTES = 16 * 1024 * 1024
_KEPT_OF_BAD_HEAD = 4096


async def serve(
    client: Stream, origin: Origin, journal: Journal, connection: int, scheme: str, *, tunnel: Tunnel | None = None
) -> None:
    """Carry the exchanges of one connection until it ends; then the client's stream and the origin are closed.

    ``scheme``: ``http`` or ``https``, what the program thinks it speaks. ``tunnel(client, upstream, head)`` gets both inner streams after
    an origin said yes to
    CONNECT, and returns when the connection is over; without it the bytes are passed on as they are. Raises only what the journal raises.
    """
    front = Front(client, Inlet(client), origin, journal, connection, scheme, tunnel)
    try:
        while (request := await _next_request(front)) is not None:
            exchange = Exchange(front, *request)
            if not await exchange.run():
                if not exchange.uploaded:
                    await _linger(front)
                break
            del exchange, request  # an idle connection holds nothing
    except StreamReset:
        pass
    finally:
        await origin.close()
        await front.inlet.stop()
        await client.close()


async def _next_request(front: Front) -> tuple[RequestHead, Framing] | None:
    """None when there is no further one. A bad one is refused here. Raises ``StreamReset``."""
    inlet = front.inlet
    buffer = inlet.buffer
    seen = 0
    try:
        while True:
            if buffer.startswith(b"\r\n") and not seen:
                inlet.take(2)  # old clients end a body with an empty line of their own (RFC 9112, 2.2)
            end = buffer.find(b"\r\n\r\n", max(seen - 3, 0))
            if 0 <= end <= MAX_HEAD - 4:
                head, framing = parse_request(raw := inlet.take(end + 4), front.scheme)
                if head.method == b"CONNECT" and head.length != 0:
                    buffer[:0] = raw
                    raise BadMessage("CONNECT with a body")
                return head, framing
            if len(buffer) > 2 or (buffer and buffer != b"\r\n"[: len(buffer)]):
                check_part(buffer, request_line, seen)
                seen = len(buffer)
            if not await inlet.more():
                if buffer:
                    raise BadMessage("the connection ended in the middle of a head")
                return None
    except BadMessage as error:
        await _refuse(front, error)
        return None


async def _refuse(front: Front, error: BadMessage) -> None:
    """Answer what was no request. The connection ends."""
    front.problem("request refused", f"Not a valid HTTP/1 request: {error.detail}.", bytes(front.inlet.buffer[:_KEPT_OF_BAD_HEAD]))
    body = as_text(OriginFailed(error.status, f"The request is not valid HTTP/1: {error.detail}."))
    front.client.write(
        b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nServer: sentra-sandbox\r\n"
        b"Connection: close\r\n\r\n%b" % (error.status, reason_of(error.status), len(body), body)
    )
    await front.client.drain()
    await _linger(front)


async def _linger(front: Front) -> None:
    """Take and drop what the client still sends, for a while: to close with unread bytes would be a reset, which could overtake the
    answer."""
    front.client.write_eof()

    async def discard() -> None:
        left = LINGER_BYTES
        while left > 0:
            left -= len(front.inlet.take(READ_AHEAD))
            if not front.inlet.buffer and not await front.inlet.more():
                return

    with contextlib.suppress(asyncio.TimeoutError, StreamReset):
        await asyncio.wait_for(discard(), LINGER_S)
