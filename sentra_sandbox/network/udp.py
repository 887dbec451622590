"""Datagrams of the program: requests and answers, one flow for each pair of its own address and the one it sent to.

A flow is decided like a connection, has a socket outside (connected to the real server) and one inside whose own address is the one that
the program sent to, so answers come from there. Port 53 is ours: every query is answered by the DNS server, whoever was asked.
Flows end when nothing has passed for a while; their number and what waits for a decision are bounded. Datagrams that are
refused are dropped, as a network would.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

from sentra_sandbox.network.destination import Destination, decide
from sentra_sandbox.network.sockets import Address, SocketMaker, receive_datagram
from sentra_sandbox.trace.network_events import Direction, NetworkType

if TYPE_CHECKING:
    from sentra_sandbox.network.connection import Services
    from sentra_sandbox.network.dns import DnsServer

MAX_FLOWS = 1024
IDLE_S = 60.0
DNS_IDLE_S = 5.0
_MAX_WAITING = 32  # datagrams of one flow, while it is being decided
_MAX_QUERIES = 64  # of one flow, being answered
_SWEEP_S = 1.0
_IN_A_ROW = 64
_MAX_DATAGRAM = 65535
_DNS = 53


class UdpFlows:
    """All flows of a run."""

    def __init__(self, services: Services, dns: DnsServer, maker: SocketMaker) -> None:
        self.services = services
        self.dns = dns
        self.maker = maker
        self.flows: dict[tuple[Address, Address], _Flow | _DnsFlow] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None
        self._overflow_told = False

    def listen(self, listener: socket.socket) -> None:
        """Take all datagrams that come here."""
        self._loop.add_reader(listener.fileno(), self._on_readable, listener)

    def _on_readable(self, listener: socket.socket) -> None:
        for _ in range(_IN_A_ROW):
            received = receive_datagram(listener)
            if received is None:
                return
            self.take(*received)

    def take(self, data: bytes, client: Address, meant: Address) -> None:
        """One datagram of the program."""
        flow = self.flows.get((client, meant))
        if flow is None:
            flow = self._open(client, meant)
            if flow is None:
                return
        flow.take(data)

    def _open(self, client: Address, meant: Address) -> _Flow | _DnsFlow | None:
        if len(self.flows) >= MAX_FLOWS:
            self._overflow()
        made: _Flow | _DnsFlow
        made = _DnsFlow(self, client, meant) if meant[1] == _DNS else _Flow(self, client, meant)
        self.flows[client, meant] = made
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        return made

    def _overflow(self) -> None:
        """The flow that was used longest ago gives way."""
        oldest = min(self.flows.values(), key=lambda flow: flow.used)
        oldest.close("broker", "timeout")
        if not self._overflow_told:
            self._overflow_told = True
            fields = {"what": "too many UDP flows", "detail": f"more than {MAX_FLOWS} at a time: the oldest ones were ended"}
            self.services.journal.write(NetworkType.PROBLEM, fields)

    def _sweep(self) -> None:
        now = time.monotonic()
        for flow in [flow for flow in self.flows.values() if now - flow.used > flow.idle_s]:
            flow.close("broker", "timeout")
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep) if self.flows else None

    def close(self) -> None:
        """The run has ended."""
        for flow in list(self.flows.values()):
            flow.close("broker", "end")


class _Inside:
    """The program's side of a flow: a socket that has the address the program sent to, made when it is first needed."""

    idle_s = IDLE_S

    def __init__(self, flows: UdpFlows, client: Address, meant: Address) -> None:
        self.flows = flows
        self.client = client
        self.meant = meant
        self.used = time.monotonic()
        self._inside: socket.socket | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def take(self, data: bytes) -> None:
        raise NotImplementedError

    def reply(self, data: bytes) -> bool:
        """Send to the program. False if that is impossible."""
        if self._closed:  # an answer that comes late: a socket made for it now would never be closed
            return False
        if self._inside is None:
            try:
                self._inside = self.flows.maker.udp(self.meant, self.client)
            except OSError as error:
                detail = f"an answer from {self.meant[0]} port {self.meant[1]} could not be given: {error.strerror}"
                self.flows.services.journal.write(NetworkType.PROBLEM, {"what": "UDP answer lost", "detail": detail})
                return False
            self._loop.add_reader(self._inside.fileno(), self._on_inside)
        with contextlib.suppress(OSError):  # the program is gone, or its buffer is full: a datagram is lost, as networks do
            self._inside.send(data)
        return True

    def _on_inside(self) -> None:
        """Later datagrams of the program come here and no longer to the listener."""
        assert self._inside is not None
        for _ in range(_IN_A_ROW):
            try:
                data = self._inside.recv(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # an ICMP error for what we sent before: the program's socket is closed
                self.close("client", "end")
                return
            self.take(data)

    def close(self, by: str, how: str, error: str = "") -> None:
        self._closed = True
        if self._inside is not None:
            self._loop.remove_reader(self._inside.fileno())
            self._inside.close()
            self._inside = None
        if self.flows.flows.get((self.client, self.meant)) is self:
            del self.flows.flows[self.client, self.meant]


class _DnsFlow(_Inside):
    """Queries to one server, answered by ours."""

    idle_s = DNS_IDLE_S

    def __init__(self, flows: UdpFlows, client: Address, meant: Address) -> None:
        super().__init__(flows, client, meant)
        self._asking: set[asyncio.Task[None]] = set()

    def take(self, data: bytes) -> None:
        self.used = time.monotonic()
        if len(self._asking) < _MAX_QUERIES:
            task = asyncio.ensure_future(self._answer(data))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _answer(self, query: bytes) -> None:
        answer = await self.flows.dns.answer(query, self.client, self.meant, "udp")
        if answer is not None:
            self.reply(answer)

    def close(self, by: str, how: str, error: str = "") -> None:
        super().close(by, how, error)
        for task in self._asking:  # else a flood of flows would leave as many questions behind
            task.cancel()


class _Flow(_Inside):
    """Datagrams to one server and back."""

    def __init__(self, flows: UdpFlows, client: Address, meant: Address) -> None:
        super().__init__(flows, client, meant)
        self._began = time.monotonic_ns()
        self._number = flows.services.journal.new_connection()
        self._waiting: list[bytes] | None = []
        self._outside: socket.socket | None = None
        self._sizes = [0, 0]
        self._opened = self._refused = False
        self._deciding = asyncio.ensure_future(self._decide())

    async def _decide(self) -> None:
        shared = self.flows.services
        try:
            wanted = await decide(shared.policy, shared.names, shared.resolver, *self.meant)
        except ValueError as error:
            self.close("broker", "error", str(error))
            return
        if self._closed:
            return
        self._write_open(wanted)
        waiting, self._waiting = self._waiting or [], None
        allowed = wanted.decision.allowed and shared.world is None
        if not allowed or not wanted.targets:
            self._refused = True  # kept for a while, so that each datagram does not become an event
            self._write_close("broker", "refused" if not allowed else "error", wanted.error)
            return
        try:
            self._connect(*wanted.targets[0])
        except OSError as error:
            self.close("broker", "error", error.strerror or str(error))
            return
        for data in waiting:
            self.take(data)

    def _write_open(self, wanted: Destination) -> None:
        decision = wanted.decision
        self._opened = True
        recorded = self.flows.services.world is not None
        fields: dict[str, object] = {
            "protocol": "udp",
            "client": list(self.client),
            "server": list(self.meant),
            "name": wanted.name,
            "allowed": decision.allowed and not recorded,
            "rule": decision.rule,
            "reason": "only HTTP can be answered from a recording" if recorded else decision.reason,
            "remedy": decision.remedy,
        }
        self.flows.services.journal.write(NetworkType.OPEN, fields, connection=self._number)

    def _connect(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        outside = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            outside.connect((address, port))
        except OSError:
            outside.close()
            raise
        self._outside = outside
        name = outside.getsockname()
        fields = {"peer": [address, port], "local": [name[0], name[1]]}
        self.flows.services.journal.write(NetworkType.UPSTREAM, fields, connection=self._number)
        self._loop.add_reader(outside.fileno(), self._on_outside)

    def take(self, data: bytes) -> None:
        self.used = time.monotonic()
        if self._refused or self._closed:
            return
        if self._outside is None:
            if self._waiting is not None and len(self._waiting) < _MAX_WAITING:
                self._waiting.append(data)
            return
        self._write(Direction.TO_SERVER, data)
        try:
            self._outside.send(data)
        except (BlockingIOError, InterruptedError):
            pass  # lost, as networks do
        except ConnectionRefusedError:
            self.close("server", "refused")
        except OSError as error:
            self.close("broker", "error", error.strerror or str(error))

    def _on_outside(self) -> None:
        assert self._outside is not None
        for _ in range(_IN_A_ROW):
            try:
                data = self._outside.recv(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                refused = isinstance(error, ConnectionRefusedError)
                self.close("server", "refused" if refused else "error", "" if refused else error.strerror or "")
                return
            self.used = time.monotonic()
            self._write(Direction.TO_CLIENT, data)
            if not self.reply(data):
                self.close("broker", "error", "no answer can be given")
            if self._closed:
                return

    def _write(self, direction: Direction, data: bytes) -> None:
        self._sizes[direction] += len(data)
        self.flows.services.journal.write(NetworkType.DATAGRAM, None, data, connection=self._number, direction=direction)

    def close(self, by: str, how: str, error: str = "") -> None:
        if self._closed:
            return
        if asyncio.current_task() is not self._deciding:
            self._deciding.cancel()
        if self._outside is not None:
            self._loop.remove_reader(self._outside.fileno())
            self._outside.close()
        super().close(by, how, error)
        if self._opened and not self._refused:
            self._write_close(by, how, error)

    def _write_close(self, by: str, how: str, error: str) -> None:
        fields: dict[str, object] = {"by": by, "how": how, "sent": self._sizes[0], "received": self._sizes[1]}
        if error:
            fields["error"] = error
        took = time.monotonic_ns() - self._began
        self.flows.services.journal.write(NetworkType.CLOSE, fields, connection=self._number, duration_ns=took)
