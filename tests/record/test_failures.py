"""When things go wrong outside of the program: the supervisor killed, the disk full, the program killing its supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from programs import build, find
from running import Product, complaint, gone, run, sandbox_command


def test_kill_of_the_supervisor(product: Product) -> None:
    """Nothing of the program survives it, nothing that was recorded is lost, the next command recovers the run."""
    word = f"sentra-orphan-{time.monotonic_ns()}"
    script = f": {word}; echo started; (setsid sh -c ': {word}; sleep 60' &) ; for i in $(seq 1 400); do echo $i > last; done; echo done; sleep 60"
    process = product.start("exec", "-q", "--name", "killed", "--", "sh", "-c", script)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    assert process.stdout.readline() == b"done\n"
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL
    assert gone(word, 3)
    process.communicate()
    shown = product("show", "killed", "--json", "--syscall", "write")
    assert shown.status == 0, shown
    assert b"recovered" in shown.stderr
    writes = product.json("show", "killed", "--json", "--syscall", "write")
    assert len([event for event in writes if event["text"].startswith("write(1")]) >= 400
    assert product.json("ls", "--json")[0]["state"] == "recovered"
    assert product("show", "killed", "--json", "--syscall", "write").stderr == b""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_kill_of_the_supervisor_at_any_moment(product: Product, delay: float) -> None:
    word = f"sentra-early-{time.monotonic_ns()}"
    process = product.start("exec", "-q", "-o", "run", "--", "sh", "-c", f": {word}; while :; do /bin/true; done")
    time.sleep(0.1 + delay)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=5)
    assert gone(word, 3)
    if (product.work / "run").exists():
        shown = product("show", "./run", "--json")
        assert b"Traceback" not in shown.stderr


def test_program_kills_its_process_group(product: Product, binaries: Path) -> None:
    """kill(0, SIGKILL) natively reaches every process of the job: the program dies by it; the run is there afterwards."""
    command = build(find("bad_killgroup"), binaries)
    finished = product("exec", "-q", "--name", "group", "--", *command)
    assert finished.status == 137
    shown = product("show", "group", "--json", "--syscall", "kill")
    assert shown.status == 0
    assert len(shown.stdout.splitlines()) == 1


def test_program_cannot_signal_its_supervisor(product: Product) -> None:
    """Whoever it names, it reaches only processes of its own namespace (and does not try where it has none)."""
    outside = os.readlink("/proc/self/ns/pid")
    script = f"[ $(readlink /proc/self/ns/pid) != '{outside}' ] || exit 99; kill -9 -1 2>/dev/null; for p in $(seq 1 400); do [ $p = $$ ] || kill -9 $p 2>/dev/null; done; echo alive"
    finished = product("exec", "-q", "--", "sh", "-c", script)
    assert finished.stdout == b"alive\n"
    assert finished.status == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A tmpfs of 3 MB, mounted where this is allowed."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "none", str(place)], cwd=tmp_path, env=dict(os.environ)).status:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_full_disk(product: Product, small_disk: Path) -> None:
    """The run is stopped cleanly with an error that says why; what was recorded stays readable."""
    code = "import os\nfor n in range(400): os.write(1, os.urandom(65536))"
    word = f"sentra-full-{time.monotonic_ns()}"
    argv = [*sandbox_command(), "exec", "-o", str(small_disk / "run"), "--", "python3", "-S", "-c", code + f"\nimport time; time.sleep(60) # {word}"]
    env = {**product.env, "SENTRA_SANDBOX_HOME": str(small_disk / "store")}
    with open("/dev/null", "wb") as null:
        finished = run(argv, cwd=product.work, env=env, output=null, timeout=60)
    assert finished.status == 125
    text = next(line for line in finished.stderr.decode().splitlines() if line.startswith("sentra-sandbox: error: "))
    assert "space" in text and str(small_disk) in text
    assert "Traceback" not in finished.stderr.decode()
    assert gone(word, 3)
    shown = run([*sandbox_command(), "show", str(small_disk / "run"), "--json"], cwd=product.work, env=env)
    assert shown.status == 0
    assert len(shown.stdout.splitlines()) > 5


def test_no_space_to_begin_with(product: Product, small_disk: Path) -> None:
    with open(small_disk / "filler", "wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        for _ in range(2000):
            file.write(b"x" * 4096)
    finished = product("exec", "-o", str(small_disk / "run"), "--", "touch", "ran")
    assert finished.status == 125
    assert "space" in complaint(finished)
    assert not (product.work / "ran").exists()


def test_as_an_ordinary_user(product: Product) -> None:
    """Root drops to a user that owns nothing here; the sandbox works all the same (needs user namespaces)."""
    if os.geteuid() != 0:
        pytest.skip("runs as an ordinary user already")
    from running import SANDBOX

    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    if run([*as_user, "test", "-x", str(SANDBOX)], cwd=Path("/"), env=product.env).status:
        pytest.skip("this Python is not readable for others; .ci/run runs the suite as an ordinary user of its own")
    home = Path(product.work.parent, "user-home")
    home.mkdir()
    os.chown(home, 65534, 65534)
    env = {**product.env, "HOME": str(home), "XDG_DATA_HOME": str(home)}
    finished = run([*as_user, str(SANDBOX), "exec", "-q", "--", "sh", "-c", "id -u; exit 6"], cwd=Path("/"), env=env)
    if b"Permission denied" in finished.stderr:
        pytest.skip("this Python is not readable for others; .ci/run runs the suite as an ordinary user of its own")
    assert (finished.stdout, finished.status) == (b"65534\n", 6)
