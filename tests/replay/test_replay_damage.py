"""Damaged runs: one clear error, or a divergence; never a crash, a hang, or anything done outside."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from replaying import record, run_directory
from running import Product, complaint, processes_with

HERE = Path(__file__).resolve().parent
FLIPS = 6
FUZZ_COUNT = 30
BOUND_S = 60
WORD = "damaged-run-word"
SCRIPT = (
    f": {WORD}; for i in 1 2; do cat data | tr a-z A-Z & done; wait; trap 'echo signal' USR1; kill -USR1 $$; "
    f"{sys.executable} -S -c 'import threading as t; a = [t.Thread(target=print, args=(n,)) for n in range(2)]; "
    "[x.start() for x in a]; [x.join() for x in a]'"
)


@pytest.fixture
def original(product: Product) -> Path:
    (product.work / "data").write_text("data\n" * 200)
    recorded = record(product, "original", "bash", "-c", SCRIPT)
    assert recorded.finished.status == 0, recorded.finished
    return run_directory(product, "original")


def copy_of(run: Path) -> Path:
    """A run beside it that may be spoilt."""
    target = run.with_name("20260101-000000-aaaa")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run, target)
    return target


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def test_flipped_bits_of_events(product: Product, original: Path) -> None:
    rng = random.Random(1)
    for _ in range(FLIPS):
        run = copy_of(original)
        flip(run / "events", rng)
        finished = product("replay", "-q", "--verify", str(run), timeout=BOUND_S)
        assert finished.status == 125 and finished.stdout == b"", finished
        assert "events" in complaint(finished)


@pytest.mark.parametrize("name", ["run.json", "files"])
def test_flipped_bits_of_tables(product: Product, original: Path, name: str) -> None:
    rng = random.Random(2)
    for _ in range(4):
        run = copy_of(original)
        flip(run / name, rng)
        finished = product("replay", "-q", "--verify", str(run), timeout=BOUND_S)
        assert finished.status == 125, finished
        complaint(finished)


def test_cut_off_files(product: Product, original: Path) -> None:
    size = (original / "events").stat().st_size
    for end in (0, 10, 32, 100, size // 2, size - 1):
        run = copy_of(original)
        os.truncate(run / "events", end)
        finished = product("replay", "-q", "--verify", str(run), timeout=BOUND_S)
        assert finished.status == 125, (end, finished)
        complaint(finished)


def test_missing_parts(product: Product, original: Path) -> None:
    for name in ("events", "run.json", "files"):
        run = copy_of(original)
        (run / name).unlink()
        assert complaint(product("replay", "-q", str(run), timeout=BOUND_S))


def test_another_version(product: Product, original: Path) -> None:
    run = copy_of(original)
    text = (run / "run.json").read_text().replace('"format_version": 1', '"format_version": 99')
    (run / "run.json").write_text(text)
    assert "99" in complaint(product("replay", str(run)))


def test_missing_content(product: Product, original: Path) -> None:
    """The programs themselves, and the small pieces."""
    store = original.parent.parent / "blobs"
    (store / "files").rename(store / "away")
    assert product("replay", "-q", str(original)).status == 125
    (store / "away").rename(store / "files")
    (store / "blobs.db").unlink()
    for name in ("blobs.db-wal", "blobs.db-shm"):
        (store / name).unlink(missing_ok=True)
    assert "blob" in complaint(product("replay", "-q", "--verify", str(original)))


def test_events_that_say_anything(product: Product, original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Properly sealed runs with random changes: each ends identical, with a divergence, or with an error of ours."""
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", str(original.parent.parent))
    before = sorted(product.work.iterdir())
    finished = subprocess.run(
        [sys.executable, str(HERE / "fuzz_replay.py"), str(original), "0", str(FUZZ_COUNT)],
        capture_output=True,
        text=True,
        timeout=4 * BOUND_S,
    )
    assert finished.returncode == 0, finished
    assert len(finished.stdout.splitlines()) == FUZZ_COUNT
    assert finished.stderr == ""
    assert any(word in finished.stdout for word in ("call", "argument", "bytes"))
    assert sorted(product.work.iterdir()) == before
    assert not processes_with(WORD)
