"""``TcpStream``: a connected TCP socket as a ``Stream``, with every ending told apart.

It works on the socket itself, not on an asyncio transport: nothing is read before somebody asks for it (so a slow reader
holds the sender up, and an idle connection holds no buffer), a FIN goes on as a FIN and a reset as a reset, and the
socket can be taken out whole (``take_socket``) for forwarding. What has been written and not yet sent is held as it was
given; ``drain`` is what bounds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque

from sentra_sandbox.network.stream import StreamReset

SENT_ENOUGH = 64 * 1024  # ``drain`` returns once no more than this is queued
_READS_IN_A_ROW = 16  # then others have their turn
_FLUSH_S = 10.0  # ``close`` gives a peer that does not read this long
_LINGER_S = 2.0  # and then takes what it still sends for this long: closing with unread bytes would be a reset
_LINGER_BYTES = 1 << 20
_RESET = struct.pack("ii", 1, 0)


class TcpStream:
    """One connected, non-blocking TCP socket, owned by this object.

    ``received`` and ``sent`` count bytes; ``ended`` is how the peer ended (``end``, ``reset``, or "" so far) and
    ``ended_at`` when (``time.monotonic``).
    """

    __slots__ = (
        "_aborted",
        "_closed",
        "_drainers",
        "_eof_wanted",
        "_limit",
        "_loop",
        "_plenty",
        "_queue",
        "_queued",
        "_reading",
        "_reads",
        "_socket",
        "_unread",
        "_waiter",
        "_writing",
        "ended",
        "ended_at",
        "received",
        "sent",
    )

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._waiter: asyncio.Future[bytes] | None = None
        self._limit = 0
        self._reads = 0
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._drainers: list[tuple[int, asyncio.Future[None]]] = []
        self._plenty = False  # the last read was filled: there may well be more already
        self._reading = self._writing = self._eof_wanted = self._aborted = self._closed = False
        self.received = self.sent = 0
        self.ended = ""
        self.ended_at = 0.0

    # ---- reading

    async def read(self, limit: int = 65536) -> bytes:
        """See ``Stream``."""
        if self._unread:
            data, self._unread = self._unread[:limit], self._unread[limit:]
            return data
        self._reads += 1
        if self._reads > _READS_IN_A_ROW:
            self._reads = 0
            await asyncio.sleep(0)
        if not self._reading or self._plenty or self.ended or self._aborted:
            there = self._receive(limit)
            if there is not None:
                self._plenty = len(there) == limit
                return there
        self._reads = 0
        data = await self._wait(limit)
        self._plenty = len(data) == limit
        return data

    def _receive(self, limit: int) -> bytes | None:
        """What is there now; ``None``: nothing yet."""
        if self._aborted or self._closed or self.ended == "reset":
            raise StreamReset("the connection was reset")
        if self.ended:
            return b""
        try:
            data = self._socket.recv(limit)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self._lost()
            raise StreamReset(str(error)) from error
        self.received += len(data)
        if not data:
            self._note_end("end")
        return data

    async def _wait(self, limit: int) -> bytes:
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        self._waiter = waiter
        self._limit = limit
        if not self._reading:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
            self._reading = True
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.unread(waiter.result())  # it came in the same moment
            raise
        finally:
            self._waiter = None

    def _on_readable(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._stop_reading()  # nobody asks: let it wait in the kernel
            return
        try:
            data = self._receive(self._limit)
        except StreamReset as error:
            self._stop_reading()
            if not waiter.done():  # losing the connection tells who waits
                waiter.set_exception(error)
            return
        if data is None:
            return
        if not data:
            self._stop_reading()  # an end stays readable for ever
        waiter.set_result(data)

    def _stop_reading(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._socket.fileno())
            self._reading = False

    async def wait_readable(self) -> bytes:
        """Wait for bytes or the end without taking them: returns what the next ``read`` will begin with, ``b""`` at the end."""
        if not self._unread:
            self.unread(await self.read())
        return self._unread

    async def read_more(self) -> bytes:
        """Like ``wait_readable``, but waits for more than what was there already. Raises ``StreamReset``."""
        held, self._unread = self._unread, b""
        try:
            self._unread = await self.read()
        finally:
            self._unread = held + self._unread
        return self._unread

    def unread(self, data: bytes) -> None:
        """See ``Stream``."""
        self._unread = data + self._unread

    # ---- writing

    def write(self, data: bytes) -> None:
        """See ``Stream``."""
        if self._aborted or self._closed or self.ended == "reset" or not data:
            return
        if not self._queue:
            sent = self._send(memoryview(data))
            if sent < 0 or sent == len(data):
                return
            data = data[sent:]
        self._queue.append(memoryview(data))
        self._queued += len(data)
        self._start_writing()

    def _send(self, data: memoryview) -> int:
        """Bytes that went out; -1: the connection is lost."""
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._lost()
            return -1
        self.sent += sent
        return sent

    def _start_writing(self) -> None:
        if not self._writing:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
            self._writing = True

    def _stop_writing(self) -> None:
        if self._writing:
            self._loop.remove_writer(self._socket.fileno())
            self._writing = False

    def _on_writable(self) -> None:
        while self._queue:
            piece = self._queue[0]
            sent = self._send(piece)
            if sent < 0:
                return
            self._queued -= sent
            if sent < len(piece):
                self._queue[0] = piece[sent:]
                break
            self._queue.popleft()
        if not self._queue:
            self._stop_writing()
            if self._eof_wanted:
                self._shutdown()
        self._wake_drainers()

    def _wake_drainers(self) -> None:
        gone = self._aborted or self.ended == "reset"
        left = []
        for enough, waiter in self._drainers:
            if waiter.done():
                continue
            if gone:
                waiter.set_exception(StreamReset("the connection was reset"))
            elif self._queued <= enough:
                waiter.set_result(None)
            else:
                left.append((enough, waiter))
        self._drainers = left

    async def drain(self) -> None:
        """See ``Stream``."""
        await self._drain_to(SENT_ENOUGH)

    async def _drain_to(self, enough: int) -> None:
        if self._aborted or self.ended == "reset":
            raise StreamReset("the connection was reset")
        if self._queued <= enough:
            return
        waiter = self._loop.create_future()
        self._drainers.append((enough, waiter))
        await waiter

    def write_eof(self) -> None:
        """See ``Stream``."""
        if self._eof_wanted or self._aborted or self._closed:
            return
        self._eof_wanted = True
        if not self._queue:
            self._shutdown()

    def _shutdown(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    # ---- the end

    def _note_end(self, how: str) -> None:
        if self.ended != "reset":
            self.ended_at = self.ended_at or time.monotonic()
            self.ended = how

    def _lost(self) -> None:
        """The other side is gone."""
        self._note_end("reset")
        self._forget()

    def _forget(self) -> None:
        """No more events from this socket; who waits is told."""
        self._stop_reading()
        self._stop_writing()
        self._queue.clear()
        self._queued = 0
        self._wake_drainers()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(StreamReset("the connection was reset"))

    def abort(self) -> None:
        """See ``Stream``: a TCP reset."""
        if self._aborted or self._closed:
            return
        self._aborted = True
        self._forget()
        reset_socket(self._socket)

    async def close(self) -> None:
        """See ``Stream``. A peer that does not take what is queued is reset after a while."""
        if self._closed or self._aborted:
            return
        try:
            await asyncio.wait_for(self._drain_to(0), _FLUSH_S)
        except (StreamReset, asyncio.TimeoutError):
            self.abort()
            return
        except asyncio.CancelledError:
            self.abort()
            raise
        if self._closed or self._aborted:
            return
        self.write_eof()
        self._closed = True
        self._forget()
        if self.ended:
            self._socket.close()
        else:
            _Lingering(self._loop, self._socket)

    def take_socket(self) -> tuple[socket.socket, bytes, bytes]:
        """Give the socket away: it, the bytes that were given back or not read, the bytes not yet sent. The stream is over then."""
        self._stop_reading()
        self._stop_writing()
        queued = b"".join(self._queue)
        self._queue.clear()
        self._closed = True
        return self._socket, self._unread, queued

    def fileno(self) -> int:
        """Of the socket; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def local(self) -> tuple[str, int]:
        """This end's address and port."""
        return _address(self._socket.getsockname())

    @property
    def peer(self) -> tuple[str, int]:
        """The other end's address and port."""
        return _address(self._socket.getpeername())

    @property
    def wants_eof(self) -> bool:
        """``write_eof`` was called."""
        return self._eof_wanted


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    return name[0], name[1]


def reset_socket(connected: socket.socket) -> None:
    """Close with a reset instead of a FIN."""
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connected.close()


class _Lingering:
    """Takes and drops what a peer still sends after our FIN, for a while: else it could lose what we sent it last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: socket.socket) -> None:
        self._loop = loop
        self._socket = connected
        self._left = _LINGER_BYTES
        self._timer = loop.call_later(_LINGER_S, self._end)
        loop.add_reader(connected.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._left -= len(data)
        if not data or self._left < 0:
            self._end()

    def _end(self) -> None:
        self._timer.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
