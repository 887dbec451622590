"""One TCP connection of the program, from being accepted to its end: decided, connected, recognised, carried, recorded.

    accepted → name and decision (OPEN) → upstream connection begins → who speaks first?
        the server          → bytes as they are
        the client: TLS     → ``tls_leg``: intercepted or passed through, then as below
                    HTTP    → exchanges with the origin
                    else    → bytes as they are
    → CLOSE, with who ended it and how

A connection that is refused, or whose server cannot be reached, still waits a moment for the client's first bytes: an HTTP client is told
why, in a response; all others get a reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sentra_sandbox.network import upstream
from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.destination import Destination, decide
from sentra_sandbox.network.exchange import Origin, OriginFailed
from sentra_sandbox.network.first_bytes import Speaker, who_speaks
from sentra_sandbox.network.forward import Ending, Tally, forward_sockets
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.network.tcp_stream import TcpStream
from sentra_sandbox.trace.network_events import NetworkType

if TYPE_CHECKING:
    from sentra_sandbox.network.names import NameTable
    from sentra_sandbox.network.recorded import Recording
    from sentra_sandbox.network.resolver import Resolver
    from sentra_sandbox.network.tls_services import TlsServices

RECORDED_WAIT_S = 5.0  # for the first bytes of a client in the recorded world
REFUSED_WAIT_S = 1.0  # for the first bytes of a client that can only be told why it gets nothing


@dataclass(slots=True)
class Services:
    """What all connections of a broker share. ``world`` answers in place of the network."""

    policy: NetworkPolicy
    names: NameTable
    resolver: Resolver
    journal: Journal
    tls: Callable[[], TlsServices]
    world: Recording | None = None
    open_connections: set[Connection] = field(default_factory=set)


class Connection:
    """See above. ``client`` is owned by it. ``ending``: who ended it and how, where the streams do not tell."""

    def __init__(self, services: Services, client: TcpStream, *, local: bool = False) -> None:
        self.services = services
        self.client = client
        self.server: TcpStream | None = None
        self.number = services.journal.new_connection()
        self.ending: Ending | None = None
        self.destination: Destination
        self._local = local
        self._began = time.monotonic_ns()
        self._connecting: asyncio.Task[TcpStream] | None = None
        self._opened = False

    async def run(self) -> None:
        """Carry the connection to its end. Never raises but for cancellation, which resets it."""
        self.services.open_connections.add(self)
        try:
            await self._run()
        except StreamReset:
            pass  # the streams know whose it was
        except asyncio.CancelledError:
            self.ending = self.ending or self._seen_ending() or Ending("broker", "end", "the run has ended")
            raise
        except OSError as error:  # the client was gone before anything could be asked of its socket
            self.ending = Ending("broker", "error", str(error))
        except Exception as error:  # one connection's trouble is not the others'
            self.ending = Ending("broker", "error", f"{type(error).__name__}: {error}")
            self.problem("a connection could not be carried", self.ending.error)
            raise
        finally:
            self._close()
            self.services.open_connections.discard(self)

    async def _run(self) -> None:
        shared = self.services
        peer, (address, port) = self.client.peer, self.client.local
        self.destination = await decide(
            shared.policy, shared.names, shared.resolver, address, port, local=self._local, recorded=shared.world is not None
        )
        self._write_open(peer)
        decision = self.destination.decision
        if not decision.allowed:
            await self._refuse(OriginFailed(403, decision.reason, decision.remedy), "refused")
            return
        if shared.world is None:
            self._connecting = asyncio.ensure_future(self._connect())
        speaker = await self._who_speaks()
        if speaker == "failed":
            await self.forward()
        elif speaker == "tls":
            from sentra_sandbox.network.tls_leg import carry_tls

            await carry_tls(self)
        elif speaker in ("http1", "http2"):
            origin = self.origin("http", self._open_plain("h2" if speaker == "http2" else ""))
            await self.serve_http(self.client, speaker, "http", origin)
        else:
            await self.forward()

    async def _who_speaks(self) -> Speaker:
        """In the recorded world no server speaks: a client that waits for one gets no answer, and is not left waiting for ever."""
        if self.services.world is None:
            return await who_speaks(self.client, self._connecting)
        try:
            return await asyncio.wait_for(who_speaks(self.client, None), RECORDED_WAIT_S)
        except asyncio.TimeoutError:
            return "opaque"

    def _write_open(self, peer: tuple[str, int]) -> None:
        wanted = self.destination
        fields: dict[str, object] = {
            "protocol": "tcp",
            "client": list(peer),
            "server": [wanted.address, wanted.port],
            "name": wanted.name,
            "allowed": wanted.decision.allowed,
            "rule": wanted.decision.rule,
            "reason": wanted.decision.reason,
            "remedy": wanted.decision.remedy,
        }
        self._opened = True
        self.services.journal.write(NetworkType.OPEN, fields, connection=self.number)

    # ---- the other leg

    async def _connect(self) -> TcpStream:
        """A connection to the server. Raises ``ConnectFailed``."""
        began = time.monotonic_ns()
        try:
            if self.destination.error:
                raise upstream.ConnectFailed(self.destination.error)
            server = await upstream.connect(self.destination.targets)
        except upstream.ConnectFailed as failure:
            self._write_upstream({"error": failure.reason}, began)
            if self.destination.name:
                self.services.resolver.forget(self.destination.name)
            raise
        self._write_upstream({"peer": list(server.peer), "local": list(server.local)}, began)
        self.server = self.server or server
        return server

    def _write_upstream(self, fields: dict[str, object], began: int) -> None:
        took = time.monotonic_ns() - began
        self.services.journal.write(NetworkType.UPSTREAM, fields, connection=self.number, duration_ns=took)

    async def connected(self) -> TcpStream:
        """The server's connection: the first, which was begun at once, then new ones. Raises ``ConnectFailed``."""
        first, self._connecting = self._connecting, None
        return await (first if first is not None else self._connect())

    def _open_plain(self, alpn: str) -> Callable[[], asyncio.Future[tuple[Stream, str]]]:
        async def open_stream() -> tuple[Stream, str]:
            try:
                return await self.connected(), alpn
            except upstream.ConnectFailed as failure:
                raise unreachable(self.destination, failure) from None

        return lambda: asyncio.ensure_future(open_stream())

    # ---- what it carries

    async def forward(self) -> None:
        """Bytes as they are."""
        if self.services.world is not None:
            self.ending = Ending("broker", "refused", "only HTTP can be answered from a recording")
            self.problem("not in the recorded world", f"The connection to {self.destination.host} does not speak HTTP.")
            return
        try:
            server = await self.connected()
        except upstream.ConnectFailed as failure:
            self.ending = Ending("broker", "timeout" if failure.timeout else "error", failure.reason)
            return
        self.ending = await forward_sockets(self.client, server, Tally(self.services.journal, self.number))

    @property
    def hosts(self) -> frozenset[str]:
        """What a request on this connection may call its host without being decided again."""
        wanted = self.destination
        return frozenset(each for each in (wanted.name, wanted.address, "localhost" if self._local else "") if each)

    def origin(self, scheme: str, open_stream: Callable[[], asyncio.Future[tuple[Stream, str]]], sni: str = "") -> Origin:
        """Who answers the requests of this connection: its server, or the recorded world."""
        if self.services.world is not None:
            return self.services.world.world(sni or self.destination.host, self.destination.port)
        from sentra_sandbox.network.guard import CheckedOrigin
        from sentra_sandbox.network.live import LiveOrigin

        hosts = self.hosts | {sni} if sni else self.hosts  # the SNI has been decided
        return CheckedOrigin(LiveOrigin(open_stream), self.services.policy, hosts, self.destination.port)

    async def serve_http(self, client: Stream, protocol: Speaker, scheme: str, origin: Origin) -> None:
        """Exchanges until the client's connection ends."""
        journal = self.services.journal
        if protocol == "http2":
            from sentra_sandbox.network import http2

            await http2.serve(client, origin, journal, self.number, scheme.encode())
        else:
            from sentra_sandbox.network import http1

            await http1.serve(client, origin, journal, self.number, scheme)
        await client.close()

    async def _refuse(self, failure: OriginFailed, how: str) -> None:
        """Tell an HTTP client why; reset all others."""
        try:
            speaker = await asyncio.wait_for(who_speaks(self.client, None), REFUSED_WAIT_S)
        except asyncio.TimeoutError:
            speaker = "opaque"
        if speaker == "tls":
            from sentra_sandbox.network.tls_leg import refuse_tls

            await refuse_tls(self, failure)
        elif speaker in ("http1", "http2"):
            from sentra_sandbox.network.refusal import Refusal

            await self.serve_http(self.client, speaker, "http", Refusal(failure.status, failure.reason, failure.remedy))
        self.ending = Ending("broker", how, failure.reason)

    # ---- the end

    def problem(self, what: str, detail: str, remedy: str = "") -> None:
        """Note something in the run."""
        fields: dict[str, object] = {"what": what, "detail": detail}
        if remedy:
            fields["remedy"] = remedy
        self.services.journal.write(NetworkType.PROBLEM, fields, connection=self.number)

    def _seen_ending(self) -> Ending | None:
        """As the sockets saw it: who was first."""
        client, server = self.client, self.server
        if client.ended and not (server is not None and server.ended and server.ended_at < client.ended_at):
            return Ending("client", client.ended)
        if server is not None and server.ended:
            return Ending("server", server.ended)
        return None

    def _close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting.add_done_callback(_drop_late)
        ending = self.ending or self._seen_ending() or Ending("broker", "end")
        self.client.abort()  # no effect where it has been closed
        if self.server is not None:
            self.server.abort()
        if not self._opened:
            return
        fields: dict[str, object] = {"by": ending.by, "how": ending.how, "sent": self.client.received, "received": self.client.sent}
        if ending.error:
            fields["error"] = ending.error
        took = time.monotonic_ns() - self._began
        self.services.journal.write(NetworkType.CLOSE, fields, connection=self.number, duration_ns=took)


def unreachable(destination: Destination, failure: upstream.ConnectFailed) -> OriginFailed:
    """What an HTTP client is told."""
    return OriginFailed(504 if failure.timeout else 502, f"{destination.host} could not be reached: {failure.reason}.")


def _drop_late(connecting: asyncio.Task[TcpStream]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        if connecting.exception() is None:
            connecting.result().abort()
