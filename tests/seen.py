"""What was seen of a run: the same small record whether it comes from a trace of ours or from strace.

The rest of the tests reads runs through this module only. strace is the reference: ``matches`` and ``missing`` are
checked against it by running the tests with ``--native``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from programs import Expected


@dataclass(frozen=True, slots=True)
class Seen:
    """One event. ``kind``: call, signal, task, exec, exit or other. ``result`` is None when there is none."""

    kind: str
    task: int
    name: str
    result: int | None = None
    args: tuple[int, ...] = ()
    refused: bool = False
    memory: dict[tuple[str, int], bytes] = field(default_factory=dict)
    text: str = ""


def events_of_trace(directory: Path) -> list[Seen]:
    """The events of a recorded run, read by the public reader."""
    from sentra_sandbox import open_trace

    with open_trace(directory) as trace:
        return [_seen(event) for event in trace.events()]


def _seen(event: Any) -> Seen:
    from sentra_sandbox.syscalls.table import call
    from sentra_sandbox.trace.events import EventFlag, EventType, SegmentKind

    memory: dict[tuple[str, int], bytes] = {}
    for segment in event.segments:
        direction = {SegmentKind.IN: "in", SegmentKind.OUT: "out"}.get(segment.kind)
        if direction:
            key = (direction, segment.arg)
            memory[key] = memory.get(key, b"") + segment.data
    kinds = {
        EventType.SYSCALL: "call",
        EventType.SIGNAL: "signal",
        EventType.TASK: "task",
        EventType.EXEC: "exec",
        EventType.EXIT: "exit",
    }
    kind = kinds.get(event.type, "other")
    row = call(event.nr) if kind == "call" and not event.flags & EventFlag.FOREIGN_ABI else None
    name = row.name if row else f"#{event.nr}" if kind in ("call", "signal") else kind
    result = None if event.flags & EventFlag.IN_FLIGHT else event.result
    return Seen(kind, event.task, name, result, tuple(event.args), bool(event.flags & EventFlag.REFUSED), memory)


def by_task(events: Iterable[Seen]) -> dict[int, list[Seen]]:
    """The events of each task in their order."""
    tasks: dict[int, list[Seen]] = defaultdict(list)
    for event in events:
        tasks[event.task].append(event)
    return tasks


# What the kernel's own result is when a signal interrupts a call that might be restarted: the program sees EINTR, or
# another try.
INTERRUPTED = {None, -4, -512, -513, -514, -516}


def matches(seen: Seen, expected: Expected, *, with_memory: bool) -> bool:
    """Whether this event is the expected one. The memory of an argument may hold more: a vector's own structure."""
    if seen.kind != "call" or seen.name != expected.call:
        return False
    if seen.result != expected.result and not (expected.result == -4 and seen.result in INTERRUPTED):
        return False
    return not with_memory or all(data in seen.memory.get(key, b"") for key, data in expected.memory.items())


def missing(events: Iterable[Seen], wanted: Iterable[Expected], *, with_memory: bool) -> Iterator[str]:
    """A line for each expected call that is not found in its task's events after the one expected before it."""
    tasks = by_task(events)
    position: dict[int, int] = defaultdict(int)
    for expected in wanted:
        have = tasks.get(expected.task, [])
        for index in range(position[expected.task], len(have)):
            if matches(have[index], expected, with_memory=with_memory):
                position[expected.task] = index + 1
                break
        else:
            yield describe_missing(have[position[expected.task] :], expected)


def describe_missing(rest: list[Seen], expected: Expected) -> str:
    """What was wanted, and what is there of that name."""
    near = [
        (event.result, {key: data[:40] for key, data in event.memory.items()})
        for event in rest
        if event.name == expected.call
    ]
    return f"task {expected.task}: {expected.call} = {expected.result} {expected.memory or ''}; of that name are there: {near[:4]}"


def never_stopped() -> set[str]:
    """Names of calls that leave no event, or only under a condition: the table says so."""
    from sentra_sandbox.syscalls.table import Treatment, all_calls

    return {row.name for row in all_calls() if row.treatment == Treatment.ALLOW or row.condition is not None}
