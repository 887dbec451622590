"""What descriptors refer to: open files (shared by duplicates and children) and the tables that number them.

Pure data and the few operations the kernel has on them; descriptors.py feeds them from events.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class OpenFile:
    """One open file description. ``name`` says what it is; sockets have addresses and may have an other end."""

    name: str
    path: str | None = None  # of files and directories: what relative paths start from
    local: str | None = None
    peer: str | None = None
    listening: bool = False
    other_end: OpenFile | None = None
    passed: deque[list[OpenFile]] = field(default_factory=deque)  # descriptors under way to this end
    kept: object = None  # what a reader of the table keeps with it

    def describe(self) -> str:
        """/etc/passwd, socket:tcp 127.0.0.1:80, pipe:[2], ..."""
        if self.peer:
            return f"{self.name} {self.peer}"
        if self.local:
            return f"{self.name} {'listening' if self.listening else 'bound'} {self.local}"
        return self.name


@dataclass(slots=True)
class Slot:
    """One number in a table: the file and whether exec closes it."""

    file: OpenFile
    close_on_exec: bool


@dataclass(slots=True, eq=False)
class FileTable:
    """The descriptors of one process, or of several tasks that share them (CLONE_FILES)."""

    slots: dict[int, Slot] = field(default_factory=dict)

    def copy(self) -> FileTable:
        """For a child: numbers of its own, the same open files."""
        return FileTable({fd: Slot(slot.file, slot.close_on_exec) for fd, slot in self.slots.items()})

    def after_exec(self) -> FileTable:
        """A new image keeps what is not close-on-exec, and shares with nobody."""
        return FileTable({fd: Slot(slot.file, False) for fd, slot in self.slots.items() if not slot.close_on_exec})

    def file(self, fd: int) -> OpenFile | None:
        slot = self.slots.get(fd)
        return slot.file if slot else None

    def close_range(self, first: int, last: int, *, only_mark: bool) -> None:
        """close_range(2): close all from first to last, or mark them close-on-exec."""
        for fd in [fd for fd in self.slots if first <= fd <= last]:
            if only_mark:
                self.slots[fd].close_on_exec = True
            else:
                del self.slots[fd]


@dataclass(slots=True, eq=False)
class WorkingDirectory:
    """The current directory, shared by tasks with CLONE_FS; None = not known."""

    path: str | None = None


@dataclass(slots=True, eq=False)
class Task:
    """What one thread's numbers and relative paths refer to."""

    files: FileTable
    cwd: WorkingDirectory
