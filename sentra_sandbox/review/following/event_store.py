"""Single events and the bytes of calls, fetched from the trace again. A few blocks are kept: readers ask for neighbours."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from itertools import takewhile

from sentra_sandbox.errors import TraceError
from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.memory import SEGMENT_IN, SEGMENT_OUT, Memory, Segment
from sentra_sandbox.trace.events import Event, EventType, SegmentFlag, SegmentKind
from sentra_sandbox.trace.network_events import FIRST
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.places import register

KEPT_EVENTS = 150_000
BYTES_MAX = 64 << 20  # of one call
MESSAGES_MAX = 1024
_MOVED_DATA, _SHOWN_DATA = 8, 7  # INFO segments of calls that move bytes between descriptors, and of shared mappings
_VECTORS = frozenset({"readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2", "vmsplice"})
_READERS = frozenset({"read", "pread64", "recvfrom", "getdents64", "getrandom", "readlink", "readlinkat"})
_MOVERS = frozenset({"sendfile", "splice", "copy_file_range", "tee"})


class EventStore:
    """``trace`` must stay open."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._index: list[tuple[int, int]] | None = None  # first event of each block, offset
        self._blocks: OrderedDict[int, dict[int, Event]] = OrderedDict()
        self._kept = 0
        self.spilled_from: dict[int, int] = {}  # call with a large buffer → its first DATA event

    def event(self, seq: int) -> Event:
        """``KeyError`` if there is no such event."""
        return self._block(seq)[seq]

    def bytes_of(self, seq: int) -> bytes:
        """See ``Facts.bytes_of``."""
        try:
            event = self.event(seq)
        except KeyError:
            return b""
        if event.type >= FIRST:
            return next((s.data for s in event.segments if s.kind == SegmentKind.INFO and s.arg == 1), b"")
        if event.type != EventType.SYSCALL:
            return b"".join(s.data for s in event.segments if s.kind == SegmentKind.INFO)
        call = table.call(event.nr)
        return self._of_call(event, call.name) if call else b""

    def stack_of(self, event: Event) -> bytes | None:
        """The initial stack of an EXEC event whose bytes are in DATA events."""
        found = next((s for s in event.segments if s.kind == SegmentKind.INFO and s.arg == 2), None)
        return self._whole(event, found) if found is not None and found.flags & SegmentFlag.SPILLED else None

    # ----

    def _block(self, seq: int) -> dict[int, Event]:
        if self._index is None:
            self._index = self._trace.index()
        at = bisect_right(self._index, (seq, 1 << 63)) - 1
        first, offset = self._index[at] if at >= 0 else (0, 0)
        block = self._blocks.get(first)
        if block is not None and (seq in block or at + 1 < len(self._index) or self._trace.finished):
            self._blocks.move_to_end(first)
            return block
        if self._trace.finished and at >= 0:
            events: Iterable[Event] = self._trace.block_events(offset)
        else:  # what is not yet in a block comes after the last one
            end = self._index[at + 1][0] if at + 1 < len(self._index) else 1 << 64
            events = takewhile(lambda event: event.seq < end, self._trace.events(first))
        block = self._blocks[first] = {event.seq: event for event in events}
        self._kept += len(block)
        while self._kept > KEPT_EVENTS and len(self._blocks) > 1:
            self._kept -= len(self._blocks.popitem(last=False)[1])
        return block

    def _of_call(self, event: Event, name: str) -> bytes:
        if name in _MOVERS:
            return self._info(event, _MOVED_DATA)[: max(event.result, 0)]
        if name == "mmap":
            return self._info(event, _SHOWN_DATA) or self._mapped(event)
        memory = Memory(event.segments)
        out = name in _READERS or name.startswith(("read", "pread", "recv"))
        kind = SEGMENT_OUT if out else SEGMENT_IN
        limit = max(event.result, 0)
        if name in _VECTORS:
            return self._text(event, memory.vector_data(register(event, 1), kind))[:limit]
        if name in ("sendmsg", "recvmsg"):
            return self._message(event, memory, register(event, 1), kind)[:limit]
        if name in ("sendmmsg", "recvmmsg"):
            count = min(limit, MESSAGES_MAX)
            return b"".join(self._message(event, memory, register(event, 1) + 64 * number, kind) for number in range(count))
        found = [s for s in event.segments if s.kind == kind and s.arg == 1]
        if not found:
            found = [s for s in event.segments if s.kind == kind][:1]
            return self._text(event, found[0]) if found else b""
        return self._text(event, found[-1])[:limit]

    def _message(self, event: Event, memory: Memory, header: int, kind: int) -> bytes:
        data = memory.read(header, 64, (SEGMENT_OUT, SEGMENT_IN)) or b""
        vector = int.from_bytes(data[16:24], "little")
        text = self._text(event, memory.vector_data(vector, kind)) if vector else b""
        length = int.from_bytes(data[56:60], "little") if len(data) >= 60 else 0
        return text[:length] if length else text

    def _info(self, event: Event, number: int) -> bytes:
        found = next((s for s in event.segments if s.kind == SegmentKind.INFO and s.arg == number), None)
        return self._text(event, found)

    def _mapped(self, event: Event) -> bytes:
        """Of a private mapping: its part of the file as it was."""
        for segment in event.segments:
            if segment.kind == SegmentKind.FILE:
                try:
                    entry = self._trace.files().get(int.from_bytes(segment.data[:4], "little"))
                    if entry is None or entry.size > BYTES_MAX:
                        return b""
                    start = register(event, 5)
                    return self._trace.blob(bytes.fromhex(entry.sha256))[start : start + register(event, 1)]
                except TraceError:
                    return b""
        return b""

    def _text(self, event: Event, segment: Segment | None) -> bytes:
        if segment is None:
            return b""
        return self._whole(event, segment) if segment.flags & SegmentFlag.SPILLED else segment.data

    def _whole(self, event: Event, segment: Segment) -> bytes:
        """The bytes of a buffer that travelled in DATA events."""
        first = self.spilled_from.get(event.seq)
        if first is None:
            return b""
        parts: list[tuple[int, bytes]] = []
        size = 0
        for seq in range(first, event.seq):
            try:
                part = self.event(seq)
            except KeyError:
                continue
            if part.type != EventType.DATA or part.task != event.task or len(part.args) < 3:
                continue
            same = part.args[0] == segment.addr or segment.kind == SegmentKind.INFO  # what has no address comes with its offset
            if same and part.args[2] == segment.kind and part.nr == segment.arg:
                data = b"".join(s.data for s in part.segments)
                parts.append((part.args[1], data))
                size += len(data)
                if size > BYTES_MAX:
                    break
        return b"".join(data for _, data in sorted(parts, key=lambda item: item[0]))
