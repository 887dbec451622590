"""The other side of an HTTP/2 connection, on the h2 library; and what tests of both sides share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes

from sentra_sandbox.network.exchange import Headers, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http2 import serve
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.network.stream import StreamReset as Reset
from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine a test, with an end."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 20))

    return run


class SocketStream:
    """A ``Stream`` on asyncio's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.back, self.aborted = reader, writer, b"", False

    async def read(self, limit: int = 65536) -> bytes:
        if self.back:
            data, self.back = self.back[:limit], self.back[limit:]
            return data
        try:
            data = await self.reader.read(limit)
        except ConnectionError as error:
            raise Reset(str(error)) from error
        if self.aborted:
            raise Reset("aborted")
        return data

    def unread(self, data: bytes) -> None:
        self.back = data + self.back

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def drain(self) -> None:
        try:
            await self.writer.drain()
        except ConnectionError as error:
            raise Reset(str(error)) from error

    def write_eof(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.write_eof()

    def abort(self) -> None:
        self.aborted = True
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def stream_pair() -> tuple[SocketStream, SocketStream]:
    """Two ends of one connection."""
    left, right = socket.socketpair()
    return SocketStream(*await asyncio.open_connection(sock=left)), SocketStream(*await asyncio.open_connection(sock=right))


class Peer:
    """An h2 connection that keeps what came, by stream: ``heads``, ``bodies``, ``trailers``, ``ended``, ``resets``."""

    def __init__(self, stream: Stream, *, client: bool, streams: int | None = None, auto: bool = True) -> None:
        self.stream, self.auto = stream, auto
        config = H2Configuration(
            client_side=client, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = H2Connection(config)
        if streams is not None:
            self.h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = streams
            self.h2.local_settings.acknowledge()
        self.heads: dict[int, list[list[tuple[bytes, bytes]]]] = {}
        self.bodies: dict[int, bytearray] = {}
        self.trailers: dict[int, list[tuple[bytes, bytes]]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.events: list[Any] = []
        self.over = False
        self.news = asyncio.Condition()
        self.on_request: Callable[[int], Awaitable[None]] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.h2.initiate_connection()
        self.flush()
        self.reading = asyncio.create_task(self._read())

    def flush(self) -> None:
        self.stream.write(self.h2.data_to_send())

    async def _read(self) -> None:
        with contextlib.suppress(Reset, ConnectionError):
            while data := await self.stream.read():
                for event in self.h2.receive_data(data):
                    self._keep(event)
                self.flush()
                async with self.news:
                    self.news.notify_all()
        self.over = True
        async with self.news:
            self.news.notify_all()

    def _keep(self, event: Any) -> None:
        self.events.append(event)
        if hasattr(event, "headers") and not isinstance(event, TrailersReceived):
            self.heads.setdefault(event.stream_id, []).append([(bytes(n), bytes(v)) for n, v in event.headers])
        if isinstance(event, RequestReceived) and self.on_request:
            self.tasks.append(asyncio.create_task(self.on_request(event.stream_id)))
        elif isinstance(event, DataReceived):
            self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
            if self.auto:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self.trailers[event.stream_id] = list(event.headers)
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = int(event.error_code)

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait for it; fails after ``timeout``."""
        async with self.news:
            await asyncio.wait_for(self.news.wait_for(lambda: condition() or self.over), timeout)
        assert condition(), f"the connection ended first: {self.events[-3:]}"

    def request(self, method: bytes = b"GET", path: bytes = b"/", headers: Headers | None = None, end: bool = True) -> int:
        """Begin a request; its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        fields = [(b":method", method), (b":scheme", b"https"), (b":authority", b"api.test"), (b":path", path), *(headers or [])]
        self.h2.send_headers(stream_id, fields, end_stream=end)
        self.flush()
        return stream_id

    async def send(self, stream_id: int, data: bytes, end: bool = False) -> None:
        """As the windows allow."""
        while data:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, len(data))
            if not room:
                await self.until(lambda: self.h2.local_flow_control_window(stream_id) > 0)
                continue
            self.h2.send_data(stream_id, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(stream_id)
            self.flush()

    async def answer(self, stream_id: int) -> tuple[int, bytes]:
        """Wait for the response: status and body."""
        await self.until(lambda: stream_id in self.ended or stream_id in self.resets)
        assert stream_id not in self.resets, f"reset with {self.resets[stream_id]}"
        return self.status(stream_id), bytes(self.bodies.get(stream_id, b""))

    def status(self, stream_id: int) -> int:
        return int(dict(self.heads[stream_id][-1])[b":status"])

    async def close(self) -> None:
        for task in [self.reading, *self.tasks]:
            task.cancel()
        await asyncio.gather(self.reading, *self.tasks, return_exceptions=True)
        await self.stream.close()


class ScriptedAnswer:
    """An ``Answering`` that a test moves: it sees what came, and puts heads and pieces."""

    def __init__(self, head: RequestHead) -> None:
        self.request, self.sent, self.finished, self.aborted = head, bytearray(), False, False
        self.request_trailers: Headers = []
        self.heads: asyncio.Queue[ResponseHead | Exception] = asyncio.Queue()
        self.pieces: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.answer_trailers: Headers = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.done = asyncio.Event()

    async def send(self, data: bytes) -> None:
        await self.takes.wait()
        self.sent += data

    async def finish(self, trailers: Headers) -> None:
        self.finished, self.request_trailers = True, trailers
        self.done.set()

    async def head(self) -> ResponseHead:
        head = await self.heads.get()
        if isinstance(head, Exception):
            raise head
        return head

    async def read(self) -> bytes:
        piece = await self.pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def trailers(self) -> Headers:
        return self.answer_trailers

    async def upgraded(self) -> Stream:
        raise AssertionError("never upgraded")

    def abort(self) -> None:
        self.aborted = True
        self.done.set()

    def reply(self, status: int, *pieces: bytes, headers: Headers | None = None, version: str = "1.1", length: int | None = None) -> None:
        """A whole response."""
        self.heads.put_nowait(ResponseHead(status, b"OK", headers or [], version, length=length))
        for piece in (*pieces, b""):
            self.pieces.put_nowait(piece)


class ScriptedOrigin:
    """An ``Origin``: ``script`` decides at each request; without one, the test answers what stands in ``answers``."""

    def __init__(self, script: Callable[[ScriptedAnswer], Awaitable[None]] | None = None) -> None:
        self.script, self.closed = script, False
        self.answers: list[ScriptedAnswer] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.failure: OriginFailed | None = None

    async def open(self, head: RequestHead) -> ScriptedAnswer:
        if self.failure:
            raise self.failure
        answer = ScriptedAnswer(head)
        self.answers.append(answer)
        if self.script:
            self.tasks.append(asyncio.ensure_future(self.script(answer)))  # type: ignore[arg-type]
        return answer

    async def close(self) -> None:
        self.closed = True
        for task in self.tasks:
            task.cancel()


async def echo(answer: ScriptedAnswer) -> None:
    """Answers with what was asked, once it has come whole."""
    await answer.done.wait()
    if not answer.aborted:
        answer.reply(200, answer.request.method + b" " + answer.request.target + b" ", bytes(answer.sent))


@contextlib.asynccontextmanager
async def front(origin: Any, **peer: Any) -> AsyncIterator[tuple[Peer, ListJournal]]:
    """A client peer of a front before ``origin``."""
    ours, theirs = await stream_pair()
    journal = ListJournal()

    async def serve_and_close() -> None:
        await serve(ours, origin, journal, 1, b"https")
        await ours.close()

    task = asyncio.create_task(serve_and_close())
    client = Peer(theirs, client=True, **peer)
    try:
        yield client, journal
    finally:
        await client.close()
        await asyncio.wait_for(task, 5)


def of(journal: ListJournal, type: NetworkType) -> list[NetworkEvent]:
    """The events of one type."""
    return [event for event in journal.events if event.type == type]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of any kind, well-formed or not."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
