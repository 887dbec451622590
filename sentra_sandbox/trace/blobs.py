"""Content-addressed bytes, shared by all runs: what programs read and wrote, and the files they mapped or executed.

``BlobStore(root)`` keeps small pieces in ``blobs.db`` (SQLite, WAL, zstd per row) and whole files as
``files/ab/cdef...``, so that a replay can map them. The key is always SHA-256 of the content.

Garbage collection may run while runs are being recorded. It deletes what no run lists and nobody touched since before
it began. A recorder therefore (1) appends the hash to its run's list, (2) then looks for the blob, storing it or
renewing its time of last touch, in one SQLite transaction; deleting happens in SQLite transactions too. Either
collection sees the list, or the touch, or it came first and the recorder finds the blob gone and stores it again. A
touch younger than half the grace period need not be renewed.
"""

from __future__ import annotations

import os
import stat
import time

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import HostError, TraceError, UsageError
from sentra_sandbox.trace import frames
from sentra_sandbox.trace.digest import sha256
from sentra_sandbox.trace.references import read_references
from sentra_sandbox.trace.run import make_private, unlink

TYPE_CHECKING = False  # type checkers take it for true; loading typing and pathlib takes 11 ms
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
else:
    try:
        import _sqlite3 as sqlite3  # the same without its adapters for dates, which cost 2 ms
    except ImportError:  # another Python
        import sqlite3

GRACE_S = 3600
RACY_NS = 50_000_000
BLOB_BYTES_MAX = 1 << 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs(hash BLOB UNIQUE NOT NULL, size INTEGER NOT NULL, packed INTEGER NOT NULL, touched
INTEGER NOT NULL, data BLOB NOT NULL); CREATE TABLE IF NOT EXISTS files(hash BLOB PRIMARY KEY, size INTEGER NOT NULL,
touched INTEGER NOT NULL) WITHOUT ROWID; CREATE TABLE IF NOT EXISTS identities(dev BLOB, ino BLOB, mtime_ns INTEGER NOT
NULL, size INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY(dev, ino)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users(path TEXT PRIMARY KEY) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells one state of a file from another without reading it."""

    dev: int
    ino: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, fd: int) -> FileIdentity:
        status = os.fstat(fd)
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


@dataclass(frozen=True, slots=True)
class IngestedFile:
    """A whole file in the store. ``changed``: it was no longer what ``identity`` says when it was read."""

    digest: bytes
    size: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Collected:
    """What ``BlobStore.gc`` deleted."""

    blobs: int
    files: int
    bytes: int


def _words(identity: FileIdentity) -> tuple[bytes, bytes]:
    """dev and ino as keys: they are unsigned 64-bit, SQLite's integers are signed."""
    return identity.dev.to_bytes(8, "big"), identity.ino.to_bytes(8, "big")


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables unless they are there. Two processes may come first at once: switching to WAL does not wait by
    itself.
    """
    for attempt in range(100):
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] != 1:
                database.execute("PRAGMA auto_vacuum = INCREMENTAL")
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_SCHEMA)
            database.execute("PRAGMA synchronous = NORMAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == 99:
                raise
            time.sleep(0.1)


class _Writing:
    """A transaction that holds the write lock from its beginning; a context manager."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(self, kind: object, *_: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")


class BlobStore:
    """One store; cheap to construct, opens its database at the first use. Not for several threads at once."""

    def __init__(self, root: Path | str) -> None:
        self._root = os.fspath(root)
        self._database: sqlite3.Connection | None = None
        self._serial = 0

    @property
    def root(self) -> Path:
        """The directory of the store."""
        from pathlib import Path

        return Path(self._root)

    # ---- the database

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            make_private(self._root)
            path = f"{self._root}/blobs.db"
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            database = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            try:
                _prepare(database)
            except sqlite3.OperationalError:
                database.close()
                raise
            except sqlite3.DatabaseError as error:
                database.close()
                raise self._broken(error) from error
            self._database = database
        return self._database

    def _broken(self, error: sqlite3.Error) -> HostError:
        return HostError(
            f"The blob store {self._root}/blobs.db cannot be used: {error}.",
            "If it is damaged, move it away; runs that need it become unreadable.",
        )

    def _writing(self) -> _Writing:
        return _Writing(self._open())

    def close(self) -> None:
        """Write the log back into the database and close it; the store can be used again afterwards."""
        if self._database is not None:
            self._database.close()
            self._database = None

    # ---- small pieces

    def put_many(self, pieces: Sequence[tuple[bytes, bytes]]) -> int:
        """Store (hash, content) pairs that the caller's run already lists. Returns how many were new.

        Raises ``sqlite3.OperationalError`` (locked for too long, no space): nothing was stored.
        """
        database = self._open()
        now = int(time.time())
        wanted = dict(pieces)
        known = self._touched(database, "blobs", list(wanted))
        stale = [digest for digest, touched in known.items() if touched < now - GRACE_S // 2]
        fresh = [digest for digest in wanted if digest not in known]
        if not stale and not fresh:
            return 0
        with self._writing():
            present = set(self._touched(database, "blobs", stale))
            database.executemany("UPDATE blobs SET touched = ? WHERE hash = ?", [(now, digest) for digest in present])
            rows = [
                self._row(digest, wanted[digest], now) for digest in [*fresh, *(d for d in stale if d not in present)]
            ]
            database.executemany(
                "INSERT OR IGNORE INTO blobs(hash, size, packed, touched, data) VALUES(?, ?, ?, ?, ?)", rows
            )
            database.executemany("UPDATE blobs SET touched = ? WHERE hash = ?", [(now, row[0]) for row in rows])
        return len(fresh)

    @staticmethod
    def _row(digest: bytes, content: bytes, now: int) -> tuple[bytes, int, int, int, bytes]:
        packed = frames.compress(content)
        if len(packed) < len(content):
            return digest, len(content), 1, now, packed
        return digest, len(content), 0, now, content

    @staticmethod
    def _touched(database: sqlite3.Connection, table: str, digests: Sequence[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for at in range(0, len(digests), 500):
            part = digests[at : at + 500]
            marks = ",".join("?" * len(part))
            found.update(database.execute(f"SELECT hash, touched FROM {table} WHERE hash IN ({marks})", part))
        return found

    def get_many(self, digests: Sequence[bytes]) -> list[bytes]:
        """Contents in the order of ``digests``. Raises ``TraceError`` if one is missing or its content is not what it
        should be.
        """
        return [self.get(digest) for digest in digests]

    def get(self, digest: bytes) -> bytes:
        """A blob's content, checked against its hash. Raises ``TraceError``."""
        try:
            row = self._read_row(digest)
        except (sqlite3.Error, HostError, OSError) as error:
            raise TraceError(f"The blob store {self._root} cannot be read: {error}.", path=self._root) from error
        content = self._file_content(digest) if row is None else self._unpack(digest, *row)
        if sha256(content).digest() != digest:
            raise self._damaged(digest)
        return content

    def _read_row(self, digest: bytes) -> tuple[int, int, bytes] | None:
        if self._database is None and not os.path.exists(f"{self._root}/blobs.db"):
            return None
        row: tuple[int, int, bytes] | None = (
            self._open().execute("SELECT size, packed, data FROM blobs WHERE hash = ?", (digest,)).fetchone()
        )
        return row

    def _unpack(self, digest: bytes, size: int, packed: int, data: bytes) -> bytes:
        if not isinstance(data, bytes) or not isinstance(size, int) or not 0 <= size <= BLOB_BYTES_MAX:
            raise self._damaged(digest)
        try:
            return frames.decompress(data, size) if packed else data
        except frames.FrameError as error:
            raise self._damaged(digest) from error

    def _file_content(self, digest: bytes) -> bytes:
        fd = self.open_file(digest)
        with open(fd, "rb") as file:
            return file.read()

    def _damaged(self, digest: bytes) -> TraceError:
        return TraceError(
            f"Blob {digest.hex()} in {self._root} is damaged: its content does not match its name.",
            "Runs that refer to it cannot be read in full; restore the store from a copy.", path=self._root,
        )  # fmt: skip

    # ---- whole files

    def file_path(self, digest: bytes) -> Path:
        """Where the whole file with this content is, if it is in the store."""
        from pathlib import Path

        return Path(self._file(digest))

    def _file(self, digest: bytes) -> str:
        name = digest.hex()
        return f"{self._root}/files/{name[:2]}/{name[2:]}"

    def open_file(self, digest: bytes) -> int:
        """A descriptor, open for reading, of the whole file with this content. Raises ``TraceError`` when the store
        lacks it.

        The content is not hashed here (it may be a large library that is only to be mapped); ``Trace.verify`` does
        that.
        """
        path = self._file(digest)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise TraceError(
                f"The blob store {self._root} lacks {digest.hex()}: {error.strerror}.",
                "The run was recorded with another store, or the store was cleaned while the run was elsewhere.",
                path=path,
            ) from error

    def ingest_fd(
        self,
        fd: int,
        identity: FileIdentity,
        announce: Callable[[bytes], None],
        between: Callable[[], object] | None = None,
        snapshot: bool = False,
    ) -> IngestedFile:
        """Put a whole file into the store unless it is there, known by its identity or its content.

        With ``snapshot`` the descriptor is a private copy: its own identity means nothing.

        ``announce`` is called with the hash before the store is searched for it: it must list it in the run.
        ``between`` is called now and then while a large file is read. Raises ``OSError`` or
        ``sqlite3.OperationalError`` (no space).
        """
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UsageError("Only the content of regular files can be kept.")
        now_identity = FileIdentity.of(fd)
        changed = now_identity != identity and not snapshot
        known = None if snapshot else self._by_identity(now_identity)
        if known is not None:
            announce(known)
            if self._keep_file(known):
                return IngestedFile(known, now_identity.size, changed)
        from sentra_sandbox.trace.clone import copy_file

        copy = self._temporary()
        try:
            digest, size = copy_file(fd, copy, between)
            after = FileIdentity.of(fd)
            announce(digest)
            self._place(copy, digest, size)
        finally:
            unlink(copy)
        if not snapshot and after == now_identity and time.time_ns() - after.mtime_ns > RACY_NS:
            self._remember(after, digest)
        return IngestedFile(digest, size, changed or (after != now_identity and not snapshot))

    def _temporary(self) -> str:
        folder = f"{self._root}/files"
        make_private(folder)
        self._serial += 1
        return f"{folder}/new-{os.getpid()}-{id(self):x}-{self._serial}"

    def _by_identity(self, identity: FileIdentity) -> bytes | None:
        row = self._open().execute(
            "SELECT hash FROM identities WHERE dev = ? AND ino = ? AND mtime_ns = ? AND size = ?",
            (*_words(identity), identity.mtime_ns, identity.size),
        ).fetchone()  # fmt: skip
        return row[0] if row else None

    def _remember(self, identity: FileIdentity, digest: bytes) -> None:
        self._open().execute(
            "INSERT OR REPLACE INTO identities(dev, ino, mtime_ns, size, hash) VALUES(?, ?, ?, ?, ?)",
            (*_words(identity), identity.mtime_ns, identity.size, digest),
        )

    def _keep_file(self, digest: bytes) -> bool:
        """Make sure that a file the store has stays; False if it does not have it."""
        now = int(time.time())
        touched = self._touched(self._open(), "files", [digest]).get(digest)
        if touched is None or not os.path.exists(self._file(digest)):
            return False
        if touched >= now - GRACE_S // 2:
            return True
        with self._writing() as database:
            updated = database.execute("UPDATE files SET touched = ? WHERE hash = ?", (now, digest)).rowcount
        return updated == 1 and os.path.exists(self._file(digest))

    def _place(self, copy: str, digest: bytes, size: int) -> None:
        path = self._file(digest)
        with self._writing() as database:
            make_private(os.path.dirname(path))
            os.rename(copy, path)
            database.execute(
                "INSERT OR REPLACE INTO files(hash, size, touched) VALUES(?, ?, ?)", (digest, size, int(time.time()))
            )

    # ---- who uses it, and what nobody uses

    def register(self, run_dir: Path | str) -> None:
        """Note that the run in ``run_dir`` refers to this store, wherever it is: garbage collection reads its list."""
        self._open().execute("INSERT OR IGNORE INTO users(path) VALUES(?)", (os.fsdecode(os.path.abspath(run_dir)),))

    def users(self) -> list[Path]:
        """Directories of all runs ever registered that still exist."""
        from pathlib import Path

        return [path for (name,) in self._open().execute("SELECT path FROM users") if (path := Path(name)).is_dir()]

    def gc(self, live_runs: Iterable[Path] = (), grace_s: int = GRACE_S, dry_run: bool = False) -> Collected:
        """Delete what neither ``live_runs`` nor any registered run that still exists refers to.

        With ``dry_run`` only counts. Safe while runs are being recorded. Raises ``TraceError`` when a run's list cannot
        be read: then nothing is deleted.
        """
        from pathlib import Path

        cutoff = int(time.time()) - grace_s
        users = self.users()
        wanted: set[bytes] = set()
        for run_dir in {*map(Path, live_runs), *users}:
            wanted |= read_references(run_dir)
        blobs, size = self._collect("blobs", cutoff, wanted, dry_run)
        files, file_size = self._collect("files", cutoff, wanted, dry_run)
        if dry_run:
            return Collected(blobs, files, size + file_size)
        database = self._open()
        gone = [(str(path),) for (path,) in database.execute("SELECT path FROM users") if not Path(path).exists()]
        database.executemany("DELETE FROM users WHERE path = ?", gone)
        database.execute("PRAGMA incremental_vacuum").fetchall()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._remove_leftovers(cutoff)
        return Collected(blobs, files, size + file_size)

    def _collect(self, table: str, cutoff: int, wanted: set[bytes], dry_run: bool) -> tuple[int, int]:
        rows = self._open().execute(f"SELECT hash, size FROM {table} WHERE touched < ?", (cutoff,)).fetchall()
        if dry_run:
            sizes = [int(size) for digest, size in rows if digest not in wanted]
            return len(sizes), sum(sizes)
        candidates = [digest for digest, _ in rows if digest not in wanted]
        count = size = 0
        for at in range(0, len(candidates), 200):
            with self._writing() as database:
                for digest in candidates[at : at + 200]:
                    row = database.execute(
                        f"DELETE FROM {table} WHERE hash = ? AND touched < ? RETURNING size", (digest, cutoff)
                    ).fetchone()
                    if row is None:
                        continue
                    if table == "files":
                        unlink(self._file(digest))
                    count, size = count + 1, size + int(row[0])
        return count, size

    def _remove_leftovers(self, cutoff: int) -> None:
        """Copies that a killed recorder left half-made."""
        folder = f"{self._root}/files"
        if not os.path.isdir(folder):
            return
        for entry in os.scandir(folder):
            if entry.name.startswith("new-") and entry.stat(follow_symlinks=False).st_mtime < cutoff - 24 * 3600:
                os.unlink(entry.path)
