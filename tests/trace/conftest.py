"""Homes that are thrown away, and recordings that are ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recordings import Recording, begin

from sentra_sandbox.trace.catalogue import prepare_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of its own, also the default one."""
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", str(tmp_path / "home"))
    return prepare_home(tmp_path / "home")


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Recording]]:
    """Begins recordings below ``home``; takes the arguments of ``recordings.begin`` after the home."""
    begun: list[Recording] = []

    def start_one(ring_bytes: int = 1 << 20, rings: int = 1, name: str = "") -> Recording:
        begun.append(begin(home, ring_bytes, rings, name))
        return begun[-1]

    yield start_one
    for recording in begun:
        recording.sealer.close()
        if recording.arena.pointer is not None:
            recording.release()
