"""Runs programs natively and recorded, in the same fresh directory with the same environment, and keeps what came out.

A recorded program is started as a person would: the installed ``sentra-sandbox`` script. With ``--native`` the tests
put strace in its place: then everything but the product is checked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import strace_log
from seen import Seen, events_of_trace

SANDBOX = Path(sys.executable).parent / "sentra-sandbox"
Input = bytes | int | IO[bytes] | None


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: ``status`` as a shell would say it (128+n for signal n)."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded run: what the program did, and where its trace is."""

    finished: Finished
    trace: Path
    by_strace: bool

    def events(self) -> list[Seen]:
        """All events of the run."""
        return strace_log.read(self.trace) if self.by_strace else events_of_trace(self.trace)


def sandbox_command() -> list[str]:
    """How ``sentra-sandbox`` is started; an error says what to do when it is not installed beside this Python."""
    if not SANDBOX.exists():
        raise AssertionError(
            f"{SANDBOX} is not there: install the package for this Python (scripts/test does) or use --native"
        )
    return [str(SANDBOX)]


def environment(home: Path, extra: Mapping[str, str] = {}) -> dict[str, str]:
    """A small fixed environment; runs that are not given a place go below ``home`` too."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return {
        "PATH": path,
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "xterm",
        "USER": "someone",
        **extra,
    }


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: Input = b"",
    timeout: float = 60,
    output: Input = subprocess.PIPE,
) -> Finished:
    """Run in a session of its own to its end; a program that outlives ``timeout`` is killed with its session and the
    test fails."""
    start = time.monotonic()
    process = subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin,
        stdout=output,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin if isinstance(stdin, bytes) else None, timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        _end(process)
        raise AssertionError(
            f"{list(argv)} did not end within {timeout} s; so far:\n{(expired.stdout or b'')[-2000:]!r}\n{(expired.stderr or b'')[-2000:]!r}"
        ) from None
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Finished(status, out or b"", err or b"", time.monotonic() - start)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a session: first kindly, for a supervisor must be able to take its tracees with it."""
    for signo in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signo)
            process.wait(3)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


class Recorder:
    """Records programs into directories below ``place``: by the product, or by strace when the tests check
    themselves."""

    def __init__(self, place: Path, *, by_strace: bool) -> None:
        self.place = place
        self.by_strace = by_strace
        self._count = 0

    def command(self, trace: Path, argv: Sequence[str], options: Sequence[str] = ("-q",)) -> list[str]:
        """The command line that records ``argv`` into ``trace``."""
        if self.by_strace:
            return [*strace_log.STRACE, "-o", str(trace), "--", *argv]
        return [*sandbox_command(), "exec", "-o", str(trace), *options, "--", *argv]

    def fresh_trace(self) -> Path:
        """A path for a new trace."""
        self._count += 1
        return self.place / f"run-{self._count}"

    def record(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: Input = b"",
        timeout: float = 60,
        output: Input = subprocess.PIPE,
        options: Sequence[str] = ("-q",),
    ) -> Recording:
        """Run ``argv`` recorded."""
        trace = self.fresh_trace()
        finished = run(
            self.command(trace, argv, options), cwd=cwd, env=env, stdin=stdin, timeout=timeout, output=output
        )
        if self.by_strace:  # it warns on the program's own stderr
            lines = finished.stderr.splitlines(keepends=True)
            finished = replace(finished, stderr=b"".join(line for line in lines if not line.startswith(b"strace: ")))
        return Recording(finished, trace, self.by_strace)


REPLAYS = 3


def replays_identically(recording: Recording, env: Mapping[str, str], *, timeout: float = 60) -> None:
    """Replay a recording in another directory and compare output, errors and exit status. Recordings without the grade are left out."""
    from sentra_sandbox.trace.run import read_metadata

    if recording.by_strace or read_metadata(recording.trace).grade != "exact":
        return
    for _ in range(REPLAYS):
        finished = run([*sandbox_command(), "replay", "-q", str(recording.trace)], cwd=Path("/"), env=env, timeout=timeout)
        assert finished.status == recording.finished.status, finished
        assert finished.stdout == recording.finished.stdout
        assert finished.stderr == recording.finished.stderr


class Product:
    """``sentra-sandbox`` as a person uses it, with runs in the store of ``env``."""

    def __init__(self, work: Path, env: Mapping[str, str]) -> None:
        self.work = work
        self.env = dict(env)

    def __call__(self, *arguments: str, timeout: float = 60, **extra: str) -> Finished:
        """Run one command line; ``extra`` are environment variables."""
        return run([*sandbox_command(), *arguments], cwd=self.work, env={**self.env, **extra}, timeout=timeout)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one command line, with its streams in pipes."""
        pipe = subprocess.PIPE
        argv = [*sandbox_command(), *arguments]
        return subprocess.Popen(
            argv, cwd=self.work, env=self.env, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )

    def record(self, name: str, *command: str) -> Finished:
        """Record ``command`` under a name; it must succeed."""
        finished = self("exec", "-q", "--name", name, "--", *command)
        assert finished.status == 0, finished
        return finished

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON lines that a command prints."""
        finished = self(*arguments)
        assert finished.status == 0, finished
        return [json.loads(line) for line in finished.stdout.splitlines()]


def complaint(finished: Finished) -> str:
    """The one paragraph of an error: a single line of ours on stderr, no traceback. Returns what it says."""
    lines = finished.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("sentra-sandbox: error: "), lines
    assert "Traceback" not in lines[0]
    assert len(lines[0]) > 40, f"says too little: {lines[0]}"
    return lines[0].removeprefix("sentra-sandbox: error: ")


def gone(word: str, seconds: float) -> bool:
    """Whether no process with ``word`` in its command line is left, within this time."""
    end = time.monotonic() + seconds
    while processes_with(word):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def fresh(directory: Path) -> Path:
    """The same path again, empty: programs print paths, so both runs must have the same."""
    if directory.exists():
        subprocess.run(["chmod", "-R", "u+rwX", str(directory)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    return directory


def processes_with(word: str) -> list[int]:
    """Ids of processes on this machine whose command line holds ``word`` (zombies have none)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
