"""The blob store: content by hash, identities, and collection that never takes what somebody needs."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from sentra_sandbox.errors import TraceError, UsageError
from sentra_sandbox.trace.blobs import BlobStore, FileIdentity
from sentra_sandbox.trace.references import References, read_references


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def age(store: BlobStore, seconds: int) -> None:
    """Make everything in the store look older."""
    for table in ("blobs", "files"):
        store._open().execute(f"UPDATE {table} SET touched = touched - ?", (seconds,))


def test_pieces_come_back_and_are_stored_once(store: BlobStore) -> None:
    pieces = [(digest_of(data), data) for data in (b"a" * 4096, os.urandom(4096), b"", b"x" * 65536)]
    assert store.put_many(pieces) == 4
    assert store.put_many(pieces) == 0
    assert store.get_many([digest for digest, _ in pieces]) == [data for _, data in pieces]
    store.close()
    assert store.get(pieces[0][0]) == b"a" * 4096
    assert os.stat(store.root / "blobs.db").st_mode & 0o777 == 0o600


def test_damaged_and_missing_pieces_are_errors(store: BlobStore) -> None:
    data = os.urandom(2000)
    store.put_many([(digest_of(data), data)])
    with pytest.raises(TraceError, match="lacks"):
        store.get(bytes(32))
    for change in ("data = x'00'", "size = -1", "size = 1 << 40, packed = 1", "packed = 1", "data = 'text'"):
        store._open().execute(f"UPDATE blobs SET {change}")
        with pytest.raises(TraceError, match="damaged"):
            store.get(digest_of(data))
        store._open().execute("DELETE FROM blobs")
        store.put_many([(digest_of(data), data)])


def test_a_store_that_is_no_database_is_a_clear_error(store: BlobStore) -> None:
    store.root.mkdir()
    (store.root / "blobs.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(TraceError, match="cannot be read"):
        store.get(bytes(32))


def test_a_file_is_copied_once_and_known_by_identity(store: BlobStore, tmp_path: Path) -> None:
    path = tmp_path / "lib"
    path.write_bytes(os.urandom(5 << 20))
    os.utime(path, (1, 1))
    announced: list[bytes] = []
    calls: list[int] = []
    with open(path, "rb") as file:
        identity = FileIdentity.of(file.fileno())
        found = store.ingest_fd(file.fileno(), identity, announced.append, lambda: calls.append(1))
        assert announced == [found.digest] and calls and not found.changed
        calls.clear()
        assert store.ingest_fd(file.fileno(), identity, announced.append, lambda: calls.append(1)) == found
        assert not calls  # neither read nor copied again
    assert store.file_path(found.digest).read_bytes() == path.read_bytes()
    assert [name for name in os.listdir(store.root / "files") if name.startswith("new-")] == []


def test_a_file_modified_just_now_is_not_known_by_identity(store: BlobStore, tmp_path: Path) -> None:
    path = tmp_path / "racy"
    path.write_bytes(b"one")
    soon = time.time_ns() + 60 * 10**9  # "just now" however long a loaded machine takes from here on
    os.utime(path, ns=(soon, soon))
    with open(path, "rb") as file:
        first = store.ingest_fd(file.fileno(), FileIdentity.of(file.fileno()), lambda _: None)
        status = os.stat(path)
        path.write_bytes(b"two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same inode, size and time: another content
        second = store.ingest_fd(file.fileno(), FileIdentity.of(file.fileno()), lambda _: None)
    assert first.digest == digest_of(b"one") and second.digest == digest_of(b"two")


def test_a_file_of_proc_is_kept_though_its_size_is_zero(store: BlobStore) -> None:
    with open("/proc/version", "rb") as file:
        found = store.ingest_fd(file.fileno(), FileIdentity.of(file.fileno()), lambda _: None)
    assert store.get(found.digest) == Path("/proc/version").read_bytes()


def test_only_regular_files_are_kept(store: BlobStore) -> None:
    with open("/dev/zero", "rb") as file, pytest.raises(UsageError):
        store.ingest_fd(file.fileno(), FileIdentity.of(file.fileno()), lambda _: None)


def _run_with(tmp_path: Path, name: str, digests: list[bytes]) -> Path:
    run_dir = tmp_path / name
    run_dir.mkdir()
    references = References(run_dir)
    references.add(digests)
    references.close()
    return run_dir


def test_collection_deletes_only_what_nobody_lists(store: BlobStore, tmp_path: Path) -> None:
    data = [os.urandom(1000) for _ in range(4)]
    store.put_many([(digest_of(one), one) for one in data])
    paths = []
    for index in range(2):
        paths.append(tmp_path / f"file{index}")
        paths[-1].write_bytes(os.urandom(3000))
        with open(paths[-1], "rb") as file:
            store.ingest_fd(file.fileno(), FileIdentity.of(file.fileno()), lambda _: None)
    kept_file = digest_of(paths[0].read_bytes())
    live = _run_with(tmp_path, "live", [digest_of(data[0]), kept_file])
    registered = _run_with(tmp_path, "registered", [digest_of(data[1])])
    store.register(registered)
    assert store.gc([live]).blobs == 0  # all of it is young
    age(store, 7200)
    assert store.gc([live], dry_run=True) == store.gc([live])
    assert store.get(digest_of(data[0])) and store.get(digest_of(data[1])) and store.get(kept_file)
    for gone in (digest_of(data[2]), digest_of(data[3]), digest_of(paths[1].read_bytes())):
        with pytest.raises(TraceError):
            store.get(gone)
    assert store.gc([live]).bytes == 0


def test_a_reference_renews_an_old_blob(store: BlobStore) -> None:
    data = b"d" * 1000
    store.put_many([(digest_of(data), data)])
    age(store, 7200)
    assert store.put_many([(digest_of(data), data)]) == 0
    assert store.gc().blobs == 0 and store.get(digest_of(data)) == data


def test_a_damaged_list_stops_collection(store: BlobStore, tmp_path: Path) -> None:
    data = b"d" * 1000
    store.put_many([(digest_of(data), data)])
    age(store, 7200)
    run_dir = _run_with(tmp_path, "r", [digest_of(data)])
    (run_dir / "blobs").write_bytes(b"garbage" * 20)
    with pytest.raises(TraceError, match="damaged"):
        store.gc([run_dir])
    assert store.get(digest_of(data)) == data


def test_collection_and_recording_at_the_same_time(tmp_path: Path) -> None:
    """Recorders list, then store; a collector without any grace runs all the time; at the end everything listed is
    there.
    """
    contents = [bytes([number]) * 600 for number in range(120)]
    runs = [tmp_path / f"run{index}" for index in range(3)]
    for run_dir in runs:
        run_dir.mkdir()
    stop = threading.Event()
    failures: list[BaseException] = []

    def record(run_dir: Path) -> None:
        try:
            store = BlobStore(tmp_path / "blobs")
            store.register(run_dir)
            references = References(run_dir)
            for data in contents:
                references.add([digest_of(data)])
                store.put_many([(digest_of(data), data)])
                age(store, 7200)
            store.close()
            references.close()
        except BaseException as error:
            failures.append(error)

    def collect() -> None:
        try:
            store = BlobStore(tmp_path / "blobs")
            while not stop.is_set():
                store.gc(runs)
            store.close()
        except BaseException as error:
            failures.append(error)

    BlobStore(tmp_path / "blobs").users()
    threads = [threading.Thread(target=record, args=(run_dir,)) for run_dir in runs]
    collector = threading.Thread(target=collect)
    collector.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    stop.set()
    collector.join(20)
    assert not failures
    store = BlobStore(tmp_path / "blobs")
    for run_dir in runs:
        for digest in read_references(run_dir):
            assert digest_of(store.get(digest)) == digest


def test_references_survive_a_cut_end(tmp_path: Path) -> None:
    references = References(tmp_path)
    digests = [digest_of(bytes([index])) for index in range(5)]
    references.add(digests)
    references.close()
    path = tmp_path / "blobs"
    for cut in (1, 31, 32 * 5 + 3):
        data = path.read_bytes()
        path.write_bytes(data[:-cut])
        again = References(tmp_path)
        again.add(digests)
        again.close()
        assert read_references(tmp_path) == set(digests)


def test_the_database_is_shared_by_processes(store: BlobStore, tmp_path: Path) -> None:
    store.put_many([(digest_of(b"a" * 600), b"a" * 600)])
    other = sqlite3.connect(store.root / "blobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    reader = BlobStore(store.root)
    start = time.monotonic()
    assert reader.get(digest_of(b"a" * 600)) and time.monotonic() - start < 1  # a writer does not block readers
    other.execute("ROLLBACK")
    other.close()
