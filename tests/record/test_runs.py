"""Looking at runs: ``ls``, ``show`` and its filters and views, ``rm``, ``gc``, names and prefixes, a run that goes on, damage."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest
from programs import build, find
from running import Product, Recorder, complaint, fresh
from seen import by_task

SCRIPT = "echo hello > made; cat made; ls /no/such/file 2>/dev/null; (exit 3); kill -0 $$; sh -c 'exit 4'; exit 0"


@pytest.fixture
def recorded(product: Product) -> Product:
    product.record("first", "sh", "-c", SCRIPT)
    return product


def test_ls(recorded: Product) -> None:
    recorded("exec", "-q", "--", "sh", "-c", "exit 7")
    newest, oldest = recorded.json("ls", "--json")
    assert (oldest["name"], oldest["state"], oldest["exit_status"]) == ("first", "sealed", 0)
    assert (newest["exit_status"], newest["live"]) == (7, False)
    assert newest["events"] > 5 and newest["size_bytes"] > 0 and newest["grade"] == "exact"
    table = recorded("ls").stdout.decode().splitlines()
    assert len(table) == 3 and "ID" in table[0] and "first" in table[2]
    assert [entry["id"] for entry in recorded.json("ls", "--json", "--command", "exit 7")] == [newest["id"]]


def test_show_lines(recorded: Product) -> None:
    text = recorded("show", "first").stdout.decode()
    assert "openat(" in text and "made" in text and "O_CREAT" in text
    assert '"hello\\n"' in text
    assert "ENOENT" in text
    assert "exited with 4" in text


def test_show_json(recorded: Product) -> None:
    events = recorded.json("show", "first", "--json")
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    opened = [event for event in events if event.get("call") == "openat" and any(path.endswith("/made") for path in event["paths"])]
    assert len(opened) == 2 and all(event["result"] >= 0 for event in opened)
    assert {event["type"] for event in events} >= {"syscall", "exec", "exit", "task"}


def test_show_filters(recorded: Product) -> None:
    everything = recorded.json("show", "first", "--json")
    calls = recorded.json("show", "first", "--json", "--syscall", "openat,write")
    assert {event["call"] for event in calls} == {"openat", "write"}
    assert len(calls) == sum(event.get("call") in ("openat", "write") for event in everything)
    by_path = recorded.json("show", "first", "--json", "--path", "/made")
    assert by_path and all("made" in json.dumps(event) for event in by_path)
    pid = everything[-1]["pid"]
    assert {event["pid"] for event in recorded.json("show", "first", "--json", "--pid", str(pid))} == {pid}
    assert recorded.json("show", "first", "--json", "--since", "1h") == []
    assert len(recorded.json("show", "first", "--json", "-n", "3")) == 3
    assert "no_such_call" in complaint(recorded("show", "first", "--syscall", "no_such_call"))


def test_tree(recorded: Product) -> None:
    processes = recorded.json("show", "first", "--tree", "--json")
    root = processes[0]
    assert root["command"] == ["sh", "-c", SCRIPT]
    children = [process for process in processes if process["parent"] == root["pid"]]
    assert [process["wait_status"] >> 8 for process in children if process["wait_status"]] == [2, 3, 4]
    text = recorded("show", "first", "--tree").stdout.decode()
    assert "cat made" in text and "exited with 4" in text


def test_files_and_summary(recorded: Product) -> None:
    files = {entry["path"]: entry for entry in recorded.json("show", "first", "--files", "--json")}
    assert files[str(recorded.work / "made")]
    assert "made" in recorded("show", "first", "--summary").stdout.decode() + recorded("show", "first", "--summary").stderr.decode()


def test_names_and_prefixes(recorded: Product) -> None:
    for _ in range(2):
        recorded("exec", "-q", "--", "true")
    entries = recorded.json("ls", "--json")
    newest = entries[0]["id"]
    assert recorded("show", newest).status == recorded("show", "last").status == recorded("show", entries[0]["path"]).status == 0
    assert recorded("show", "last").stdout == recorded("show", newest).stdout
    common = newest[:4]  # the year: every run begins with it
    finished = recorded("show", common)
    assert finished.status != 0
    assert common in complaint(finished)


@pytest.mark.parametrize("arguments", [["show", "absent"], ["show", "/no/such/run"], ["rm", "-y", "absent"], ["show", "/etc"]])
def test_unknown_run(product: Product, arguments: list[str]) -> None:
    finished = product(*arguments)
    assert finished.status not in (0, 1)
    assert arguments[-1] in complaint(finished)


def test_rm_and_gc(recorded: Product) -> None:
    path = Path(recorded.json("ls", "--json")[0]["path"])
    assert recorded("rm", "-y", "first").status == 0
    assert not path.exists()
    assert recorded("ls", "--json").stdout == b""
    assert recorded("gc", "--now").status == 0
    store = Path(recorded.env["SENTRA_SANDBOX_HOME"])
    assert not [file for file in store.rglob("*") if file.is_file() and "files" in file.parts]


def test_follow(product: Product) -> None:
    running = product.start("exec", "-q", "--name", "long", "--", "sh", "-c", "for i in 1 2 3; do echo tick > file-$i; sleep 0.4; done")
    end = time.monotonic() + 10
    while not (entries := product.json("ls", "--json")):
        assert time.monotonic() < end, "a run that goes on must be listed"
        time.sleep(0.05)
    assert entries[0]["live"], entries
    followed = product("show", "long", "--follow", "--json", "--path", "file-", timeout=20)
    assert running.wait(10) == 0
    for stream in (running.stdin, running.stdout, running.stderr):
        assert stream
        stream.close()
    assert followed.status == 0
    assert b"file-3" in followed.stdout


def test_doctor(product: Product) -> None:
    finished = product("doctor")
    assert finished.status == 0, finished
    assert b"ptrace" in finished.stdout + finished.stderr


# ---- what every trace must satisfy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["proc_fork", "proc_exec_thread", "proc_exit_group", "sig_chld_storm", "bad_leader", "thr_primitives"])
def test_events_are_whole(name: str, native: bool, binaries: Path, work: Path, env: dict[str, str], recorder: Recorder) -> None:
    """Sequence numbers without holes, time that does not go back within a task, every task with a beginning and an end."""
    if native:
        pytest.skip("says something about sentra-sandbox only")
    from sentra_sandbox import open_trace
    from sentra_sandbox.trace.events import EventType

    recording = recorder.record(build(find(name), binaries), cwd=fresh(work), env=env)
    with open_trace(recording.trace) as trace:
        events = list(trace.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    begun: set[int] = {next(event.task for event in events if event.type == EventType.EXEC)}
    ended: set[int] = set()
    last: dict[int, int] = {}
    for event in events:
        assert event.time_ns >= last.get(event.task, 0)
        last[event.task] = event.time_ns
        if event.type == EventType.TASK:
            begun.add(event.task)
            ended.discard(event.task)
        elif event.type == EventType.EXEC and event.args[0] != event.task:
            ended.add(event.args[0])  # the thread that executed has taken the leader's id
            ended.discard(event.task)
        elif event.type == EventType.EXIT:
            ended.add(event.task)
    assert begun <= ended, begun - ended
    assert set(by_task(recording.events())) - {0} <= begun | {events[0].task}


def test_big_buffers_are_kept_whole(native: bool, work: Path, env: dict[str, str], recorder: Recorder) -> None:
    """3 MB written by one call: every byte is in the trace, in order, in the parts of the buffer."""
    if native:
        pytest.skip("says something about sentra-sandbox only")
    from sentra_sandbox import open_trace
    from sentra_sandbox.trace.events import EventType, SegmentKind

    code = "import os; os.write(os.open('big', os.O_CREAT | os.O_WRONLY), random := bytes((n * n >> 3) & 255 for n in range(3 << 20)))"
    recording = recorder.record(["python3", "-S", "-c", code], cwd=fresh(work), env=env)
    assert recording.finished.status == 0, recording.finished
    with open_trace(recording.trace) as trace:
        parts = [event for event in trace.events() if event.type == EventType.DATA and event.args[2] == SegmentKind.IN]
    data = b"".join(segment.data for event in parts for segment in event.segments)
    assert data == (work / "big").read_bytes()


# ---- damage ------------------------------------------------------------------------------------------------------------


def test_damaged_traces_give_one_clear_error(product: Product) -> None:
    """Bits flipped and files cut at random: a line that says so, or the right events; never a traceback, a hang or other events."""
    good = product.work / "good"
    assert product("exec", "-q", "-o", str(good), "--", "ls", "-R", "/etc/ssl").status == 0
    reference = product("show", str(good), "--json").stdout.splitlines()
    choose = random.Random(20261122)
    complaints = 0
    for number in range(24):
        bad = product.work / f"bad-{number}"
        shutil.copytree(good, bad)
        victim = choose.choice([path for path in sorted(bad.rglob("*")) if path.is_file() and path.stat().st_size])
        data = bytearray(victim.read_bytes())
        if number % 3 == 0:
            del data[choose.randrange(len(data)) :]
        else:
            data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        victim.write_bytes(data)
        finished = product("show", str(bad), "--json", timeout=20)
        assert b"Traceback" not in finished.stderr, (victim, finished.stderr)
        if finished.status:
            assert finished.stderr.startswith(b"sentra-sandbox: error: "), (victim, finished.stderr)
            complaints += 1
        shown = finished.stdout.splitlines()
        assert shown == reference[: len(shown)], victim
    assert complaints > 8


def test_other_version(product: Product) -> None:
    product("exec", "-q", "-o", "run", "--", "true")
    path = product.work / "run" / "run.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    finished = product("show", "./run")
    assert finished.status not in (0, 1)
    assert "99" in complaint(finished)
