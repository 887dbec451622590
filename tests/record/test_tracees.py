"""Every tracee program, native and recorded: same output and exit status, the events it expects, what it declares
refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from programs import Tracee, all_tracees, build, read_expected
from running import Recorder, Recording, fresh, processes_with, replays_identically, run
from seen import missing, never_stopped

CASES = [
    pytest.param(tracee, arguments, id=" ".join([tracee.name, *arguments]))
    for tracee in all_tracees()
    for arguments in tracee.runs
]


def wait_until_gone(word: str, seconds: float) -> list[int]:
    end = time.monotonic() + seconds
    while (left := processes_with(word)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("tracee, arguments", CASES)
def test_tracee(
    tracee: Tracee, arguments: tuple[str, ...], binaries: Path, work: Path, env: dict[str, str], recorder: Recorder
) -> None:
    command = [*build(tracee, binaries), *arguments]
    expected = run(command, cwd=fresh(work), env=env, timeout=30)
    if tracee.leaves:
        assert wait_until_gone(tracee.leaves, 10) == []
    statements = work.parent / "expected-events"
    recording = recorder.record(
        command, cwd=fresh(work), env={**env, "SENTRA_EXPECT": str(statements)}, timeout=tracee.timeout
    )
    assert recording.finished.stdout.decode(errors="replace") == expected.stdout.decode(errors="replace")
    assert recording.finished.stderr == expected.stderr
    assert recording.finished.status == expected.status
    if tracee.leaves and not recording.by_strace:
        assert wait_until_gone(tracee.leaves, 0.5) == []
    check_events(tracee, recording, statements)
    replays_identically(recording, env)


def check_events(tracee: Tracee, recording: Recording, statements: Path) -> None:
    events = recording.events()
    wanted = read_expected(statements)
    if not recording.by_strace:
        unseen = never_stopped()
        wanted = [line for line in wanted if line.call not in unseen]
        assert {event.name for event in events if event.refused} >= set(tracee.refused)
        if tracee.grade == "exact":
            assert grade(recording.trace) == "exact"
    lost = list(missing(events, wanted, with_memory=not recording.by_strace))
    assert not lost, "\n".join(lost)


def grade(trace: Path) -> str:
    from sentra_sandbox.trace.run import read_metadata

    return read_metadata(trace).grade


def test_zombies_are_reaped(native: bool, binaries: Path, work: Path, env: dict[str, str], recorder: Recorder) -> None:
    """Init of the sandbox reaps a zombie whose parent ended without waiting (not every machine's own init does)."""
    if native:
        pytest.skip("says something about the sandbox only")
    from programs import find

    command = [*build(find("proc_reparent"), binaries), "reaped"]
    recording = recorder.record(command, cwd=fresh(work), env=env)
    assert recording.finished.stdout.splitlines()[-1] == b"the zombie is reaped: ESRCH"
