"""A ``Stream`` over an asyncio transport, for tests of the parts that know streams only."""

from __future__ import annotations

import asyncio
import socket
import struct

from sentra_sandbox.network.stream import StreamReset


class AsyncioStream(asyncio.Protocol):
    """``received`` grows to 64 KiB and then the transport pauses."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._eof = False
        self._lost: StreamReset | None = None
        self._paused = False
        self._waiters: list[asyncio.Future[None]] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > 65536 and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._eof = True
        self._wake()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None or not self._eof:
            self._lost = StreamReset(str(error or "aborted"))
        else:
            self._lost = StreamReset("closed")
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def read(self, limit: int = 65536) -> bytes:
        while not self._buffer:
            if self._eof:
                return b""
            if self._lost is not None:
                raise self._lost
            await self._wait()
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        if len(self._buffer) < 65536 and self._transport is not None and not self._lost:
            self._transport.resume_reading()
        return data

    def unread(self, data: bytes) -> None:
        self._buffer[:0] = data

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        if self._lost is None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        while self._paused and self._lost is None:
            await self._wait()
        if self._lost is not None:
            raise self._lost

    def write_eof(self) -> None:
        assert self._transport is not None
        if self._lost is None and not self._transport.is_closing():
            self._transport.write_eof()

    def abort(self) -> None:
        assert self._transport is not None
        self._buffer.clear()
        self._eof = False
        self._lost = self._lost or StreamReset("aborted")
        connected = self._transport.get_extra_info("socket")
        if connected is not None and connected.fileno() >= 0:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        self._wake()

    async def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def stream_of(connected: socket.socket) -> AsyncioStream:
    """A stream that owns this socket."""
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _, stream = await asyncio.get_running_loop().connect_accepted_socket(AsyncioStream, connected)
    return stream


async def stream_pair() -> tuple[AsyncioStream, AsyncioStream]:
    """Two streams that are each other's peer, over TCP: resets are real."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return await stream_of(one), await stream_of(other)
