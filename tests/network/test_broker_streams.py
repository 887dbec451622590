"""TCP streams and forwarding on real sockets: every ending arrives as what it was, a slow reader holds the sender up."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable

import pytest

from sentra_sandbox.network.first_bytes import Peeking, who_speaks
from sentra_sandbox.network.forward import Ending, Tally, forward_sockets, relay
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.sniff import sniff
from sentra_sandbox.network.stream import StreamReset
from sentra_sandbox.network.tcp_stream import TcpStream
from sentra_sandbox.network.upstream import ConnectFailed, connect
from sentra_sandbox.trace.network_events import Flag


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection over loopback; the first is for the test, non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    one.setblocking(False)
    return one, other


def reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


class Chain:
    """client ─ (forwarding) ─ server, with the outer ends in the test's hands."""

    def __init__(self, *, plain: bool = True) -> None:
        self.client, inner_client = pair()
        self.server, inner_server = pair()
        self.inside = TcpStream(inner_client), TcpStream(inner_server)
        self.journal = ListJournal()
        tally = Tally(self.journal, 1, keep=not plain)
        carry = forward_sockets(*self.inside, tally) if plain else relay(*self.inside, tally)
        self.task: asyncio.Task[Ending] = asyncio.ensure_future(carry)
        self.loop = asyncio.get_running_loop()

    async def send(self, end: socket.socket, data: bytes) -> None:
        await self.loop.sock_sendall(end, data)

    async def receive(self, end: socket.socket, size: int = 65536) -> bytes:
        return await asyncio.wait_for(self.loop.sock_recv(end, size), 5)

    async def receive_all(self, end: socket.socket) -> bytes:
        found = b""
        while data := await self.receive(end):
            found += data
        return found

    async def ending(self) -> Ending:
        return await asyncio.wait_for(self.task, 5)

    def close(self) -> None:
        self.task.cancel()
        self.client.close()
        self.server.close()


def run(test: Callable[[Chain], Awaitable[None]], *, plain: bool = True) -> None:
    async def main() -> None:
        chain = Chain(plain=plain)
        try:
            await asyncio.wait_for(test(chain), 20)
        finally:
            chain.close()
            await asyncio.gather(chain.task, return_exceptions=True)

    asyncio.run(main())


both_ways = pytest.mark.parametrize("plain", [True, False], ids=["sockets", "streams"])


@both_ways
def test_half_close_of_the_client_leaves_the_other_direction_open(plain: bool) -> None:
    async def test(chain: Chain) -> None:
        await chain.send(chain.client, b"question")
        chain.client.shutdown(socket.SHUT_WR)
        assert await chain.receive_all(chain.server) == b"question"
        await chain.send(chain.server, b"answer")
        assert await chain.receive(chain.client) == b"answer"
        chain.server.close()
        assert await chain.receive(chain.client) == b""
        assert await chain.ending() == Ending("client", "end")

    run(test, plain=plain)


@both_ways
def test_half_close_of_the_server_leaves_the_other_direction_open(plain: bool) -> None:
    async def test(chain: Chain) -> None:
        await chain.send(chain.server, b"greeting")
        chain.server.shutdown(socket.SHUT_WR)
        assert await chain.receive_all(chain.client) == b"greeting"
        await chain.send(chain.client, b"x" * 100_000)
        chain.client.close()
        assert len(await chain.receive_all(chain.server)) == 100_000
        assert await chain.ending() == Ending("server", "end")

    run(test, plain=plain)


@both_ways
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_goes_on_as_a_reset(plain: bool, side: str) -> None:
    async def test(chain: Chain) -> None:
        await chain.send(chain.client, b"a")
        assert await chain.receive(chain.server) == b"a"
        one, other = (chain.client, chain.server) if side == "client" else (chain.server, chain.client)
        reset(one)
        with pytest.raises(ConnectionResetError):
            await chain.receive(other)
        assert await chain.ending() == Ending(side, "reset")  # type: ignore[arg-type]

    run(test, plain=plain)


@both_ways
def test_a_client_that_vanishes_while_much_is_on_its_way(plain: bool) -> None:
    async def test(chain: Chain) -> None:
        sending = asyncio.ensure_future(chain.send(chain.server, bytes(50_000_000)))
        await chain.receive(chain.client)
        chain.client.close()  # with unread bytes: a reset
        assert (await chain.ending()).by == "client"
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await sending

    run(test, plain=plain)


@both_ways
def test_a_slow_reader_holds_the_sender_up(plain: bool) -> None:
    """What lies between both is bounded: the kernel's buffers and one of ours."""

    async def test(chain: Chain) -> None:
        chain.server.setblocking(False)
        sent = 0
        piece = bytes(1 << 20)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.3 and sent < 100 << 20:
            try:
                sent += chain.server.send(piece)
                quiet_since = time.monotonic()
            except BlockingIOError:
                await asyncio.sleep(0.01)
        assert sent < 30 << 20, "somebody takes it all"
        chain.server.shutdown(socket.SHUT_WR)
        received = 0
        while data := await chain.receive(chain.client, 1 << 20):
            received += len(data)
        assert received == sent

    run(test, plain=plain)


def test_data_events_are_few_and_complete() -> None:
    async def test(chain: Chain) -> None:
        size = 30_000_000
        sending = asyncio.ensure_future(chain.send(chain.server, bytes(size)))
        received = 0
        while received < size:
            received += len(await chain.receive(chain.client, 1 << 20))
        await sending
        await chain.send(chain.client, b"bye")
        chain.client.close()
        chain.server.shutdown(socket.SHUT_WR)
        await chain.ending()
        down = [event for event in chain.journal.events if event.direction == 1]
        assert sum(event.size for event in down) == size
        assert len(down) < 100 and all(event.flags == Flag.NO_BYTES and not event.data for event in chain.journal.events)
        assert sum(event.size for event in chain.journal.events if event.direction == 0) == 3
        assert chain.inside[0].sent == size and chain.inside[0].received == 3

    run(test)


def test_what_was_read_and_given_back_goes_on_first() -> None:
    async def main() -> None:
        client, inner_client = pair()
        server, inner_server = pair()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"hello world")
        ours, other = TcpStream(inner_client), TcpStream(inner_server)
        data = await ours.read(5)
        ours.unread(data)
        carry = asyncio.ensure_future(forward_sockets(ours, other, Tally(ListJournal(), 1)))
        assert await loop.sock_recv(server, 5) == b"hello"
        assert await loop.sock_recv(server, 100) == b" world"
        client.close()
        server.close()
        await carry
        assert ours.received == 11

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_read_that_is_given_up_loses_nothing() -> None:
    async def main() -> None:
        client, inner = pair()
        stream = TcpStream(inner)
        for _ in range(50):
            reading = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0)
            client.send(b"x")
            await asyncio.sleep(0.0005)
            if not reading.cancel():
                stream.unread(reading.result())
            await asyncio.gather(reading, return_exceptions=True)
        received = b""
        while len(received) < 50:
            received += await stream.read()
        assert received == b"x" * 50 and stream.received == 50
        stream.abort()
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(client, 1)
        with pytest.raises(StreamReset):
            await stream.read()
        with pytest.raises(StreamReset):
            await stream.drain()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_reset_while_a_read_waits() -> None:
    """The reader is told, once."""

    async def main() -> None:
        broken: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        client, inner = pair()
        stream = TcpStream(inner)
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0.01)
        reset(client)
        with pytest.raises(StreamReset):
            await reading
        await asyncio.sleep(0.01)
        assert stream.ended == "reset" and not broken
        stream.abort()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_close_sends_what_is_queued_and_does_not_cut_it_off() -> None:
    """Closing a socket with unread bytes is a reset, which could overtake the last answer: so what still comes is taken."""

    async def main() -> None:
        client, inner = pair()
        stream = TcpStream(inner)
        client.send(b"unread")
        stream.write(bytes(3_000_000))
        closing = asyncio.ensure_future(stream.close())
        received = 0
        while data := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
            received += len(data)
            client.send(b"more")
        assert received == 3_000_000
        await closing
        client.close()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_happy_eyeballs_reaches_the_address_that_answers() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            stream = await connect([("127.0.0.2", 1), ("::1", 1), ("127.0.0.1", port)])
            assert stream.peer == ("127.0.0.1", port)
            stream.abort()
        with pytest.raises(ConnectFailed) as refused:
            await connect([("127.0.0.1", port)])
        assert refused.value.refused and str(port) in refused.value.reason
        with pytest.raises(ConnectFailed):
            await connect([])

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x16\x03\x01\x02\x00", "tls"),
        (b"\x16\x03", None),
        (b"\x16\x03\x09", "opaque"),
        (b"GET / HTTP/1.1\r\n", "http1"),
        (b"\r\nGET / HTTP/1.0\r\n", "http1"),
        (b"GET /" + b"a" * 5000, None),
        (b"GET key\r\n", "opaque"),
        (b"GE", None),
        (b"CONNECT api.test:443 HTTP/1.1\r\n", "http1"),
        (b"OPTIONS * HTTP/1.1\r\n", "http1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (b"P", None),
        (b"PRI * HT", None),
        (b"SSH-2.0-x\r\n", "opaque"),
        (b"EHLO x\r\n", "opaque"),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", "opaque"),
        (b"*1\r\n$4\r\nPING\r\n", "opaque"),
        (b"GET / HTTP/9.9\r\n", "opaque"),
    ],
)
def test_first_bytes(data: bytes, kind: str | None) -> None:
    assert sniff(data) == kind


@pytest.mark.parametrize("wrapped", [False, True], ids=["socket", "any stream"])
def test_who_speaks_first(wrapped: bool) -> None:
    async def one(client_says: list[bytes], server_says: bytes) -> str:
        client, inner_client = pair()
        server, inner_server = pair()
        ours = Peeking(TcpStream(inner_client)) if wrapped else TcpStream(inner_client)
        other = Peeking(TcpStream(inner_server)) if wrapped else TcpStream(inner_server)
        there: asyncio.Future[TcpStream | Peeking] = asyncio.get_running_loop().create_future()
        there.set_result(other)
        asking = asyncio.ensure_future(who_speaks(ours, there))
        for piece in client_says:
            client.send(piece)
            await asyncio.sleep(0.02)
        server.send(server_says)
        speaker = await asyncio.wait_for(asking, 5)
        expected = b"".join(client_says)
        assert not expected or await ours.read() == expected, "nothing was taken"
        for end in (client, server):
            end.close()
        return speaker

    async def main() -> None:
        assert await one([b"GE", b"T / HT", b"TP/1.1\r\n"], b"late") == "http1"
        assert await one([], b"220 mail\r\n") == "server"
        assert await one([b"\x16", b"\x03\x03"], b"") == "tls"
        assert await one([b"binary"], b"") == "opaque"

    asyncio.run(asyncio.wait_for(main(), 20))
