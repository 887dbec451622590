"""From a trace's events to moments, in their order: keeps the state, and makes a moment only where a rule could want one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sentra_sandbox.review.rules.moment import Moment, RunFacts, falco_type
from sentra_sandbox.review.rules.paths import SECRET, file_class
from sentra_sandbox.review.rules.state import EXECS, O_WRONLY, OPENS, RunState
from sentra_sandbox.syscalls import table
from sentra_sandbox.trace.events import Event, EventFlag, EventType
from sentra_sandbox.trace.network_events import FIRST, Direction, NetworkType
from sentra_sandbox.views.llm import llm_call
from sentra_sandbox.views.places import open_flags, register

if TYPE_CHECKING:
    from sentra_sandbox.views.connections import Connection
    from sentra_sandbox.views.exchanges import Exchange
    from sentra_sandbox.views.network import Network

_NOT_DONE = EventFlag.FOREIGN_ABI | EventFlag.IN_FLIGHT
_SYSCALL, _EXEC, _EXIT = EventType.SYSCALL.value, EventType.EXEC.value, EventType.EXIT.value
_RECEIVES = frozenset(call.number for name in ("recvfrom", "recvmsg", "recvmmsg") if (call := table.call_named(name)))


class Asked(Protocol):
    """Who wants the moments."""

    def wants(self, event_type: str) -> bool: ...
    def ask(self, moment: Moment) -> None: ...


class EventMoments:
    """``network`` is the model of the whole run: what an exchange became is known when it ends."""

    def __init__(self, asked: Asked, facts: RunFacts, network: Network | None = None) -> None:
        self.state = RunState()
        self._asked = asked
        self._facts = facts
        self._network = network
        self._wanted: dict[int, str] = {}
        for call in table.all_calls():
            if call.number not in EXECS and asked.wants(falco_type(call.name)):
                self._wanted[call.number] = falco_type(call.name)
        self._execs = asked.wants("execve"), asked.wants("execveat")
        self._exits = asked.wants("procexit")
        self._dns = {query.seq: query for query in network.dns} if network else {}
        self._told: set[tuple[str, int]] = set()

    def feed(self, event: Event) -> None:
        """Take the next event of the run."""
        kind = event.type
        if kind == _SYSCALL:
            self.state.feed(event)
            nr = event.nr
            if nr in OPENS:
                self._open(event)
            elif nr in EXECS:
                if event.result < 0:  # one that succeeds is told by its EXEC event, which knows the new image
                    self._failed_exec(event)
            elif nr in self._wanted and not event.flags & _NOT_DONE:
                self._asked.ask(Moment(self._wanted[nr], self.state, self._facts, event=event))
            if nr in _RECEIVES and event.result > 0:
                self._received(event)
        elif kind >= FIRST:
            if self._network is not None:
                self._from_network(event, self._network)
        else:
            self.state.feed(event)
            if kind == _EXEC and any(self._execs):
                self._asked.ask(Moment("execve", self.state, self._facts, event=event))
            elif kind == _EXIT and self._exits:
                self._asked.ask(Moment("procexit", self.state, self._facts, event=event))

    def _open(self, event: Event) -> None:
        if event.flags & _NOT_DONE:
            return
        wanted = self._wanted.get(event.nr)
        reading = open_flags(event) & 3 != O_WRONLY
        moment = Moment(wanted or "open", self.state, self._facts, event=event)
        if wanted:
            self._asked.ask(moment)
        if event.result >= 0 and moment.paths:
            self.state.opened_for_writing(event, moment.paths[0])
            if reading and moment.process and "secret" not in moment.process.taint and self._is_secret(moment.paths[0]):
                moment.process.taint.add("secret")

    def _is_secret(self, path: str) -> bool:
        return file_class(path, self._facts.workspace, self._facts.home) == SECRET

    def _failed_exec(self, event: Event) -> None:
        call = table.call(event.nr)
        if call is not None and self._asked.wants(call.name) and not event.flags & _NOT_DONE:
            self._asked.ask(Moment(call.name, self.state, self._facts, event=event))

    def _received(self, event: Event) -> None:
        process = self.state.process(event.task)
        file = self.state.descriptors.open_file(event.task, register(event, 0) & 0x7FFFFFFF)
        if process and file and file.name.startswith(("socket:tcp", "socket:udp")):
            process.taint.add("network")

    # ---- what the broker saw

    def _from_network(self, event: Event, network: Network) -> None:
        if event.type == NetworkType.DNS:
            if (query := self._dns.get(event.seq)) is not None:
                for words in map(str.split, query.answers):
                    if words:
                        self.state.name(words[-1], query.name.rstrip("."))
                self._tell(Moment("dns", self.state, self._facts, seq=event.seq, time_ns=event.time_ns, task=query.task, dns=query))
            return
        number, exchange_number = register(event, 0), register(event, 1)
        connection = network.connections.get(number)
        if connection is None:
            return
        if event.type == NetworkType.OPEN:
            if connection.name:
                self.state.name(connection.server[0], connection.name)
            self._of_connection("connection", event, connection)
        elif event.type == NetworkType.TLS:
            self._of_connection("tls", event, connection)
        elif event.type == NetworkType.END and register(event, 2) == Direction.TO_CLIENT:
            if (exchange := network.exchanges.get(exchange_number)) is not None:
                self._of_exchange(event.seq, event.time_ns, exchange, connection)
        elif event.type == NetworkType.CLOSE:
            for each in connection.exchanges:
                self._of_exchange(event.seq, event.time_ns, network.exchanges[each], connection)

    def _of_connection(self, type: str, event: Event, connection: Connection) -> None:
        if self._first(type, connection.number):
            self._tell(Moment(type, self.state, self._facts, seq=event.seq, time_ns=event.time_ns, task=connection.task,
                              connection=connection))  # fmt: skip

    def _of_exchange(self, seq: int, time_ns: int, exchange: Exchange, connection: Connection) -> None:
        """An exchange is told once, when its answer has ended or its connection has. The evidence is its request."""
        if not self._first("http", exchange.number) or not exchange.request.seen:
            return
        at = exchange.request.seq or seq
        self._tell(Moment("http", self.state, self._facts, seq=at, time_ns=exchange.request.time_ns or time_ns, task=connection.task,
                          exchange=exchange, connection=connection))  # fmt: skip
        if (process := self.state.process(connection.task)) is not None:
            process.taint.add("network")
        if self._asked.wants("llm") and (call := llm_call(exchange)) is not None:
            self._tell(Moment("llm", self.state, self._facts, seq=at, time_ns=exchange.request.time_ns or time_ns, task=connection.task,
                              exchange=exchange, connection=connection, llm=call))  # fmt: skip

    def _first(self, type: str, number: int) -> bool:
        if (type, number) in self._told:
            return False
        self._told.add((type, number))
        return True

    def _tell(self, moment: Moment) -> None:
        if self._asked.wants(moment.type):
            self._asked.ask(moment)

    def finish(self) -> None:
        """After the last event: exchanges whose end was not recorded."""
        if self._network is None:
            return
        for exchange in self._network.exchanges.values():
            self._of_exchange(exchange.request.seq, exchange.last_ns, exchange, self._network.connections[exchange.connection])
