"""Who speaks first on a connection, and what: decides how it is carried. Takes no bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Literal, Protocol

from sentra_sandbox.network.sniff import sniff
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.network.upstream import ConnectFailed

Speaker = Literal["tls", "http1", "http2", "opaque", "server", "failed"]
UNCLEAR_S = 3.0  # so long an unfinished first line may stay unfinished
_FAILED_WAIT_S = 1.0  # a client may speak so long after the server turned out to be unreachable


class Peekable(Protocol):
    """A stream whose next bytes can be seen without being taken, and where giving the wait up loses nothing."""

    async def wait_readable(self) -> bytes:
        """The bytes that come next, ``b""`` at the end. Raises ``StreamReset``."""
        ...

    async def read_more(self) -> bytes:
        """The same, once there are more than before or the end has come."""
        ...


class Peeking:
    """Makes any stream ``Peekable``: a read that was begun is never given up, the next ``read`` gets what it brings. A ``Stream``."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[bytes] | None = None
        self._unread = b""

    async def wait_readable(self) -> bytes:
        """See ``Peekable``."""
        return self._unread or await self.read_more()

    async def read_more(self) -> bytes:
        """See ``Peekable``."""
        self._unread += await self._next(65536)
        return self._unread

    async def _next(self, limit: int) -> bytes:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._stream.read(limit))
        data = await asyncio.shield(self._reading)
        self._reading = None
        return data

    async def read(self, limit: int = 65536) -> bytes:
        """See ``Stream``."""
        if not self._unread:
            if self._reading is None:
                return await self._stream.read(limit)
            self._unread = await self._next(limit)
        data, self._unread = self._unread[:limit], self._unread[limit:]
        return data

    def unread(self, data: bytes) -> None:
        """See ``Stream``."""
        self._unread = data + self._unread

    def write(self, data: bytes) -> None:
        """See ``Stream``."""
        self._stream.write(data)

    async def drain(self) -> None:
        """See ``Stream``."""
        await self._stream.drain()

    def write_eof(self) -> None:
        """See ``Stream``."""
        self._stream.write_eof()

    def abort(self) -> None:
        """See ``Stream``."""
        self._stop_reading()
        self._stream.abort()

    async def close(self) -> None:
        """See ``Stream``."""
        self._stop_reading()
        await self._stream.close()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading.add_done_callback(_retrieve)
            self._reading = None


def _retrieve(task: asyncio.Task[bytes]) -> None:
    if not task.cancelled():
        task.exception()


async def who_speaks(client: Peekable, connecting: Awaitable[Peekable] | None) -> Speaker:
    """Wait for the first bytes of either side.

    ``connecting``: the other side, when it is there (``None``: there is none). ``failed``: it could not be reached, and the client said
    nothing that it could be told in. ``server``: it spoke, or ended, first. Raises ``StreamReset`` if the client is gone.
    """
    loop = asyncio.get_running_loop()
    from_client: asyncio.Future[Any] = asyncio.ensure_future(client.wait_readable())
    from_server: asyncio.Future[Any] | None = None
    server = asyncio.ensure_future(connecting) if connecting is not None else None
    unclear_until = failed_until = 0.0
    try:
        while True:
            waiting = {each for each in (from_client, from_server, server) if each is not None}
            until = unclear_until or failed_until
            timeout = max(0.0, until - loop.time()) if until else None
            done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return "opaque" if unclear_until else "failed"
            if from_client in done:
                seen = from_client.result()
                kind = sniff(seen) if seen else "opaque"
                if kind is not None:
                    return kind
                unclear_until = unclear_until or loop.time() + UNCLEAR_S
                from_client = asyncio.ensure_future(_more(client, len(seen)))
            if from_server is not None and from_server in done:
                _ = from_server.exception()  # a reset is carried on by whoever reads it
                return "server"
            if server is not None and server in done:
                if server.exception() is None:
                    from_server = asyncio.ensure_future(server.result().wait_readable())
                elif isinstance(server.exception(), ConnectFailed):
                    failed_until = loop.time() + _FAILED_WAIT_S
                else:
                    await server
                server = None
    finally:
        for each in (from_client, from_server):
            if each is not None and not each.done():
                each.cancel()
                await asyncio.gather(each, return_exceptions=True)
            elif each is not None and not each.cancelled():
                each.exception()


async def _more(client: Peekable, had: int) -> bytes:
    """What there is once there is more; at the end, which brings no more, it is what it is."""
    seen = await client.read_more()
    return seen if len(seen) > had else b""


__all__ = ["Peekable", "Peeking", "Speaker", "StreamReset", "who_speaks"]
