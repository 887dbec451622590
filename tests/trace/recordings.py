"""Made-up events and runs recorded from them, for the tests of the trace."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path

import pytest

from sentra_sandbox.trace import run
from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.blobs import BlobStore
from sentra_sandbox.trace.events import Event, Segment
from sentra_sandbox.trace.writer import Sealer


def made_up_events(count: int, seed: int = 1) -> list[Event]:
    """Events of many shapes with seq 0 (to be appended): file churn, odd values, many segments, all sizes of data."""
    rng = random.Random(seed)
    now = 0
    events = []
    for index in range(count):
        now += rng.choice((rng.randrange(20_000), rng.randrange(200), 10**9 if index % 97 == 0 else 5_000))
        events.append(_made_up(rng, index, now))
    return events


def _made_up(rng: random.Random, index: int, now: int) -> Event:
    path = b"/home/agent/project/src/file%05d.py" % (index // 4)
    buffer, took, task = 0x7F0000001000 + 64 * (index % 5), rng.randrange(300, 90_000), 2 + index % 3
    kind = index % 8
    if kind in (0, 4):
        return Event(
            0, 1, 0, task, now, took, 257, 3 + index % 9, (2**64 - 100, buffer, 0, 0), (Segment(buffer, 1, 1, 1, path),)
        )
    if kind in (1, 5):
        data = rng.randbytes(rng.choice((0, 1, 7, 8, 100, 511, 512, 513, 4096 if index % 16 == 1 else 30)))
        return Event(0, 1, 0, task, now, took, 0, len(data), (3, buffer, 4096), (Segment(buffer, 2, 1, 0, data),))
    if kind == 2:
        return Event(0, 1, 1, task, now, took, 425, -38, (rng.getrandbits(64), rng.getrandbits(64)), ())
    if kind == 3:
        parts = tuple(
            Segment(rng.getrandbits(47), 2, 6, rng.choice((0, 4)), bytes(rng.randrange(40))) for _ in range(index % 5)
        )
        return Event(0, 1, 32, -task, now, took, 19, -(2**63) if index % 3 else 2**63 - 1, (3, buffer, 2), parts)
    if kind == 6:
        return Event(0, 2, 0, task, now, 0, 17, 0, (0x401000, 1), (Segment(0, 3, 0, 0, rng.randbytes(128)),))
    return Event(0, 700, 0xFFFF, 0, now, 2**64 - 1 if index % 50 == 7 else 0, 2**32 - 1, rng.getrandbits(60), (), ())


@dataclasses.dataclass
class Recording:
    """A run that is being recorded in this process; ``expected`` grows with ``record``."""

    directory: Path
    arena: Arena
    sealer: Sealer
    blobs: BlobStore
    metadata: run.RunMetadata
    lock: run.RunDirectory
    expected: list[Event]

    def record(self, events: list[Event], ring: int = 0, drain_every: int = 20) -> None:
        for index, event in enumerate(events):
            seq = self.arena.append(event, ring)
            self.expected.append(dataclasses.replace(event, seq=seq))
            if index % drain_every == 0:
                self.sealer.drain()

    def finish(self) -> run.RunMetadata:
        metadata = self.sealer.finish(self.metadata)
        self.release()
        return metadata

    def release(self) -> None:
        self.arena.close()
        self.arena.free()
        self.lock.close()


def begin(home: Path, ring_bytes: int = 1 << 20, rings: int = 1, name: str = "") -> Recording:
    """Start recording a run below ``home``."""
    run_id = run.new_run_id()
    directory = home / "runs" / run_id
    metadata = run.RunMetadata(
        run_id, ("python", "agent.py"), "/home/agent", "2026-11-22T10:00:00Z", name, host={"kernel": "6.18"}
    )
    lock = run.RunDirectory.create(directory, metadata)
    arena = Arena.create(directory / run.ARENA, ring_bytes, rings)
    blobs = BlobStore(home / "blobs")
    return Recording(directory, arena, Sealer(directory, arena, blobs), blobs, metadata, lock, [])


def lacking(what: str) -> None:
    """Skip because this machine lacks something, or fail where everything must work."""
    if os.environ.get("SENTRA_MUST_WORK") == "1":
        pytest.fail(f"this machine lacks {what}, and SENTRA_MUST_WORK=1 says that everything must work")
    pytest.skip(f"this machine lacks {what}")
