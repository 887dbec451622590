"""Puts large buffers back where they belong: their bytes travel in DATA events before the event that they are part of.

``rejoined`` is for showing: it keeps the beginning of each buffer, enough to print and to read a new image's
arguments, and passes DATA events on, since a person may ask for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sentra_sandbox.trace.events import Event, EventType, Segment, SegmentFlag, SegmentKind

KEEP_BYTES = 4096
KEEP_STACK_BYTES = 8 << 20  # arguments and environment of an image; the kernel allows 6 MiB of them


def rejoined(events: Iterable[Event]) -> Iterator[Event]:
    """The events, spilled segments filled with the beginning of their bytes."""
    waiting: dict[int, dict[tuple[int, int], bytearray]] = {}  # task → (address, kind) → bytes
    for event in events:
        if event.type == EventType.DATA:
            _keep(event, waiting.setdefault(event.task, {}))
        elif event.task in waiting and event.type in (EventType.SYSCALL, EventType.EXEC):
            parts = waiting.pop(event.task)
            event = replace(event, segments=tuple(_filled(segment, parts) for segment in event.segments))
        yield event


def _keep(event: Event, parts: dict[tuple[int, int], bytearray]) -> None:
    if len(event.args) < 3:
        return
    address, offset, kind = event.args[:3]
    part = parts.setdefault((address, kind), bytearray())
    limit = KEEP_STACK_BYTES if kind == SegmentKind.INFO else KEEP_BYTES
    if offset == len(part) < limit:  # a gap, or enough: what follows is of no use
        part += b"".join(segment.data for segment in event.segments)[: limit - len(part)]


def _filled(segment: Segment, parts: dict[tuple[int, int], bytearray]) -> Segment:
    part = parts.get((segment.addr, segment.kind)) if segment.flags & SegmentFlag.SPILLED else None
    if not part:
        return segment
    size = int.from_bytes(segment.data[:8], "little")
    flags = segment.flags & ~SegmentFlag.SPILLED | (SegmentFlag.TRUNCATED if len(part) < size else 0)
    return Segment(segment.addr, segment.kind, segment.arg, int(flags), bytes(part))
