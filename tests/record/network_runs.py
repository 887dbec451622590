"""Runs with the engine's network options, for the tests that say what the engine does for a sandbox with a network of its own.

The programs find an empty network namespace with a loopback device; ``networked.py`` stands for the supervisor. Each run is replayed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import Finished, fresh, run, sandbox_command

from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType, from_event

HERE = Path(__file__).resolve().parent
SUPERVISOR = [sys.executable, str(HERE / "networked.py")]
REPLAYS = 1
TRUST, PORT, START = 1, 2, 3  # requests


@dataclass(frozen=True, slots=True)
class Networked:
    """A recorded run with its network events and what was asked of the supervisor."""

    finished: Finished
    events: list[NetworkEvent]
    requests: list[list[int]]
    trace: Path

    def of(self, kind: NetworkType) -> list[NetworkEvent]:
        """The events of a kind."""
        return [event for event in self.events if event.type == kind]

    @property
    def lines(self) -> list[str]:
        """What the program printed."""
        assert self.finished.status == 0, self.finished
        return self.finished.stdout.decode().splitlines()


class Place:
    """Records with engine options; each run is replayed, too."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.directory, self.env = directory, env
        self._count = 0

    def __call__(self, *command: str, status: int = 0, timeout: float = 60, replays: int = REPLAYS, **options: Any) -> Networked:
        from sentra_sandbox import open_trace
        from sentra_sandbox.trace.run import read_metadata

        self._count += 1
        trace, report = self.directory / f"run-{self._count}", self.directory / f"report-{self._count}"
        argv = [*SUPERVISOR, str(trace), json.dumps(options), str(report), *command]
        finished = run(argv, cwd=self.directory, env=self.env, timeout=timeout)
        assert finished.status == status, finished
        with open_trace(trace) as opened:
            events = [event for event in map(from_event, opened.events()) if event is not None]
        assert read_metadata(trace).grade == "exact"
        for _ in range(replays):
            again = run([*sandbox_command(), "replay", "-q", str(trace)], cwd=Path("/"), env=self.env)
            assert (again.status, again.stdout, again.stderr) == (finished.status, finished.stdout, finished.stderr)
        return Networked(finished, events, json.loads(report.read_text()), trace)

    def python(self, text: str, *arguments: str, **options: Any) -> Networked:
        """Record a Python program, given as its text."""
        return self(sys.executable, "-c", "import os, socket, sys, threading\n" + text, *arguments, **options)


def new_place(native: bool, work: Path, env: dict[str, str]) -> Place:
    """Where a test's runs go."""
    if native:
        pytest.skip("says something about sentra-sandbox only")
    return Place(fresh(work), env)


def built(directory: Path, name: str) -> str:
    """The path of a C program of this directory, compiled."""
    target = directory / name
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-pthread", "-o", str(target), str(HERE / f"{name}.c")], check=True)
    return str(target)
