"""The sealer: empties the rings into blocks on disk, and closes the run's files at the end. Needs the native part.

Order is everything here. A block's blobs are listed and stored before the block is written, the block is written before
its bytes are given back to the producer; a kill between any two steps loses nothing and repeats at most what is
harmless to repeat. Events go out in order of seq across the rings; at a missing number (a producer between taking it
and publishing) sealing stops until it appears, at the end of a run what follows a hole is kept. Small tails stay in the
ring (readers of a live run look there), so blocks stay large.
"""

from __future__ import annotations

import _thread
import os
import time

from sentra_sandbox.dataclass import replace
from sentra_sandbox.errors import HostError, RecordingError
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace import frames, run
from sentra_sandbox.trace.digest import sha256
from sentra_sandbox.trace.files import FileEntry
from sentra_sandbox.trace.pack import Scan
from sentra_sandbox.trace.references import References

TYPE_CHECKING = False  # type checkers take it for true; loading typing and pathlib takes 11 ms
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import NoReturn, Protocol

    from sentra_sandbox.trace.blobs import BlobStore, FileIdentity

    class RecordSource(Protocol):
        """Rings to be emptied: a live ``Arena``, or what a crash left (recovery)."""

        rings: int
        ring_bytes: int
        start_monotonic_ns: int
        start_realtime_ns: int

        def listen(self) -> None: ...
        def waiting(self, ring: int) -> int: ...
        def peek(self, ring: int) -> bytes: ...
        def position(self, ring: int) -> int: ...
        def consume(self, ring: int, count: int) -> None: ...
else:
    from sentra_sandbox.trace.blobs import sqlite3

BLOCK_BYTES = 512 * 1024
_GAP_PATIENCE_S = 1.0
_CREATE = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def at_once(action: Callable[[], None], *others: Callable[[], None]) -> None:
    """Carry out what waits for the disk side by side: the file system then writes its journal once, not once for each.

    ``action`` in this thread, the others in their own. Raises the first error when all have ended.
    """
    errors: list[BaseException] = []

    def carry_out(what: Callable[[], None], ended: _thread.LockType | None) -> None:
        try:
            what()
        except BaseException as error:
            errors.append(error)
        finally:
            if ended is not None:
                ended.release()

    locks = [_thread.allocate_lock() for _ in others]
    for other, lock in zip(others, locks, strict=True):
        lock.acquire()
        _thread.start_new_thread(carry_out, (other, lock))
    carry_out(action, None)
    for lock in locks:
        lock.acquire()
    if errors:
        raise errors[0]


class DamagedRing(RecordingError):
    """``ring`` holds something that is no record; nothing of it can be sealed from there on."""

    def __init__(self, message: str, ring: int) -> None:
        super().__init__(message, "What was recorded before it is kept.")
        self.ring = ring


class SealedSoFar:
    """Where the events file ends and what the next block must continue."""

    def __init__(self) -> None:
        self.end = 0
        self.next_seq = 1
        self.events = 0
        self.record_bytes = 0
        self.referenced_bytes = 0
        self.inline_fallbacks = 0
        self.holes = 0
        self.previous = layout.ZERO_HASH


class Sealer:
    """Writes one run's ``events``, ``index``, ``files`` and ``blobs``. All methods belong to one thread.

    Every method may raise ``RecordingError`` (no space, I/O error, damaged ring): what was sealed before stays
    readable, nothing more can be sealed, and the caller ends the run with ``abandon``.
    """

    def __init__(self, run_dir: Path | str, source: RecordSource, blobs: BlobStore) -> None:
        self.run_dir = os.fspath(run_dir)
        self.state = SealedSoFar()
        self._source = source
        self._blobs = blobs
        self._index: list[tuple[int, int]] = []
        self._merkle = layout.MerkleTree()
        self._gap_since: float | None = None
        self._references: References | None = None
        self._registered = False
        self._stored: set[bytes] = set()  # known to be in the store and listed by this run
        self._fd = self._files_fd = -1
        try:
            self._fd = os.open(f"{run_dir}/{run.EVENTS}", os.O_RDWR | _CREATE, 0o600)
            self._files_fd = os.open(f"{run_dir}/{run.FILES}", os.O_WRONLY | os.O_APPEND | _CREATE, 0o600)
        except OSError as error:
            self.close()
            self._failed("make the files", error)
        if os.fstat(self._fd).st_size < layout.EVENTS_HEADER_SIZE:
            header = layout.EventsHeader(source.start_monotonic_ns, source.start_realtime_ns).pack()
            self._append(self._fd, header, 0)
        self.state.end = layout.EVENTS_HEADER_SIZE

    def resume(self, blocks: Sequence[tuple[int, layout.BlockHeader]], end: int) -> None:
        """Continue a file that already holds ``blocks`` (offset, header); everything after ``end`` is cut off."""
        os.ftruncate(self._fd, end)
        for offset, header in blocks:
            self._note_block(offset, header)

    # ---- sealing

    def drain(self, force: bool = False) -> int:
        """Seal what waits; without ``force`` only once a quarter of a ring does. Returns how many events it sealed."""
        self._source.listen()
        return self._seal_while(force, allow_gaps=False)

    def drain_end(self) -> int:
        """Seal all that is left after the producers stopped, also beyond missing numbers."""
        return self._seal_while(True, allow_gaps=True)

    def _seal_while(self, force: bool, allow_gaps: bool) -> int:
        total = 0
        while force or any(
            self._source.waiting(ring) >= self._source.ring_bytes // 4 for ring in range(self._source.rings)
        ):
            sealed = self._seal_block(allow_gaps or self._gap_is_old())
            if not sealed:
                break
            total += sealed
        return total

    def _gap_is_old(self) -> bool:
        """A number that is missing for so long will not come: its producer died between taking and publishing it."""
        return self._gap_since is not None and time.monotonic() - self._gap_since > _GAP_PATIENCE_S

    def _seal_block(self, allow_gaps: bool, flags: int = 0) -> int:
        sources = [self._source.peek(ring) for ring in range(self._source.rings)]
        scan = Scan(sources, self.state.next_seq, allow_gaps=allow_gaps, max_bytes=BLOCK_BYTES)
        if not scan.gap or scan.events:
            self._gap_since = None
        elif self._gap_since is None:
            self._gap_since = time.monotonic()
        if not scan.events:
            if scan.damaged >= 0:
                position = self._source.position(scan.damaged) + scan.damaged_at
                raise DamagedRing(
                    f"Ring {scan.damaged} of the run in {self.run_dir} holds a malformed record at {position}.",
                    scan.damaged,
                )
            return 0
        positions = [self._source.position(ring) + taken for ring, taken in enumerate(scan.taken)]
        self._write_block(scan, scan.pack(self._store_large(scan)), positions, flags)
        self.state.holes += scan.gaps
        for ring, taken in enumerate(scan.taken):
            if taken:
                self._source.consume(ring, taken)
        return scan.events

    def seal_records(self, records: bytes, flags: int) -> None:
        """Seal records that come from no ring, in a block of their own; their numbers must continue those before."""
        scan = Scan([records], self.state.next_seq, allow_gaps=False, max_bytes=BLOCK_BYTES)
        if scan.record_bytes != len(records):
            raise DamagedRing(f"Events made for the run in {self.run_dir} are malformed.", 0)
        positions = [self._source.position(ring) for ring in range(self._source.rings)]
        self._write_block(scan, scan.pack(self._store_large(scan)), positions, flags)

    def _store_large(self, scan: Scan) -> list[bytes | None]:
        """Decide for each large segment whether a blob holds it: yes, unless the store cannot take it now."""
        pieces = [(sha256(buffer).digest(), buffer) for buffer in scan.large()]
        if not pieces:
            return []
        fresh = {digest: bytes(buffer) for digest, buffer in pieces if digest not in self._stored}
        try:
            if fresh:
                self._list(list(fresh))
                self._blobs.put_many(list(fresh.items()))
                self._stored.update(fresh)
        except sqlite3.OperationalError:  # locked for long, or its disk is full: this block keeps its bytes itself
            self.state.inline_fallbacks += 1
        except (OSError, sqlite3.Error, HostError) as error:
            self._failed("store the blobs of a block", error)
        self.state.referenced_bytes += sum(len(buffer) for digest, buffer in pieces if digest in self._stored)
        return [digest if digest in self._stored else None for digest, _ in pieces]

    def prepare(self) -> None:
        """Do now, while there is time, what sealing will need anyway: open the store and enter the run in it."""
        try:
            self._register()
        except sqlite3.OperationalError:
            pass  # locked, or its disk is full: if it still is when it is needed, that is the time to say so
        except (OSError, sqlite3.Error, HostError) as error:
            self._failed("use the blob store", error)

    def _register(self) -> None:
        if not self._registered:
            self._blobs.register(self.run_dir)
            self._registered = True

    def _list(self, digests: Sequence[bytes]) -> None:
        """Note in the run's list, and the run with the store, before the store is asked for them."""
        if self._references is None:
            self._references = References(self.run_dir)
        self._references.add(digests)
        self._register()

    def _write_block(self, scan: Scan, content: bytes, positions: Sequence[int], flags: int) -> None:
        frame = frames.compress(content)
        padded = (*positions, 0, 0, 0, 0)[:4]
        header = layout.BlockHeader(
            flags, scan.first_seq, scan.last_seq, scan.events, scan.record_bytes, len(content), len(frame),
            scan.first_time_ns, scan.last_time_ns, (padded[0], padded[1], padded[2], padded[3]),
            self.state.previous, b"",
        )  # fmt: skip
        head, digest = layout.pack_block(header, frame)
        self._append(self._fd, head + frame, self.state.end)
        self._note_block(self.state.end, replace(header, digest=digest))

    def _note_block(self, offset: int, header: layout.BlockHeader) -> None:
        self._index.append((header.first_seq, offset))
        self._merkle.add(header.digest)
        self.state.end = offset + header.size
        self.state.next_seq = header.last_seq + 1
        self.state.events += header.events
        self.state.record_bytes += header.record_bytes
        self.state.previous = header.digest

    def _append(self, fd: int, data: bytes, at: int) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(fd, memoryview(data)[written:], at + written)
        except OSError as error:
            try:  # noqa: SIM105 - loading contextlib takes time
                os.ftruncate(fd, at)
            except OSError:
                pass  # the reader ignores a torn end anyway
            self._failed("write a block", error)

    def _failed(self, what: str, error: Exception) -> NoReturn:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RecordingError(
            f"The recorder could not {what} of the run in {self.run_dir}: {reason}.",
            "What was recorded up to here is kept; free some space.",
        ) from error

    # ---- files

    def add_file(
        self, file_id: int, fd: int, identity: FileIdentity, path: str = "", *, snapshot: bool = False
    ) -> FileEntry:
        """Keep the content of a mapped or executed file and note it under ``file_id``. Takes ``fd`` over and closes it.
        ``snapshot``: ``fd`` is a copy of it, made when it was mapped.

        Keeps draining the rings while it reads a large file.
        """
        try:
            path = path or os.readlink(f"/proc/self/fd/{fd}")
            found = self._blobs.ingest_fd(
                fd, identity, lambda digest: self._list([digest]), self.drain, snapshot=snapshot
            )
            entry = FileEntry(
                file_id,
                found.digest.hex(),
                found.size,
                identity.dev,
                identity.ino,
                identity.mtime_ns,
                path,
                found.changed,
            )
            line = entry.to_line()
            end = os.fstat(self._files_fd).st_size
            if os.write(self._files_fd, line) != len(line):
                os.ftruncate(self._files_fd, end)
                raise OSError(28, "No space left on device")
        except (OSError, sqlite3.Error, HostError) as error:
            self._failed(f"keep the file {path}", error)
        finally:
            os.close(fd)
        return entry

    # ---- the end

    def finish(self, metadata: run.RunMetadata, state: str = run.SEALED) -> run.RunMetadata:
        """Seal everything left and close the run: index, Merkle root, digests, ``run.json``. Returns the metadata as
        written.
        """
        self.drain_end()
        try:
            index = layout.pack_index(self._index)
            self._replace(run.INDEX, index)
            lists = [self._references.sync] if self._references is not None else []
            at_once(self._blobs.close, lambda: os.fsync(self._fd), lambda: os.fsync(self._files_fd), *lists)
            sealed = replace(
                self._described(metadata), state=state, merkle_root=self._merkle.root().hex(), digests=self._digests()
            )
            run.write_metadata(self.run_dir, sealed, sync=True)
            self._remove(run.ARENA)
            self._remove(run.RESERVE)
        except (OSError, sqlite3.Error, HostError) as error:
            self._failed("seal the files", error)
        self._sync_directory()
        self.close()
        return sealed

    def abandon(self, metadata: run.RunMetadata, note: str) -> run.RunMetadata:
        """End a run that could not be sealed: it stays ``incomplete`` with ``note``, readable as far as it goes. Works
        on a full disk.

        The arena stays: what is still in it remains readable and can be sealed later. Raises ``OSError`` when not even
        that worked.
        """
        ended = replace(self._described(metadata), state=run.INCOMPLETE, note=note)
        run.write_metadata(self.run_dir, ended)
        self.close()
        return ended

    def _described(self, metadata: run.RunMetadata) -> run.RunMetadata:
        state = self.state
        counts = {**metadata.counts, "events": state.events, "blocks": len(self._index)}
        counts.update({name: n for name in ("inline_fallbacks", "holes") if (n := getattr(state, name))})
        sizes = {
            **metadata.sizes,
            "events": state.end,
            "records": state.record_bytes,
            "referenced": state.referenced_bytes,
        }
        return replace(metadata, counts=counts, sizes=sizes)

    def _digests(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in (run.FILES, run.BLOBS):
            try:
                with open(f"{self.run_dir}/{name}", "rb", buffering=0) as file:
                    found[name] = sha256(file.read()).hexdigest()
            except FileNotFoundError:
                pass
        return found

    def _replace(self, name: str, data: bytes) -> None:
        temporary = f"{self.run_dir}/.{name}.{os.getpid()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(28, "No space left on device")
            os.rename(temporary, f"{self.run_dir}/{name}")
        except OSError:
            os.unlink(temporary)
            raise
        finally:
            os.close(fd)

    def _remove(self, name: str) -> None:
        run.unlink(f"{self.run_dir}/{name}")

    def _sync_directory(self) -> None:
        fd = os.open(self.run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Give up the descriptors; does not seal anything."""
        for fd in (self._fd, self._files_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._files_fd = -1
        if self._references is not None:
            self._references.close()
            self._references = None
        self._blobs.close()
