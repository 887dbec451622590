"""The launcher as a tracer uses it: pids, seize before go, failure and end channels, signals by way of init."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import Launcher, become, eventually, processes_with

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """The probes, compiled where every user can run them."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    where = Path(tempfile.mkdtemp(prefix="sentra-probe-"))
    where.chmod(0o755)
    sources = [*sorted((CSRC / "sandbox").glob("*.c")), CSRC / "error.c", HERE / "launch_probe.c"]
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", f"-I{CSRC}"]
    subprocess.run(["gcc", *flags, "-o", where / "launch_probe", *sources], check=True)
    subprocess.run(["gcc", "-O1", "-static", "-nostdlib", "-o", where / "tsc_probe", HERE / "tsc_probe.c"], check=True)
    yield where
    shutil.rmtree(where)


def probe(sandbox: Launcher, where: Path, mode: str, *command: str, **options: object) -> list[str]:
    maps = "0 0 4294967295" if sandbox.uid == 0 else f"{sandbox.uid} {sandbox.uid} 1"
    gid = os.getegid() if sandbox.uid == os.geteuid() else 65534
    done = subprocess.run(
        [where / "launch_probe", mode, *command],
        capture_output=True,
        text=True,
        timeout=15,
        preexec_fn=lambda: become(sandbox.who),
        env={"PATH": "/usr/bin:/bin", "UID_MAP": maps, "GID_MAP": maps if sandbox.uid == 0 else f"{gid} {gid} 1"},
        **options,  # type: ignore[call-overload]
    )
    assert done.stderr == ""
    return list(done.stdout.splitlines())


def test_seized_before_it_goes(sandbox: Launcher, programs: Path) -> None:
    assert probe(sandbox, programs, "traced", "/bin/sh", "-c", "exit 5") == [
        "inner pid: 2",
        "before go: our image",
        "executed, failure 0",
        "agent ended: 0x500",
        "init ended: 0x500",
        "told: 4 0x500",
    ]


def test_failure_while_traced(sandbox: Launcher, programs: Path) -> None:
    lines = probe(sandbox, programs, "traced", "/nowhere")
    assert lines[2:] == ["agent ended: 0x7f00", "init ended: 0x7f00", "told: 4 0x7f00"]


def test_death_by_signal_while_traced(sandbox: Launcher, programs: Path) -> None:
    lines = probe(sandbox, programs, "traced", "/bin/sh", "-c", "kill -9 $$")
    assert lines[3:] == ["agent ended: 0x9", "init ended: 0x8900", "told: 4 0x9"]


def test_abandoned_before_go(sandbox: Launcher, programs: Path) -> None:
    assert probe(sandbox, programs, "abandon", "/bin/true") == ["inner pid: 2", "init ended: 0x7d00"]


def test_signals_by_way_of_init(sandbox: Launcher, programs: Path) -> None:
    script = """
import os, signal, sys, time
def seen(signo, frame):
    print("got", signo, flush=True)
    os._exit(signo)
for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP):
    signal.signal(number, seen)
os.write(int(sys.argv[1]), b"x")
time.sleep(5)
"""
    # The program has no descriptor but 0, 1, 2: it says through its standard input that it listens.
    read_end, write_end = os.pipe2(0)
    both = os.open(f"/proc/self/fd/{read_end}", os.O_RDWR)
    try:
        os.fchmod(both, 0o666)
        lines = probe(sandbox, programs, "signal", "/usr/bin/python3", "-c", script, "0", stdin=both)
    finally:
        for fd in (read_end, write_end, both):
            os.close(fd)
    number = int(signal.SIGUSR1)
    assert lines[1:] == [f"got {number}", f"init ended: {hex(number << 8)}"]


def test_killed_init_takes_the_program_along(sandbox: Launcher, programs: Path) -> None:
    marker = f"30.{os.getpid()}"
    lines = probe(sandbox, programs, "killed", "/bin/sleep", marker)
    assert lines[1:] == ["init ended: 0x9", "told: 0", "agent: gone"]
    assert eventually(lambda: not processes_with(f"sleep\0{marker}"))


def test_trapped_counter_survives_fork_and_execve(sandbox: Launcher, programs: Path) -> None:
    assert probe(sandbox, programs, "tsc", str(programs / "tsc_probe"))[1:] == ["failure 0", "init ended: 0x300"]
