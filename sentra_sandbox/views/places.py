"""Where each task is: its process, the process that started it, its working directory, the directories it holds open.

A lighter cousin of the descriptor table, for the summary that ``exec`` prints at the end of each run: it knows only
what is needed to make a path absolute and to find the process of a task. Rule of this file and of those that only use
it: no dataclasses, no regular expressions, no system call table; loading those takes longer than looking at the
events of a small run.
"""

from __future__ import annotations

import posixpath

from sentra_sandbox.trace.events import Event, EventFlag, EventType, SegmentKind
from sentra_sandbox.views.numbers import CHDIR, CREAT, FCHDIR, OPEN, OPEN_CALLS, OPENAT

AT_FDCWD = -100
O_DIRECTORY, O_PATH = 0o200000, 0o10000000
CLONE_FS = 0x200
INFO_CWD = 1
_SYSCALL, _TASK, _EXEC = EventType.SYSCALL.value, EventType.TASK.value, EventType.EXEC.value
_FOREIGN_ABI = EventFlag.FOREIGN_ABI.value


class Places:
    """Follows a run's events in order."""

    def __init__(self) -> None:
        self.processes = 0
        self._process_of: dict[int, int] = {}
        self._parent_of: dict[int, int] = {}  # process → process
        self._cwd: dict[int, str] = {}  # by process
        self._directories: dict[tuple[int, int], str] = {}  # (process, descriptor) → path

    def feed(self, event: Event) -> None:
        """Take the next event of the run."""
        if event.type == _SYSCALL:
            if event.result >= 0 and not event.flags & _FOREIGN_ABI:
                if event.nr in OPEN_CALLS:
                    self._opened(event)
                elif event.nr == CHDIR:
                    self._cwd[self.process(event.task)] = self.path(event.task, AT_FDCWD, text_argument(event, 0))
                elif event.nr == FCHDIR:
                    self._cwd[self.process(event.task)] = self._directory(event.task, signed32(register(event, 0)))
        elif event.type == _TASK:
            self._task(event)
        elif event.type == _EXEC:
            process = self.process(event.task)
            for segment in event.segments:
                if segment.kind == SegmentKind.INFO and segment.arg == INFO_CWD:
                    self._cwd[process] = segment.data.decode("utf-8", "surrogateescape")

    def process(self, task: int) -> int:
        """The process of a task; one that no event has introduced is a process of its own."""
        process = self._process_of.get(task)
        if process is None:
            process = self._process_of[task] = task
            self.processes += 1
        return process

    def lineage(self, task: int) -> list[int]:
        """Its process, the one that started that, and so on."""
        found = [self.process(task)]
        while (parent := self._parent_of.get(found[-1])) is not None and parent not in found:
            found.append(parent)
        return found

    def path(self, task: int, dirfd: int, text: str) -> str:
        """``text`` made absolute as the task sees it from ``dirfd``, as far as that is known; ``.`` and ``..`` are
        folded.
        """
        if not text.startswith("/"):
            base = self._cwd.get(self.process(task), "") if dirfd == AT_FDCWD else self._directory(task, dirfd)
            text = posixpath.join(base, text)
        return posixpath.normpath(text) if text else ""

    def _task(self, event: Event) -> None:
        parent, tgid = self.process(signed32(register(event, 0))), signed32(register(event, 1))
        if tgid != event.task:
            self._process_of[event.task] = self.process(tgid)
            return
        self._process_of[tgid] = tgid
        self._parent_of[tgid] = parent
        self._cwd[tgid] = self._cwd.get(parent, "")
        self.processes += 1

    def _opened(self, event: Event) -> None:
        flags = open_flags(event)
        if flags & (O_DIRECTORY | O_PATH):
            dirfd, number = OPEN_CALLS[event.nr]
            base = AT_FDCWD if dirfd is None else signed32(register(event, dirfd))
            self._directories[self.process(event.task), event.result] = self.path(
                event.task, base, text_argument(event, number)
            )

    def _directory(self, task: int, fd: int) -> str:
        return next((found for process in self.lineage(task) if (found := self._directories.get((process, fd)))), "")


def register(event: Event, number: int) -> int:
    """An argument as the register held it; 0 for one that is not there, since a trace may be anything."""
    return event.args[number] if number < len(event.args) else 0


def text_argument(event: Event, number: int) -> str:
    """The string that argument ``number`` points to; empty if it was not captured."""
    for segment in event.segments:
        if segment.arg == number and segment.kind == SegmentKind.IN:
            return segment.data.decode("utf-8", "surrogateescape")
    return ""


def open_flags(event: Event) -> int:
    """The O_* flags of an open, openat, openat2 or creat."""
    if event.nr == OPENAT:
        return register(event, 2)
    if event.nr == OPEN:
        return register(event, 1)
    if event.nr == CREAT:
        return 0o1101  # O_CREAT | O_WRONLY | O_TRUNC
    for segment in event.segments:  # openat2: struct open_how begins with the flags
        if segment.arg == 2 and segment.kind == SegmentKind.IN:
            return int.from_bytes(segment.data[:8], "little")
    return 0


def signed32(value: int) -> int:
    """A register that holds a C int."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
