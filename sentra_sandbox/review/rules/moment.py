"""One event as rules see it: ``Moment``, made when a rule may want it, everything in it worked out when it is asked for.

A moment is a system call with its process and descriptor, the end of a process, or something that the network's broker saw (an HTTP
exchange, a DNS query, TLS, a connection, a call of a language model).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sentra_sandbox.review.rules.state import EXECS, OPENS, ProcessState, RunState
from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.error_numbers import error_name
from sentra_sandbox.syscalls.memory import Memory
from sentra_sandbox.syscalls.network import address_text
from sentra_sandbox.syscalls.open_files import OpenFile
from sentra_sandbox.syscalls.quoting import signed32, signed64
from sentra_sandbox.trace.events import Event, EventFlag, EventType, SegmentKind
from sentra_sandbox.views.paths import call_paths
from sentra_sandbox.views.places import open_flags, register

if TYPE_CHECKING:
    from sentra_sandbox.trace.run import RunMetadata
    from sentra_sandbox.views.connections import Connection, DnsQuery
    from sentra_sandbox.views.exchanges import Exchange
    from sentra_sandbox.views.llm import LlmCall

O_DIRECTORY, O_PATH = 0o200000, 0o10000000
BUFFER_MAX = 64 * 1024
BODY_MAX = 64 * 1024
Address = tuple[str, int]
NOWHERE: Address = ("", 0)
_TYPES = {"f": "file", "d": "directory", "4": "ipv4", "6": "ipv6", "u": "unix", "p": "pipe", "e": "event", "s": "signalfd",
          "l": "eventpoll", "i": "inotify", "t": "timerfd", "o": "other"}  # fmt: skip
_ANONYMOUS = {"pipe": "p", "anon_inode:[eventfd]": "e", "anon_inode:[signalfd]": "s", "anon_inode:[eventpoll]": "l",
              "anon_inode:inotify": "i", "anon_inode:[timerfd]": "t"}  # fmt: skip
_FALCO_NAMES = {"pread64": "pread", "pwrite64": "pwrite"}
_ADDRESS_ARGUMENT = {"connect": 1, "bind": 1, "sendto": 4, "accept": 1, "accept4": 1, "recvfrom": 4}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is the same for all events of a run."""

    run: RunMetadata | None = None
    workspace: str = ""
    home: str = ""


@dataclass(slots=True)
class Descriptor:
    """What a call was about. ``client`` and ``server`` as Falco has them: who connects is the client."""

    number: int
    name: str
    raw_name: str
    char: str
    protocol: str = ""
    client: Address = NOWHERE
    server: Address = NOWHERE
    we_connect: bool = True
    connected: bool = False
    name_changed: bool = False

    @property
    def type(self) -> str:
        return _TYPES.get(self.char, "other")

    @property
    def local(self) -> Address:
        return self.client if self.we_connect else self.server

    @property
    def remote(self) -> Address:
        return self.server if self.we_connect else self.client


class Moment:
    """``type`` is the event's type in Falco's words. The objects of the network are None where the event is not about them."""

    def __init__(
        self,
        type: str,
        state: RunState,
        facts: RunFacts,
        *,
        event: Event | None = None,
        seq: int = 0,
        time_ns: int = 0,
        task: int = 0,
        exchange: Exchange | None = None,
        dns: DnsQuery | None = None,
        connection: Connection | None = None,
        llm: LlmCall | None = None,
    ) -> None:
        self.type = type
        self.state = state
        self.facts = facts
        self.event = event
        self.seq = event.seq if event else seq
        self.time_ns = event.time_ns if event else time_ns
        self.task = event.task if event else task
        self.exchange = exchange
        self.dns = dns
        self.connection = connection
        self.llm = llm
        self.process: ProcessState | None = state.process(self.task)

    @property
    def result(self) -> int | None:
        """Of the system call; None for what is none."""
        if self.event is None or self.event.type != EventType.SYSCALL or self.event.flags & EventFlag.IN_FLIGHT:
            return 0 if self.type in ("execve", "execveat") else None
        return signed64(self.event.result)

    @property
    def outcome(self) -> str | None:
        """``SUCCESS`` or the error's name."""
        result = self.result
        return None if result is None else error_name(-result) if -4096 < result < 0 else "SUCCESS"

    @property
    def buffer(self) -> bytes | None:
        """What a call read or wrote, its beginning."""
        event = self.event
        if event is None or event.type != EventType.SYSCALL:
            return None
        kinds = (SegmentKind.OUT,) if self.type in _READING else (SegmentKind.IN,) if self.type in _WRITING else ()
        pieces = [segment.data for segment in event.segments if segment.kind in kinds]
        return b"".join(pieces)[:BUFFER_MAX] if pieces else None

    @cached_property
    def call(self) -> table.Call | None:
        if self.event is None:
            return None
        if self.event.type == EventType.SYSCALL:
            return table.call(self.event.nr)
        return table.call_named(self.type) if self.event.type == EventType.EXEC else None

    @cached_property
    def paths(self) -> list[str]:
        """The paths that the call names, absolute, in its order."""
        if self.event is None or self.call is None or self.event.type != EventType.SYSCALL:
            return [self.process.path] if self.type == "execve" and self.process and self.process.path else []
        return [path for _, path in call_paths(self.event, self.call, self.state.descriptors)]

    @cached_property
    def raw_paths(self) -> list[str]:
        """The same as the program gave them."""
        if self.event is None or self.call is None:
            return []
        texts = {s.arg: s.data for s in self.event.segments if s.kind == SegmentKind.IN}
        return [
            texts[number].decode("utf-8", "surrogateescape")
            for number, argument in enumerate(self.call.args)
            if argument.kind == "path" and number in texts
        ]

    @cached_property
    def fd(self) -> Descriptor | None:
        """The descriptor that the event is about."""
        if self.event is None or self.event.type != EventType.SYSCALL:
            return _of_connection(self.connection) if self.connection is not None else None
        if self.event.nr in OPENS:
            return self._opened(self.event)
        if self.event.nr in EXECS or self.call is None or not self.call.args or self.call.args[0].kind != "fd":
            return None
        return self._used(self.event, self.call.name)

    def _opened(self, event: Event) -> Descriptor | None:
        if not self.paths:
            return None
        number = event.result if event.result >= 0 else -1
        raw = self.raw_paths[0] if self.raw_paths else self.paths[0]
        return Descriptor(number, self.paths[0], raw, "d" if open_flags(event) & O_DIRECTORY else "f", name_changed=True)

    def _used(self, event: Event, name: str) -> Descriptor | None:
        number = signed32(register(event, 0))
        if name in ("accept", "accept4") and event.result >= 0:
            number = event.result
        file = self.state.descriptors.open_file(event.task, number)
        given = self._given_address(event, name)
        if file is None and given is None:
            text = self.state.descriptors.describe(event.task, number)
            return Descriptor(number, text, text, "f" if text.startswith("/") else "o") if text else None
        return _descriptor(number, file or OpenFile("socket"), name, given)

    def _given_address(self, event: Event, name: str) -> str | None:
        """The address that the call itself names."""
        index = _ADDRESS_ARGUMENT.get(name)
        if index is None or not register(event, index):
            return None
        segment = Memory(event.segments).segment(index, register(event, index), SegmentKind.IN)
        return address_text(segment.data) if segment else None

    def body(self, response: bool) -> str | None:
        """The beginning of an exchange's body, decoded; None if there is none."""
        if self.exchange is None:
            return None
        message: Any = self.exchange.response if response else self.exchange.request
        return message.decoded(BODY_MAX).data.decode("utf-8", "surrogateescape") if message.size else None


_READING = frozenset({"read", "pread", "pread64", "readv", "preadv", "recv", "recvfrom", "recvmsg"})
_WRITING = frozenset({"write", "pwrite", "pwrite64", "writev", "pwritev", "send", "sendto", "sendmsg"})


def falco_type(name: str) -> str:
    """``evt.type`` of a system call."""
    return _FALCO_NAMES.get(name, name)


def split_address(text: str | None) -> Address:
    """``127.0.0.1:80``, ``[::1]:80``; other text is a path or name without a port."""
    if not text:
        return NOWHERE
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or len(port) > 5 or host.startswith(("/", "@")):
        return text, 0
    host = host.strip("[]")
    return host.removeprefix("::ffff:") if "." in host else host, int(port)


def _descriptor(number: int, file: OpenFile, call: str, given: str | None) -> Descriptor:
    if not file.name.startswith("socket"):
        char = "f" if file.name.startswith("/") else _ANONYMOUS.get(file.name.split(":[")[0], _ANONYMOUS.get(file.name, "o"))
        return Descriptor(number, file.name, file.name, char)
    peer, local = file.peer, file.local
    if given and call in ("connect", "sendto"):
        peer = given
    elif given and call == "bind":
        local = given
    protocol = file.name.partition(":")[2].split(":")[0]
    incoming = call in ("accept", "accept4", "listen", "bind") or file.listening
    ours, theirs = split_address(local), split_address(peer)
    where = theirs if theirs[0] else ours
    char = "u" if protocol == "unix" or where[0].startswith(("/", "@")) else "6" if ":" in where[0] else "4" if where[0] else "o"
    client, server = (theirs, ours) if incoming else (ours, theirs)
    name = where[0] if char == "u" else f"{_shown(client)}->{_shown(server)}"
    return Descriptor(
        number, name, name, char, protocol if protocol in ("tcp", "udp") else "", client, server, not incoming,
        connected=file.peer is not None, name_changed=given is not None,
    )  # fmt: skip


def _of_connection(connection: Connection) -> Descriptor:
    name = f"{_shown(connection.client)}->{_shown(connection.server)}"
    char = "6" if ":" in connection.server[0] else "4"
    return Descriptor(-1, name, name, char, connection.protocol, connection.client, connection.server, connected=True)


def _shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else ""


def entropy(data: bytes) -> float:
    """Bits a byte."""
    if not data:
        return 0.0
    counts = [data.count(byte) for byte in set(data)]
    return -sum(count / len(data) * math.log2(count / len(data)) for count in counts)
