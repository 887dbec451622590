"""The state of a run as it was at each event, as far as rules ask for it: processes with their images and users, descriptors, names of
addresses.

Fed with every event in order. Hostile traces: unknown tasks become processes of their own, nothing raises, and what is kept is bounded by
the number of processes and open descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.descriptor_steps import STEPS
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.trace.events import Event, EventType, SegmentKind
from sentra_sandbox.views.initial_stack import arguments_and_environment
from sentra_sandbox.views.places import open_flags, register, signed32, text_argument

COMM_BYTES = 15
LINEAGE_MAX = 64
_NAMES_MAX = 100_000
INFO_PATH, INFO_CWD, INFO_STACK = 0, 1, 2
O_WRONLY, O_RDWR = 1, 2
PR_SET_NAME = 15
AT_EUID, AT_EGID = 12, 14


def _number(name: str) -> int:
    call = table.call_named(name)
    return call.number if call else -1


EXECS = frozenset({_number("execve"), _number("execveat")})
OPENS = frozenset(_number(name) for name in ("open", "openat", "openat2", "creat"))
_STEPS = frozenset(_number(name) for name in STEPS)
_PRCTL, _SETSID = _number("prctl"), _number("setsid")
_SETUID = {_number("setuid"): 0, _number("setreuid"): 1, _number("setresuid"): 1}
_SETGID = {_number("setgid"): 0, _number("setregid"): 1, _number("setresgid"): 1}
_OWN_STATE = frozenset({_PRCTL, _SETSID, *_SETUID, *_SETGID, *EXECS})
_SYSCALL, _TASK, _EXEC, _EXIT = EventType.SYSCALL.value, EventType.TASK.value, EventType.EXEC.value, EventType.EXIT.value


@dataclass(slots=True, eq=False)
class ProcessState:
    """A process now. ``number`` counts from 1. ``given_path`` is what exec was called with, ``path`` what the kernel then ran."""

    number: int
    pid: int
    parent: ProcessState | None
    started_ns: int
    sid: int = 0
    comm: str = ""
    path: str = ""
    argv: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    uid: int | None = None
    gid: int | None = None
    fresh_executable: bool = False  # the run itself wrote it
    taint: set[str] = field(default_factory=set)
    cmdline: str = ""

    def ancestor(self, level: int) -> ProcessState | None:
        """0 is the process itself, 1 its parent."""
        found: ProcessState | None = self
        for _ in range(level if level <= LINEAGE_MAX else 0):
            found = found.parent if found else None
        return found if level <= LINEAGE_MAX else None

    def ancestors(self) -> list[ProcessState]:
        """From its parent upwards."""
        found: list[ProcessState] = []
        parent = self.parent
        while parent is not None and len(found) < LINEAGE_MAX:
            found.append(parent)
            parent = parent.parent
        return found


class RunState:
    """Follows a run's events in order. ``names`` has the host name of each address that DNS gave out."""

    def __init__(self, uid: int | None = None, gid: int | None = None, descriptors: DescriptorTable | None = None) -> None:
        self.descriptors = descriptors or DescriptorTable()
        self.names: dict[str, str] = {}
        self.written: set[str] = set()
        self.processes = 0
        self._uid, self._gid = uid, gid
        self._by_task: dict[int, ProcessState] = {}
        self._exec_path: dict[int, str] = {}

    def process(self, task: int) -> ProcessState | None:
        """The process that a task belongs to (or belonged to, if it has ended)."""
        return self._by_task.get(task)

    def name(self, address: str, name: str) -> None:
        """DNS gave out this address for a name."""
        if len(self.names) < _NAMES_MAX:
            self.names[address] = name

    def feed(self, event: Event) -> None:
        """Take the next event."""
        kind = event.type
        if kind == _SYSCALL:
            if event.nr in _STEPS:
                self.descriptors.apply(event)
            if event.nr in _OWN_STATE:
                self._call(event)
            elif event.task not in self._by_task and event.task:
                self._start(event.task, None, event.time_ns)
        elif kind == _TASK:
            self._new_task(event)
            self.descriptors.apply(event)
        elif kind == _EXEC:
            self._exec(event)
            self.descriptors.apply(event)
        elif kind == _EXIT:
            self.descriptors.apply(event)

    def opened_for_writing(self, event: Event, path: str) -> None:
        """A successful open; remembers what the run itself wrote."""
        if open_flags(event) & (O_WRONLY | O_RDWR) and len(self.written) < _NAMES_MAX:
            self.written.add(path)

    def _start(self, pid: int, parent: ProcessState | None, time_ns: int) -> ProcessState:
        self.processes += 1
        process = ProcessState(self.processes, pid, parent, time_ns, sid=parent.sid if parent else pid)
        if parent is None:
            process.uid, process.gid = self._uid, self._gid
        else:
            for name in ("comm", "path", "argv", "env", "cwd", "uid", "gid", "fresh_executable", "cmdline"):
                setattr(process, name, getattr(parent, name))
            process.taint = set(parent.taint)
        self._by_task[pid] = process
        return process

    def _new_task(self, event: Event) -> None:
        parent, tgid = self._by_task.get(signed32(register(event, 0))), signed32(register(event, 1))
        if tgid != event.task and tgid in self._by_task:
            self._by_task[event.task] = self._by_task[tgid]
        else:
            self._start(event.task, parent, event.time_ns)

    def _call(self, event: Event) -> None:
        process = self._by_task.get(event.task) or self._start(event.task, None, event.time_ns)
        if event.nr in EXECS:
            index = 0 if event.nr == _number("execve") else 1
            if event.result >= 0:
                self._exec_path[event.task] = text_argument(event, index)
        elif event.result < 0:
            return
        elif event.nr == _PRCTL and register(event, 0) == PR_SET_NAME:
            if name := text_argument(event, 1).split("\0")[0]:
                process.comm = short(name)
        elif event.nr == _SETSID:
            process.sid = event.result
        elif event.nr in _SETUID:
            process.uid = _identity(register(event, _SETUID[event.nr]), process.uid)
        elif event.nr in _SETGID:
            process.gid = _identity(register(event, _SETGID[event.nr]), process.gid)

    def _exec(self, event: Event) -> None:
        old = signed32(register(event, 0))
        process = self._by_task.get(event.task) or self._start(event.task, None, event.time_ns)
        given = self._exec_path.pop(old, "") or self._exec_path.pop(event.task, "")
        if old != event.task:
            self._by_task.pop(old, None)
        info = {segment.arg: segment for segment in event.segments if segment.kind == SegmentKind.INFO}
        process.path = _text(info[INFO_PATH].data) if INFO_PATH in info else given
        process.cwd = _text(info[INFO_CWD].data) if INFO_CWD in info else process.cwd
        if INFO_STACK in info:
            process.argv, process.env = arguments_and_environment(info[INFO_STACK].data, info[INFO_STACK].addr)
            process.uid, process.gid = _identities(info[INFO_STACK].data) or (process.uid, process.gid)
        process.comm = short((given or process.path).rsplit("/", 1)[-1])
        process.cmdline = " ".join((process.comm, *process.argv[1:]))
        process.fresh_executable = process.path in self.written


def _identities(stack: bytes) -> tuple[int, int] | None:
    """The user and group id that the kernel gave a new image, from the auxiliary vector behind its environment."""
    at, zeros = 8, 0
    while zeros < 2 and at + 8 <= len(stack):  # argv, then envp
        zeros += stack[at : at + 8] == bytes(8)
        at += 8
    found: dict[int, int] = {}
    while at + 16 <= len(stack) and len(found) < 64:
        key, value = int.from_bytes(stack[at : at + 8], "little"), int.from_bytes(stack[at + 8 : at + 16], "little")
        if key == 0:
            break
        found.setdefault(key, value & 0xFFFFFFFF)
        at += 16
    return (found[AT_EUID], found[AT_EGID]) if AT_EUID in found and AT_EGID in found else None


def short(name: str) -> str:
    """As the kernel cuts a task's name."""
    return name.encode("utf-8", "surrogateescape")[:COMM_BYTES].decode("utf-8", "surrogateescape")


def _identity(value: int, before: int | None) -> int | None:
    """-1 leaves an id as it is."""
    value &= 0xFFFFFFFF
    return before if value == 0xFFFFFFFF else value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
