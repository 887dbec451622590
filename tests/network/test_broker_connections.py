"""Connections as the broker carries them, without a sandbox: accepted sockets, a policy, real servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sentra_sandbox.network import connection as connections
from sentra_sandbox.network.connection import Connection, Services
from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.names import NameTable
from sentra_sandbox.network.resolver import Lookup, Resolver
from sentra_sandbox.network.tcp_stream import TcpStream
from sentra_sandbox.network.tls_services import TlsServices
from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType


class Addresses(Resolver):
    """Knows one name, and nobody is asked."""

    async def lookup(self, name: str, kind: str = "A") -> Lookup:
        return Lookup("NOERROR", ("10.9.8.7",)) if name == "inner.test" else Lookup("NXDOMAIN")


class Carrier:
    """Accepts connections as the sandbox's listeners do: the address they were meant for is the accepted socket's own."""

    def __init__(self, policy: NetworkPolicy) -> None:
        self.journal = ListJournal()
        self.services = Services(policy, NameTable(), Addresses(), self.journal, lambda: TlsServices(policy, {}))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.tasks: list[asyncio.Task[None]] = []
        self.accepting = asyncio.ensure_future(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self.listener)
            self.tasks.append(asyncio.ensure_future(Connection(self.services, TcpStream(accepted)).run()))

    def of(self, kind: NetworkType) -> list[NetworkEvent]:
        return [event for event in self.journal.events if event.type == kind]

    async def finished(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self.tasks), 10)

    async def end(self) -> None:
        self.accepting.cancel()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(self.accepting, *self.tasks, return_exceptions=True)
        self.listener.close()


@contextlib.asynccontextmanager
async def carrying(policy: NetworkPolicy | None = None, *, target: int = 0) -> AsyncIterator[Carrier]:
    carrier = Carrier(policy or NetworkPolicy(maps=(("127.0.0.1", f"127.0.0.1:{target}"),)))
    try:
        yield carrier
    finally:
        await carrier.end()


@contextlib.asynccontextmanager
async def server(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    async def each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)
        writer.close()

    made = await asyncio.start_server(each, "127.0.0.1", 0, backlog=2048)
    try:
        yield made.sockets[0].getsockname()[1]
    finally:
        made.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 40))  # type: ignore[arg-type]


def test_a_thousand_connections_at_a_time() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))

    async def test() -> None:
        async with server(echo) as port, carrying(target=port) as carrier:
            streams = []
            for _ in range(1000):
                streams.append(await asyncio.open_connection("127.0.0.1", carrier.port))

            async def use(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                message = b"\0%d." % number * 100
                writer.write(message)
                assert await reader.readexactly(len(message)) == message, "another's bytes"

            for _ in range(2):
                await asyncio.gather(*(use(number, *each) for number, each in enumerate(streams)))
            assert len(carrier.services.open_connections) == 1000
            for _, writer in streams:
                writer.close()
            await carrier.finished()
            closed = carrier.of(NetworkType.CLOSE)
            assert len(closed) == 1000 and {event.connection for event in closed} == set(range(1, 1001))
            assert {(event.fields["by"], event.fields["how"]) for event in closed} == {("client", "end")}

    try:
        run(test)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_server_that_speaks_first() -> None:
    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.write(b"250 " + await reader.readline())

    async def test() -> None:
        async with server(smtp) as port, carrying(target=port) as carrier:
            reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
            assert await reader.readline() == b"220 hello\r\n"
            writer.write(b"GET / HTTP/1.1\r\n")  # said second, it is no HTTP
            assert await reader.read() == b"250 GET / HTTP/1.1\r\n"
            writer.close()
            await carrier.finished()
            assert not carrier.of(NetworkType.REQUEST)
            assert carrier.of(NetworkType.CLOSE)[0].fields["by"] == "server"

    run(test)


def test_a_client_that_vanishes_before_and_during() -> None:
    async def test() -> None:
        async with server(echo) as port, carrying(target=port) as carrier:
            for said in (b"", b"GE", b"\x16\x03\x01\x02\x00\x01", b"binary", b"GET / HTTP/1.1\r\nHost: x\r\n"):
                _, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
                writer.write(said)
                await asyncio.sleep(0.02)
                writer.transport.abort()
            await asyncio.sleep(0.05)
            await carrier.finished()
            assert len(carrier.of(NetworkType.CLOSE)) == len(carrier.of(NetworkType.OPEN)) >= 4
            assert not carrier.services.open_connections

    run(test)


def http_get(host: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def test_an_unreachable_server_is_a_502_for_http_and_a_reset_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        async with carrying(target=port) as carrier:
            reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
            writer.write(http_get("127.0.0.1"))
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 502 ") and b"Connection refused" in answer
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
            writer.write(b"\0\0\0\1")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert "Connection refused" in str(carrier.of(NetworkType.UPSTREAM)[0].fields["error"])

    run(test)


def test_refused_connections_are_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REFUSED_WAIT_S", 0.1)

    async def test() -> None:
        async with carrying(NetworkPolicy()) as carrier:
            reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
            writer.write(http_get("127.0.0.1"))
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 403 ") and b"--allow-net" in answer
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
            with pytest.raises(ConnectionResetError):  # says nothing
                await reader.read()
            await carrier.finished()
            assert [event.fields["how"] for event in carrier.of(NetworkType.CLOSE)] == ["refused", "refused"]
            assert not carrier.of(NetworkType.UPSTREAM)

    run(test)


@pytest.mark.parametrize("host", ["evil.test", "localhost:1", "169.254.169.254", "127.0.0.1.evil.test:80", "[::1]"])
def test_a_request_for_another_host_is_decided_by_itself(host: str) -> None:
    """An allowed connection is no way to a host that is not allowed."""
    reached = []

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            reached.append(line)
            if line == b"\r\n":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def test() -> None:
        async with server(web) as port:
            policy = NetworkPolicy(allow=("good.test",), strict=True, maps=(("127.0.0.1", f"127.0.0.1:{port}"),))
            async with carrying(policy) as carrier:
                reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
                writer.write(http_get(host))
                answer = await reader.read()
                writer.close()
                assert answer.startswith(b"HTTP/1.1 403 "), answer
                assert not reached
                for allowed in ("good.test", f"127.0.0.1:{carrier.port}"):
                    reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
                    writer.write(http_get(allowed))
                    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
                    writer.close()

    run(test)


def test_a_name_that_points_at_a_private_address_is_refused() -> None:
    async def test() -> None:
        from sentra_sandbox.network.destination import decide

        names = NameTable()
        synthetic, _ = names.addresses("inner.test")
        found = await decide(NetworkPolicy(), names, Addresses(), synthetic, 443)
        assert not found.decision.allowed and not found.targets and found.name == "inner.test"
        found = await decide(NetworkPolicy(allow=("10.0.0.0/8",)), names, Addresses(), synthetic, 443)
        assert found.decision.allowed and found.targets == (("10.9.8.7", 443),)
        found = await decide(NetworkPolicy(), names, Addresses(), "::ffff:10.0.0.1", 443)
        assert not found.decision.allowed and found.address == "10.0.0.1"
        missing, _ = names.addresses("missing.test")
        found = await decide(NetworkPolicy(), names, Addresses(), missing, 443)
        assert found.decision.allowed and "no such name" in found.error

    run(test)
