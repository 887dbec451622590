"""Reading ahead on a stream: what a parser of messages needs, and the news that the other side has gone.

One task per stream reads as long as little is waiting, so that a reset is seen at once also while nobody asks for bytes. Memory is
bounded: ``READ_AHEAD`` bytes
wait at most, unless somebody who waits for more asks for more (a long head), who then sets his own bound.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sentra_sandbox.network.stream import Stream, StreamReset

READ_AHEAD = 64 * 1024


class Inlet:
    """``buffer``: what has come and is not taken; take from its front. ``ended``: nothing more will come. ``on_end`` is called once at the
    end, with
    True if it was a reset.
    """

    __slots__ = ("_loop", "_room", "_task", "_waiter", "buffer", "ended", "on_end", "reset", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.buffer = bytearray()
        self.ended = False
        self.reset: StreamReset | None = None
        self.on_end: Callable[[bool], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    async def more(self) -> bool:
        """Wait until the buffer has grown; False at the end. Raises ``StreamReset``."""
        if self.reset is not None:
            raise self.reset
        if self.ended:
            return False
        before = len(self.buffer)
        self.make_room()
        while len(self.buffer) == before and not self.ended:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if len(self.buffer) > before:
            return True
        if self.reset is not None:
            raise self.reset
        return False

    def take(self, count: int) -> bytes:
        """Up to ``count`` bytes of what waits."""
        buffer = self.buffer
        if count >= len(buffer):
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(buffer[:count])
            del buffer[:count]
        if self._room is not None and len(buffer) < READ_AHEAD:
            self.make_room()
        return data

    def make_room(self) -> None:
        """Let the reading go on although much is waiting."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def fail(self) -> None:
        """Abort the stream: whoever waits, now or later, gets ``StreamReset``."""
        self.on_end = None
        if self.reset is None:
            self.reset = StreamReset("The connection was aborted.")
        self.ended = True
        self.buffer.clear()
        self.stream.abort()
        self._task.cancel()
        self._wake()

    async def stop(self) -> None:
        """Read no more; the stream is the caller's again, without what the buffer holds."""
        self.on_end = None
        self.ended = True
        if not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((self._task,))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _run(self) -> None:
        read = self.stream.read
        buffer = self.buffer
        try:
            while data := await read():
                buffer += data
                data = b""  # an idle connection holds nothing
                waiter = self._waiter
                if waiter is not None:
                    if not waiter.done():
                        waiter.set_result(None)
                elif len(buffer) >= READ_AHEAD:
                    self._room = self._loop.create_future()
                    try:
                        await self._room
                    finally:
                        self._room = None
        except StreamReset as error:
            self.reset = error
        except Exception as error:  # whatever it was: who waits must not wait for ever, nor take it for an end
            self.reset = StreamReset(str(error))
            raise
        finally:
            self.ended = True
            self._wake()
        if self.on_end is not None:
            self.on_end(self.reset is not None)


class InletStream:
    """A stream whose reading an inlet has begun: what became of a connection after an upgrade. A ``Stream``."""

    __slots__ = ("inlet", "stream")

    def __init__(self, inlet: Inlet) -> None:
        self.inlet = inlet
        self.stream = inlet.stream

    async def read(self, limit: int = 65536) -> bytes:
        if not self.inlet.buffer:
            await self.inlet.more()
        return self.inlet.take(limit)

    def unread(self, data: bytes) -> None:
        self.inlet.buffer[:0] = data

    def write(self, data: bytes) -> None:
        self.stream.write(data)

    async def drain(self) -> None:
        await self.stream.drain()

    def write_eof(self) -> None:
        self.stream.write_eof()

    @property
    def truncated(self) -> bool:
        """As of a ``TlsStream``."""
        return bool(getattr(self.stream, "truncated", False))

    def truncate(self) -> None:
        """As of a ``TlsStream``; the end of our direction elsewhere."""
        getattr(self.stream, "truncate", self.stream.write_eof)()

    def abort(self) -> None:
        self.inlet.fail()

    async def close(self) -> None:
        await self.inlet.stop()
        await self.stream.close()
