"""Carrying a connection's bytes unread from one side to the other: exact in bytes, half-closes and resets.

``forward_sockets`` is the fast way, for two TCP sockets: callbacks of the event loop, one buffer for all connections, and
no bytes held for a connection unless its target is slow. ``relay`` does the same for any two streams (inside TLS).
``Tally`` writes what passed into the journal, many pieces in one event.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.network.tcp_stream import TcpStream, reset_socket
from sentra_sandbox.trace.network_events import Direction, Flag, NetworkType

BUFFER_BYTES = 256 * 1024
_READS_IN_A_ROW = 4  # of one direction, before others have their turn
_EVENT_BYTES = 1 << 20  # one DATA event stands for about so much, or for
_EVENT_S = 0.05  # this time

Side = Literal["client", "server", "broker"]


@dataclass(frozen=True, slots=True)
class Ending:
    """Who ended a connection first, and how (``end``, ``reset``, ``timeout``, ``refused``, ``error``)."""

    by: Side
    how: str
    error: str = ""


class Tally:
    """Counts a connection's bytes and writes DATA events for them: at most one for each direction in ``_EVENT_S``, or per MiB.

    ``keep``: the bytes themselves go into the journal at once (what passes is not in the program's own calls, since TLS was taken off).
    """

    def __init__(self, journal: Journal, connection: int, *, keep: bool = False) -> None:
        self._journal = journal
        self._connection = connection
        self._keep = keep
        self._sizes = [0, 0]
        self._since = [0, 0]
        self._timer: asyncio.TimerHandle | None = None

    def add(self, direction: int, size: int) -> None:
        """``size`` bytes passed."""
        if not self._sizes[direction]:
            self._since[direction] = time.monotonic_ns()
        self._sizes[direction] += size
        if self._sizes[direction] >= _EVENT_BYTES:
            self._write(direction)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVENT_S, self.flush)

    def pass_on(self, direction: int, data: bytes) -> None:
        """These bytes passed."""
        if self._keep:
            self._journal.write(NetworkType.DATA, None, data, connection=self._connection, direction=direction)
        else:
            self.add(direction, len(data))

    def flush(self) -> None:
        """Write what was not written yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for direction in sorted((0, 1), key=self._since.__getitem__):
            if self._sizes[direction]:
                self._write(direction)

    def _write(self, direction: int) -> None:
        self._journal.write(
            NetworkType.DATA,
            connection=self._connection,
            direction=direction,
            flags=Flag.NO_BYTES,
            size=self._sizes[direction],
            duration_ns=time.monotonic_ns() - self._since[direction],
        )
        self._sizes[direction] = 0


async def forward_sockets(client: TcpStream, server: TcpStream, tally: Tally) -> Ending:
    """Carry everything between two sockets until both directions have ended or one side is reset. Both are closed afterwards."""
    forwarding = _Forwarding(client, server, tally)
    try:
        return await forwarding.finished
    finally:
        forwarding.end()
        client.received += forwarding.up.taken
        server.received += forwarding.down.taken
        client.sent += forwarding.down.given
        server.sent += forwarding.up.given
        tally.flush()


_buffer = memoryview(b"")


def _shared_buffer() -> memoryview:
    """One for the process: what is read is sent or copied before anything else runs."""
    global _buffer
    if not _buffer:
        _buffer = memoryview(bytearray(BUFFER_BYTES))
    return _buffer


class _Forwarding:
    """Two ways, and how the first of them ended."""

    def __init__(self, client: TcpStream, server: TcpStream, tally: Tally) -> None:
        loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[Ending] = loop.create_future()
        self._first: Ending | None = None
        from_client, to_server, to_client_before = client.take_socket()
        from_server, to_client, to_server_before = server.take_socket()
        self.sockets = (from_client, from_server)
        self.up = _Way(self, loop, "client", from_client, from_server, Direction.TO_SERVER, tally)
        self.down = _Way(self, loop, "server", from_server, from_client, Direction.TO_CLIENT, tally)
        # read before (counted then), and what was queued towards the same side before that
        self.up.start(to_server_before, to_server, ended=bool(client.ended))
        self.down.start(to_client_before, to_client, ended=bool(server.ended))

    def way_ended(self, way: _Way) -> None:
        if self._first is None:
            self._first = Ending(way.side, "end")
        if self.up.ended and self.down.ended and not self.finished.done():
            self.finished.set_result(self._first)

    def broken(self, side: Side) -> None:
        """One side's socket failed: the other gets the reset."""
        if not self.finished.done():
            self.finished.set_result(Ending(side, "reset"))
        self.end()

    def end(self) -> None:
        for way in (self.up, self.down):
            way.stop()
        clean = self.up.ended and self.down.ended
        for each in self.sockets:
            if clean:
                each.close()
            elif each.fileno() >= 0:
                reset_socket(each)


class _Way:
    """One direction: reads while the target takes it, else waits with what is left over."""

    __slots__ = ("_direction", "_left", "_loop", "_owner", "_source", "_tally", "_target", "ended", "given", "side", "taken")

    def __init__(
        self,
        owner: _Forwarding,
        loop: asyncio.AbstractEventLoop,
        side: Side,
        source: socket.socket,
        target: socket.socket,
        direction: int,
        tally: Tally,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self.side: Side = side
        self._source = source
        self._target = target
        self._direction = direction
        self._tally = tally
        self._left = memoryview(b"")
        self.taken = self.given = 0
        self.ended = False

    def start(self, queued: bytes, unread: bytes, *, ended: bool) -> None:
        if unread:
            self._tally.add(self._direction, len(unread))
        self._left = memoryview(queued + unread)
        if ended:
            self._loop.call_soon(self._flush_then_end)
        elif self._left:
            self._loop.add_writer(self._target.fileno(), self._on_writable)
        else:
            self._loop.add_reader(self._source.fileno(), self._on_readable)

    def _flush_then_end(self) -> None:
        """The source had ended before we began."""
        if self._source.fileno() < 0 or self._target.fileno() < 0:
            return
        if self._left:
            self._loop.add_writer(self._target.fileno(), self._on_writable_then_end)
        else:
            self._end()

    def _on_writable_then_end(self) -> None:
        if self._send_left():
            self._loop.remove_writer(self._target.fileno())
            self._end()

    def _on_readable(self) -> None:
        buffer = _shared_buffer()
        for _ in range(_READS_IN_A_ROW):
            try:
                count = self._source.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._owner.broken(self.side)
                return
            if not count:
                self._end()
                return
            self.taken += count
            self._tally.add(self._direction, count)
            sent = self._send(buffer[:count])
            if sent < 0:
                return
            if sent < count:
                self._left = memoryview(bytes(buffer[sent:count]))
                self._loop.remove_reader(self._source.fileno())
                self._loop.add_writer(self._target.fileno(), self._on_writable)
                return

    def _on_writable(self) -> None:
        if self._send_left():
            self._loop.remove_writer(self._target.fileno())
            self._loop.add_reader(self._source.fileno(), self._on_readable)

    def _send_left(self) -> bool:
        """Whether nothing is left over."""
        sent = self._send(self._left)
        if sent < 0:
            return False
        self._left = self._left[sent:]
        return not self._left

    def _send(self, data: memoryview) -> int:
        """Bytes that went out; -1: the target is gone and all has been ended."""
        try:
            sent = self._target.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._owner.broken("server" if self.side == "client" else "client")
            return -1
        self.given += sent
        return sent

    def _end(self) -> None:
        """The source's FIN goes on."""
        self._loop.remove_reader(self._source.fileno())
        self.ended = True
        with contextlib.suppress(OSError):
            self._target.shutdown(socket.SHUT_WR)
        self._owner.way_ended(self)

    def stop(self) -> None:
        if self._source.fileno() >= 0:
            self._loop.remove_reader(self._source.fileno())
        if self._target.fileno() >= 0:
            self._loop.remove_writer(self._target.fileno())


async def relay(client: Stream, server: Stream, tally: Tally) -> Ending:
    """Carry everything between two streams until both directions have ended or one is reset. Both are closed afterwards."""
    first: list[Ending] = []

    async def carry(source: Stream, target: Stream, direction: int, side: Side, other: Side) -> None:
        while True:
            data = await _or_reset(source.read, side)
            if not data:
                break
            tally.pass_on(direction, data)
            target.write(data)
            await _or_reset(target.drain, other)
        first.append(Ending(side, "end"))
        target.write_eof()

    ways = [
        asyncio.ensure_future(carry(client, server, Direction.TO_SERVER, "client", "server")),
        asyncio.ensure_future(carry(server, client, Direction.TO_CLIENT, "server", "client")),
    ]
    try:
        await asyncio.gather(*ways)
        await client.close()
        await server.close()
        return first[0]
    except _Broken as broken:
        return Ending(broken.side, "reset")
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        client.abort()  # no effect after close
        server.abort()
        tally.flush()


class _Broken(Exception):
    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self.side: Side = side


async def _or_reset(action: Callable[[], Awaitable[bytes | None]], side: Side) -> bytes:
    try:
        return await action() or b""
    except StreamReset:
        raise _Broken(side) from None
