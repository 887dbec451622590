"""What a run is made of: ``Event`` and ``Segment``, and the numbers of ``csrc/record/event.h``.

Pure data. The enums mirror the C header name by name (a test parses the header and compares); their meaning is
documented there and in docs/TRACE_FORMAT.md. Values this version does not know stay plain ints: a reader must not fail
on them.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from sentra_sandbox.dataclass import dataclass


class EventType(IntEnum):
    """``Event.type``."""

    SYSCALL = 1
    SIGNAL = 2
    TASK = 3
    EXEC = 4
    EXIT = 5
    TSC = 6
    FILE = 7
    DATA = 8
    SCHED = 9
    NOTE = 10
    MEMORY = 11
    STOP = 12
    ENDPOINT = 64
    UNIX_REFUSED = 65
    TRUST = 66


class EventFlag(IntFlag):
    """``Event.flags``."""

    REFUSED = 1
    ANSWERED = 2
    IN_FLIGHT = 4
    RESTARTED = 8
    FOREIGN_ABI = 16
    BLOCKED = 32


class Note(IntEnum):
    """``Event.nr`` of a NOTE event."""

    INEXACT = 1
    UNSEEN = 2
    LIMIT = 3


class SegmentKind(IntEnum):
    """``Segment.kind``."""

    IN = 1
    OUT = 2
    INFO = 3
    FILE = 4


class SegmentFlag(IntFlag):
    """``Segment.flags``."""

    STRING = 1
    SPILLED = 2
    TRUNCATED = 4
    UNREADABLE = 8


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of memory that went with an event; ``data`` is whole, wherever it was stored."""

    addr: int
    kind: int
    arg: int
    flags: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. Times are nanoseconds since the run's start, ``args`` are unsigned 64-bit, ``result`` is
    signed.
    """

    seq: int
    type: int
    flags: int
    task: int
    time_ns: int
    duration_ns: int
    nr: int
    result: int
    args: tuple[int, ...]
    segments: tuple[Segment, ...]
