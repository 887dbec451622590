"""The memory that an event carries: finds the bytes behind an address among its segments.

The numbers are those of csrc/record/event.h. Segments are taken as they come from a trace, which may be hostile: they
may overlap, be cut short or miss; the answer is then less data or None, never an error.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

SEGMENT_IN = 1
SEGMENT_OUT = 2
SEGMENT_INFO = 3
SEGMENT_FILE = 4

FLAG_STRING = 1
FLAG_SPILLED = 2
FLAG_TRUNCATED = 4
FLAG_UNREADABLE = 8


class Segment(Protocol):
    """One segment of an event; sentra_sandbox.trace has the class."""

    @property
    def addr(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def arg(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def data(self) -> bytes: ...


def _unreadable(segment: Segment) -> bool:
    """Nothing could be read at this address; with data, it was readable in part."""
    return bool(segment.flags & FLAG_UNREADABLE)


class ShortData(Exception):
    """A structure ends before the field that was asked for; the caller shows raw bytes instead."""


class Fields:
    """Little-endian fields of a structure by offset. Every access beyond the end raises ShortData."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def _unpack(self, layout: str, offset: int) -> int:
        try:
            value: int = struct.unpack_from(layout, self.data, offset)[0]
        except struct.error:
            raise ShortData from None
        return value

    def u8(self, offset: int) -> int:
        return self._unpack("<B", offset)

    def u16(self, offset: int) -> int:
        return self._unpack("<H", offset)

    def u16_network(self, offset: int) -> int:
        return self._unpack(">H", offset)

    def i16(self, offset: int) -> int:
        return self._unpack("<h", offset)

    def u32(self, offset: int) -> int:
        return self._unpack("<I", offset)

    def i32(self, offset: int) -> int:
        return self._unpack("<i", offset)

    def u64(self, offset: int) -> int:
        return self._unpack("<Q", offset)

    def i64(self, offset: int) -> int:
        return self._unpack("<q", offset)

    def raw(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        if len(self.data) < offset + size:
            raise ShortData
        return self.data[offset : offset + size]


class Memory:
    """The segments of one event, by address."""

    __slots__ = ("_data", "_segments")

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._data = [s for s in segments if s.kind in (SEGMENT_IN, SEGMENT_OUT) and (s.data or not _unreadable(s))]

    def segment(self, arg: int, addr: int, kind: int) -> Segment | None:
        """The segment of this kind that starts at ``addr``, preferably the one that belongs to argument ``arg``."""
        found = None
        for segment in self._data:
            if segment.addr == addr and segment.kind == kind:
                if segment.arg == arg:
                    return segment
                found = found or segment
        return found

    def of_arg(self, arg: int, kind: int) -> list[Segment]:
        """All segments of an argument, in order."""
        return [segment for segment in self._data if segment.arg == arg and segment.kind == kind]

    def vector_data(self, addr: int, kind: int) -> Segment | None:
        """The bytes of an iovec array's buffers, one after the other.

        They are the segment with the array's own address that comes after the array (which is IN) itself.
        """
        same = [segment for segment in self._data if segment.addr == addr]
        after_array = same[1:] if same and same[0].kind == SEGMENT_IN else []
        return next((segment for segment in after_array if segment.kind == kind), None)

    def read(self, addr: int, size: int, kinds: tuple[int, ...]) -> bytes | None:
        """Up to ``size`` bytes at ``addr``, from the first segment that holds this address; None if none does."""
        for kind in kinds:
            for segment in self._data:
                offset = addr - segment.addr
                if segment.kind == kind and not segment.flags & FLAG_SPILLED and 0 <= offset < len(segment.data):
                    return segment.data[offset : offset + size]
        return None

    def spilled_size(self, addr: int, kinds: tuple[int, ...]) -> int | None:
        """The total size of a buffer at ``addr`` whose bytes travelled in DATA events; None if it did not."""
        for segment in self._data:
            if segment.addr == addr and segment.kind in kinds and segment.flags & FLAG_SPILLED:
                return Fields(segment.data).u64(0) if len(segment.data) >= 8 else None
        return None
