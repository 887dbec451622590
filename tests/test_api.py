"""The public API: the command line's power from Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import sentra_sandbox
from sentra_sandbox import CommandNotFound, UsageError, open_trace, run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_output_is_captured_whole_and_apart() -> None:
    code = "import sys; sys.stderr.write('e' * 300_000); sys.stdout.write('o' * 300_000); sys.exit(5)"
    result = run([sys.executable, "-c", code], capture_output=True)
    assert (result.exit_status, result.stdout, result.stderr) == (5, b"o" * 300_000, b"e" * 300_000)
    assert not result.timed_out and result.processes == 1


def test_options_reach_the_program(tmp_path: Path) -> None:
    target = tmp_path / "run"
    result = run(
        ["sh", "-c", "pwd; echo $A; cat"], capture_output=True, cwd="/usr", env={"A": "b"}, output=target, stdin=null()
    )
    assert result.stdout == b"/usr\nb\n"
    assert result.path == target
    with open_trace(target) as trace:
        assert trace.meta.argv == ("sh", "-c", "pwd; echo $A; cat")


def null() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def test_timeout() -> None:
    result = run(["sleep", "30"], timeout_s=0.3)
    assert result.timed_out and result.exit_status == 143


def test_own_descriptors(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        result = run(["echo", "hi"], stdout=file.fileno(), name="greeting")
    assert (tmp_path / "out").read_bytes() == b"hi\n"
    with open_trace("greeting") as by_name, open_trace("last") as last, open_trace(result.run_id[:-1]) as by_prefix:
        assert {trace.meta.id for trace in (by_name, last, by_prefix)} == {result.run_id}
        assert sum(1 for _ in last.events()) == result.events
        last.verify()


def test_mistakes() -> None:
    with pytest.raises(CommandNotFound, match="no-such-program"):
        run(["no-such-program"])
    with pytest.raises(UsageError, match="sequence of words"):
        run("echo hi")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="capture_output"):
        run(["true"], capture_output=True, stdout=1)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="nothing"):
        open_trace("nothing")
    with pytest.raises(UsageError):
        run(["true"], net="sideways")


def test_descriptors_do_not_leak() -> None:
    run(["true"], capture_output=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run(["true"], capture_output=True)
        with pytest.raises(CommandNotFound):
            run(["no-such-program"], capture_output=True)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_importing_the_package_loads_nothing_of_it() -> None:
    import subprocess

    listing = "[name for name in sys.modules if 'sentra_sandbox.' in name or name == 'typing']"
    code = f"import sys, sentra_sandbox; print({listing})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=Path(sentra_sandbox.__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"
    assert set(dir(sentra_sandbox)) >= {"__all__"}
