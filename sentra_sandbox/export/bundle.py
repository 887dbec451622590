"""A run with all that it needs, as one file, and back: ``export_bundle`` and ``import_bundle``.

Members, in this order: ``run/<file>`` for the files of the run's directory, ``blobs/<sha256>`` for small pieces of
content, ``files/<sha256>`` for whole files. Importing trusts nothing: sizes are bounded before anything is written,
every content is compared with its hash, the run's own chain of hashes is followed, and only a run that lacks nothing
appears in the store. What a failed import has put into the blob store is content that no run needs: ``gc`` removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sentra_sandbox.errors import HostError, TraceError, UsageError
from sentra_sandbox.export.archive import CHUNK, BundleReader, BundleWriter, Manifest, Member
from sentra_sandbox.trace import codec, run
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace.blobs import BLOB_BYTES_MAX, BlobStore, FileIdentity
from sentra_sandbox.trace.blocks import BlockFile
from sentra_sandbox.trace.catalogue import Catalogue
from sentra_sandbox.trace.files import read_files
from sentra_sandbox.trace.reader import Trace, blob_root
from sentra_sandbox.trace.references import read_references
from sentra_sandbox.trace.run import RunMetadata

RUN_FILES = (run.METADATA, run.EVENTS, run.INDEX, run.FILES, run.BLOBS)
_SMALL_MAX = {run.METADATA: 16 << 20, run.INDEX: 1 << 30, run.FILES: 1 << 30, run.BLOBS: 1 << 30}
_BATCH_BYTES = 4 << 20
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Bundled:
    """What was exported or imported. ``path`` is the bundle's, or the imported run's directory."""

    run_id: str
    path: Path
    blobs: int
    files: int
    content_bytes: int


@dataclass(frozen=True, slots=True)
class Needed:
    """Content that a run needs: hashes of small pieces and of whole files, in the order of first use."""

    blobs: tuple[bytes, ...]
    files: tuple[bytes, ...]


def needed_content(run_dir: Path, metadata: RunMetadata) -> Needed:
    """All hashes that the events and the file table of a finished run refer to.

    Raises ``TraceError`` when the chain of blocks is not the one that ``run.json`` describes.
    """
    blocks = BlockFile(run_dir / run.EVENTS)
    blobs: dict[bytes, None] = {}
    merkle, end = layout.MerkleTree(), layout.EVENTS_HEADER_SIZE
    try:
        for block in blocks.blocks():
            blobs.update(dict.fromkeys(codec.packed_hashes(blocks.content(block))))
            merkle.add(block.header.digest)
            end = block.end
        if end != blocks.size() or end != metadata.sizes.get("events") or merkle.root().hex() != metadata.merkle_root:
            raise blocks.damaged("blocks that are not those that the run's description names", end)
    except codec.CodecError as error:
        raise blocks.damaged(f"a block whose content breaks the layout ({error})", end) from error
    finally:
        blocks.close()
    files = {bytes.fromhex(entry.sha256): None for entry in read_files(run_dir, finished=True).values()}
    return Needed(tuple(blobs), tuple(files))


# ---- export


def export_bundle(trace: Trace, target: Path) -> Bundled:
    """Write the run and all its content to ``target`` (0600; replaced atomically, so that it is whole or not there).

    Raises ``UsageError`` for a run that has not ended, ``TraceError`` when something of it is missing or damaged, ``HostError`` when the
    file cannot be written.
    """
    if not trace.finished:
        raise UsageError(f"Run {trace.meta.id} has not ended.", "Only a finished run can be exported.")
    store = BlobStore(blob_root(trace.path))
    try:
        needed = needed_content(trace.path, trace.meta)
        members = [*_run_members(trace.path), *_blob_members(store, needed), *_file_members(store, needed)]
        manifest = Manifest(trace.meta.id, tuple(members))
        try:
            _write_atomically(target, manifest, trace.path, store)
        except OSError as error:
            raise HostError(f"The bundle {target} cannot be written: {error.strerror}.", "Name a place with enough free space.") from error
    finally:
        store.close()
    size = sum(member.size for member in members)
    return Bundled(trace.meta.id, target, len(needed.blobs), len(needed.files), size)


def _run_members(run_dir: Path) -> Iterator[Member]:
    for name in RUN_FILES:
        path = run_dir / name
        if name in (run.METADATA, run.EVENTS) or path.exists():
            digest, size = hashlib.sha256(), 0
            for piece in _pieces(path):
                digest.update(piece)
                size += len(piece)
            yield Member(f"run/{name}", size, digest.hexdigest())


def _blob_members(store: BlobStore, needed: Needed) -> Iterator[Member]:
    for digest in needed.blobs:
        yield Member(f"blobs/{digest.hex()}", len(store.get(digest)), digest.hex())


def _file_members(store: BlobStore, needed: Needed) -> Iterator[Member]:
    for digest in needed.files:
        fd = store.open_file(digest)
        try:
            yield Member(f"files/{digest.hex()}", os.fstat(fd).st_size, digest.hex())
        finally:
            os.close(fd)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            while piece := file.read(CHUNK):
                yield piece
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error


def _write_atomically(target: Path, manifest: Manifest, run_dir: Path, store: BlobStore) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # 0600
    try:
        with open(fd, "wb") as file:
            writer = BundleWriter(file, manifest, str(target))
            for member in manifest.members:
                writer.add(_content_of(member, run_dir, store))
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        os.rename(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _content_of(member: Member, run_dir: Path, store: BlobStore) -> Iterable[bytes]:
    folder, _, name = member.name.partition("/")
    if folder == "run":
        return _pieces(run_dir / name)
    digest = bytes.fromhex(name)
    return [store.get(digest)] if folder == "blobs" else _pieces(store.file_path(digest))


# ---- import


def import_bundle(source: Path, *, home: Path | None = None) -> Bundled:
    """Put the run of a bundle into the store of ``home`` (default: the user's), under its own id.

    Raises ``TraceError`` when the bundle is damaged or incomplete, ``UsageError`` when there is no such file or the run is here already,
    ``HostError`` when it does not fit or cannot be written. Then the store has no new run.
    """
    with Catalogue(home) as catalogue:
        try:
            with open(source, "rb") as file:
                return _Import(BundleReader(file, str(source)), catalogue).carry_out()
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            if str(error.filename) != str(source):
                raise _not_written(catalogue.home, error) from error
            raise UsageError(f"{source} cannot be read: {error.strerror}.", "Name a bundle's file.") from error
        except (OSError, sqlite3.Error) as error:
            raise _not_written(catalogue.home, error) from error


def _not_written(home: Path, error: Exception) -> HostError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return HostError(f"The run cannot be stored in {home}: {reason}.", "Free some space, or set SENTRA_SANDBOX_HOME.")


class _Import:
    """One import: a staging directory that becomes the run, or disappears."""

    def __init__(self, reader: BundleReader, catalogue: Catalogue) -> None:
        self._reader = reader
        self._catalogue = catalogue
        self._manifest = reader.manifest
        self._target = catalogue.home / "runs" / self._manifest.run_id
        self._store = BlobStore(catalogue.home / "blobs")

    def carry_out(self) -> Bundled:
        self._check_manifest()
        self._refuse_existing()
        self._check_space()
        staging = Path(tempfile.mkdtemp(prefix="importing-", dir=self._catalogue.home))
        try:
            directory = staging / "run"
            directory.mkdir(mode=0o700)
            self._store.register(directory)
            self._take_members(directory, staging / "file")
            metadata = self._check_run(directory)
            self._move(directory)
        finally:
            self._store.close()
            shutil.rmtree(staging, ignore_errors=True)
        self._catalogue.add(metadata, self._target)
        members = self._manifest.members
        return Bundled(
            metadata.id,
            self._target,
            sum(member.name.startswith("blobs/") for member in members),
            sum(member.name.startswith("files/") for member in members),
            sum(member.size for member in members),
        )

    def _check_manifest(self) -> None:
        """Names and sizes that can be. The hash in a name must be the one of the content."""
        names = {member.name for member in self._manifest.members}
        if not {f"run/{run.METADATA}", f"run/{run.EVENTS}", f"run/{run.FILES}"} <= names:
            raise self._reader.damaged("it lacks a file that each run has")
        for member in self._manifest.members:
            folder, _, name = member.name.partition("/")
            known = name in RUN_FILES if folder == "run" else folder in ("blobs", "files") and name == member.sha256
            if not known:
                raise self._reader.damaged(f"it holds {member.name}, which no bundle does")
            limit = _SMALL_MAX.get(name) if folder == "run" else BLOB_BYTES_MAX if folder == "blobs" else None
            if limit is not None and member.size > limit:
                raise self._reader.damaged(f"{member.name} is larger than such a file can be")

    def _refuse_existing(self) -> None:
        known = os.path.lexists(self._target)
        with contextlib.suppress(UsageError, TraceError):  # it may have been recorded into a directory of its own
            known = known or self._catalogue.entry(self._manifest.run_id).id == self._manifest.run_id
        if known:
            raise UsageError(
                f"Run {self._manifest.run_id} is here already.",
                f"To import it again, delete it first: sentra-sandbox rm {self._manifest.run_id}.",
            )

    def _check_space(self) -> None:
        needed = sum(member.size for member in self._manifest.members) + _SPARE_BYTES
        place = os.statvfs(self._catalogue.home)
        free = place.f_bavail * place.f_frsize
        if needed > free:
            raise HostError(
                f"The run needs {needed >> 20:,} MiB in {self._catalogue.home}, and {free >> 20:,} MiB are free there.",
                "Free some space, or set SENTRA_SANDBOX_HOME to a directory with more.",
            )

    def _take_members(self, directory: Path, temporary: Path) -> None:
        """Stage the run's files, store all content; every byte is checked."""
        batch: list[tuple[bytes, bytes]] = []
        waiting = 0
        for member in self._manifest.members:
            folder, _, name = member.name.partition("/")
            content = self._reader.content(member)
            if folder == "run":
                _write_file(directory / name, content)
            elif folder == "files":
                self._take_file(member, content, temporary)
            else:
                batch.append((bytes.fromhex(name), b"".join(content)))
                waiting += member.size
                if waiting > _BATCH_BYTES:
                    self._store.put_many(batch)
                    batch, waiting = [], 0
        self._store.put_many(batch)
        self._reader.finish()

    def _take_file(self, member: Member, content: Iterator[bytes], temporary: Path) -> None:
        _write_file(temporary, content)
        fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = self._store.ingest_fd(fd, FileIdentity.of(fd), lambda digest: None)
        finally:
            os.close(fd)
            temporary.unlink()
        if found.digest.hex() != member.sha256:
            raise self._reader.damaged(f"the content of {member.name} does not match its hash")

    def _check_run(self, directory: Path) -> RunMetadata:
        """The staged run must be whole, finished, the one of the manifest, and the bundle must have had all it needs."""
        metadata = run.read_metadata(directory)
        if metadata.id != self._manifest.run_id:
            raise self._reader.damaged("its run has another name than its list")
        if metadata.state == run.INCOMPLETE:
            raise self._reader.damaged("its run has not ended")
        self._check_digests(directory, metadata)
        needed = needed_content(directory, metadata)
        if not {*needed.blobs, *needed.files} <= read_references(directory):
            raise self._reader.damaged("its run does not list all content that it needs")
        brought = {member.name for member in self._manifest.members}
        wanted = [f"blobs/{digest.hex()}" for digest in needed.blobs]
        wanted += [f"files/{digest.hex()}" for digest in needed.files]
        if missing := sum(name not in brought for name in wanted):
            raise self._reader.damaged(f"{missing:,} pieces of content that the run needs are not in it")
        return metadata

    def _check_digests(self, directory: Path, metadata: RunMetadata) -> None:
        for name, expected in metadata.digests.items():
            data = b""
            if name in (run.FILES, run.BLOBS):
                data = run.read_file(directory / name, _SMALL_MAX[name])
            if hashlib.sha256(data).hexdigest() != expected:
                raise self._reader.damaged(f"the file {name[:20]!r} of its run does not match its digest")

    def _move(self, directory: Path) -> None:
        """From here on the run is in the store."""
        self._refuse_existing()
        with contextlib.suppress(OSError):
            os.chmod(directory, 0o700)
        os.rename(directory, self._target)
        self._store.register(self._target)


def _write_file(path: Path, content: Iterator[bytes]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        for piece in content:
            file.write(piece)
