"""What all tests share: the ``recorder``, fresh work directories, and the rule that a missing tool is a failure in CI.

``--native`` puts strace in the place of sentra-sandbox, to check the tests themselves. ``SENTRA_MUST_WORK=1`` (set in
CI) turns every "skipped: this machine lacks ..." into a failure.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Product, Recorder, environment, fresh

# A test run that was started in the background finds these ignored, and so would every program that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# Programs that commands are tested with, some of which look like tests of ours.
collect_ignore = ["commands", "agents", "tracees"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--native", action="store_true", help="check the tests themselves: strace in place of sentra-sandbox"
    )


@pytest.fixture(scope="session")
def native(request: pytest.FixtureRequest) -> bool:
    """True when strace stands in for the product."""
    return bool(request.config.getoption("--native"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this test session that an ordinary user may look into."""
    return tmp_path_factory.mktemp("sentra")


@pytest.fixture(scope="session")
def binaries(place: Path) -> Path:
    """Where compiled tracees go."""
    directory = place / "tracees"
    directory.mkdir()
    return directory


@pytest.fixture
def recorder(tmp_path: Path, native: bool) -> Recorder:
    """Records programs into this test's own directory."""
    directory = tmp_path / "runs"
    directory.mkdir()
    return Recorder(directory, by_strace=native)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Where a test's programs work; ``running.fresh`` empties it between the native and the recorded run."""
    return tmp_path / "work"


@pytest.fixture
def env(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The fixed environment of a test's programs. Blobs are shared by the whole session, and read from there by the
    test itself."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", str(place / "store"))
    return environment(home, {"SENTRA_SANDBOX_HOME": str(place / "store")})


@pytest.fixture
def product(native: bool, work: Path, env: dict[str, str]) -> Product:
    """The command line itself, working in a fresh directory with a store of its own; nothing to check when strace
    stands in."""
    if native:
        pytest.skip("says something about sentra-sandbox only")
    return Product(fresh(work), {**env, "SENTRA_SANDBOX_HOME": str(work.parent / "store")})


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short path, for unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix="sx"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
