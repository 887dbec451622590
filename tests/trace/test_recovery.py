"""What a killed supervisor and a full disk leave, and what recovery makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import Recording, lacking, made_up_events

from sentra_sandbox.errors import TraceError, UsageError
from sentra_sandbox.trace import run
from sentra_sandbox.trace.events import Event, EventFlag, EventType, Note
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.trace.recovery import KILLED, LATER, recover

Start = Callable[..., Recording]
HERE = Path(__file__).resolve().parent


def abandon(recording: Recording) -> None:
    """Leave a recording as a SIGKILL would, inside this process."""
    recording.sealer.close()
    recording.release()


def read(directory: Path) -> list[Event]:
    with Trace(directory) as trace:
        trace.verify()
        return list(trace.events())


def test_a_killed_run_is_recovered_whole(start: Start) -> None:
    recording = start(ring_bytes=512 * 1024, rings=2)
    events = made_up_events(5000)
    for at, event in enumerate(events):
        recording.record([event], ring=at % 2)
    abandon(recording)
    with Trace(recording.directory) as trace:
        assert list(trace.events()) == recording.expected and not trace.live and not trace.finished
    metadata = recover(recording.directory)
    assert metadata.state == "recovered" and metadata.note == KILLED and metadata.duration_ns
    found = read(recording.directory)
    assert found[:-1] == recording.expected
    assert (found[-1].type, found[-1].nr, found[-1].seq) == (EventType.NOTE, Note.UNSEEN, 5001)
    assert found[-1].segments[0].data.decode() == KILLED
    assert sorted(os.listdir(recording.directory)) == ["blobs", "events", "files", "index", "lock", "run.json"]
    before = {name: (recording.directory / name).read_bytes() for name in os.listdir(recording.directory)}
    assert recover(recording.directory) == metadata
    assert before == {name: (recording.directory / name).read_bytes() for name in os.listdir(recording.directory)}


def test_calls_in_flight_become_events_unless_they_were_completed(start: Start) -> None:
    recording = start()
    recording.record([Event(0, 1, 0, 10, 500, 100, 0, 1, (3, 4, 5), ()), Event(0, 1, 0, 11, 900, 100, 1, 1, (), ())])
    recording.arena.set_in_flight(0, 10, 35, (1, 2, 0, 0, 0, 7), 600)  # nanosleep, entered after the read
    recording.arena.set_in_flight(1, 11, 1, (0,) * 6, 800)  # the write above: its slot was not cleared yet
    recording.arena.set_in_flight(2, 12, 232, (9,) * 6, 100)
    abandon(recording)
    recover(recording.directory)
    found = [event for event in read(recording.directory) if event.flags & EventFlag.IN_FLIGHT]
    assert [(event.task, event.nr, event.args) for event in found] == [
        (12, 232, (9,) * 6),
        (10, 35, (1, 2, 0, 0, 0, 7)),
    ]


def test_a_torn_block_is_dropped_and_its_events_come_from_the_ring(start: Start) -> None:
    recording = start(ring_bytes=512 * 1024)
    recording.record(made_up_events(1500))
    kept = recording.sealer.state.end
    path = recording.directory / run.EVENTS
    consume = recording.arena.consume
    recording.arena.consume = lambda ring, count: None  # type: ignore[method-assign]  # killed between writing and giving back
    recording.sealer._seal_block(False)
    recording.arena.consume = consume  # type: ignore[method-assign]
    whole = path.stat().st_size
    assert whole > kept
    abandon(recording)
    copy = recording.directory.parent / "copy"
    for size in (whole, whole - 1, kept + 200, kept + 151, kept + 1, kept):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(recording.directory, copy)
        os.truncate(copy / run.EVENTS, size)
        with Trace(copy) as trace:
            assert list(trace.events()) == recording.expected, size
        recover(copy)
        assert read(copy)[:-1] == recording.expected, size


@pytest.mark.parametrize("left", [["run.json"], ["run.json", "arena"], ["run.json", "arena", "events"]])
def test_a_run_killed_at_its_very_start(start: Start, left: list[str]) -> None:
    recording = start()
    abandon(recording)
    for name in os.listdir(recording.directory):
        if name not in left:
            (recording.directory / name).unlink()
    if "events" in left:
        os.truncate(recording.directory / "events", 7)
    with Trace(recording.directory) as trace:
        if "arena" in left:
            assert list(trace.events()) == []
    recover(recording.directory)
    assert [event.type for event in read(recording.directory)] == [EventType.NOTE]


def test_a_malformed_record_ends_what_is_recovered_and_is_said(start: Start) -> None:
    recording = start()
    recording.record(made_up_events(50))
    whole = recording.arena.waiting(0)
    recording.record(made_up_events(50))
    with open(recording.arena.path, "r+b") as file:
        file.seek(4096 + 65536 + whole)
        file.write(b"\xff\xff\xff\xff")
    abandon(recording)
    recover(recording.directory)
    found = read(recording.directory)
    assert found[:-1] == recording.expected[:50]
    assert b"malformed" in found[-1].segments[0].data


def test_a_cut_line_of_the_file_table_is_dropped(start: Start) -> None:
    recording = start()
    abandon(recording)
    with open(recording.directory / run.FILES, "ab") as file:
        file.write(b'{"file_id":1,"sha')
    recover(recording.directory)
    with Trace(recording.directory) as trace:
        assert trace.files() == {}


def test_a_running_recording_is_left_alone(start: Start) -> None:
    recording = start()
    with pytest.raises(UsageError, match="still being recorded"):
        recover(recording.directory)
    assert recording.finish().state == "sealed"
    assert recover(recording.directory).state == "sealed"


def test_recovery_creates_nothing_where_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="not a recorded run"):
        recover(tmp_path)
    assert os.listdir(tmp_path) == []


def test_random_kills_lose_and_garble_nothing() -> None:
    """Recorder, sealer and recovery killed at random; scripts/bench_record.py --kills 200 does it for longer."""
    script = HERE.parents[1] / "scripts" / "bench_record.py"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "20", "--json"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tally = json.loads(done.stdout)
    assert tally["kills"] == 20 and tally["checked"] > 1000
    assert (tally["corrupt"], tally["lost"], tally["unreadable"]) == (0, 0, 0)


def small_file_system(tmp_path: Path, megabytes: int) -> list[str]:
    """A command prefix that runs its arguments with a small tmpfs on ``tmp_path / 'small'``."""
    (tmp_path / "small").mkdir()
    mount = f'mount -t tmpfs -o size={megabytes}m none {tmp_path}/small && exec "$@"'
    flags = "-m" if os.geteuid() == 0 else "-Urm"
    prefix = ["unshare", flags, "sh", "-c", mount, "sh"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        lacking("mount namespaces for an unprivileged user")
    return prefix


@pytest.mark.parametrize("left", [0, 8192, 150_000, 700_000])
def test_a_full_disk_ends_the_recording_and_keeps_what_there_is(tmp_path: Path, left: int) -> None:
    prefix = small_file_system(tmp_path, 4)
    done = subprocess.run(
        [*prefix, sys.executable, str(HERE / "full_disk.py"), str(tmp_path / "small"), str(left)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE), *sys.path])},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert "No space left on device" in outcome["said"] or "full" in outcome["said"]
    assert (outcome["state"], outcome["note"], outcome["readable"]) == ("incomplete", "disk full", True)
    assert (outcome["recovered"], outcome["recovered_state"]) == (True, "recovered")


def test_the_note_of_an_ended_run_survives_its_recovery(start: Start) -> None:
    recording = start()
    recording.record(made_up_events(10))
    recording.sealer.abandon(recording.metadata, "disk full")
    recording.release()
    assert recover(recording.directory).note == f"disk full {LATER}"
