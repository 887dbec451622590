"""The broker's pen: network events into the run's second ring. Needs the native part.

One process, one thread writes. ``write`` may wait while the ring is full: recording keeps up with the traffic, or the traffic waits.
"""

from __future__ import annotations

import json
import struct
from time import monotonic_ns
from typing import Any, Protocol

from sentra_sandbox.errors import RecordingError
from sentra_sandbox.native import lib
from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.events import SegmentKind
from sentra_sandbox.trace.network_events import MAX_BYTES, Flag, NetworkEvent

BROKER_RING = 1
MAX_FIELDS = 128 * 1024  # of JSON in one event: a record holds 256 KiB
_LONGEST = 8 * 1024


class Journal(Protocol):
    """What the parts of the broker write to; tests use a list."""

    def new_connection(self) -> int:
        """The next connection's number."""
        ...

    def new_exchange(self) -> int:
        """The next exchange's number."""
        ...

    def write(
        self,
        type: int,
        fields: dict[str, Any] | None = None,
        data: bytes = b"",
        *,
        connection: int = 0,
        exchange: int = 0,
        direction: int = 0,
        flags: int = 0,
        size: int | None = None,
        duration_ns: int = 0,
    ) -> None:
        """Record an event that happened now. Bytes of any length."""
        ...


class Numbers:
    """Counts connections and exchanges from 1."""

    def __init__(self) -> None:
        self._connections = 0
        self._exchanges = 0

    def new_connection(self) -> int:
        self._connections += 1
        return self._connections

    def new_exchange(self) -> int:
        self._exchanges += 1
        return self._exchanges


class ArenaJournal(Numbers):
    """Writes into a ring of an arena. This is the path of every piece of every exchange, so a record is packed here in one go;
    ``trace.codec`` and a test hold
    it to the layout.
    """

    def __init__(self, arena: Arena, ring: int = BROKER_RING) -> None:
        super().__init__()
        self._arena = arena
        self._ring = ring
        self._start_ns = arena.start_monotonic_ns

    def write(
        self,
        type: int,
        fields: dict[str, Any] | None = None,
        data: bytes = b"",
        *,
        connection: int = 0,
        exchange: int = 0,
        direction: int = 0,
        flags: int = 0,
        size: int | None = None,
        duration_ns: int = 0,
    ) -> None:
        now = monotonic_ns() - self._start_ns
        info = _fields_segment(fields) if fields else b""
        count = len(data)
        if count <= MAX_BYTES:
            if size is None or count:
                size = count
            self._append(type, now, duration_ns, info, data, (connection, exchange, direction, flags, size))
            return
        for start in range(0, count, MAX_BYTES):
            piece = data[start : start + MAX_BYTES]
            last = start + MAX_BYTES >= count
            kept = flags if last else flags & ~Flag.FINAL
            self._append(type, now, duration_ns, info, piece, (connection, exchange, direction, kept, len(piece)))
            info = b""

    def _append(self, type: int, now: int, duration_ns: int, info: bytes, data: bytes, args: tuple[int, int, int, int, int]) -> None:
        count = len(data)
        record = info
        segments = 1 if info else 0
        if count:
            segments += 1
            record += _SEGMENT.pack(0, count, _INFO, 1, 0) + data + _PADDING[-count % 8]
        record = _RECORD.pack(_HEAD_BYTES + len(record), type, 0, 0, now, duration_ns, 0, 0, 0, 5, segments, *args) + record
        if not lib.sentra_arena_append(self._arena.pointer, self._ring, record, len(record)):
            raise RecordingError("An event could not be recorded: the run is being closed, or the event is too large.")


_RECORD = struct.Struct("<IHHQQQiIqBB14x5Q")  # struct sentra_event and five arguments
_HEAD_BYTES = _RECORD.size
_SEGMENT = struct.Struct("<QIBBH")
_INFO = int(SegmentKind.INFO)
_PADDING = [bytes(count) for count in range(8)]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _fields_segment(fields: dict[str, Any]) -> bytes:
    """Fields as a segment of a record; what is too long for one is shortened, and says so under ``cut``."""
    text = _encode(fields).encode("utf-8", "surrogateescape")
    if len(text) > MAX_FIELDS:
        text = _encode({**_shortened(fields), "cut": len(text)}).encode("utf-8", "surrogateescape")
    return _SEGMENT.pack(0, len(text), _INFO, 0, 0) + text + _PADDING[-len(text) % 8]


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    """The same with the first ``_LONGEST`` characters of texts, and of lists as many items as fit in that."""
    short: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, str):
            value = value[:_LONGEST]
        elif isinstance(value, list):
            room = _LONGEST
            for kept, item in enumerate(value):
                room -= len(_encode(item)) + 1
                if room < 0:
                    value = value[:kept]
                    break
        short[name] = value
    return short


class ListJournal(Numbers):
    """Keeps the events in ``events``; for tests and for programs that use a part of the broker alone."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[NetworkEvent] = []

    def write(
        self,
        type: int,
        fields: dict[str, Any] | None = None,
        data: bytes = b"",
        *,
        connection: int = 0,
        exchange: int = 0,
        direction: int = 0,
        flags: int = 0,
        size: int | None = None,
        duration_ns: int = 0,
    ) -> None:
        self.events.append(
            NetworkEvent(
                type,
                fields,
                data,
                connection=connection,
                exchange=exchange,
                direction=direction,
                flags=flags,
                size=size,
                time_ns=monotonic_ns(),
                duration_ns=duration_ns,
            )
        )
