"""Events that are not the program's own (the network broker's, notes) stand anywhere in a trace: a replay is the same with them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from edited_runs import edited
from programs import build, find
from replaying import record, run_directory
from running import Product

from sentra_sandbox.trace.events import Event, EventType
from sentra_sandbox.trace.network_events import MAX_BYTES, NetworkEvent, NetworkType, to_event

KINDS = [kind for kind in NetworkType]


def beside(number: int, task: int, size: int) -> Event:
    """Another kind each time; the engine's have the task's number, the broker's have none."""
    kind = KINDS[number % len(KINDS)]
    event = NetworkEvent(kind, {"name": "example.org"}, b"x" * size, connection=1, task=task if kind < NetworkType.DNS else 0)
    return to_event(event)


def everywhere(events: list[Event]) -> list[Event]:
    """Two after each event, and a note."""
    found: list[Event] = []
    for number, event in enumerate(events):
        note = Event(0, EventType.NOTE, 0, event.task, 0, 0, 2, 0, (), ())
        found += [event, beside(number, event.task, 100), note, beside(number * 7 + 3, event.task, 0)]
    return [beside(1, 0, 0), *found]


def large_ones(events: list[Event]) -> list[Event]:
    """Bursts that fill whole blocks, so that what belongs together is in different ones."""
    rng = random.Random(7)
    found = list(events)
    for _ in range(8):
        at = rng.randrange(len(found))
        found[at:at] = [beside(index, 0, MAX_BYTES) for index in range(40)]
    return found


PROGRAMS = ["sig_handlers", "sig_threads", "sig_itimer", "thr_spin", "proc_exec_thread", "proc_vfork", "sig_stop", "mem_mmsg", "mem_map"]


@pytest.mark.parametrize("change", [everywhere, large_ones])
@pytest.mark.parametrize("name", PROGRAMS)
def test_replay_is_the_same(product: Product, binaries: Path, name: str, change: Callable[[list[Event]], list[Event]]) -> None:
    tracee = find(name)
    recorded = record(product, name, *build(tracee, binaries), *tracee.runs[0])
    again = product("replay", "-q", str(edited(run_directory(product, name), change)))
    first = recorded.finished
    assert (again.status, again.stdout, again.stderr) == (first.status, first.stdout, first.stderr)
