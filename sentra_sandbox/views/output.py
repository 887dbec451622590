"""What a run wrote to its standard output and error: the bytes, and which event wrote which. A pure function of the
events.

``OutputTable`` follows events one at a time, before ``rejoined`` shortens large buffers: it puts them together itself.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right

from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.quoting import signed32
from sentra_sandbox.trace.events import Event, EventFlag, EventType, Segment, SegmentFlag, SegmentKind
from sentra_sandbox.views.places import register

STREAMS = ("stdout", "stderr")
KEEP_BYTES = 64 << 20  # of each stream; of what is beyond only length and hash
_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg")
_MOVES = {"sendfile": 0, "copy_file_range": 2, "splice": 2}  # call → argument with the target
_ALIASES = {
    f"{place}{name}": number
    for number, names in ((1, ("stdout", "fd/1")), (2, ("stderr", "fd/2")))
    for place, name in (("/dev/", names[0]), ("/dev/", names[1]), ("/proc/self/", names[1]))
}
_MOVED_DATA = 8  # `arg` of the INFO segment with the bytes that the kernel moved by itself
_NOT_DONE = EventFlag.FOREIGN_ABI | EventFlag.IN_FLIGHT | EventFlag.REFUSED


class Stream:
    """One stream: the beginning of its bytes, its length, the SHA-256 of all of it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0
        self._hash = hashlib.sha256()
        self._offsets: list[int] = []
        self._seqs: list[int] = []

    def write(self, seq: int, data: bytes) -> None:
        """Append what event ``seq`` wrote."""
        self._offsets.append(self.size)
        self._seqs.append(seq)
        self.size += len(data)
        self._hash.update(data)
        self.data += data[: max(KEEP_BYTES - len(self.data), 0)]

    def digest(self) -> str:
        return self._hash.hexdigest()

    def seq_at(self, offset: int) -> int:
        """The event that wrote the byte at ``offset``; of the end the last one; 0 if there is none."""
        return self._seqs[max(bisect_right(self._offsets, offset) - 1, 0)] if self._seqs else 0


class OutputTable:
    """Follows a run's events in order; ``descriptors``, which knows the standard streams, must have been given all
    events before.
    """

    def __init__(self, descriptors: DescriptorTable) -> None:
        self.streams = {name: Stream() for name in STREAMS}
        self._descriptors = descriptors
        self._spilled: dict[int, list[Event]] = {}  # task → DATA events before its call
        self._targets: dict[
            int, tuple[int, int, int]
        ] = {}  # number → argument with the target, kind and arg of the bytes
        for name in (*_WRITES, *_MOVES):
            call = table.call_named(name)
            assert call is not None, name
            bytes_at = (SegmentKind.INFO, _MOVED_DATA) if name in _MOVES else (SegmentKind.IN, 1)
            self._targets[call.number] = (_MOVES.get(name, 0), *bytes_at)

    def feed(self, event: Event) -> None:
        """Take the next event of the run."""
        if event.type == EventType.DATA:
            self._spilled.setdefault(event.task, []).append(event)
        elif event.type in (EventType.SYSCALL, EventType.EXEC):
            spilled = self._spilled.pop(event.task, [])
            if event.type == EventType.SYSCALL and event.result > 0 and not event.flags & _NOT_DONE:
                self._call(event, spilled)

    def _call(self, event: Event, spilled: list[Event]) -> None:
        if event.nr not in self._targets:
            return
        target, kind, argument = self._targets[event.nr]
        name = self._descriptors.describe(event.task, signed32(register(event, target)))
        if name in _ALIASES:
            name = self._descriptors.describe(event.task, _ALIASES[name])
        if name not in self.streams:
            return
        segments = [s for s in event.segments if s.kind == kind and s.arg == argument]
        if segments:  # a vector's own bytes stand before its data
            self.streams[name].write(event.seq, _bytes(segments[-1], spilled, argument)[: event.result])


def _bytes(segment: Segment, spilled: list[Event], argument: int) -> bytes:
    if not segment.flags & SegmentFlag.SPILLED:
        return segment.data
    parts = [
        part.data
        for event in spilled
        if event.nr == argument and register(event, 2) == segment.kind
        for part in event.segments
    ]
    return b"".join(parts)
