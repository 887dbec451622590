"""A look into an arena file from outside, in pure Python: for readers of a live run and for recovery.

Uses ``pread``, never a mapping: the file may be cut short under us (then a mapping would be a SIGBUS), and its pages
are shared with the writer either way. Every field is checked; whatever is wrong is a ``TraceError``. Layout:
``csrc/record/ring.h``.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import TraceError

_MAGIC = 0x31414E4552415453
_VERSION = 1
_HEAD = struct.Struct("<QIIQQ")
_RINGS_AT, _RING_SIZE = 128, 256
_RING = struct.Struct("<QQ48xQ56xQ")  # capacity, offset, tail, head
_CONTROL_SIZE = 1216
_SLOTS_AT, _SLOTS, _SLOT = 4096, 1024, struct.Struct("<iI6QQ")
_DATA_AT = _SLOTS_AT + _SLOTS * _SLOT.size
_CAPACITY_MIN, _CAPACITY_MAX = 512 * 1024, 1 << 30


@dataclass(frozen=True, slots=True)
class RingState:
    """Where a ring is and how far producer and consumer came."""

    capacity: int
    offset: int
    tail: int
    head: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """A call that a task had entered and not completed."""

    task: int
    nr: int
    args: tuple[int, ...]
    enter_ns: int


class ArenaImage:
    """An open arena file. Raises ``TraceError`` from every method when the file is damaged, and from the constructor
    when absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise TraceError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
        try:
            self.states()
        except BaseException:
            self.close()
            raise

    def _damaged(self, what: str, offset: int = 0) -> TraceError:
        return TraceError(f"The trace is damaged: {what} in {self.path}.", path=str(self.path), offset=offset)

    def _read(self, count: int, offset: int) -> bytes:
        try:
            data = os.pread(self._fd, count, offset)
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.strerror}.", path=str(self.path)) from error
        if len(data) != count:
            raise self._damaged("an end too early", offset)
        return data

    def start(self) -> tuple[int, int]:
        """(CLOCK_MONOTONIC, CLOCK_REALTIME) of the run's start in ns."""
        _, _, _, monotonic, realtime = _HEAD.unpack_from(self._read(_HEAD.size, 0))
        return monotonic, realtime

    def states(self) -> list[RingState]:
        """All rings as of now."""
        for _ in range(10):
            # Both ends move while they are read: what looks impossible may be an old tail with a new head. Look again.
            with contextlib.suppress(TraceError):
                return self._states()
            time.sleep(0.001)
        return self._states()

    def _states(self) -> list[RingState]:
        control = self._read(_CONTROL_SIZE, 0)
        magic, version, rings, _, _ = _HEAD.unpack_from(control)
        if magic != _MAGIC or version != _VERSION or not 1 <= rings <= 4:
            raise self._damaged("no arena of this version")
        found = []
        for index in range(rings):
            ring = RingState(*_RING.unpack_from(control, _RINGS_AT + index * _RING_SIZE))
            if (
                not _CAPACITY_MIN <= ring.capacity <= _CAPACITY_MAX
                or ring.capacity & (ring.capacity - 1)
                or ring.offset != _DATA_AT + index * ring.capacity
                or not 0 <= ring.tail - ring.head <= ring.capacity
                or ring.tail % 8
                or ring.head % 8
            ):
                raise self._damaged(f"an impossible ring {index}", _RINGS_AT + index * _RING_SIZE)
            found.append(ring)
        return found

    def data(self, ring: RingState, start: int, end: int) -> bytes:
        """The bytes of a ring from position ``start`` to ``end``. Valid if the ring's head has not passed ``start``
        afterwards.
        """
        if not 0 <= end - start <= ring.capacity:
            raise self._damaged("ring positions that contradict each other")
        at = start & (ring.capacity - 1)
        first = min(end - start, ring.capacity - at)
        data = self._read(first, ring.offset + at)
        return data + self._read(end - start - first, ring.offset) if first < end - start else data

    def in_flight(self) -> list[InFlight]:
        """Calls entered and not completed."""
        raw = self._read(_SLOTS * _SLOT.size, _SLOTS_AT)
        return [InFlight(task, nr, tuple(rest[:6]), rest[6]) for task, nr, *rest in _SLOT.iter_unpack(raw) if task > 0]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
