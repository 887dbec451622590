"""Follows which descriptor of which task refers to what, from the events of a run, for annotating them.

A pure state machine: feed it every event in order (DescriptorTable.apply, or annotate to show one), ask describe().
Rules: no I/O; a trace may be hostile or start in the middle, so an unknown task, descriptor or address gives None,
never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .descriptor_steps import CLONE_FILES, CLONE_FS, STEPS, Event, Step, event_call
from .memory import SEGMENT_INFO
from .open_files import FileTable, OpenFile, Slot, Task, WorkingDirectory
from .quoting import escape, signed32, signed64
from .values import AT_FDCWD

EVENT_SYSCALL, EVENT_TASK, EVENT_EXEC, EVENT_EXIT = 1, 3, 4, 5
FLAG_IN_FLIGHT, FLAG_FOREIGN_ABI = 4, 16
EINPROGRESS = 115
_FORGETS = frozenset({"close", "close_range", "execve", "execveat"})


class DescriptorTable:
    """The descriptors of all tasks of a run at one moment."""

    def __init__(self, initial: Mapping[int, str] | None = None, cwd: str | None = None) -> None:
        """``initial`` says what the first task's descriptors are (its stdin, ...), ``cwd`` where it starts."""
        self._initial = dict(initial or {})
        self._initial_cwd = cwd
        self._tasks: dict[int, Task] = {}
        self._numbers = 0

    def describe(self, task: int, fd: int) -> str | None:
        """What ``fd`` of ``task`` refers to now (AT_FDCWD: its working directory); None if that is not known."""
        known = self._tasks.get(task)
        if known is None:
            return self._initial.get(fd) if not self._tasks else None
        if fd == AT_FDCWD:
            return known.cwd.path
        file = known.files.file(fd)
        return file.describe() if file else None

    def open_file(self, task: int, fd: int) -> OpenFile | None:
        """The open file description behind ``fd`` of ``task`` now: duplicates and children share it. None if not known."""
        known = self._tasks.get(task)
        return known.files.file(fd) if known else None

    def open_descriptors(self) -> dict[int, dict[int, str]]:
        """What every known task has open now: task -> descriptor -> what it refers to."""
        if not self._tasks:
            return {}
        return {
            tid: {fd: slot.file.describe() for fd, slot in sorted(task.files.slots.items())}
            for tid, task in self._tasks.items()
        }

    def annotate(self, event: Event) -> Callable[[int], str | None]:
        """Apply ``event`` and return a describe_fd for showing it, which knows new and closed descriptors.

        Use it before the next event: it looks at the table as it then is.
        """
        before: dict[int, str] = {}
        if event.type == EVENT_SYSCALL and event_call(event) in _FORGETS:
            slots = self._task(event.task).files.slots
            before = {fd: slot.file.describe() for fd, slot in slots.items()}
        self.apply(event)

        def describe(fd: int) -> str | None:
            return self.describe(event.task, fd) or before.get(fd)

        return describe

    def apply(self, event: Event) -> None:
        """Take over what an event changed. Events of other types, failed and unfinished calls change nothing."""
        if event.type == EVENT_TASK:
            self._new_task(event)
        elif event.type == EVENT_EXEC:
            self._exec(event)
        elif event.type == EVENT_EXIT:
            self._tasks.pop(event.task, None)
        elif event.type == EVENT_SYSCALL and not event.flags & (FLAG_IN_FLIGHT | FLAG_FOREIGN_ABI):
            result = signed64(event.result)
            name = event_call(event)
            if result >= 0 or (name == "connect" and result == -EINPROGRESS):
                step = STEPS.get(name)
                if step:
                    step(Step(event, self._task(event.task), result, self._next_number))

    def _next_number(self) -> int:
        """A number for a new pipe or pair; real inode numbers are not in the trace."""
        self._numbers += 1
        return self._numbers

    def _task(self, tid: int) -> Task:
        """A task seen for the first time without a TASK event is the first one (or the trace starts late)."""
        task = self._tasks.get(tid)
        if task is None:
            first = not self._tasks
            slots = {
                fd: Slot(OpenFile(name, path=name if name.startswith("/") else None), False)
                for fd, name in self._initial.items()
            }
            task = Task(FileTable(slots if first else {}), WorkingDirectory(self._initial_cwd if first else None))
            self._tasks[tid] = task
        return task

    def _new_task(self, event: Event) -> None:
        if len(event.args) < 3:
            return
        parent, flags = self._tasks.get(signed32(event.args[0])), event.args[2]
        if parent is None:
            self._task(event.task)
            return
        files = parent.files if flags & CLONE_FILES else parent.files.copy()
        cwd = parent.cwd if flags & CLONE_FS else WorkingDirectory(parent.cwd.path)
        self._tasks[event.task] = Task(files, cwd)

    def _exec(self, event: Event) -> None:
        """The thread that called exec lives on under its process's id, with a table of its own."""
        old = self._tasks.pop(signed32(event.args[0]), None) if event.args else None
        before = old or self._task(event.task)
        cwd = WorkingDirectory(before.cwd.path)
        for segment in event.segments:
            if segment.kind == SEGMENT_INFO and segment.arg == 1:
                cwd.path = escape(segment.data)
        self._tasks[event.task] = Task(before.files.after_exec(), cwd)
