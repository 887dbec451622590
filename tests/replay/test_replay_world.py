"""A replay needs nothing but the run, and leaves nothing behind: deleted programs, other places, another user; also ``exec --verify``."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import time
from pathlib import Path

from needs import lacking
from replaying import record, replay, run_directory
from running import Product, processes_with, run, sandbox_command

from sentra_sandbox.trace.events import EventType
from sentra_sandbox.trace.reader import Trace

PYTHON = sys.executable
OTHER_USER = "nobody"


def test_original_files_are_gone(product: Product) -> None:
    place = product.work / "project"
    place.mkdir()
    (place / "data").write_text("some data\n")
    (place / "helper.py").write_text("def work(path):\n    return open(path).read().upper()\n")
    (place / "main.py").write_text("import os, helper\nprint(helper.work('data'), os.getcwd(), os.listdir('.').sort())\n")
    program = place / "copy-of-cat"
    shutil.copy("/bin/cat", program)
    script = f"cd {place} && {PYTHON} main.py && ./copy-of-cat data"
    recorded = record(product, "gone", "sh", "-c", script)
    assert recorded.finished.status == 0 and recorded.finished.stdout.endswith(b"some data\n")
    shutil.rmtree(place)
    replay(product, recorded)


def test_changed_files_do_not_matter(product: Product) -> None:
    data = product.work / "data"
    data.write_text("before\n")
    recorded = record(product, "changed", "sh", "-c", "cat data; echo written > data; cat data")
    data.write_text("after\n")
    replay(product, recorded)
    assert data.read_text() == "after\n"


def test_from_another_directory(product: Product, tmp_path: Path) -> None:
    recorded = record(product, "elsewhere", "sh", "-c", "pwd; echo x > made")
    made = product.work / "made"
    made.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = run([*sandbox_command(), "replay", "-q", "elsewhere"], cwd=elsewhere, env=product.env)
    assert (again.status, again.stdout) == (0, recorded.finished.stdout)
    assert not made.exists() and not list(elsewhere.iterdir())


def test_leaves_nothing_behind(product: Product) -> None:
    word = f"word-{os.getpid()}-{time.time_ns()}"
    script = f": {word}; sleep 300 & echo x > file; mkdir -p sub/dir; mkfifo pipe; echo done"
    record(product, "traces", "sh", "-c", script)
    shutil.rmtree(product.work)
    product.work.mkdir()

    def world() -> tuple[list[str], str, set[str]]:
        store = product.work.parent / "store"
        files = {f"{path} {path.stat().st_size}" for path in store.rglob("*") if not path.name.startswith(("blobs.db", "catalogue.db"))}
        return os.listdir(product.work), Path("/proc/self/mountinfo").read_text(), files

    assert product("ls").status == 0  # enters the run in the catalogue
    before = world()
    assert product("replay", "-q", "traces").status == 0
    after = world()
    assert after[:2] == before[:2] and after[2] ^ before[2] == set()
    assert not processes_with(word)


def test_instructions_run_again(product: Product) -> None:
    """A replay is an execution: it takes the processor time that the program's own computing takes."""
    record(product, "computing", PYTHON, "-c", "n = 0\nfor i in range(4_000_000): n += i\nprint(n)")
    before = os.times()
    replay_started = time.monotonic()
    assert product("replay", "-q", "computing").stdout == b"7999998000000\n"
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used > 0.15 and time.monotonic() - replay_started > 0.15


def test_waiting_takes_no_time(product: Product) -> None:
    recorded = record(product, "waiting", "sh", "-c", "sleep 1.5; echo waited; sleep 1")
    assert recorded.finished.seconds > 2.5
    started = time.monotonic()
    replay(product, recorded)
    assert time.monotonic() - started < 1.5


def test_verify(product: Product) -> None:
    record(product, "verified", "sh", "-c", "echo out; exit 7")
    finished = product("replay", "--verify", "verified")
    assert finished.status == 0 and finished.stderr == b""
    assert finished.stdout.startswith(b"identical: ") and b"times" in finished.stdout and b"out\n" not in finished.stdout
    (result,) = product.json("replay", "--verify", "--json", "verified")
    assert result["identical"] is True and result["divergence"] is None
    assert result["events"] == result["recorded_events"] > 20 and result["exit_status"] == 7


def test_summary_line(product: Product) -> None:
    record(product, "summary", "echo", "out")
    finished = product("replay", "summary")
    assert finished.stdout == b"out\n"
    assert finished.stderr.startswith(b"sentra-sandbox: replayed run ") and finished.stderr.count(b"\n") == 1


def test_exec_verify(product: Product) -> None:
    finished = product("exec", "--verify", "--", "sh", "-c", "echo out; exit 4")
    assert finished.status == 4 and finished.stdout == b"out\n"
    assert b"sentra-sandbox: identical: " in finished.stderr


def asleep_and_kept(product: Product) -> bool:
    """Whether the last program has begun and the content of all programs is in the store (which is a moment later)."""
    if not (product.work / "ready").exists():
        return False
    with Trace(run_directory(product, "cut")) as trace:
        events = list(trace.events())
        mapped = {event.nr for event in events if event.type == EventType.FILE}
        images = sum(event.type == EventType.EXEC for event in events)
        return images == 2 and mapped <= set(trace.files()) and bool(trace.in_flight())


def test_a_run_cut_off_replays_to_its_last_event(product: Product) -> None:
    """The recorder is killed: what it had is replayed, and said to be all."""
    script = "for i in 1 2 3; do echo line $i; done; echo ready > ready; sleep 60"
    process = product.start("exec", "-q", "--name", "cut", "--", "sh", "-c", script)
    end = time.monotonic() + 20
    while not asleep_and_kept(product) and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=20)
    finished = product("replay", "cut")
    assert finished.stdout == b"line 1\nline 2\nline 3\n", finished
    assert b"cut off" in finished.stderr and b"error" not in finished.stderr, finished
    assert product("replay", "--verify", "cut").status == 0


def test_a_run_cut_off_before_a_program_was_kept(product: Product) -> None:
    """What is missing is said; nothing else stands in for it."""
    record(product, "missing", "sh", "-c", "cat /dev/null; echo out")
    run_dir = run_directory(product, "missing")
    table = (run_dir / "files").read_bytes().splitlines(keepends=True)
    (run_dir / "files").write_bytes(table[0])
    finished = product("replay", "-q", "missing")
    assert finished.status in (122, 125), finished
    assert b"kept" in finished.stderr or b"content" in finished.stderr, finished


def test_while_it_is_recorded(product: Product) -> None:
    process = product.start("exec", "-q", "--name", "live", "--", "sh", "-c", "echo started; sleep 30")
    try:
        assert process.stdout is not None and process.stdout.readline() == b"started\n"
        finished = product("replay", "live")
        assert finished.status == 125 and b"still being recorded" in finished.stderr
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_replay_as_another_user(product: Product, place: Path) -> None:
    """A bundle, brought to a user who can read nothing of ours."""
    if os.getuid() != 0:
        lacking("root, to become another user")
    try:
        user = pwd.getpwnam(OTHER_USER)
    except KeyError:
        lacking(f"the user {OTHER_USER}")
    secret = product.work / "secret"
    secret.write_text("only ours\n")
    secret.chmod(0o600)
    recorded = record(product, "ours", PYTHON, "-c", "import os, time\nprint(open('secret').read(), os.getuid(), time.time())")
    home = place / "other-user"
    home.mkdir(exist_ok=True)
    bundle = home / "bundle"
    assert product("export", "--bundle", str(bundle), "ours").status == 0
    for path in (home, bundle):
        os.chown(path, user.pw_uid, user.pw_gid)
    for folder in home.parents:
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    env = {**product.env, "HOME": str(home), "SENTRA_SANDBOX_HOME": str(home / "store")}

    def as_user(*arguments: str) -> list[str]:
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *sandbox_command(), *arguments]

    brought = run(as_user("import", str(bundle)), cwd=home, env=env)
    assert brought.status == 0, brought
    again = run(as_user("replay", "-q", brought.stdout.decode().strip()), cwd=home, env=env)
    assert (again.status, again.stdout, again.stderr) == (0, recorded.finished.stdout, b"")
    assert run_directory(product, "ours").exists()
