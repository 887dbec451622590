"""Block contents to events, in pure Python: the second reader of the layout in ``csrc/record/pack.h``.

Works without the native part, so that a trace can be read on any machine. Columns are decoded with slice assignments
and ``map``/``zip``, so the loops run in C. The input is hostile: whatever is wrong with it becomes ``CodecError`` (the
caller knows path and offset and turns it into ``TraceError``). Nothing is allocated that the input's own size does not
justify.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise, repeat

from sentra_sandbox.trace.events import Event, Segment

PACK_VERSION = 1
BLOCK_EVENTS_MAX = 65536
RECORD_MAX = 256 * 1024
RECORD_BYTES_MAX = 8 * 1024 * 1024  # of all records of one block, as they were in the ring

RECORD_HEAD = struct.Struct("<IHHQQQiIqBB6sQ")
SEGMENT_HEAD = struct.Struct("<QIBBH")
_SHAPE_HEAD = struct.Struct("<HHIBB")
_SHAPE_SEGMENT = struct.Struct("<BBHB")
_MASK = (1 << 64) - 1
_CONST, _COPY, _DICT, _PLANES, _DELTA = range(5)
_AT_ARG, _BLOB = 1, 2

Resolve = Callable[[Sequence[bytes]], Sequence[bytes]]
"""Hashes to contents, in the same order; raises what it likes if one is missing."""


class CodecError(ValueError):
    """The bytes are not what the layout allows."""


class _Cursor:
    """A position in a buffer whose every read is checked against the end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        start = self.at
        self.at = start + count
        if self.at > len(self.data):
            raise CodecError("cut short")
        return self.data[start : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if value > _MASK or shift > 63:
            raise CodecError("a number of more than 64 bits")
        return value

    def planes(self, n: int) -> list[int]:
        """``n`` values of 1 to 8 bytes, stored as one run per byte position."""
        width = self.byte()
        if not 1 <= width <= 8:
            raise CodecError(f"a column {width} bytes wide")
        raw = self.take(n * width)
        if width == 1:
            return list(raw)
        item, code = (2, "H") if width == 2 else (4, "I") if width <= 4 else (8, "Q")
        values = bytearray(n * item)
        for plane in range(width):
            values[plane::item] = raw[plane * n : plane * n + n]
        return list(struct.unpack(f"<{n}{code}", values))

    def column(self, n: int, earlier: Sequence[list[int]] = ()) -> list[int]:
        """The next column of ``n`` values; ``earlier`` are those of the same shape it may refer to."""
        mode = self.byte()
        if mode == _CONST:
            return [self.varint()] * n
        if mode == _COPY:
            index = self.varint()
            if index >= len(earlier):
                raise CodecError("a copy of a column that is not there")
            return earlier[index]
        if mode == _DICT:
            return self._dictionary(n)
        if mode == _PLANES:
            base = self.varint()
            values = self.planes(n)
            return [(value + base) & _MASK for value in values] if base else values
        if mode == _DELTA:
            first = self.varint()
            deltas = [(value >> 1) ^ -(value & 1) for value in self.planes(n - 1)]
            return [value & _MASK for value in accumulate(deltas, initial=first)]
        raise CodecError(f"unknown column mode {mode}")

    def _dictionary(self, n: int) -> list[int]:
        count = self.varint()
        if not 2 <= count <= 255:
            raise CodecError(f"a dictionary of {count} values")
        table = [self.varint() for _ in range(count)]
        indexes = self.take(n)
        if max(indexes) >= count:
            raise CodecError("an index beyond its dictionary")
        return list(map(table.__getitem__, indexes))


class _Shape:
    """What the events of one kind have in common, then their columns."""

    __slots__ = (
        "addresses",
        "arg_columns",
        "count",
        "data",
        "durations",
        "flags",
        "hashes",
        "nargs",
        "nr",
        "results",
        "segments",
        "sizes",
        "type",
    )

    def __init__(self, cursor: _Cursor) -> None:
        self.type, self.flags, self.nr, self.nargs, segments = _SHAPE_HEAD.unpack(cursor.take(_SHAPE_HEAD.size))
        self.segments: list[tuple[int, int, int, int]] = [
            _SHAPE_SEGMENT.unpack(cursor.take(_SHAPE_SEGMENT.size)) for _ in range(segments)
        ]
        for _, arg, _, mode in self.segments:
            if mode > (_AT_ARG | _BLOB) or (mode & _AT_ARG and arg >= self.nargs):
                raise CodecError(f"a segment of mode {mode}")
        self.count = 0
        self.addresses: list[list[int]] = []
        self.sizes: list[list[int]] = []
        self.hashes: list[list[int] | None] = []
        self.data: list[list[bytes]] = []

    def read_columns(self, cursor: _Cursor, nhashes: int) -> None:
        n = self.count
        columns: list[list[int]] = []
        for _ in range(2 + self.nargs):
            columns.append(cursor.column(n, columns))
        self.durations = columns[0]
        self.results = [(value >> 1) ^ -(value & 1) for value in columns[1]]
        self.arg_columns = columns[2:]
        for _, arg, _, mode in self.segments:
            if not mode & _AT_ARG:
                columns.append(cursor.column(n, columns))
            self.addresses.append(self.arg_columns[arg] if mode & _AT_ARG else columns[-1])
            columns.append(cursor.column(n, columns))
            self.sizes.append(columns[-1])
            if max(columns[-1]) > RECORD_MAX:
                raise CodecError("a segment larger than a record")
            self.hashes.append(None)
            if mode & _BLOB:
                columns.append(cursor.column(n, columns))
                self.hashes[-1] = columns[-1]
                if max(columns[-1]) >= nhashes:
                    raise CodecError("a hash that is not there")

    def read_data(self, cursor: _Cursor, blobs: Sequence[bytes]) -> None:
        for sizes, hashes in zip(self.sizes, self.hashes, strict=True):
            if hashes is None:
                ends = list(accumulate(sizes, initial=cursor.at))
                cursor.at = ends[-1]
                if cursor.at > len(cursor.data):
                    raise CodecError("data cut short")
                whole = cursor.data
                self.data.append([whole[start:end] for start, end in pairwise(ends)])
                continue
            found = list(map(blobs.__getitem__, hashes))
            if list(map(len, found)) != sizes:
                raise CodecError("a blob of another size")
            self.data.append(found)

    def rows(self) -> Iterator[tuple[int, int, tuple[int, ...], tuple[Segment, ...]]]:
        """(duration, result, args, segments) of each event."""
        parts = [
            list(map(Segment, addresses, repeat(kind), repeat(arg), repeat(flags), data))
            for (kind, arg, flags, _), addresses, data in zip(self.segments, self.addresses, self.data, strict=True)
        ]
        args: Iterator[tuple[int, ...]] = (
            zip(*self.arg_columns, strict=True) if self.arg_columns else repeat((), self.count)
        )
        segments: Iterator[tuple[Segment, ...]] = zip(*parts, strict=True) if parts else repeat((), self.count)
        return zip(self.durations, self.results, args, segments, strict=True)


class _Head:
    """Everything in front of the columns."""

    def __init__(self, cursor: _Cursor) -> None:
        version = cursor.varint()
        if version != PACK_VERSION:
            raise CodecError(f"contents of version {version}, not {PACK_VERSION}")
        self.count = cursor.varint()
        self.first_seq = cursor.varint()
        nshapes = cursor.varint()
        if not (1 <= self.count <= BLOCK_EVENTS_MAX and self.first_seq and 1 <= nshapes <= self.count):
            raise CodecError("impossible counts")
        self.shapes = [_Shape(cursor) for _ in range(nshapes)]
        nhashes = cursor.varint()
        raw = cursor.take(32 * nhashes)
        self.hashes = [raw[at : at + 32] for at in range(0, len(raw), 32)]


def packed_hashes(packed: bytes) -> list[bytes]:
    """SHA-256 hashes of the blobs that a block refers to. Raises ``CodecError``."""
    return _Head(_Cursor(packed)).hashes


def blob_sizes(packed: bytes) -> dict[bytes, int]:
    """How large the blobs are that a block refers to, by their SHA-256. Raises ``CodecError``."""
    cursor = _Cursor(packed)
    head = _Head(cursor)
    columns = [cursor.column(head.count) for _ in range(4)]
    sizes: dict[bytes, int] = {}
    if max(columns[3]) >= len(head.shapes):
        raise CodecError("a shape that is not there")
    for index in columns[3]:
        head.shapes[index].count += 1
    for shape in head.shapes:
        if not shape.count:
            raise CodecError("a shape without events")
        shape.read_columns(cursor, len(head.hashes))
        for column, hashes in zip(shape.sizes, shape.hashes, strict=True):
            if hashes is not None:
                sizes.update(zip(map(head.hashes.__getitem__, hashes), column, strict=True))
    return sizes


def unpack(packed: bytes, resolve: Resolve) -> list[Event]:
    """All events of one block's contents, in order of seq.

    ``resolve`` fetches the blobs referred to. Raises ``CodecError`` for contents that break the layout, and whatever
    ``resolve`` raises.
    """
    cursor = _Cursor(packed)
    head = _Head(cursor)
    n = head.count
    gaps, times, tasks, ids = (cursor.column(n) for _ in range(4))
    shapes = head.shapes
    if max(ids) >= len(shapes) or max(tasks) > 0xFFFFFFFF:
        raise CodecError("a shape or task that is not there")
    needed = 0
    for index in ids:
        shape = shapes[index]
        shape.count += 1
        needed += 64 + 8 * shape.nargs + 16 * len(shape.segments)
    if needed > RECORD_BYTES_MAX:
        raise CodecError("more events than a block can hold")
    for shape in shapes:
        if not shape.count:
            raise CodecError("a shape without events")
        shape.read_columns(cursor, len(head.hashes))
    total = cursor.varint()
    if total != len(packed) - cursor.at:
        raise CodecError("data of another length")
    blobs = resolve(head.hashes) if head.hashes else ()
    for shape in shapes:
        shape.read_data(cursor, blobs)
    if cursor.at != len(packed):
        raise CodecError("data left over")
    return _assemble(head, gaps, times, tasks, ids)


def _assemble(head: _Head, gaps: list[int], times: list[int], tasks: list[int], ids: list[int]) -> list[Event]:
    """Put the rows of all shapes into order of seq."""
    types = [shape.type for shape in head.shapes]
    flags = [shape.flags for shape in head.shapes]
    numbers = [shape.nr for shape in head.shapes]
    advance = [shape.rows().__next__ for shape in head.shapes]
    if any(gaps):
        sequence = [first + skipped for first, skipped in enumerate(accumulate(gaps), head.first_seq)]
    else:
        sequence = list(range(head.first_seq, head.first_seq + head.count))
    if sequence[-1] > _MASK:
        raise CodecError("a sequence number of more than 64 bits")
    if max(tasks) >= 1 << 31:
        tasks = [task - (task >> 31 << 32) for task in tasks]
    events = []
    for seq, time_ns, task, index in zip(sequence, times, tasks, ids, strict=True):
        duration, result, args, segments = advance[index]()
        events.append(
            Event(seq, types[index], flags[index], task, time_ns, duration, numbers[index], result, args, segments)
        )
    return events


def parse_record(data: bytes, at: int = 0) -> tuple[Event, int]:
    """The record at offset ``at`` of ring bytes, and where the next begins. Raises ``CodecError``."""
    if at + RECORD_HEAD.size > len(data):
        raise CodecError("record cut short")
    size, kind, flags, seq, time_ns, duration, task, nr, result, nargs, nsegs, reserved, reserved2 = (
        RECORD_HEAD.unpack_from(data, at)
    )
    end = at + size
    if not 64 <= size <= RECORD_MAX or size % 8 or end > len(data) or not seq or any(reserved) or reserved2:
        raise CodecError("malformed record")
    if at + 64 + 8 * nargs > end:
        raise CodecError("arguments beyond their record")
    args = struct.unpack_from(f"<{nargs}Q", data, at + 64)
    at += 64 + 8 * nargs
    segments = []
    for _ in range(nsegs):
        if at + SEGMENT_HEAD.size > end:
            raise CodecError("segment beyond its record")
        addr, count, segment_kind, arg, segment_flags = SEGMENT_HEAD.unpack_from(data, at)
        at += SEGMENT_HEAD.size
        if at + count > end:
            raise CodecError("segment beyond its record")
        segments.append(Segment(addr, segment_kind, arg, segment_flags, bytes(data[at : at + count])))
        at += count + 7 & ~7
    if at != end:
        raise CodecError("malformed record")
    return Event(seq, kind, flags, task, time_ns, duration, nr, result, args, tuple(segments)), end


def build_record(event: Event) -> bytes:
    """The ring form of an event (the inverse of ``parse_record``)."""
    parts = [struct.pack(f"<{len(event.args)}Q", *event.args)]
    for segment in event.segments:
        parts.append(SEGMENT_HEAD.pack(segment.addr, len(segment.data), segment.kind, segment.arg, segment.flags))
        parts.append(segment.data + bytes(-len(segment.data) % 8))
    body = b"".join(parts)
    head = RECORD_HEAD.pack(
        RECORD_HEAD.size + len(body), event.type, event.flags, event.seq, event.time_ns, event.duration_ns,
        event.task, event.nr, event.result, len(event.args), len(event.segments), bytes(6), 0,
    )  # fmt: skip
    return head + body
