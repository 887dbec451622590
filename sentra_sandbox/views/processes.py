"""The processes of a run: who started whom, which programs they became, how they ended. A pure function of the events.

``ProcessTable`` follows the events one at a time, so that a reader in mid-run (``show --follow``) and a summary in
the same pass can use it; ``process_tree`` is the whole answer. Thread ids can be used again in a long run: a task
that starts again is a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sentra_sandbox.trace.events import Event, EventType, SegmentKind
from sentra_sandbox.views.initial_stack import arguments_and_environment
from sentra_sandbox.views.places import register

INFO_PATH, INFO_CWD, INFO_STACK = 0, 1, 2  # the INFO segments of an EXEC event (csrc/record/event.h)


@dataclass(slots=True)
class Image:
    """One program that a process became by exec."""

    seq: int
    time_ns: int
    path: str
    argv: tuple[str, ...]
    cwd: str


@dataclass(slots=True)
class Process:
    """One process. ``wait_status`` and ``ended_ns`` are None while it runs, or where the recording ended before it
    did.
    """

    pid: int
    parent: Process | None
    started_ns: int
    images: list[Image] = field(default_factory=list)
    children: list[Process] = field(default_factory=list)
    ended_ns: int | None = None
    wait_status: int | None = None
    threads: int = 1
    events: int = 0

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of its newest image; those of its parent at the time of fork if it never called exec."""
        if self.images:
            image = self.images[-1]
            return image.argv or (image.path,)
        return self.parent.command if self.parent else ()


class ProcessTable:
    """Follows a run's events in order. ``of(task)`` is the process a task belongs to at this point."""

    def __init__(self) -> None:
        self.roots: list[Process] = []
        self._by_task: dict[int, Process] = {}
        self.count = 0

    def of(self, task: int) -> Process | None:
        """The process of this thread id now (or of its last owner, when it has ended); None if no event has named
        it.
        """
        return self._by_task.get(task)

    def feed(self, event: Event) -> None:
        """Take the next event of the run."""
        if event.type == EventType.TASK:
            self._task(event)
            return
        if not event.task:
            return  # the recorder's own notes, and what the network's broker saw
        process = self._by_task.get(event.task)
        if process is None:
            process = self._start(event.task, None, event.time_ns)
        process.events += 1
        if event.type == EventType.EXEC:
            self._exec(event, process)
        elif event.type == EventType.EXIT and register(event, 1):
            process.ended_ns = event.time_ns
            process.wait_status = register(event, 0)

    def _task(self, event: Event) -> None:
        parent_task, tgid = register(event, 0), register(event, 1)
        parent = self._by_task.get(parent_task)
        if tgid != event.task and (owner := self._by_task.get(tgid)) is not None:
            owner.threads += 1
            owner.events += 1
            self._by_task[event.task] = owner
        else:
            self._start(event.task, parent, event.time_ns).events += 1

    def _start(self, pid: int, parent: Process | None, time_ns: int) -> Process:
        process = Process(pid, parent, time_ns)
        (parent.children if parent else self.roots).append(process)
        self._by_task[pid] = process
        self.count += 1
        return process

    def _exec(self, event: Event, process: Process) -> None:
        # An exec by another thread than the leader takes over the leader's id; the old id is gone.
        if register(event, 0) != event.task:
            self._by_task.pop(register(event, 0), None)
        info = {segment.arg: segment for segment in event.segments if segment.kind == SegmentKind.INFO}
        argv: tuple[str, ...] = ()
        if INFO_STACK in info:
            argv, _ = arguments_and_environment(info[INFO_STACK].data, info[INFO_STACK].addr)
        texts = {
            number: segment.data.decode("utf-8", "surrogateescape")
            for number, segment in info.items()
            if number != INFO_STACK
        }
        process.images.append(Image(event.seq, event.time_ns, texts.get(INFO_PATH, ""), argv, texts.get(INFO_CWD, "")))


def process_tree(events: Iterable[Event]) -> ProcessTable:
    """The processes of a whole run, from all its events."""
    table = ProcessTable()
    for event in events:
        table.feed(event)
    return table


def walk(processes: Iterable[Process], depth: int = 0) -> Iterator[tuple[int, Process]]:
    """``(depth, process)`` of each process, parents before children, in the order of their start; no recursion
    limit.
    """
    stack = [(depth, process) for process in reversed(list(processes))]
    while stack:
        depth, process = stack.pop()
        yield depth, process
        stack.extend((depth + 1, child) for child in reversed(process.children))
