"""All runs of a home directory, so that ``ls`` needs no walk over a hundred thousand directories.

``catalogue.db`` is an index that can be lost: it is rebuilt from the runs. While a run is being recorded there is a
small file ``running/<id>`` naming its directory (writing that costs microseconds, opening SQLite milliseconds, and a
start should be quick). It is entered, and the file removed, by the next command that lists runs after it has ended, or
by one of the next recordings. Runs with an output directory of their own are catalogued by path.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from sentra_sandbox.errors import HostError, TraceError, UsageError
from sentra_sandbox.trace import run
from sentra_sandbox.trace.run import RunMetadata, read_metadata

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs(id TEXT PRIMARY KEY, path TEXT NOT NULL, name TEXT NOT NULL, created TEXT NOT NULL,
    command TEXT NOT NULL, state TEXT NOT NULL, exit_status INTEGER, duration_ns INTEGER NOT NULL, events INTEGER NOT
    NULL, size INTEGER NOT NULL, grade TEXT NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_age ON runs(created, id);
CREATE INDEX IF NOT EXISTS runs_by_name ON runs(name);
CREATE INDEX IF NOT EXISTS runs_by_path ON runs(path);
"""
_COLUMNS = "id, path, name, created, command, state, exit_status, duration_ns, events, size, grade, note"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One line of ``ls``. ``size`` is what the run's directory holds (its blobs are shared). ``live``: being recorded
    right now.
    """

    id: str
    path: Path
    name: str
    created: str
    command: str
    state: str
    exit_status: int | None
    duration_ns: int
    events: int
    size: int
    grade: str
    note: str
    live: bool = False

    @classmethod
    def of(cls, metadata: RunMetadata, path: Path, *, live: bool = False) -> CatalogueEntry:
        return cls(
            metadata.id, path, metadata.name, metadata.created, shlex.join(metadata.argv), metadata.state,
            metadata.exit_status, metadata.duration_ns, metadata.counts.get("events", 0), _size(path), metadata.grade,
            metadata.note, live,
        )  # fmt: skip


def _size(path: Path) -> int:
    """Bytes in the run's directory."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            total += entry.stat(follow_symlinks=False).st_size
    return total


Entries: TypeAlias = list[CatalogueEntry]  # the class below has a method of the name ``list``


def prepare_home(home: Path) -> Path:
    """Create the home directory, private to the user. Raises ``HostError``."""
    try:
        for folder in (home, home / "runs", home / "running", home / "blobs"):
            run.make_private(folder)
    except OSError as error:
        raise HostError(
            f"The directory {home} for recorded runs cannot be used: {error.strerror}.",
            "Set SENTRA_SANDBOX_HOME to a writable directory.",
        ) from error
    return home


def _text(value: str) -> str:
    """Storable in SQLite: file names may hold bytes that are no UTF-8."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class Catalogue:
    """The catalogue of ``home`` (default: ``default_home()``). Several processes may use it at once."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = prepare_home(home or run.default_home())
        self._database: sqlite3.Connection | None = None

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the database

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            path = self.home / "catalogue.db"
            fresh = not path.exists()
            try:
                self._database = self._connect(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise HostError(f"The catalogue {path} is locked by another process.", "Try again.") from error
                os.replace(path, path.with_name(f"catalogue.db.damaged-{time.time_ns()}"))
                fresh, self._database = True, self._connect(path)
            if fresh:
                self.rebuild()
        return self._database

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(path, timeout=10, isolation_level=None)
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_SCHEMA)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY created DESC, id DESC LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database

    def rebuild(self) -> int:
        """Make the catalogue anew from the runs' own directories; returns how many it found."""
        entries = []
        for path in self._known_directories():
            with contextlib.suppress(TraceError):
                entries.append(CatalogueEntry.of(read_metadata(path), path))
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            database.execute("DELETE FROM runs")
            self._insert(database, entries)
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        return len(entries)

    def _known_directories(self) -> Iterator[Path]:
        """Everything that looks like a run: below the home, marked as running, or registered with the blob store."""
        seen = set()
        with os.scandir(self.home / "runs") as folders:
            for folder in folders:
                seen.add(Path(folder.path))
        seen.update(path for _, path in self._markers())
        if (self.home / "blobs" / "blobs.db").exists():
            from sentra_sandbox.trace.blobs import BlobStore

            store = BlobStore(self.home / "blobs")
            with contextlib.suppress(HostError, sqlite3.Error):
                seen.update(store.users())
            store.close()
        yield from sorted(path for path in seen if (path / run.METADATA).exists())

    @staticmethod
    def _insert(database: sqlite3.Connection, entries: Iterable[CatalogueEntry]) -> None:
        database.executemany(
            f"INSERT OR REPLACE INTO runs({_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (e.id, os.fsencode(e.path).hex(), _text(e.name), e.created, _text(e.command), e.state, e.exit_status,
                 e.duration_ns, e.events, e.size, _text(e.grade), _text(e.note))
                for e in entries
            ],
        )  # fmt: skip

    # ---- running ones

    def _markers(self) -> Iterator[tuple[Path, Path]]:
        with os.scandir(self.home / "running") as marks:
            for mark in list(marks):
                with contextlib.suppress(OSError, ValueError):
                    yield Path(mark.path), Path(os.fsdecode(Path(mark.path).read_bytes()))

    def _unfinished(self) -> Entries:
        """Runs marked as running. One that has ended meanwhile is catalogued, one that is gone loses its mark."""
        found = []
        for mark, path in self._markers():
            try:
                metadata = read_metadata(path)
            except TraceError:
                if not path.exists():
                    mark.unlink(missing_ok=True)
                continue
            if metadata.state != run.INCOMPLETE and metadata.id == mark.name:
                self.add(metadata, path)
                continue
            found.append(CatalogueEntry.of(metadata, path, live=run.is_locked(path)))
        return found

    # ---- what others call

    def enter_ended(self) -> None:
        """Enter all runs that have ended and still are marked as running. Whatever lists runs does this too."""
        self._unfinished()

    def add(self, metadata: RunMetadata, run_dir: Path) -> None:
        """Enter a run that has ended, or replace what is known of it."""
        self._insert(self._open(), [CatalogueEntry.of(metadata, run_dir.absolute())])
        if metadata.state != run.INCOMPLETE:
            (self.home / "running" / metadata.id).unlink(missing_ok=True)

    def remove(self, run_id: str) -> None:
        """Forget a run; its directory is not touched."""
        self._open().execute("DELETE FROM runs WHERE id = ?", (run_id,))
        (self.home / "running" / run_id).unlink(missing_ok=True)

    def delete(self, entry: CatalogueEntry) -> None:
        """Delete a run and forget it. In a directory outside the home only the run's own files are deleted.

        Raises ``UsageError`` while it is being recorded, ``HostError`` if it cannot be deleted.
        """
        if run.is_locked(entry.path):
            raise UsageError(f"Run {entry.id} is still being recorded.", "Stop it first.")
        try:
            if entry.path.exists():
                (entry.path / run.METADATA).unlink(missing_ok=True)  # from here on it is no run any more
                for name in run.ALL_FILES:
                    (entry.path / name).unlink(missing_ok=True)
                if entry.path.parent == self.home / "runs":
                    shutil.rmtree(entry.path)
                elif not any(entry.path.iterdir()):
                    entry.path.rmdir()
        except OSError as error:
            raise HostError(f"The run in {entry.path} could not be deleted: {error.strerror}.") from error
        self.remove(entry.id)

    def list(
        self, limit: int | None = None, *, name: str = "", state: str = "", command: str = "", since: str = ""
    ) -> Entries:
        """Runs, newest first, running ones included. Filters: exact name and state, part of the command, created at or
        after.
        """
        unfinished = self._unfinished()  # first: it may enter some that have ended meanwhile
        entries = {entry.id: entry for entry in self._select(limit, name, state, command, since)}
        for entry in unfinished:
            if (
                (not name or entry.name == name)
                and (not state or entry.state == state)
                and command in entry.command
                and entry.created >= since
            ):
                entries[entry.id] = entry
        ordered = sorted(entries.values(), key=lambda entry: (entry.created, entry.id), reverse=True)
        return ordered if limit is None else ordered[:limit]

    def _select(self, limit: int | None, name: str, state: str, command: str, since: str) -> Entries:
        clauses, values = ["created >= ?"], [_text(since)]
        name, command = _text(name), _text(command)
        if name:
            clauses, values = [*clauses, "name = ?"], [*values, name]
        if state:
            clauses, values = [*clauses, "state = ?"], [*values, state]
        if command:
            clauses, values = [*clauses, "instr(command, ?) > 0"], [*values, command]
        return self._rows(
            f"WHERE {' AND '.join(clauses)} ORDER BY created DESC, id DESC LIMIT ?",
            [*values, -1 if limit is None else limit],
        )

    def _rows(self, tail: str, values: Iterable[str | int]) -> Entries:
        rows = self._open().execute(f"SELECT {_COLUMNS} FROM runs {tail}", tuple(values))
        entries = [CatalogueEntry(row[0], Path(os.fsdecode(bytes.fromhex(row[1]))), *row[2:]) for row in rows]
        return [
            # a run may have been entered by a rebuild while it was being recorded
            replace(entry, live=True) if entry.state == run.INCOMPLETE and run.is_locked(entry.path) else entry
            for entry in entries
        ]

    def paths(self) -> Sequence[Path]:
        """The directories of all runs, for garbage collection."""
        return [entry.path for entry in self.list()]

    # ---- names to runs

    def resolve(self, ref: str) -> Path:
        """The directory of the run meant by ``ref``: ``last``, an id or a unique beginning of one, a name, or a path.

        Raises ``UsageError`` naming the candidates when there is none or more than one.
        """
        return self.entry(ref).path

    def entry(self, ref: str) -> CatalogueEntry:
        """Like ``resolve``, with all that is known of the run. For a path also ``TraceError`` if there is no run."""
        if not ref or "\0" in ref:
            raise UsageError("No run was named.", "Name one by id, name or path, or say 'last'.")
        if ref == "last":
            latest = self.list(1)
            if not latest:
                raise UsageError("There is no recorded run yet.", "Record one with 'sentra-sandbox exec -- COMMAND'.")
            return latest[0]
        if "/" in ref or ref in (".", ".."):
            return self._entry_at(Path(ref))
        found = self._matches(ref)
        if len(found) == 1:
            return found[0]
        if not found and (Path(ref) / run.METADATA).exists():
            return self._entry_at(Path(ref))
        raise self._unresolved(ref, found)

    def _entry_at(self, path: Path) -> CatalogueEntry:
        path = path.absolute()
        if not path.is_dir():
            raise UsageError(f"There is no recorded run at {path}.", "'sentra-sandbox ls' lists what there is.")
        return CatalogueEntry.of(read_metadata(path), path, live=run.is_locked(path))

    def _matches(self, ref: str) -> Entries:
        running = {entry.id: entry for entry in self._unfinished()}
        ref = _text(ref)
        exact = [running[ref]] if ref in running else self._rows("WHERE id = ?", [ref])
        if exact:
            return exact
        end = ref[:-1] + chr(ord(ref[-1]) + 1) if ord(ref[-1]) < 0x10FFFF else ref
        stored = self._rows("WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 6", [ref, end])
        stored += self._rows("WHERE name = ? ORDER BY created DESC LIMIT 6", [ref])
        found = {entry.id: entry for entry in stored}
        found.update({entry.id: entry for entry in running.values() if entry.id.startswith(ref) or entry.name == ref})
        return sorted(found.values(), key=lambda entry: (entry.created, entry.id), reverse=True)

    def _unresolved(self, ref: str, found: Entries) -> UsageError:
        names = "; ".join(
            f"{entry.id} ({(entry.name + ': ') if entry.name else ''}{entry.command[:40]})" for entry in found[:5]
        )
        if found:
            more = ", and more" if len(found) > 5 else ""
            return UsageError(
                f"'{ref}' could mean {min(len(found), 5)} runs: {names}{more}.", "Name one by more of its id."
            )
        latest = "; ".join(f"{entry.id} ({entry.command[:40]})" for entry in self.list(3))
        hint = f" The latest are: {latest}." if latest else " There is no recorded run yet."
        return UsageError(f"No run is called '{ref}'.{hint}", "'sentra-sandbox ls' lists all of them.")
