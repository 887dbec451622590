"""The commands as a person uses them, on real recordings: what they print, where, and their exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Finished = subprocess.CompletedProcess[str]
Run = Callable[..., Finished]

SCRIPT = """
cd "$1"
echo hello > made.txt
cat made.txt >/dev/null
mv made.txt moved.txt
(exit 3)
"""


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sentra_sandbox", *arguments]


def environment(home: Path, **extra: str) -> dict[str, str]:
    return {**os.environ, "SENTRA_SANDBOX_HOME": str(home), "PYTHONPATH": str(ROOT), "NO_COLOR": "", **extra}


@pytest.fixture
def sandbox(tmp_path: Path) -> Run:
    """Runs ``sentra-sandbox`` with a store of its own."""

    def run(*arguments: str, env: dict[str, str] | None = None, input: str | None = None) -> Finished:
        return subprocess.run(
            command_line(*arguments),
            env=environment(tmp_path / "home", **(env or {})),
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A store with one run named ``work`` in it; the commands that only look at it share it."""
    place = tmp_path_factory.mktemp("recorded")

    def run(*arguments: str, env: dict[str, str] | None = None) -> Finished:
        return subprocess.run(
            command_line(*arguments),
            env=environment(place / "home", **(env or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = run("exec", "-q", "--name", "work", "--", "sh", "-c", SCRIPT, "sh", str(place))
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    return run


def own_lines(done: Finished) -> list[str]:
    """Stderr, every line of which must be ours."""
    lines = done.stderr.splitlines()
    assert all(line.startswith("sentra-sandbox: ") for line in lines), done.stderr
    return [line.removeprefix("sentra-sandbox: ") for line in lines]


# ---- exec


def test_exec_passes_output_and_status_and_ends_with_a_summary(sandbox: Run, tmp_path: Path) -> None:
    done = sandbox("exec", "--", "sh", "-c", f"cat; echo out; echo data > {tmp_path}/f; exit 7", input="in\n")
    assert done.returncode == 7
    assert done.stdout == "in\nout\n"
    text = "\n".join(own_lines(done))
    assert re.search(r"^run \S+: 2 processes, [\d,]+ events, .*", text, re.MULTILINE)
    assert f"files written: {tmp_path}/f" in text
    assert "hosts contacted: none" in text
    assert "refused calls: none" in text
    assert "network: open" in text
    assert text.endswith("next: sentra-sandbox show last")


def test_exec_quiet_says_nothing(sandbox: Run) -> None:
    done = sandbox("exec", "-q", "--", "sh", "-c", "echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "err\n")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--", "no-such-program"], 127, "no-such-program"),
        (["--", "/etc/passwd"], 126, "/etc/passwd"),
        (["--", "/tmp"], 126, "/tmp"),
        ([], 125, "CMD"),
        (["--nonsense", "true"], 125, "--nonsense"),
        (["--timeout", "never", "true"], 125, "never"),
        (["--net", "sideways", "true"], 125, "sideways"),
        (["-C", "/no/such/dir", "true"], 125, "/no/such/dir"),
        (["-e", "NOT_SET_HERE", "true"], 125, "NOT_SET_HERE"),
        (["-e", "=x", "true"], 125, "=x"),
        (["--profile", "/no/such/profile.json", "true"], 125, "/no/such/profile.json"),
        (["-o", "/proc/nope/run", "true"], 125, "/proc/nope/run"),
        (["--", ""], 127, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exec_errors_are_one_paragraph(sandbox: Run, arguments: list[str], status: int, words: str) -> None:
    done = sandbox("exec", *arguments)
    lines = own_lines(done)
    assert done.returncode == status, done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]
    assert done.stdout == ""


def test_exec_signal_and_timeout(sandbox: Run) -> None:
    assert sandbox("exec", "-q", "--", "sh", "-c", "kill -SEGV $$").returncode == 139
    started = time.monotonic()
    done = sandbox("exec", "--timeout", "300ms", "--", "sleep", "30")
    assert done.returncode == 124
    assert any("--timeout" in line and "124" in line for line in own_lines(done))
    assert time.monotonic() - started < 15


def test_exec_environment(sandbox: Run) -> None:
    show = "import os; print(sorted(os.environ)); print(os.environ.get('A'), os.environ.get('B'))"
    done = sandbox(
        "exec", "-q", "--clean-env", "-e", "A=1=2", "-e", "B", "--", sys.executable, "-c", show, env={"B": "b"}
    )
    names, values = done.stdout.splitlines()
    assert values == "1=2 b"
    assert "SENTRA_SANDBOX_HOME" not in names and "PATH" in names
    done = sandbox("exec", "-q", "-e", "A=", "--", sys.executable, "-c", show, env={"B": "b"})
    names, values = done.stdout.splitlines()
    assert values == " b" and "SENTRA_SANDBOX_HOME" in names


def test_exec_output_directory_and_chdir(sandbox: Run, tmp_path: Path) -> None:
    target = tmp_path / "my run"
    done = sandbox("exec", "-o", str(target), "-C", "/usr", "--", "pwd")
    assert done.stdout == "/usr\n"
    assert own_lines(done)[-1] == f"next: sentra-sandbox show '{target}'"
    assert (target / "run.json").exists()
    assert "/usr" in sandbox("show", f"{target}").stdout
    again = sandbox("exec", "-o", str(target), "--", "true")
    assert again.returncode == 125 and "not empty" in own_lines(again)[0]


def test_exec_network_none(sandbox: Run) -> None:
    code = "import socket; s = socket.socket(); s.settimeout(5); print(s.connect_ex(('192.0.2.1', 9)))"
    done = sandbox("exec", "--net", "none", "--", sys.executable, "-c", code)
    assert done.stdout.strip() == "101"  # ENETUNREACH
    text = "\n".join(own_lines(done))
    assert "hosts contacted: 192.0.2.1:9 (failed)" in text and "network: none" in text


# ---- ls


def test_ls(recorded: Run) -> None:
    done = recorded("ls")
    header, line = done.stdout.splitlines()
    assert header.split() == ["ID", "NAME", "WHEN", "DURATION", "EVENTS", "SIZE", "STATE", "EXIT", "GRADE", "COMMAND"]
    assert re.match(r"\d{8}-\d{6}-\w+ +work +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line)
    assert re.search(r" sealed +3 +(exact|inexact) +sh -c ", line)
    found = json.loads(recorded("ls", "--json").stdout)
    assert (found["name"], found["state"], found["exit_status"], found["live"]) == ("work", "sealed", 3, False)
    assert found["events"] > 20 and found["duration_ns"] > 0 and found["size_bytes"] > 0


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        (["--since", "1h"], True),
        (["--command", "sh -c"], True),
        (["--command", "python"], False),
        (["--state", "sealed"], True),
        (["--state", "recovered"], False),
        (["--name", "work"], True),
        (["--name", "wor"], False),
        (["-n", "0"], True),
    ],
)
def test_ls_filters(recorded: Run, filters: list[str], matches: bool) -> None:
    done = recorded("ls", *filters)
    assert ("work" in done.stdout) is matches
    if not matches:
        assert own_lines(done) == ["no recorded run matches"]


def test_ls_of_an_empty_store_says_what_to_do(sandbox: Run) -> None:
    done = sandbox("ls")
    assert done.stdout == "" and "sentra-sandbox exec" in own_lines(done)[0]
    assert sandbox("ls", "--json").stdout == ""


# ---- show


def test_show_lines(recorded: Run) -> None:
    lines = recorded("show", "work").stdout.splitlines()
    assert all(re.match(r" *\d+\.\d{6} +\d+  \S", line) for line in lines)
    text = "\n".join(lines)
    assert re.search(
        r'openat\(AT_FDCWD<[^>]+>, "made.txt", O_WRONLY\|O_CREAT\|O_TRUNC, 0666\) = \d+<.*/made.txt>', text
    )
    assert re.search(r'write\(1<[^>]*/made.txt>, "hello\\n", 6\) = 6', text)
    assert "+++ became" in text and "+++ exited with 3 +++" in text
    assert "\033" not in text


def test_show_filters(recorded: Run) -> None:
    def calls(*arguments: str) -> set[str]:
        return {
            json.loads(line).get("call") for line in recorded("show", "last", "--json", *arguments).stdout.splitlines()
        }

    assert calls("--syscall", "openat,write") == {"openat", "write"}
    assert calls("--syscall", "openat", "--syscall", "read") == {"openat", "read"}
    assert calls("--path", "made.txt") >= {"openat", "write"}
    assert "execve" not in calls("--path", "made.txt")
    assert calls("--class", "network") == set()
    assert calls("--class", "file") & {"rename", "renameat2"}
    assert calls("--type", "exit") == {None}
    assert len(recorded("show", "last", "-n", "3").stdout.splitlines()) == 3
    assert calls("--since", "1h") == set()
    assert recorded("show", "last", "--until", "1h").stdout == recorded("show", "last").stdout


def test_show_json_of_one_process(recorded: Run) -> None:
    tree = [json.loads(line) for line in recorded("show", "last", "--tree", "--json").stdout.splitlines()]
    child = next(process for process in tree if process["command"][0] == "mv")
    events = [
        json.loads(line) for line in recorded("show", "last", "--json", "--pid", str(child["pid"])).stdout.splitlines()
    ]
    assert {event["pid"] for event in events} == {child["pid"]}
    rename = next(event for event in events if event.get("call") in ("rename", "renameat2"))
    assert rename["result"] == 0 and [Path(path).name for path in rename["paths"]] == ["made.txt", "moved.txt"]


def test_show_tree(recorded: Run) -> None:
    lines = recorded("show", "last", "--tree").stdout.splitlines()
    assert re.match(r"\d+ sh -c .*\[exited with 3, ", lines[0])
    assert any(re.match(r"  \d+ mv made.txt moved.txt  \[exited with 0, ", line) for line in lines)
    assert any(re.match(r"  \d+ \(sh -c .*\)  \[exited with 3, ", line) for line in lines)


def test_show_files(recorded: Run) -> None:
    lines = recorded("show", "last", "--files").stdout.splitlines()
    assert lines[0].split() == ["USE", "READ", "WRITTEN", "CHANGES", "PATH"]
    assert any(re.match(r"write +6 B +6 B .*renamed +/\S*/made.txt", line) for line in lines)
    assert any(re.match(r"read .* mapped +/\S*/libc.so.6$", line) for line in lines)
    found = {
        Path(item["path"]).name: item
        for item in map(json.loads, recorded("show", "last", "--files", "--json").stdout.splitlines())
    }
    assert found["made.txt"]["written_bytes"] == 6 and found["moved.txt"]["changes"] == ["renamed"]


def test_show_summary(recorded: Run) -> None:
    text = recorded("show", "last", "--summary").stdout
    assert "command: sh -c" in text and "made.txt" in text and "moved.txt" in text
    found = json.loads(recorded("show", "last", "--summary", "--json").stdout)
    assert found["exit_status"] == 3 and found["processes"] == 4 and found["net"] == "open"
    assert [Path(path).name for path in found["files_written"]] == ["made.txt", "moved.txt"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["show", "nothing"], 125, "nothing"),
        (["show", "/no/such/run"], 125, "/no/such/run"),
        (["show", "/etc/"], 125, "/etc"),
        (["show"], 2, "RUN"),
        (["show", "last", "--syscall", "opnat"], 125, "opnat"),
        (["show", "last", "--class", "net"], 2, "net"),
        (["show", "last", "--tree", "--pid", "1"], 125, "--tree"),
        (["rm"], 125, "--older-than"),
        (["rm", "last"], 125, "-y"),
        (["rm", "nothing", "-y"], 125, "nothing"),
        (["nonsense"], 2, "nonsense"),
        (["ls", "--since", "x"], 2, "such as"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_paragraph(recorded: Run, arguments: list[str], status: int, words: str) -> None:
    done = recorded(*arguments)
    lines = own_lines(done)
    assert (done.returncode, done.stdout) == (status, "")
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


def test_debug_shows_the_traceback(recorded: Run) -> None:
    assert "Traceback" in recorded("show", "nothing", env={"SENTRA_SANDBOX_DEBUG": "1"}).stderr


def test_a_reader_that_goes_away_is_no_error(recorded: Run) -> None:
    shell = (
        f"{sys.executable} -m sentra_sandbox show last --json -s 4000 --type syscall --type file; echo status $? >&2"
    )
    home = recorded("ls", "--json")
    path = Path(json.loads(home.stdout)["path"]).parents[1]
    done = subprocess.run(
        ["bash", "-c", f"({shell}) | head -c 10"], env=environment(path), capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "status 141\n"


def test_a_damaged_trace_is_one_error(sandbox: Run, tmp_path: Path) -> None:
    target = tmp_path / "run"
    sandbox("exec", "-q", "-o", str(target), "--", "true")
    data = bytearray((target / "events").read_bytes())
    data[len(data) // 2] ^= 0x40
    (target / "events").write_bytes(data)
    done = sandbox("show", str(target))
    assert done.returncode == 125
    assert len(own_lines(done)) == 1 and "damaged" in done.stderr


# ---- crash, following, interruption


def start(home: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(command_line(*arguments), env=environment(home), text=True, **options)  # type: ignore[call-overload, no-any-return]


def wait_for_run(sandbox: Run) -> dict[str, object]:
    """The entry of the run that is being recorded."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for line in sandbox("ls", "--json").stdout.splitlines():
            entry: dict[str, object] = json.loads(line)
            if entry["live"]:
                return entry
        time.sleep(0.1)
    raise AssertionError("the run did not appear in ls")


def test_a_killed_recorder_leaves_a_run_that_is_recovered_once(sandbox: Run, tmp_path: Path) -> None:
    code = "import time; open('/dev/null').read(); print('ready', flush=True); time.sleep(60)"
    recorder = start(tmp_path / "home", "exec", "-q", "--", sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert recorder.stdout and recorder.stdout.readline() == "ready\n"
    assert wait_for_run(sandbox)["state"] == "incomplete"
    os.kill(recorder.pid, signal.SIGKILL)
    recorder.wait(20)
    recorder.stdout.close()
    first = sandbox("show", "last", "--path", "/dev/null")
    assert len(own_lines(first)) == 1 and "recovered" in own_lines(first)[0]
    assert "/dev/null" in first.stdout
    second = sandbox("show", "last", "--path", "/dev/null")
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert json.loads(sandbox("ls", "--json").stdout)["state"] == "recovered"


def test_follow_shows_events_while_they_happen_and_ends_with_the_run(sandbox: Run, tmp_path: Path) -> None:
    recorder = start(
        tmp_path / "home",
        "exec",
        "-q",
        "--",
        "sh",
        "-c",
        "read x; cat /etc/hostname",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    wait_for_run(sandbox)
    listing = sandbox("ls")
    assert " recording " in listing.stdout
    refused = sandbox("rm", "-y", "last")
    assert refused.returncode == 125 and "still being recorded" in refused.stderr
    follower = start(tmp_path / "home", "show", "--follow", "last", "--type", "exec", stdout=subprocess.PIPE)
    assert follower.stdout and recorder.stdin
    assert "became" in follower.stdout.readline()
    recorder.stdin.write("\n")
    recorder.stdin.close()
    rest = follower.stdout.read()
    assert "cat /etc/hostname" in rest
    assert (follower.wait(20), recorder.wait(20)) == (0, 0)
    follower.stdout.close()


def test_interrupt_ends_show_with_130_and_no_traceback(sandbox: Run, tmp_path: Path) -> None:
    recorder = start(tmp_path / "home", "exec", "-q", "--", "sleep", "60")
    wait_for_run(sandbox)
    follower = start(tmp_path / "home", "show", "--follow", "last", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert follower.stdout and follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    _, errors = follower.communicate(timeout=20)
    assert (follower.returncode, errors) == (130, "")
    recorder.send_signal(signal.SIGTERM)
    assert recorder.wait(20) == 143


# ---- rm, gc, doctor


def test_rm_and_gc(sandbox: Run) -> None:
    for name in ("one", "two", "three"):
        assert sandbox("exec", "-q", "--name", name, "--", "true").returncode == 0
    assert "deleted 1 run" in own_lines(sandbox("rm", "-y", "two"))[0]
    assert [json.loads(line)["name"] for line in sandbox("ls", "--json").stdout.splitlines()] == ["three", "one"]
    assert own_lines(sandbox("rm", "-y", "--older-than", "1h")) == ["no run is that old"]
    time.sleep(1.1)
    assert "deleted 2 runs" in own_lines(sandbox("rm", "-y", "--older-than", "50ms"))[0]
    assert sandbox("ls", "--json").stdout == ""
    dry, wet = sandbox("gc", "--dry-run"), sandbox("gc")
    assert (dry.returncode, wet.returncode) == (0, 0)
    assert own_lines(dry)[0].startswith("would free 0 B") and own_lines(wet)[0].startswith("freed 0 B")


def test_gc_frees_what_nobody_refers_to(sandbox: Run, tmp_path: Path) -> None:
    """Blobs are kept for an hour; here they are made older."""
    import sqlite3

    sandbox("exec", "-q", "--", "cat", "/etc/passwd")
    with sqlite3.connect(tmp_path / "home" / "blobs" / "blobs.db") as database:
        for table in ("blobs", "files"):
            database.execute(f"UPDATE {table} SET touched = touched - 7200")
    database.close()
    assert own_lines(sandbox("gc", "--dry-run"))[0].startswith("would free 0 B")
    sandbox("rm", "-y", "last")
    promised = own_lines(sandbox("gc", "--dry-run"))[0].removeprefix("would free ")
    assert not promised.startswith("0 B")
    assert own_lines(sandbox("gc"))[0].removeprefix("freed ") == promised


def test_doctor(sandbox: Run) -> None:
    done = sandbox("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 125)
    assert {probe["name"] for probe in found["probes"]} >= {"ptrace", "kernel"}
    assert "ptrace" in sandbox("doctor").stdout


def test_colour_only_where_it_is_wanted(recorded: Run) -> None:
    """On a terminal there is colour, unless NO_COLOR or TERM=dumb says otherwise."""
    import pty

    def on_terminal(**extra: str) -> bytes:
        path = Path(json.loads(recorded("ls", "--json").stdout)["path"]).parents[1]
        leader, follower = pty.openpty()
        with subprocess.Popen(
            command_line("show", "last", "-n", "5"), env=environment(path, **extra), stdout=follower
        ) as child:
            os.close(follower)
            output = b""
            while True:
                try:
                    chunk = os.read(leader, 65536)
                except OSError:
                    break
                if not chunk:
                    break
                output += chunk
            child.wait(20)
        os.close(leader)
        return output

    assert b"\033[" in on_terminal(TERM="xterm")
    assert b"\033[" not in on_terminal(TERM="xterm", NO_COLOR="1")
    assert b"\033[" not in on_terminal(TERM="dumb")


def test_version_and_help(sandbox: Run) -> None:
    assert sandbox("--version").stdout.startswith("sentra-sandbox")
    assert "Examples:" in sandbox("-h").stdout
    bare = sandbox()
    assert bare.returncode == 2 and "Usage:" in bare.stderr
