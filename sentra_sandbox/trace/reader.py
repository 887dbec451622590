"""Reading a run: ``Trace``. Works without the native part, on finished, crashed and still running recordings.

A trace is hostile input: whatever is wrong with it becomes ``TraceError`` with path and offset, never wrong data and
never another exception. What has not been sealed yet is read from the arena; see ``_Tail`` for why that is safe while
the writer works.
"""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from sentra_sandbox.errors import TraceError, UsageError
from sentra_sandbox.trace import codec, run
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace.arena_image import ArenaImage, InFlight
from sentra_sandbox.trace.blobs import BlobStore
from sentra_sandbox.trace.blocks import Block, BlockFile
from sentra_sandbox.trace.digest import sha256
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.files import FileEntry, read_files
from sentra_sandbox.trace.run import RunMetadata, read_metadata

_INDEX_MAX = 1 << 30
_FOLLOW_S = 0.2
_CACHE_BYTES = 16 << 20


def blob_root(run_dir: Path) -> Path:
    """The blob store that belongs to a run: that of the home it lies in (``<home>/runs/<id>``), else the default
    home's.
    """
    home = run_dir.absolute().parent.parent
    return (
        home / "blobs"
        if run_dir.absolute().parent.name == "runs" and (home / "blobs").is_dir()
        else run.default_home() / "blobs"
    )


class Trace:
    """A recorded run. Use as a context manager or ``close()``. Not for several threads at once."""

    def __init__(self, run_dir: Path, blobs: BlobStore | None = None) -> None:
        self.path = Path(run_dir)
        self.meta: RunMetadata = read_metadata(self.path)
        self._blobs = blobs or BlobStore(blob_root(self.path))
        self._cache: dict[bytes, bytes] = {}
        self._cached_bytes = 0
        self._blocks = BlockFile(self.path / run.EVENTS, unfinished=not self.finished)

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._blocks.close()
        self._blobs.close()

    @property
    def finished(self) -> bool:
        """Sealed or recovered: nothing will be added."""
        return self.meta.state != run.INCOMPLETE

    @property
    def live(self) -> bool:
        """A process is recording it right now."""
        return not self.finished and run.is_locked(self.path)

    def refresh(self) -> None:
        """Read ``run.json`` again: a live run may have been finished."""
        self.meta = read_metadata(self.path)

    # ---- events

    def events(self, since_seq: int = 0) -> Iterator[Event]:
        """All events with a seq of at least ``since_seq``, in order; of an unfinished run what there is now. Raises
        ``TraceError``.
        """
        tail = _Tail(self.path, self._blocks, self._start_offset(since_seq))
        while True:
            for block in self._blocks.blocks(tail.end, tail.last):
                tail.advance(block)
                if block.header.last_seq >= since_seq:
                    yield from (event for event in self._blocks.events(block, self._resolve) if event.seq >= since_seq)
            if self.finished:
                self._check_end(tail)
                return
            events = tail.read()
            if events is not None:
                yield from (event for event in events if event.seq >= since_seq)
                return

    def _check_end(self, tail: _Tail) -> None:
        """A finished trace ends where ``run.json`` says."""
        if tail.end != self._blocks.size() or tail.end != self.meta.sizes.get("events"):
            raise self._blocks.damaged("an end where the run's description does not expect it", tail.end)

    def _start_offset(self, since_seq: int) -> int:
        """Where the block with ``since_seq`` begins; the start of the file when there is no usable index."""
        if since_seq <= 1 or not self.finished:
            return layout.EVENTS_HEADER_SIZE
        entries = self.index()
        at = bisect_right(entries, (since_seq, 1 << 63)) - 1
        return entries[at][1] if at >= 0 else layout.EVENTS_HEADER_SIZE

    def index(self) -> list[tuple[int, int]]:
        """(first seq, offset) of each block; made from the blocks when the file is missing or damaged. Raises
        ``TraceError``.
        """
        with contextlib.suppress(TraceError):
            path = self.path / run.INDEX
            entries = layout.unpack_index(run.read_file(path, _INDEX_MAX), str(path))
            if len(entries) == self.meta.counts.get("blocks"):
                return entries
        return [(block.header.first_seq, block.offset) for block in self._blocks.blocks()]

    def block_events(self, offset: int) -> list[Event]:
        """The events of the block at ``offset`` (see ``index``). Raises ``TraceError``."""
        block = self._blocks.block_at(offset)
        if block is None:
            raise self._blocks.damaged("no block where the index has one", offset)
        return self._blocks.events(block, self._resolve)

    def event(self, seq: int) -> Event:
        """The event with this number. Raises ``UsageError`` if the run has none, ``TraceError`` if it is damaged."""
        for event in self.events(seq):
            if event.seq == seq:
                return event
            break
        raise UsageError(f"Run {self.meta.id} has no event {seq}.")

    def follow(self, since_seq: int = 0, poll_s: float = _FOLLOW_S) -> Iterator[Event]:
        """Like ``events``, but of a live run goes on until it has ended."""
        while True:
            live = self.live
            if not self.finished:
                self.refresh()
            for event in self.events(since_seq):
                yield event
                since_seq = event.seq + 1
            if self.finished or not live:
                return
            time.sleep(poll_s)

    def in_flight(self) -> list[InFlight]:
        """Calls that tasks of an unfinished run are in right now."""
        if self.finished:
            return []
        image = ArenaImage(self.path / run.ARENA)
        try:
            return image.in_flight()
        finally:
            image.close()

    # ---- blobs and files

    def _resolve(self, digests: Sequence[bytes]) -> list[bytes]:
        if self._cached_bytes > _CACHE_BYTES:
            self._cache.clear()
            self._cached_bytes = 0
        for digest in digests:
            if digest not in self._cache:
                self._cache[digest] = self._blobs.get(digest)
                self._cached_bytes += len(self._cache[digest])
        return [self._cache[digest] for digest in digests]

    def blob(self, digest: bytes) -> bytes:
        """Content by SHA-256. Raises ``TraceError`` when the store lacks it."""
        return self._blobs.get(digest)

    def open_file(self, file_id: int) -> int:
        """A descriptor of the content that file ``file_id`` had. Raises ``TraceError``."""
        entry = self.files().get(file_id)
        if entry is None:
            raise TraceError(
                f"The trace is incomplete: the content of file {file_id} was not kept.", path=str(self.path / run.FILES)
            )
        return self._blobs.open_file(bytes.fromhex(entry.sha256))

    def files(self) -> dict[int, FileEntry]:
        """file_id -> content hash and where the file was. Raises ``TraceError``."""
        return read_files(self.path, finished=self.finished)

    # ---- verification

    def verify(self) -> None:
        """Check everything that can be checked: hash chain, Merkle root, counts, index, tables, every blob. Raises
        ``TraceError``.
        """
        merkle = layout.MerkleTree()
        events = 0
        index = []
        for block in self._blocks.blocks():
            merkle.add(block.header.digest)
            events += len(self._blocks.events(block, self._resolve))
            index.append((block.header.first_seq, block.offset))
        if self.finished:
            self._verify_ending(events, merkle.root().hex(), index)
        else:
            for _ in self.events():
                pass
        for entry in self.files().values():
            self._verify_file(bytes.fromhex(entry.sha256))

    def _verify_ending(self, events: int, root: str, index: list[tuple[int, int]]) -> None:
        if root != self.meta.merkle_root:
            raise self._blocks.damaged("blocks whose Merkle root is not the one written at sealing", 0)
        if events != self.meta.counts.get("events") or len(index) != self.meta.counts.get("blocks"):
            raise self._blocks.damaged("another number of events than the run's description says", 0)
        path = self.path / run.INDEX
        if layout.unpack_index(run.read_file(path, _INDEX_MAX), str(path)) != index:
            raise TraceError(
                f"{path} does not match the blocks.", "It can be removed; it will be rebuilt.", path=str(path), offset=0
            )
        for name, digest in self.meta.digests.items():
            if name not in (run.FILES, run.BLOBS):
                raise TraceError(
                    f"{self.path / run.METADATA} names an unknown file.", path=str(self.path / run.METADATA)
                )
            if sha256(run.read_file(self.path / name, _INDEX_MAX)).hexdigest() != digest:
                raise TraceError(
                    f"{self.path / name} is damaged: its digest does not match.", path=str(self.path / name), offset=0
                )

    def _verify_file(self, digest: bytes) -> None:
        """Whole files are hashed; the small pieces were checked when the events were read."""
        import hashlib

        with open(self._blobs.open_file(digest), "rb") as file:
            found = hashlib.sha256()
            while chunk := file.read(1 << 20):
                found.update(chunk)
        if found.digest() != digest:
            path = self._blobs.file_path(digest)
            raise TraceError(f"{path} is damaged: its content does not match its name.", path=str(path), offset=0)


class _Tail:
    """The end of an unfinished run: the last whole block, and what the rings hold beyond it.

    A ring's bytes from position P on (P = consumed as of the last block) stay untouched while its head is at most P,
    because the sealer moves the head only after writing a block. So: read the bytes, then look at the heads again; if
    one has passed P there is a new block on disk, and that is read first.
    """

    def __init__(self, run_dir: Path, blocks: BlockFile, end: int) -> None:
        self._run_dir = run_dir
        self._blocks = blocks
        self.last: Block | None = None
        self.end = end
        self._stuck = 0

    def advance(self, block: Block) -> None:
        self.last = block
        self.end = block.end
        self._stuck = 0

    def read(self) -> list[Event] | None:
        """Events in the rings beyond the last block known here, up to the first missing number; None: a new block was
        sealed meanwhile.
        """
        path = self._run_dir / run.ARENA
        try:
            image = ArenaImage(path)
        except TraceError:
            if path.exists():
                raise
            return self._without_arena()
        try:
            positions = self.last.header.positions if self.last else (0, 0, 0, 0)
            states = image.states()
            if any(ring.head > positions[index] or ring.tail < positions[index] for index, ring in enumerate(states)):
                self._note_behind()
                return None
            chunks = [image.data(ring, positions[index], ring.tail) for index, ring in enumerate(states)]
            if any(ring.head > positions[index] for index, ring in enumerate(image.states())):
                return None
        finally:
            image.close()
        return merge_rings(chunks, self.last.header.last_seq + 1 if self.last else 1, str(path))

    def _note_behind(self) -> None:
        """The rings are ahead of the blocks we know: look for new blocks, but not for ever."""
        self._stuck += 1
        if self._stuck > 50:
            raise self._blocks.damaged("events that left the rings and are in no block", self.end)
        if self._stuck > 1:
            time.sleep(0.01)

    def _without_arena(self) -> list[Event] | None:
        """Removed: the run was finished since, or this is all there is."""
        if read_metadata(self._run_dir).state == run.INCOMPLETE:
            raise TraceError(
                f"The trace is incomplete: {self._run_dir / run.ARENA} is missing.", path=str(self._run_dir / run.ARENA)
            )
        return None if self._blocks.block_at(self.end) is not None else []


def merge_rings(chunks: Sequence[bytes], next_seq: int, path: str, *, allow_gaps: bool = False) -> list[Event]:
    """Events of ring bytes in order of seq, from ``next_seq`` up to the first missing number. Raises ``TraceError``."""
    events: list[Event] = []
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            try:
                event, at = codec.parse_record(chunk, at)
            except codec.CodecError as error:
                raise TraceError(f"The trace is damaged: {error} in {path}.", path=path, offset=at) from error
            events.append(event)
    events.sort(key=lambda event: event.seq)
    whole = []
    for event in events:
        if event.seq < next_seq or (event.seq > next_seq and not allow_gaps):
            break
        whole.append(event)
        next_seq = event.seq + 1
    return whole
