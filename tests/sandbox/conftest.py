"""Fixtures of the sandbox tests: launchers by user, a directory for everybody."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import Launcher


@pytest.fixture(params=["root", "user"])
def sandbox(request: pytest.FixtureRequest) -> Launcher:
    """A launcher as root (skipped for an ordinary user) and as an ordinary user."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    return Launcher(request.param)


@pytest.fixture
def as_user() -> Launcher:
    return Launcher("user")


@pytest.fixture
def as_root() -> Launcher:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return Launcher("root")


@pytest.fixture
def shared_dir() -> Iterator[Path]:
    """A directory that every user may use."""
    path = Path(tempfile.mkdtemp(prefix="sentra-test-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)
