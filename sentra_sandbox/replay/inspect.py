"""Looking at one task of a held replay: registers, memory map, native and Python stack, pieces of memory."""

from __future__ import annotations

from dataclasses import dataclass

from sentra_sandbox.replay.held import HeldReplay
from sentra_sandbox.replay.memory import HeldTask, MemoryRange, Unreadable
from sentra_sandbox.replay.native_stack import NativeFrame, native_stack
from sentra_sandbox.replay.python_stack import PythonFrame, python_stack


@dataclass(frozen=True, slots=True)
class TaskView:
    """What a stopped task looks like. ``problem`` says why there is nothing but ``task``, where there is nothing."""

    task: HeldTask
    ranges: tuple[MemoryRange, ...] = ()
    native_stack: tuple[NativeFrame, ...] = ()
    python_stack: tuple[PythonFrame, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class MappedFile:
    """All mappings of one file, or of one name such as ``[heap]``, in a process; ``access`` as in ``r,rx,rw``."""

    path: str
    start: int
    end: int
    size: int
    count: int
    access: str


def look(held: HeldReplay, task: HeldTask) -> TaskView:
    """The task as it is now. A task that is ending, or has not begun, gives a view with a ``problem``."""
    if not task.stopped:
        begun = task.state != "call"
        return TaskView(task, problem="it is ending" if begun else "its program has not been loaded yet")
    try:
        with held.memory(task) as memory:
            return TaskView(
                task,
                tuple(memory.ranges),
                native_stack(memory, task.registers),
                python_stack(memory, task.registers, task.inner_tid),
            )
    except Unreadable as error:
        return TaskView(task, problem=str(error))


def mapped_files(ranges: tuple[MemoryRange, ...]) -> list[MappedFile]:
    """The memory map by file, in order of address; memory without a name is one entry with an empty path."""
    groups: dict[str, list[MemoryRange]] = {}
    for item in ranges:
        groups.setdefault(item.path, []).append(item)
    found = [
        MappedFile(
            path,
            min(item.start for item in items),
            max(item.end for item in items),
            sum(item.end - item.start for item in items),
            len(items),
            ",".join(dict.fromkeys(item.access.rstrip("p").replace("-", "") or "none" for item in items)),
        )
        for path, items in groups.items()
    ]
    return sorted(found, key=lambda item: (not item.path, item.start))


def place_of(task: HeldTask, text: str) -> int | None:
    """The address that ``0x7ffe1000``, ``4096`` or a register's name stands for; None when it is neither."""
    if text in task.registers:
        return task.registers[text]
    try:
        return int(text, 0)
    except ValueError:
        return None
