"""Which events a person wants to see: the filters of ``show`` as one value, decided event by event. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from sentra_sandbox.errors import UsageError
from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.quoting import signed32
from sentra_sandbox.syscalls.table_format import CLASSES
from sentra_sandbox.trace.events import Event, EventFlag, EventType
from sentra_sandbox.views.paths import call_paths
from sentra_sandbox.views.places import register
from sentra_sandbox.views.processes import ProcessTable

# Kept for a replay; in a listing they are noise, unless asked for by type.
BOOKKEEPING = frozenset({EventType.TSC, EventType.FILE, EventType.DATA, EventType.MEMORY})


@dataclass(frozen=True, slots=True)
class Selection:
    """Each filter that is not empty must hold. ``calls`` are numbers; ``path`` is a part of a path, or a pattern
    with ``*?[``. ``network``: where ``calls`` are chosen, the events of the run's own network go with them.
    """

    pids: frozenset[int] = frozenset()
    calls: frozenset[int] | None = None
    types: frozenset[int] = frozenset()
    path: str = ""
    since_ns: int = 0
    until_ns: int | None = None
    network: bool = False

    def wants(self, event: Event, processes: ProcessTable, paths: tuple[str, ...]) -> bool:
        """Whether to show this event; ``paths`` are those it names (only looked at when ``path`` is set)."""
        if event.time_ns < self.since_ns or (self.until_ns is not None and event.time_ns > self.until_ns):
            return False
        if self.types and event.type not in self.types:
            return False
        if not self.types and event.type in BOOKKEEPING:
            return False
        of_network = self.network and event.type >= EventType.ENDPOINT
        if self.calls is not None and not of_network and (
            event.type != EventType.SYSCALL or event.nr not in self.calls or event.flags & EventFlag.FOREIGN_ABI
        ):
            return False
        if self.pids and event.task not in self.pids:
            process = processes.of(event.task)
            if process is None or process.pid not in self.pids:
                return False
        return not self.path or any(self._path_matches(path) for path in paths)

    def _path_matches(self, path: str) -> bool:
        if any(c in self.path for c in "*?["):
            return fnmatchcase(path, self.path)
        return self.path in path


def calls_named(names: tuple[str, ...], classes: tuple[str, ...]) -> frozenset[int] | None:
    """The numbers of the calls with one of these names and, if given, of one of these classes; None when nothing was
    asked.

    Raises ``UsageError`` for a name or class that does not exist.
    """
    wanted = [name for word in names for name in word.split(",") if name]
    for name in wanted:
        if table.call_named(name) is None:
            raise UsageError(
                f"There is no system call '{name}' on x86-64 Linux.",
                "Write its name as in the manual: openat, read, connect.",
            )
    for name in classes:
        if name not in CLASSES:
            raise UsageError(f"There is no class of system calls '{name}'.", f"The classes are {', '.join(CLASSES)}.")
    if not wanted and not classes:
        return None
    return frozenset(
        call.number
        for call in table.all_calls()
        if (not wanted or call.name in wanted) and (not classes or set(call.classes) & set(classes))
    )


def event_paths(event: Event, descriptors: DescriptorTable) -> tuple[str, ...]:
    """All paths that a call names: by its strings, and by descriptors that refer to files."""
    if event.type != EventType.SYSCALL or event.flags & EventFlag.FOREIGN_ABI:
        return ()
    call = table.call(event.nr)
    if call is None:
        return ()
    paths = [path for _, path in call_paths(event, call, descriptors)]
    for number, argument in enumerate(call.args[: len(event.args)]):
        if argument.kind == "fd":
            name = descriptors.describe(event.task, signed32(register(event, number)))
            if name and name.startswith("/"):
                paths.append(name)
    return tuple(dict.fromkeys(paths))
