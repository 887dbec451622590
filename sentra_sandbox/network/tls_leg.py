"""TLS on a connection of the program: intercepted where that is possible and wanted, else carried unread.

The server's handshake comes first, with what the program offers; only then is the program answered, with the protocol that the server
chose. A host that wants a certificate of the client is found out before the program got any answer, and passes through.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sentra_sandbox.network import tls, upstream
from sentra_sandbox.network.client_hello import ClientHello
from sentra_sandbox.network.connection import unreachable
from sentra_sandbox.network.exchange import OriginFailed
from sentra_sandbox.network.first_bytes import Peeking, Speaker, who_speaks
from sentra_sandbox.network.forward import Ending, Tally, relay
from sentra_sandbox.network.guard import decide_host
from sentra_sandbox.network.refusal import Refusal
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.network.tls import TlsStream
from sentra_sandbox.network.tls_outcome import (
    ClientCertificateWanted,
    HandshakeFailed,
    write_failed,
    write_intercepted,
    write_passthrough,
)

if TYPE_CHECKING:
    from sentra_sandbox.network.connection import Connection

_PROTOCOLS: dict[str, Speaker] = {"h2": "http2", "http/1.1": "http1"}


async def carry_tls(connection: Connection) -> None:
    """The client has begun a handshake; its bytes are still unread."""
    hello = await tls.read_client_hello(connection.client)
    if hello is None:
        await connection.forward()
        return
    leg = _Leg(connection, hello)
    refused = leg.refused()
    if refused is not None:
        await leg.answer_all(refused, "refused")
    elif connection.services.world is not None:
        await leg.serve_recorded()
    elif reason := leg.passes():
        await leg.pass_through(reason)
    else:
        await leg.intercept()


async def refuse_tls(connection: Connection, failure: OriginFailed) -> None:
    """The connection was refused: tell the client in a response, inside TLS, unless its TLS is not ours to answer."""
    hello = await tls.read_client_hello(connection.client)
    if hello is not None:
        leg = _Leg(connection, hello)
        if not leg.passes():
            await leg.answer_all(failure, "refused")


class _Leg:
    """One connection whose client speaks TLS. ``name``: whom it means, by SNI, or by the address it went to."""

    def __init__(self, connection: Connection, hello: ClientHello) -> None:
        self.connection = connection
        self.hello = hello
        self.name = hello.server_name or connection.destination.host
        self.shared = connection.services
        self.tls = connection.services.tls()

    def refused(self) -> OriginFailed | None:
        """A connection to an allowed host is no permission for whatever name its TLS asks for."""
        sni = self.hello.server_name
        if not sni or sni in self.connection.hosts or self.shared.world is not None:
            return None
        decision = decide_host(self.shared.policy, sni, self.connection.destination.port)
        if decision.allowed:
            return None
        return OriginFailed(403, f"This connection goes to another host; for {sni} itself: {decision.reason}", decision.remedy)

    def passes(self) -> str:
        """Why it passes through unread, or ""."""
        host = self.connection.destination.host
        if "passthrough" in (self.shared.policy.tls_mode(self.name), self.shared.policy.tls_mode(host)):
            return "policy: passthrough"
        return self.tls.memory.passes(self.name)

    async def pass_through(self, reason: str) -> None:
        """Carry the bytes as they are."""
        write_passthrough(self.shared.journal, self.connection.number, self.hello, self.name, reason)
        await self.connection.forward()

    async def intercept(self) -> None:
        """Both handshakes, then what is inside."""
        try:
            server = await self._connect()
        except upstream.ConnectFailed as failure:
            await self.answer_all(unreachable(self.connection.destination, failure), "timeout" if failure.timeout else "error")
            return
        except ClientCertificateWanted as wanted:
            self.tls.memory.learn(self.name, wanted)
            await self.pass_through(wanted.reason)
            return
        except HandshakeFailed as failed:
            self._failed(failed)
            await self.answer_all(OriginFailed(502, f"{failed.reason}.", failed.remedy), "error")
            return
        client = await self._accept([server.alpn] if server.alpn else [])
        if client is None:
            await server.close()
            return
        write_intercepted(self.shared.journal, self.connection.number, self.hello, self.name, client, server)
        await self._carry(client, server)
        self._late_refusal(client)

    async def _connect(self) -> TlsStream:
        stream = await self.connection.connected()
        verify = self.shared.policy.verifies(self.name)
        try:
            return await tls.connect(
                stream, self.name, self.hello.alpn, verify, trust=self.tls.trust, versions=self.hello.versions
            )
        except BaseException:
            stream.abort()
            raise

    async def _accept(self, alpn: list[str]) -> TlsStream | None:
        """The program's handshake; ``None``: it failed, which is written."""
        try:
            return await tls.accept(self.connection.client, self.tls.authority, self.name, alpn)
        except HandshakeFailed as failed:
            self._failed(failed)
            self.connection.ending = Ending(failed.side, "error", failed.reason)
            await self.connection.client.close()
            return None

    def _failed(self, failed: HandshakeFailed) -> None:
        self.tls.memory.learn(self.name, failed)
        write_failed(self.shared.journal, self.connection.number, self.hello, self.name, failed)

    def _late_refusal(self, client: TlsStream) -> None:
        refusal = client.refusal
        if refusal is not None:
            self._failed(refusal)

    async def _carry(self, client: TlsStream, server: TlsStream) -> None:
        protocol = _PROTOCOLS.get(server.alpn)
        inner: Stream = client
        first: Stream = server
        if protocol is None:
            inner = seen = Peeking(client)
            first = other = Peeking(server)
            there: asyncio.Future[Peeking] = asyncio.get_running_loop().create_future()
            there.set_result(other)
            protocol = await who_speaks(seen, there)
        if protocol not in ("http1", "http2"):
            tally = Tally(self.shared.journal, self.connection.number, keep=True)
            self.connection.ending = await relay(inner, first, tally)
            return
        kept: list[tuple[Stream, str]] = [(first, "h2" if protocol == "http2" else server.alpn)]

        async def open_stream() -> tuple[Stream, str]:
            if kept:
                self.tls.memory.worked(self.name)
                return kept.pop()
            try:
                again = await self._connect()
            except upstream.ConnectFailed as failure:
                raise unreachable(self.connection.destination, failure) from None
            except HandshakeFailed as failed:
                raise OriginFailed(502, f"{failed.reason}.", failed.remedy) from None
            return again, again.alpn

        origin = self.connection.origin("https", lambda: asyncio.ensure_future(open_stream()), self.hello.server_name)
        try:
            await self.connection.serve_http(inner, protocol, "https", origin)
        finally:
            if kept:  # nothing was asked
                await kept.pop()[0].close()

    async def serve_recorded(self) -> None:
        """The recorded world answers in place of the server."""
        assert self.shared.world is not None
        chosen = self.shared.world.protocol(self.name, self.hello.alpn)
        client = await self._accept([chosen] if chosen else [])
        if client is None:
            return
        write_intercepted(self.shared.journal, self.connection.number, self.hello, self.name, client, client)
        origin = self.connection.origin("https", _no_stream, self.hello.server_name)
        await self.connection.serve_http(client, _PROTOCOLS.get(chosen, "http1"), "https", origin)

    async def answer_all(self, failure: OriginFailed, how: str) -> None:
        """Every request gets this failure; a client that does not speak HTTP inside TLS gets an end."""
        chosen = next((each for each in self.hello.alpn if each in _PROTOCOLS), "")
        client = await self._accept([chosen] if chosen else [])
        if client is not None:
            protocol = _PROTOCOLS.get(chosen)
            inner: Stream = client
            if protocol is None:
                inner = seen = Peeking(client)
                protocol = await who_speaks(seen, None)
            if protocol in ("http1", "http2"):
                refusal = Refusal(failure.status, failure.reason, failure.remedy)
                await self.connection.serve_http(inner, protocol, "https", refusal)
        self.connection.ending = self.connection.ending or Ending("broker", how, failure.reason)


def _no_stream() -> asyncio.Future[tuple[Stream, str]]:
    raise AssertionError("the recorded world has no server")
