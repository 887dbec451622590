"""A front with a live origin between two socket pairs: the test is the program on one side and the server on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asyncio_stream import AsyncioStream, stream_pair

from sentra_sandbox.network.exchange import Origin, RequestHead
from sentra_sandbox.network.http1 import serve
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.live import LiveOrigin
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType

GET = b"GET /a?b=c HTTP/1.1\r\nHost: h.example\r\nX-Mixed-CASE:   kept  \r\n\r\n"
OK = b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Mixed:  a \r\n\r\nhi"
EMPTY = b"\r\n\r\n"


class Rig:
    """``client`` is the program's end. ``await server()`` is the server's end of the next connection that the origin opens."""

    def __init__(self) -> None:
        self.journal = ListJournal()
        self.opened = 0
        self._servers: asyncio.Queue[AsyncioStream] = asyncio.Queue()
        self.client: AsyncioStream
        self.task: asyncio.Task[None]

    async def start(
        self,
        origin: Origin | None = None,
        scheme: str = "http",
        tunnel: Callable[[Stream, Stream, RequestHead], Awaitable[None]] | None = None,
    ) -> Rig:
        self.client, inner = await stream_pair()
        self.task = asyncio.ensure_future(serve(inner, origin or LiveOrigin(self.open), self.journal, 1, scheme, tunnel=tunnel))
        return self

    async def open(self) -> tuple[Stream, str]:
        outer, inner = await stream_pair()
        self.opened += 1
        self._servers.put_nowait(outer)
        return inner, ""

    async def server(self) -> AsyncioStream:
        return await asyncio.wait_for(self._servers.get(), 5)

    async def finish(self) -> None:
        """The program ends; the front must too."""
        self.client.write_eof()
        await asyncio.wait_for(self.task, 8)

    def events(self, *types: int) -> list[NetworkEvent]:
        return [event for event in self.journal.events if not types or event.type in types]

    def body(self, exchange: int, direction: int) -> bytes:
        return b"".join(
            event.data
            for event in self.events(NetworkType.BODY)
            if event.exchange == exchange and event.direction == direction
        )

    def check_complete(self) -> None:
        """Every exchange has one END in each direction, of the size that its pieces have."""
        for exchange in {event.exchange for event in self.events(NetworkType.REQUEST)}:
            for direction in (0, 1):
                ends = [e for e in self.events(NetworkType.END) if (e.exchange, e.direction) == (exchange, direction)]
                assert len(ends) == 1, (exchange, direction, self.journal.events)
                assert ends[0].size == len(self.body(exchange, direction))


async def read_until(stream: AsyncioStream, end: bytes) -> bytes:
    """Bytes up to and with ``end``; what follows stays."""
    got = b""
    while end not in got:
        piece = await asyncio.wait_for(stream.read(), 5)
        if not piece:
            raise AssertionError(f"the stream ended after {got!r}")
        got += piece
    at = got.index(end) + len(end)
    stream.unread(got[at:])
    return got[:at]


async def read_count(stream: AsyncioStream, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = await asyncio.wait_for(stream.read(count - len(got)), 5)
        if not piece:
            raise AssertionError(f"the stream ended after {got!r}")
        got += piece
    return got


async def read_all(stream: AsyncioStream) -> tuple[bytes, str]:
    """All bytes, and how it ended: ``end`` or ``reset``."""
    got = b""
    while True:
        try:
            piece = await asyncio.wait_for(stream.read(), 8)
        except StreamReset:
            return got, "reset"
        if not piece:
            return got, "end"
        got += piece


def run(test: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function to its end; anything that it leaves running or raises unseen is a failure."""
    faults: list[dict[str, Any]] = []

    async def whole() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        result = await asyncio.wait_for(test(), 60)
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:
            await asyncio.wait(left, timeout=1)
        left = [task for task in left if not task.done()]
        assert not left, left
        return result

    result = asyncio.run(whole())
    assert not faults, faults
    return result


def http2_request(path: bytes, length: int | None = 0) -> RequestHead:
    """A head that did not come as HTTP/1."""
    return RequestHead(b"POST", b"https", b"h", path, [(b"x", b"y")], "2", length=length)
