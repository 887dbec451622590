"""The catalogue: finds runs by any name, shows running ones, stays quick, and can be lost."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import Recording, made_up_events

from sentra_sandbox.errors import HostError, TraceError, UsageError
from sentra_sandbox.trace import run
from sentra_sandbox.trace.catalogue import Catalogue, CatalogueEntry

Start = Callable[..., Recording]


def metadata(run_id: str, created: str = "2026-11-22T10:00:00Z", **more: object) -> run.RunMetadata:
    made = run.RunMetadata(run_id, ("python", "agent one.py"), "/", created, state=run.SEALED)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def directory(home: Path, made: run.RunMetadata) -> Path:
    path = home / "runs" / made.id
    path.mkdir()
    run.write_metadata(path, made)
    return path


@pytest.fixture
def three(home: Path) -> Catalogue:
    catalogue = Catalogue(home)
    for number, (run_id, name) in enumerate(
        (("20261122-100000-aaaa", "first"), ("20261122-100001-abcd", ""), ("20261122-110000-aaab", "twin"))
    ):
        made = metadata(run_id, f"2026-11-22T1{number}:00:00Z", name=name, counts={"events": number})
        catalogue.add(made, directory(home, made))
    return catalogue


def test_list_is_newest_first_and_filtered(three: Catalogue) -> None:
    assert [entry.id[-4:] for entry in three.list()] == ["aaab", "abcd", "aaaa"]
    assert [entry.id[-4:] for entry in three.list(2)] == ["aaab", "abcd"]
    assert [entry.name for entry in three.list(name="first")] == ["first"]
    assert three.list(command="agent one") and not three.list(command="node") and not three.list(state="recovered")
    assert [entry.events for entry in three.list(since="2026-11-22T11:00:00Z")] == [2, 1]
    assert three.list()[0].command == "python 'agent one.py'" and three.list()[0].size > 0


def test_a_run_is_found_by_every_name_it_has(three: Catalogue, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = home / "runs" / "20261122-110000-aaab"
    for ref in ("last", "20261122-110000-aaab", "20261122-11", "twin", str(newest)):
        assert three.resolve(ref) == newest
    monkeypatch.chdir(newest.parent)
    assert three.resolve(f"./{newest.name}") == newest
    monkeypatch.chdir(newest)
    assert three.resolve(".") == newest


def test_ambiguous_and_absent_names_list_candidates(three: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"could mean 2 runs.*abcd.*aaaa"):
        three.resolve("20261122-10")
    with pytest.raises(UsageError, match=r"No run is called 'nosuch'.*aaab"):
        three.resolve("nosuch")
    for ref in ("", "/no/such/place", "%", "*", "\udcff"):
        with pytest.raises(UsageError):
            three.resolve(ref)
    with pytest.raises(TraceError, match="not a recorded run"):
        three.resolve(str(tmp_path))


def test_two_runs_of_one_name_are_ambiguous(three: Catalogue, home: Path) -> None:
    made = metadata("20261122-120000-zzzz", name="twin")
    three.add(made, directory(home, made))
    with pytest.raises(UsageError, match="zzzz"):
        three.resolve("twin")


def test_an_empty_home(home: Path) -> None:
    with Catalogue(home) as catalogue:
        assert catalogue.list() == []
        with pytest.raises(UsageError, match="no recorded run yet"):
            catalogue.resolve("last")


def test_a_running_recording_is_listed_and_then_catalogued(start: Start, home: Path) -> None:
    recording = start(name="busy")
    with Catalogue(home) as catalogue:
        run.mark_running(home, recording.metadata.id, recording.directory)
        (entry,) = catalogue.list()
        assert entry.live and entry.state == "incomplete" and catalogue.resolve("busy") == recording.directory
        with pytest.raises(UsageError, match="still being recorded"):
            catalogue.delete(entry)
        recording.record(made_up_events(10))
        recording.finish()  # and the recorder dies before it can add the run
        (entry,) = catalogue.list()
        assert (entry.live, entry.state, entry.events) == (False, "sealed", 10)
        assert os.listdir(home / "running") == []


def test_a_run_elsewhere_survives_a_lost_catalogue(start: Start, home: Path, tmp_path: Path) -> None:
    recording = start()
    recording.record(made_up_events(300))
    recording.finish()
    elsewhere = tmp_path / "out put"
    shutil.move(recording.directory, elsewhere)
    with Catalogue(home) as catalogue:
        catalogue.add(run.read_metadata(elsewhere), elsewhere)
        assert catalogue.resolve(recording.metadata.id) == elsewhere
    recording.blobs.register(elsewhere)
    recording.blobs.close()
    for content in (None, b"not a database" * 500):
        (home / "catalogue.db").unlink()
        if content:
            (home / "catalogue.db").write_bytes(content)
        with Catalogue(home) as catalogue:
            assert catalogue.resolve("last") == elsewhere
            assert [entry.path for entry in catalogue.list()] == [elsewhere]


def test_deleting(three: Catalogue, home: Path, tmp_path: Path) -> None:
    three.delete(three.entry("first"))
    assert len(three.list()) == 2 and not (home / "runs" / "20261122-100000-aaaa").exists()
    outside = tmp_path / "mine"
    outside.mkdir()
    made = metadata("20261122-130000-outs")
    run.write_metadata(outside, made)
    (outside / "notes.txt").write_text("keep")
    three.add(made, outside)
    three.delete(three.entry(made.id))
    assert os.listdir(outside) == ["notes.txt"]


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="SENTRA_SANDBOX_HOME"):
        Catalogue(tmp_path / "file")


def test_everything_is_private(three: Catalogue, home: Path) -> None:
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "catalogue.db").stat().st_mode & 0o777 == 0o600


def test_names_that_are_no_utf8(home: Path, tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xffn"))
    place.mkdir()
    made = metadata("20261122-140000-byte", name="n\udcff")
    run.write_metadata(place, made)
    with Catalogue(home) as catalogue:
        catalogue.add(made, place)
        assert catalogue.resolve("last") == place


def test_listing_stays_quick_with_many_runs(home: Path) -> None:
    with Catalogue(home) as catalogue:
        entries = [
            CatalogueEntry(
                f"2026{at:09d}-x", home / "runs" / str(at), "", f"2026-{at:09d}", "python agent.py", "sealed", 0, 1, 1,
                1, "exact", "",
            )
            for at in range(100_000)
        ]  # fmt: skip
        catalogue._insert(catalogue._open(), [])
        database = catalogue._open()
        database.execute("BEGIN")
        catalogue._insert(database, entries)
        database.execute("COMMIT")
    start = time.perf_counter()
    with Catalogue(home) as catalogue:
        newest = catalogue.list(20)
        catalogue.resolve("last")
        catalogue.resolve("2026000050000")
    assert time.perf_counter() - start < 0.1
    assert newest[0].id == "2026000099999-x"
