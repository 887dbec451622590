"""The broker's pen: network events into the run's second ring. Needs the native part.

One process, one thread writes. ``write`` may wait while the ring is full: recording keeps up with the traffic, or the traffic waits.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.network_events import MAX_BYTES, NetworkEvent, to_event

BROKER_RING = 1


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
    """Writes into a ring of an arena."""

    def __init__(self, arena: Arena, ring: int = BROKER_RING) -> None:
        super().__init__()
        self._arena = arena
        self._ring = ring

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
        now = time.monotonic_ns() - self._arena.start_monotonic_ns
        for start in range(0, len(data) or 1, MAX_BYTES):
            piece = data[start : start + MAX_BYTES]
            event = NetworkEvent(
                type,
                fields if not start else None,
                piece,
                connection=connection,
                exchange=exchange,
                direction=direction,
                flags=flags,
                size=len(piece) if size is None or data else size,
                time_ns=now,
                duration_ns=duration_ns,
            )
            self._arena.append(to_event(event), self._ring)


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
                time_ns=time.monotonic_ns(),
                duration_ns=duration_ns,
            )
        )
