"""The arena from Python: rings that the native engine fills and the sealer empties. Needs the native part.

``Arena`` owns the mapping; ``close()`` tells producers that nobody drains any more, ``free()`` unmaps. Only one thread
may consume.
"""

from __future__ import annotations

import os

from sentra_sandbox.errors import HostError, RecordingError, UsageError
from sentra_sandbox.native import error_text, ffi, lib, new_error

TYPE_CHECKING = False  # type checkers take it for true; loading typing and pathlib takes 11 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from sentra_sandbox.trace.events import Event

RING_BYTES = 1 << 20


class Arena:
    """A mapped arena. ``pointer`` is the ``struct sentra_arena *`` for the engine's options."""

    def __init__(self, pointer: Any, path: Path | str) -> None:
        self.pointer = pointer
        self.path = path
        self.rings = int(lib.sentra_arena_rings(pointer))
        self.ring_bytes = int(lib.sentra_arena_ring_bytes(pointer))
        self.start_monotonic_ns = int(lib.sentra_arena_start_monotonic_ns(pointer))
        self.start_realtime_ns = int(lib.sentra_arena_start_realtime_ns(pointer))

    @classmethod
    def create(cls, path: Path | str, ring_bytes: int = RING_BYTES, rings: int = 1) -> Arena:
        """Make a new arena file, all of it allocated. Raises ``HostError`` (no space, no permission)."""
        return cls._made(lib.sentra_arena_create, path, ring_bytes, rings)

    @classmethod
    def open(cls, path: Path | str) -> Arena:
        """Map an existing arena file. Raises ``HostError`` if it is damaged or cannot be opened."""
        return cls._made(lib.sentra_arena_open, path)

    @classmethod
    def _made(cls, function: Any, path: Path | str, *arguments: int) -> Arena:
        error = new_error()
        pointer = function(os.fsencode(path), *arguments, error)
        if pointer == ffi.NULL:
            step, detail, number = error_text(error)
            reason = f": {os.strerror(number)}" if number else ""
            raise HostError(
                f"The recorder could not {step} ({detail}){reason}.",
                "Check free space and permissions of that directory.",
            )
        return cls(pointer, path)

    def eventfd(self) -> int:
        """Becomes readable when a producer wants the rings emptied."""
        return int(lib.sentra_arena_eventfd(self.pointer))

    def use_eventfd(self, fd: int) -> None:
        """Another process empties the rings: wake it through this eventfd of its arena, which is taken over."""
        lib.sentra_arena_use_eventfd(self.pointer, fd)

    def listen(self) -> None:
        """A round of draining begins: empty the eventfd."""
        lib.sentra_arena_listen(self.pointer)

    def waiting(self, ring: int) -> int:
        """Bytes in a ring that are not sealed yet."""
        return self._peek(ring)[1]

    def peek(self, ring: int) -> bytes:
        """A private copy of what waits in a ring: whole records."""
        data, count, _ = self._peek(ring)
        return bytes(ffi.buffer(data, count))

    def position(self, ring: int) -> int:
        """Bytes ever consumed from a ring."""
        return self._peek(ring)[2]

    def _peek(self, ring: int) -> tuple[Any, int, int]:
        data = ffi.new("const unsigned char **")
        count, position = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        if lib.sentra_ring_peek(self.pointer, ring, data, count, position) < 0:
            raise RecordingError(f"Ring {ring} of {self.path} is damaged: its positions contradict each other.")
        return data[0], int(count[0]), int(position[0])

    def consume(self, ring: int, count: int) -> None:
        """Give space back to the producer."""
        if lib.sentra_ring_consume(self.pointer, ring, count) < 0:
            raise RecordingError(f"Ring {ring} of {self.path} is damaged: less is waiting than was read.")

    def append(self, event: Event, ring: int = 0) -> int:
        """Record an event; ``event.seq`` is ignored. Only for the one producer of that ring. Raises ``RecordingError``
        when closed.
        """
        from sentra_sandbox.trace.codec import build_record  # not needed to start a recording, where time matters

        record = build_record(event)
        seq = int(lib.sentra_arena_append(self.pointer, ring, record, len(record)))
        if not seq:
            raise RecordingError("An event could not be recorded: the run is being closed, or the event is too large.")
        return seq

    def set_in_flight(
        self, slot: int, task: int, nr: int = 0, args: Sequence[int] = (0,) * 6, enter_ns: int = 0
    ) -> None:
        """Announce that ``task`` is inside a call (``task`` 0: no longer)."""
        if lib.sentra_arena_set_in_flight(self.pointer, slot, task, nr, list(args), enter_ns) < 0:
            raise UsageError(f"There is no in-flight slot {slot}.")

    def close(self) -> None:
        """Producers that wait for space give up from now on."""
        lib.sentra_arena_close(self.pointer)

    def free(self) -> None:
        """Unmap; the object must not be used afterwards."""
        if self.pointer is not None:
            lib.sentra_arena_free(self.pointer)
            self.pointer = None
