"""Tasks of a held replay as data: registers, memory, memory map with the recorded paths.

Memory and maps are read through /proc: that needs no ptrace, which only the engine's thread may use, and is allowed
to whoever started the replay. What is in a program's memory is hostile: readers of it bound everything.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from sentra_sandbox.replay.plan import BLOBS
from sentra_sandbox.trace.files import FileEntry

READ_MAX = 64 << 20
_SHARED = "/.shared/"
STATES = ("running", "call", "answered", "clone", "vfork", "tsc", "fault", "let go", "exiting", "dead")
REGISTERS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
    *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)


class Hold(IntEnum):
    """Why a replay is held (``sentra_replay_wait_held``)."""

    NOT = 0
    AT_EVENT = 1
    DIVERGED = 2
    ENDED = -1


class Unreadable(Exception):
    """An address in a program's memory that cannot be read."""


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task of a held replay. ``tid`` and ``tgid`` are ours, the ``inner`` ones the trace's.

    ``nr`` and ``args`` are of the call it is at (``state`` ``"call"``) or was at last. ``registers`` is empty unless
    ``stopped``.
    """

    tid: int
    tgid: int
    inner_tid: int
    inner_tgid: int
    state: str
    stopped: bool
    nr: int
    args: tuple[int, ...]
    registers: Mapping[str, int]


def held_task(native: Any) -> HeldTask:
    """From ``struct sentra_replay_task``."""
    return HeldTask(
        tid=int(native.tid),
        tgid=int(native.tgid),
        inner_tid=int(native.inner_tid),
        inner_tgid=int(native.inner_tgid),
        state=STATES[native.state] if 0 <= native.state < len(STATES) else str(int(native.state)),
        stopped=bool(native.stopped),
        nr=int(native.nr),
        args=tuple(int(value) for value in native.args),
        registers=dict(zip(REGISTERS, map(int, native.regs), strict=True)) if native.stopped else {},
    )


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """A line of the memory map. ``path`` is the recorded file's, or ``[heap]``, ``[stack]``, ``""``; ``blob`` is where
    its content is, if we have it.
    """

    start: int
    end: int
    access: str
    offset: int
    path: str
    blob: Path | None

    @property
    def executable(self) -> bool:
        return "x" in self.access


class TaskMemory:
    """The memory of a stopped task. Use it only while the replay is held; a context manager."""

    def __init__(self, tid: int, store: Path, files: Mapping[int, FileEntry]) -> None:
        """Raises ``Unreadable`` when the task is gone or the kernel does not let us."""
        self._store = store
        self._by_hash = {entry.sha256: entry for entry in reversed(list(files.values()))}
        self._by_inode = {f"{entry.dev:x}-{entry.ino:x}": entry for entry in files.values()}
        try:
            self.ranges = self._read_ranges(Path(f"/proc/{tid}/maps").read_text("utf-8", "surrogateescape"))
            self._fd = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unreadable(f"the memory of task {tid} cannot be read: {error.strerror}") from error
        self._starts = [item.start for item in self.ranges]

    def __enter__(self) -> TaskMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        os.close(self._fd)

    def _read_ranges(self, text: str) -> list[MemoryRange]:
        found = []
        for line in text.splitlines():
            fields = line.split(None, 5)
            start, end = (int(part, 16) for part in fields[0].split("-"))
            path, blob = self._recorded(fields[5] if len(fields) > 5 else "")
            found.append(MemoryRange(start, end, fields[1], int(fields[2], 16), path, blob))
        return found

    def _recorded(self, path: str) -> tuple[str, Path | None]:
        """The recorded path of a file as the kernel names it in the replay's root."""
        if path.startswith(BLOBS + "/"):
            entry = self._by_hash.get(path.removesuffix(" (deleted)")[len(BLOBS) + 1 :].replace("/", ""))
        elif path.startswith(_SHARED):
            entry = self._by_inode.get(path.removesuffix(" (deleted)")[len(_SHARED) :])
        else:
            entry = None
        if entry is None:
            return path, None
        return entry.path, self._store / "files" / entry.sha256[:2] / entry.sha256[2:]

    def range_at(self, address: int) -> MemoryRange | None:
        """The mapping that holds ``address``."""
        index = bisect_right(self._starts, address) - 1
        return self.ranges[index] if index >= 0 and address < self.ranges[index].end else None

    def read(self, address: int, size: int) -> bytes:
        """Exactly ``size`` bytes. Raises ``Unreadable``."""
        data = self.read_some(address, size)
        if len(data) != size:
            raise Unreadable(f"{size} bytes at {address:#x}")
        return data

    def read_some(self, address: int, size: int) -> bytes:
        """Up to ``size`` bytes: fewer where what is mapped ends, none when nothing is."""
        if not 0 <= address < 1 << 63 or not 0 <= size <= READ_MAX:
            return b""
        try:
            return os.pread(self._fd, size, address)
        except OSError:
            return b""

    def word(self, address: int, size: int = 8) -> int:
        """An unsigned number of ``size`` bytes. Raises ``Unreadable``."""
        return int.from_bytes(self.read(address, size), "little")
