"""The sandbox's DNS server. Every query of the program ends here, whichever resolver it was sent to; ``dns_answers`` says what it gets.

Malformed messages get FORMERR, or nothing where no header is. Concurrency is bounded: a datagram too many is dropped, as networks
do, and a TCP connection with too many queries under way is not read further. Every query is an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable

from dnslib import RCODE  # type: ignore[import-untyped]

from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.dns_answers import BADVERS, Answers
from sentra_sandbox.network.dns_message import Malformed, parse_query, reply, type_name
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.names import NameTable
from sentra_sandbox.network.resolver import Resolver
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.trace.network_events import NetworkType

Endpoint = tuple[str, int]

MAX_DATAGRAMS = 512  # answered at a time
MAX_PIPELINED = 32  # answered at a time on one TCP connection
MAX_CONNECTIONS = 256
IDLE_S = 30.0
MAX_TEXTS = 64  # records that an event shows


class DnsServer:
    """``own``: the sandbox's addresses, for its ``hostname``."""

    def __init__(
        self,
        policy: NetworkPolicy,
        names: NameTable,
        resolver: Resolver,
        journal: Journal,
        *,
        hostname: str = "",
        own: tuple[str, str] = ("127.0.0.1", "::1"),
    ) -> None:
        self._answers = Answers(policy, names, resolver, hostname, own)
        self._journal = journal

    async def answer(self, query: bytes, client: Endpoint, server: Endpoint, transport: str) -> bytes | None:
        """The answer to one message, to be sent back from ``server``; None: send nothing. Writes the event. Never raises for what it
        reads."""
        start = time.monotonic_ns()
        ends = {"client": list(client), "server": list(server), "transport": transport}
        try:
            asked = parse_query(query)
        except Malformed as error:
            self._journal.write(NetworkType.PROBLEM, {"what": "malformed DNS query", "detail": str(error), **ends})
            return error.reply
        outcome = await self._answers.to(asked)
        limit = 65535 if transport == "tcp" else asked.size
        message = reply(asked, outcome.rcode, outcome.records, limit=limit, ede=outcome.ede)
        decision = outcome.decision
        fields = {
            **ends,
            "name": asked.name or ".",
            "type": type_name(asked.qtype),
            "rcode": "BADVERS" if outcome.rcode == BADVERS else RCODE.get(outcome.rcode),
            "answers": outcome.texts[:MAX_TEXTS],
            "real": list(outcome.real),
            "allowed": decision.allowed,
            "rule": decision.rule,
            "reason": outcome.error or decision.reason,
        }
        if decision.remedy:
            fields["remedy"] = decision.remedy
        self._journal.write(NetworkType.DNS, fields, duration_ns=time.monotonic_ns() - start)
        return message

    async def serve_udp(self, udp: socket.socket) -> None:
        """Answer the datagrams of a socket that is bound to one address, until cancelled."""
        loop = asyncio.get_running_loop()
        udp.setblocking(False)
        server = udp.getsockname()[:2]
        tasks: set[asyncio.Task[None]] = set()

        async def one(data: bytes, client: tuple[object, ...]) -> None:
            message = await self.answer(data, (str(client[0]), int(str(client[1]))), server, "udp")
            if message is not None:
                with contextlib.suppress(OSError):  # the asker is gone, or its buffer is full: as on any network
                    udp.sendto(message, client)

        def readable() -> None:
            for _ in range(64):  # then others have their turn
                try:
                    data, client = udp.recvfrom(4096)
                except (BlockingIOError, InterruptedError):
                    return
                except OSError:  # an ICMP error for an earlier answer
                    continue
                if len(tasks) < MAX_DATAGRAMS:
                    task = loop.create_task(one(data, client))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

        loop.add_reader(udp, readable)
        try:
            await loop.create_future()
        finally:
            loop.remove_reader(udp)
            for task in tasks:
                task.cancel()

    async def serve_stream(self, stream: Stream, client: Endpoint, server: Endpoint) -> None:
        """Answer the queries of one TCP connection, several at a time, until its end or until it is idle; then close it. Never raises."""
        room = asyncio.Semaphore(MAX_PIPELINED)
        tasks: set[asyncio.Task[None]] = set()
        sending = asyncio.Lock()

        async def one(data: bytes) -> None:
            try:
                message = await self.answer(data, client, server, "tcp")
                if message is not None:
                    stream.write(struct.pack("!H", len(message)) + message)
                    async with sending:
                        await stream.drain()
            except StreamReset:
                pass
            finally:
                room.release()

        try:
            await _messages(stream, room, lambda data: _start(tasks, one(data)))
            if tasks:
                await asyncio.wait(tasks)
        except (StreamReset, asyncio.TimeoutError):
            pass
        finally:
            for task in tasks:
                task.cancel()
            await stream.close()

    async def serve_tcp(self, listener: socket.socket) -> None:
        """Accept connections of a listener and answer them, until cancelled."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    connected, peer = await loop.sock_accept(listener)
                except OSError:  # gone before it was accepted, or no descriptor is free: others will end
                    await asyncio.sleep(0.05)
                    continue
                if len(tasks) < MAX_CONNECTIONS:
                    _start(tasks, self._serve_socket(connected, (peer[0], peer[1])))
                else:
                    connected.close()
        finally:
            for task in tasks:
                task.cancel()

    async def _serve_socket(self, connected: socket.socket, client: Endpoint) -> None:
        server = connected.getsockname()
        try:
            reader, writer = await asyncio.open_connection(sock=connected)
        except OSError:
            connected.close()
            return
        await self.serve_stream(_SocketStream(reader, writer), client, (server[0], server[1]))


def _start(tasks: set[asyncio.Task[None]], work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _messages(stream: Stream, room: asyncio.Semaphore, handle: Callable[[bytes], None]) -> None:
    """Take messages with their lengths out of a stream; each waits for room first."""
    buffer = bytearray()
    while True:
        data = await asyncio.wait_for(stream.read(), IDLE_S)
        if not data:
            return
        buffer += data
        while len(buffer) >= 2:
            end = 2 + (buffer[0] << 8 | buffer[1])
            if len(buffer) < end:
                break
            message = bytes(buffer[2:end])
            del buffer[:end]
            await room.acquire()
            handle(message)


class _SocketStream:
    """asyncio's two halves as a ``Stream``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._back = b""

    async def read(self, limit: int = 65536) -> bytes:
        if self._back:
            data, self._back = self._back[:limit], self._back[limit:]
            return data
        try:
            return await self._reader.read(limit)
        except OSError as error:
            raise StreamReset(str(error)) from None

    def unread(self, data: bytes) -> None:
        self._back = data + self._back

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            raise StreamReset(str(error)) from None

    def write_eof(self) -> None:
        self._writer.write_eof()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 5)
