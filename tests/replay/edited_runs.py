"""Runs that say something else than what happened, properly sealed: what an attacker, or a mistake of the recorder, would make."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from sentra_sandbox.trace import codec, run
from sentra_sandbox.trace.blobs import BlobStore
from sentra_sandbox.trace.events import Event, EventType, Segment
from sentra_sandbox.trace.reader import Trace, blob_root
from sentra_sandbox.trace.writer import Sealer


class Records:
    """Events as a source for the sealer."""

    rings = 1
    ring_bytes = 1
    start_monotonic_ns = start_realtime_ns = 0

    def __init__(self, events: Iterable[Event]) -> None:
        self._data = b"".join(codec.build_record(event) for event in events)
        self._at = 0

    def listen(self) -> None:
        """Nobody calls."""

    def waiting(self, ring: int) -> int:
        return len(self._data) - self._at

    def peek(self, ring: int) -> bytes:
        return self._data[self._at :]

    def position(self, ring: int) -> int:
        return self._at

    def consume(self, ring: int, count: int) -> None:
        self._at += count


def edited(source: Path, change: Callable[[list[Event]], list[Event]], **metadata: object) -> Path:
    """A new run beside ``source`` with the changed events (numbered anew) and metadata; its directory."""
    with Trace(source) as trace:
        events = change(list(trace.events()))
        meta = trace.meta
    directory = source.parent / run.new_run_id()
    directory.mkdir(mode=0o700)
    for name in (run.FILES, run.BLOBS):
        if (source / name).exists():
            shutil.copy(source / name, directory / name)
    numbered = [dataclasses.replace(event, seq=number) for number, event in enumerate(events, 1)]
    sealer = Sealer(directory, Records(numbered), BlobStore(blob_root(source)))
    sealer.finish(dataclasses.replace(meta, id=directory.name, counts={}, sizes={}, **metadata))
    return directory


def replaced(events: list[Event], index: int, **fields: object) -> list[Event]:
    """The events with one changed."""
    return [*events[:index], dataclasses.replace(events[index], **fields), *events[index + 1 :]]


def find_call(events: list[Event], nr: int, data: bytes) -> int:
    """The index of the first call ``nr`` with a segment that holds ``data``."""
    return next(
        index
        for index, event in enumerate(events)
        if event.type == EventType.SYSCALL and event.nr == nr and any(data in segment.data for segment in event.segments)
    )


def with_data(event: Event, before: bytes, after: bytes) -> tuple[Segment, ...]:
    """The event's segments, their bytes changed."""
    return tuple(dataclasses.replace(segment, data=segment.data.replace(before, after)) for segment in event.segments)


def damaged(rng: random.Random, events: list[Event]) -> list[Event]:
    """One to three random changes that still make records."""
    for _ in range(rng.randint(1, 3)):
        events = _damaged_once(rng, events)
    return events


def _damaged_once(rng: random.Random, events: list[Event]) -> list[Event]:
    index = rng.randrange(len(events))
    event = events[index]
    odd = rng.choice((0, 1, 2**31, 2**63, 2**64 - 1, rng.getrandbits(64), rng.getrandbits(12)))
    signed = odd - 2**64 if odd >> 63 else odd
    kind = rng.randrange(9)
    if kind == 0:
        return events[:index] + events[index + 1 :]
    if kind == 1:
        return [*events[: index + 1], *events[index:]]
    if kind == 2:
        other = rng.randrange(len(events))
        return [event if at == other else events[other] if at == index else kept for at, kept in enumerate(events)]
    if kind == 3 and event.args:
        args = list(event.args)
        args[rng.randrange(len(args))] = odd
        return replaced(events, index, args=tuple(args))
    if kind == 4:
        return replaced(events, index, result=signed)
    if kind == 5:
        return replaced(events, index, nr=rng.choice((odd & 0xFFFFFFFF, rng.randrange(450))))
    if kind == 6:
        return replaced(events, index, type=rng.randrange(1, 14))
    if kind == 7:
        return replaced(events, index, task=rng.choice((0, -1, 2, 3, 99999)))
    if not event.segments:
        return replaced(events, index, args=event.args[:1])
    segments = list(event.segments)
    at = rng.randrange(len(segments))
    segment = segments[at]
    fields = rng.choice(({"addr": odd}, {"kind": rng.randrange(6)}, {"arg": rng.randrange(10)}, {"data": rng.randbytes(len(segment.data) // 2)}, {"flags": rng.randrange(16)}))
    segments[at] = dataclasses.replace(segment, **fields)
    return replaced(events, index, segments=tuple(segments))
