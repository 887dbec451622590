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
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sentra_sandbox.network import sniff, upstream
from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.destination import Destination, decide
from sentra_sandbox.network.exchange import Origin
from sentra_sandbox.network.first_bytes import Speaker, who_speaks
from sentra_sandbox.network.forward import Ending, Tally, forward_sockets
from sentra_sandbox.network.guard import CheckedOrigin, Refusal
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.network.tcp_stream import TcpStream
from sentra_sandbox.trace.network_events import NetworkType

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentra_sandbox.network.ca import CertificateAuthority
    from sentra_sandbox.network.names import NameTable
    from sentra_sandbox.network.resolver import Resolver

REFUSED_WAIT_S = 1.0  # for the first bytes of a client that can only be told why it gets nothing


@dataclass(slots=True)
class Services:
    """What all connections of a broker share. ``authority`` makes the run's CA when it is first needed; ``refused_ours`` are hosts whose
    client did not accept our certificate.
    """

    policy: NetworkPolicy
    names: NameTable
    resolver: Resolver
    journal: Journal
    authority: Callable[[], CertificateAuthority]
    world: Callable[[int], Origin] | None = None  # the recorded one, in place of the network
    refused_ours: set[str] = field(default_factory=set)


class Connection:
    """See above. ``client`` is owned by it."""

    def __init__(self, services: Services, client: TcpStream, *, local: bool = False) -> None:
        self.services = services
        self.client = client
        self.server: TcpStream | None = None
        self.number = services.journal.new_connection()
        self.ending: Ending | None = None
        self._local = local
        self._began = time.monotonic_ns()
        self._connecting: asyncio.Task[TcpStream] | None = None
        self.destination: Destination

    async def run(self) -> None:
        """Carry the connection to its end. Never raises but for cancellation, which resets it."""
        peer, address = self.client.peer, self.client.local
        try:
            await self._run(peer, address)
        except StreamReset:
            pass  # the streams know who it was
        except asyncio.CancelledError:
            self.ending = self.ending or Ending("broker", "error", "the run has ended")
            raise
        except Exception as error:  # one connection's trouble is not the others'
            self.ending = Ending("broker", "error", f"{type(error).__name__}: {error}")
            self.problem("a connection could not be carried", self.ending.error)
        finally:
            await self._close()

    async def _run(self, peer: tuple[str, int], address: tuple[str, int]) -> None:
        shared = self.services
        self.destination = await decide(
            shared.policy, shared.names, shared.resolver, *address, local=self._local, recorded=shared.world is not None
        )
        self._write_open(peer)
        if not self.destination.decision.allowed:
            decision = self.destination.decision
            await self._refuse(403, decision.reason, decision.remedy, how="refused")
            return
        if shared.world is None:
            self._connecting = asyncio.ensure_future(self._connect())
        await self._carry()

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
        self.services.journal.write(NetworkType.OPEN, fields, connection=self.number)

    # ---- the other leg

    async def _connect(self) -> TcpStream:
        """A connection to the server. Raises ``ConnectFailed``."""
        began = time.monotonic_ns()
        fields: dict[str, object]
        try:
            if self.destination.error:
                raise upstream.ConnectFailed(self.destination.error)
            server = await upstream.connect(self.destination.targets)
            fields = {"peer": list(server.peer), "local": list(server.local)}
        except upstream.ConnectFailed as failure:
            fields = {"error": failure.reason}
            raise
        finally:
            took = time.monotonic_ns() - began
            with contextlib.suppress(UnboundLocalError):  # cancelled: no result to write
                self.services.journal.write(NetworkType.UPSTREAM, fields, connection=self.number, duration_ns=took)
        self.server = self.server or server
        return server

    async def connected(self) -> TcpStream:
        """The server's connection: the first, which was begun at once, then new ones. Raises ``ConnectFailed``."""
        first, self._connecting = self._connecting, None
        return await (first if first is not None else self._connect())

    # ---- what it carries

    async def _carry(self) -> None:
        speaker = await who_speaks(self.client, self._connecting)
        if speaker == "failed":
            await self._unreachable()
        elif speaker == "tls":
            from sentra_sandbox.network.tls_leg import carry_tls

            await carry_tls(self)
        elif speaker in ("http1", "http2"):
            await self.serve_http(self.client, speaker, "http", self.live_origin("http"))
        else:
            await self.forward()

    async def forward(self) -> None:
        """Bytes as they are."""
        if self.services.world is not None:
            self.ending = Ending("broker", "refused")
            self.problem("no HTTP: not in the recorded world", "Only HTTP exchanges can be answered from a recording.")
            return
        try:
            server = await self.connected()
        except upstream.ConnectFailed as failure:
            self.ending = Ending("broker", "error", failure.reason)
            return
        self.ending = await forward_sockets(self.client, server, Tally(self.services.journal, self.number))

    def live_origin(self, scheme: str) -> Origin:
        """The server that this connection goes to."""
        raise NotImplementedError

    async def serve_http(self, client: Stream, protocol: Speaker, scheme: str, origin: Origin) -> None:
        """Exchanges until the client's connection ends."""
        raise NotImplementedError

    # ---- refusals

    async def _unreachable(self) -> None:
        raise NotImplementedError

    async def _refuse(self, status: int, reason: str, remedy: str, *, how: str) -> None:
        self.ending = Ending("broker", how, reason)
        try:
            speaker = await asyncio.wait_for(who_speaks(self.client, None), REFUSED_WAIT_S)
        except asyncio.TimeoutError:
            return
        refusal = Refusal(status, reason, remedy)
        if speaker == "tls":
            from sentra_sandbox.network.tls_leg import refuse_tls

            await refuse_tls(self, refusal)
        elif speaker in ("http1", "http2"):
            await self.serve_http(self.client, speaker, "http", refusal)

    # ---- the end

    def problem(self, what: str, detail: str, remedy: str = "") -> None:
        """Note something in the run."""
        fields: dict[str, object] = {"what": what, "detail": detail}
        if remedy:
            fields["remedy"] = remedy
        self.services.journal.write(NetworkType.PROBLEM, fields, connection=self.number)
