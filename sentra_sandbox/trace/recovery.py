"""Finishing a run whose supervisor was killed: what it left in the arena is sealed, calls in flight are noted.

May itself be killed at any moment and started again: blocks are only ever appended, each tells how far the rings were
consumed, and the block that recovery adds about the end of the run carries a flag, so it is added once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from sentra_sandbox.errors import RecordingError, TraceError, UsageError
from sentra_sandbox.trace import codec, run
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace.arena_image import ArenaImage, InFlight
from sentra_sandbox.trace.blobs import BlobStore
from sentra_sandbox.trace.blocks import Block, BlockFile
from sentra_sandbox.trace.events import Event, EventFlag, EventType, Note, Segment, SegmentKind
from sentra_sandbox.trace.reader import blob_root
from sentra_sandbox.trace.writer import DamagedRing, Sealer

LATER = "What had not been sealed then was sealed later."
KILLED = "The recorder ended without closing the run (it was killed or the machine stopped)."


def recover(run_dir: Path, blobs: BlobStore | None = None) -> run.RunMetadata:
    """Seal an incomplete run that no process holds; returns its metadata, state ``recovered``. A finished run is
    returned as it is.

    Raises ``UsageError`` if the run is still being recorded, ``TraceError`` if it is damaged beyond a torn end,
    ``RecordingError`` if it cannot be written (no space).
    """
    run.read_metadata(run_dir)  # before anything is created in what may be no run at all
    try:
        lock = run.try_lock(run_dir)
    except OSError as error:
        raise RecordingError(f"The run in {run_dir} cannot be recovered: {error.strerror}.") from error
    if lock is None:
        raise UsageError(f"The run in {run_dir} is still being recorded.", "Wait until it has ended.")
    try:
        metadata = run.read_metadata(run_dir)
        if metadata.state == run.INCOMPLETE:
            return _recover(run_dir, metadata, blobs or BlobStore(blob_root(run_dir)))
        for leftover in (run.ARENA, run.RESERVE):  # killed after sealing, before tidying up
            (run_dir / leftover).unlink(missing_ok=True)
        return metadata
    except OSError as error:
        raise RecordingError(f"The run in {run_dir} cannot be recovered: {error.strerror}.") from error
    finally:
        lock.close()


def _recover(run_dir: Path, metadata: run.RunMetadata, blobs: BlobStore) -> run.RunMetadata:
    blocks, end = _whole_blocks(run_dir)
    last = blocks[-1] if blocks else None
    left = _Leftovers(run_dir, last)
    _cut_torn_line(run_dir / run.FILES)
    sealer = Sealer(run_dir, left, blobs)
    try:
        sealer.resume([(block.offset, block.header) for block in blocks], end)
        if last is None or not last.header.flags & layout.BLOCK_RECOVERED:
            note = _seal_rest(sealer, left, metadata.note or KILLED)
            calls = _unfinished_calls(run_dir, left, last, blobs)
            left.last_time_ns = max([left.last_time_ns, *(call.enter_ns for call in calls)])
            sealer.seal_records(_ending(calls, sealer.state.next_seq, left.last_time_ns, note), layout.BLOCK_RECOVERED)
        for ring in range(left.rings):
            left.drop(ring)
        duration = metadata.duration_ns or left.last_time_ns
        note = f"{metadata.note} {LATER}" if metadata.note else KILLED
        return sealer.finish(dataclasses.replace(metadata, duration_ns=duration, note=note), run.RECOVERED)
    finally:
        sealer.close()


def _whole_blocks(run_dir: Path) -> tuple[list[Block], int]:
    """All whole blocks, and where a torn one would begin."""
    file = BlockFile(run_dir / run.EVENTS, unfinished=True)
    try:
        blocks = list(file.blocks())
    finally:
        file.close()
    return blocks, blocks[-1].end if blocks else layout.EVENTS_HEADER_SIZE


def _cut_torn_line(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)


class _Leftovers:
    """What the rings hold beyond the last block, as a source for the sealer. A private copy: the arena file is only
    read.
    """

    def __init__(self, run_dir: Path, last: Block | None) -> None:
        self.ring_bytes = 1
        self.start_monotonic_ns = self.start_realtime_ns = 0
        self.last_time_ns = last.header.last_time_ns if last else 0
        self.calls: list[InFlight] = []
        self._positions = list(last.header.positions) if last else [0, 0, 0, 0]
        self._data = [b""]
        if (run_dir / run.ARENA).exists():
            self._read(run_dir / run.ARENA)
        self.rings = len(self._data)
        self.events = self._parse()

    def _read(self, path: Path) -> None:
        image = ArenaImage(path)
        try:
            self.start_monotonic_ns, self.start_realtime_ns = image.start()
            states = image.states()
            for index, ring in enumerate(states):
                if not ring.head <= self._positions[index] <= ring.tail:
                    raise TraceError(
                        f"The trace is damaged: ring {index} of {path} does not continue the last block.",
                        path=str(path),
                    )
            self._data = [image.data(ring, self._positions[index], ring.tail) for index, ring in enumerate(states)]
            self.calls = image.in_flight()
        finally:
            image.close()

    def _parse(self) -> list[Event]:
        """The events in it that are well formed, only to know which calls were completed."""
        events = []
        for data in self._data:
            at = 0
            with contextlib.suppress(codec.CodecError):
                while at < len(data):
                    event, at = codec.parse_record(data, at)
                    events.append(event)
        self.last_time_ns = max([self.last_time_ns, *(event.time_ns for event in events)])
        return events

    def listen(self) -> None:
        """Nobody calls: there is no producer any more."""

    def waiting(self, ring: int) -> int:
        return len(self._data[ring])

    def peek(self, ring: int) -> bytes:
        return self._data[ring]

    def position(self, ring: int) -> int:
        return self._positions[ring]

    def consume(self, ring: int, count: int) -> None:
        self._data[ring] = self._data[ring][count:]
        self._positions[ring] += count

    def drop(self, ring: int) -> None:
        """Give up what is left of a ring."""
        self._data[ring] = b""


def _seal_rest(sealer: Sealer, left: _Leftovers, reason: str) -> str:
    """Seal what is in the rings; returns what is to be said about it."""
    while True:
        try:
            sealer.drain_end()
            return reason
        except DamagedRing as error:
            reason = f"{reason} {error.message} What came after it in that ring is lost."
            left.drop(error.ring)


def _unfinished_calls(run_dir: Path, left: _Leftovers, last: Block | None, blobs: BlobStore) -> list[InFlight]:
    """Calls in flight, without those whose event was recorded just before the kill (their slot was not cleared yet)."""
    if not left.calls:
        return []
    done: dict[int, int] = {}
    for event in [*_events_of(run_dir, last, blobs), *left.events]:
        if event.type == EventType.SYSCALL:
            done[event.task] = max(done.get(event.task, -1), event.time_ns - event.duration_ns)
    return [call for call in left.calls if done.get(call.task, -1) < call.enter_ns]


def _events_of(run_dir: Path, last: Block | None, blobs: BlobStore) -> Sequence[Event]:
    if last is None:
        return ()
    file = BlockFile(run_dir / run.EVENTS)
    try:
        return file.events(last, blobs.get_many)
    finally:
        file.close()


def _ending(calls: Sequence[InFlight], seq: int, time_ns: int, note: str) -> bytes:
    """Ring records: the calls in flight, then the note."""
    events = [
        Event(seq + at, EventType.SYSCALL, EventFlag.IN_FLIGHT, call.task, time_ns, 0, call.nr, 0, call.args, ())
        for at, call in enumerate(sorted(calls, key=lambda call: (call.enter_ns, call.task)))
    ]
    text = Segment(0, SegmentKind.INFO, 0, 0, note.encode("utf-8", "replace"))
    events.append(Event(seq + len(events), EventType.NOTE, 0, 0, time_ns, 0, Note.UNSEEN, 0, (), (text,)))
    return b"".join(codec.build_record(event) for event in events)
