"""``exec``: its options, its exit statuses, what it prints, and what the program inside can see."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import SANDBOX, Product, complaint, gone, run

# ---- exit statuses
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script, status",
    [("exit 0", 0), ("exit 1", 1), ("exit 125", 125), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("ulimit -c 0; kill -SEGV $$", 139)],
)  # fmt: skip
def test_status_is_the_programs_own(product: Product, script: str, status: int) -> None:
    finished = product("exec", "-q", "--", "sh", "-c", script)
    assert (finished.status, finished.stdout, finished.stderr) == (status, b"", b"")


@pytest.mark.parametrize("command", ["no-such-command-here", "./absent", "/no/such/directory/program"])
def test_command_not_found(product: Product, command: str) -> None:
    finished = product("exec", "--", command)
    assert finished.status == 127
    assert command in complaint(finished)


def test_command_not_executable(product: Product) -> None:
    (product.work / "plain").write_text("#!/bin/sh\n")
    (product.work / "plain").chmod(0o644)
    (product.work / "directory").mkdir()
    for name in ("./plain", "./directory"):
        finished = product("exec", "--", name)
        assert finished.status == 126
        assert name.removeprefix("./") in complaint(finished)


def test_missing_interpreter(product: Product) -> None:
    (product.work / "script").write_text("#!/no/such/interpreter\n")
    (product.work / "script").chmod(0o755)
    finished = product("exec", "--", "./script")
    assert finished.status in (126, 127)
    assert "script" in complaint(finished)


def test_script_without_a_first_line(product: Product) -> None:
    """As execvp does it for every shell and env(1): what the kernel does not know is given to sh."""
    (product.work / "script").write_text("echo by sh $1; exit 4\n")
    (product.work / "script").chmod(0o755)
    finished = product("exec", "-q", "--", "./script", "word")
    assert (finished.stdout, finished.status) == (b"by sh word\n", 4)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option", "--", "true"],
        ["--net", "everything", "--", "true"],
        ["--timeout", "soon", "--", "true"],
        ["--timeout", "-3", "--", "true"],
        ["--profile", "no-such-profile", "--", "true"],
        ["-e", "NOT_SET_ANYWHERE", "--", "true"],
        ["-C", "/no/such/directory", "--", "true"],
        ["-o", "/proc/no-such/run", "--", "true"],
        ["-o", "/etc/passwd/run", "--", "true"],
        ["--"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_use(product: Product, arguments: list[str]) -> None:
    """125 as for every failure of the sandbox: another status could be the program's."""
    finished = product("exec", *arguments)
    assert finished.status == 125
    assert finished.stdout == b""
    complaint(finished)


# ---- options
# -----------------------------------------------------------------------------------------------------------


def test_directory_and_environment(product: Product) -> None:
    (product.work / "inner").mkdir()
    finished = product(
        "exec",
        "-q",
        "-C",
        "inner",
        "-e",
        "GIVEN=one two",
        "-e",
        "PASSED",
        "--",
        "sh",
        "-c",
        "pwd; echo $GIVEN/$PASSED/$PWD",
        PASSED="on",
    )
    inner = str(product.work / "inner")
    assert finished.stdout.decode().split("\n") == [inner, f"one two/on/{inner}", ""]


def test_clean_environment(product: Product) -> None:
    finished = product("exec", "-q", "--clean-env", "-e", "GIVEN=1", "--", "env", SECRET="x")
    names = {line.split("=")[0] for line in finished.stdout.decode().splitlines()}
    assert "GIVEN" in names and "PATH" in names and "SECRET" not in names


def test_timeout(product: Product) -> None:
    word = f"sentra-timeout-{time.monotonic_ns()}"
    start = time.monotonic()
    finished = product(
        "exec",
        "--timeout",
        "500ms",
        "--",
        "sh",
        "-c",
        f": {word}; trap '' TERM; (sleep 60; echo {word}) & while :; do sleep 1; done",
    )
    assert finished.status == 124
    assert time.monotonic() - start < 10
    assert b"timeout" in finished.stderr
    assert gone(word, 1)


def test_quiet_and_summary(product: Product) -> None:
    quiet = product("exec", "-q", "--", "echo", "out")
    assert (quiet.stdout, quiet.stderr) == (b"out\n", b"")
    spoken = product("exec", "--", "sh", "-c", "echo out; echo err >&2; echo x > written-here; mkdir d")
    assert spoken.stdout == b"out\n"
    lines = spoken.stderr.decode().splitlines()
    assert lines.pop(0) == "err"
    assert lines and all(line.startswith("sentra-sandbox: ") for line in lines)
    text = "\n".join(lines)
    newest = product.json("ls", "--json")[0]
    for part in (newest["id"], "process", "event", "written-here", "grade", "show"):
        assert part in text, part


def test_output_directory(product: Product) -> None:
    target = product.work / "runs" / "here"
    target.parent.mkdir()
    assert product("exec", "-q", "-o", str(target), "--", "true").status == 0
    assert (target / "run.json").exists()
    assert product("show", str(target)).status == 0
    again = product("exec", "-o", str(target), "--", "touch", "ran")
    assert again.status == 125
    assert str(target) in complaint(again)
    assert not (product.work / "ran").exists()


def test_output_directory_not_writable(product: Product) -> None:
    if os.geteuid() == 0:
        target = "/proc/self/run"  # nobody can write there, root neither
    else:
        (product.work / "locked").mkdir(mode=0o555)
        target = str(product.work / "locked" / "run")
    finished = product("exec", "-o", target, "--", "touch", "ran")
    assert finished.status == 125
    assert target in complaint(finished)
    assert not (product.work / "ran").exists()


def test_trace_is_private(product: Product) -> None:
    target = product.work / "run"
    product("exec", "-q", "-o", str(target), "--", "true")
    assert target.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in target.rglob("*"))


def test_nested(product: Product) -> None:
    finished = product("exec", "-q", "--", *[str(SANDBOX), "exec", "--", "true"])
    assert finished.status == 125
    assert "sandbox" in complaint(finished)


# ---- what the program sees
# ---------------------------------------------------------------------------------------------


def inside(product: Product, code: str, *options: str) -> object:
    """What a Python expression gives inside of the sandbox."""
    finished = product(
        "exec", "-q", *options, "--", sys.executable, "-S", "-c", f"import os, json; print(json.dumps({code}))"
    )
    assert finished.status == 0, finished
    return json.loads(finished.stdout)


def test_one_cpu(product: Product) -> None:
    assert inside(
        product, "[len(os.sched_getaffinity(0)), os.cpu_count(), open('/proc/cpuinfo').read().count('processor\\t')]"
    ) == [1, 1, 1]


def test_processes_of_its_own_only(product: Product) -> None:
    assert inside(product, "[os.getpid() < 100, sum(name.isdigit() for name in os.listdir('/proc')) < 5]") == [
        True,
        True,
    ]


# What leads out of a sandbox, whatever else root may do with its own files.
DANGEROUS = {
    "dac_read_search": 2, "net_admin": 12, "net_raw": 13, "sys_module": 16, "sys_rawio": 17, "sys_chroot": 18, "sys_ptrace": 19,
    "sys_admin": 21, "sys_boot": 22, "sys_nice": 23, "sys_resource": 24, "sys_time": 25, "mknod": 27, "mac_override": 32,
    "syslog": 34, "perfmon": 38, "bpf": 39, "checkpoint_restore": 40,
}  # fmt: skip


def test_no_privileges(product: Product) -> None:
    status = inside(
        product, "dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)"
    )
    assert isinstance(status, dict)
    held = int(status["CapEff"], 16) | int(status["CapPrm"], 16) | int(status["CapBnd"], 16) | int(status["CapAmb"], 16)
    assert [name for name, bit in DANGEROUS.items() if held >> bit & 1] == []
    if os.geteuid() != 0:
        assert int(status["CapEff"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"], status["TracerPid"]) == ("1", "2", "0")


def test_identity_is_kept(product: Product) -> None:
    assert inside(product, "[os.getuid(), os.getgid()]") == [os.getuid(), os.getgid()]


def test_no_descriptors_of_ours(product: Product) -> None:
    assert (
        inside(
            product,
            "sorted(os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2 and os.path.exists(f'/proc/self/fd/{n}'))",
        )
        == []
    )


def test_vdso_is_hidden(product: Product) -> None:
    """AT_SYSINFO_EHDR (33) is gone from the auxiliary vector: every clock reading is a call that we see."""
    assert inside(product, "__import__('ctypes').CDLL(None).getauxval(33)") == 0


@pytest.fixture
def host_server() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_network(product: Product, host_server: int) -> None:
    connect = f"__import__('socket').socket().connect_ex(('127.0.0.1', {host_server}))"
    assert inside(product, connect, "--net", "host") == 0
    assert inside(product, connect, "--net", "none") != 0


def test_loopback_works_without_network(product: Product) -> None:
    code = "(lambda s: (s.bind(('127.0.0.1', 0)), s.listen(), __import__('socket').create_connection(s.getsockname(), 5), 'connected')[-1])(__import__('socket').socket())"
    assert inside(product, code, "--net", "none") == "connected"


# ---- several at once
# ---------------------------------------------------------------------------------------------------


def test_recordings_side_by_side(product: Product) -> None:
    processes = [
        product.start(
            "exec",
            "-q",
            "--name",
            f"side-{n}",
            "--",
            "sh",
            "-c",
            f"for i in 1 2 3 4 5; do ls / >/dev/null; done; exit {n}",
        )
        for n in range(4)
    ]
    assert [process.communicate(timeout=60) for process in processes] == [(b"", b"")] * 4
    assert [process.returncode for process in processes] == [0, 1, 2, 3]
    assert {entry["name"] for entry in product.json("ls", "--json")} == {"side-0", "side-1", "side-2", "side-3"}


def test_module_can_be_run(product: Product) -> None:
    finished = run(
        [sys.executable, "-m", "sentra_sandbox", "exec", "-q", "--", "echo", "through the module"],
        cwd=product.work,
        env=product.env,
    )
    assert finished.stdout == b"through the module\n"


# ---- the Python API
# ----------------------------------------------------------------------------------------------------


def test_python_api(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentra_sandbox import CommandNotFound, open_trace
    from sentra_sandbox import run as record

    monkeypatch.setenv("SENTRA_SANDBOX_HOME", str(product.work / "store"))
    result = record(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, name="from-python")
    assert (result.exit_status, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    with open_trace(result.run_id) as trace:
        events = list(trace.events())
    assert len(events) == result.events > 10
    assert any(segment.data == b"out\n" for event in events for segment in event.segments)
    with pytest.raises(CommandNotFound):
        record(["no-such-command-here"])
    assert record(["sleep", "30"], timeout_s=0.3).timed_out


def test_python_api_from_a_thread(product: Product, tmp_path: Path) -> None:
    """Recording does not hold the interpreter, and two runs may go on in one process."""
    code = """
import threading, time
from sentra_sandbox import run
results = {}
def one(n):
    results[n] = run(["sh", "-c", f"sleep 0.5; exit {n}"]).exit_status
threads = [threading.Thread(target=one, args=(n,)) for n in (1, 2)]
ticks = 0
for thread in threads: thread.start()
while any(thread.is_alive() for thread in threads):
    time.sleep(0.01); ticks += 1
print(sorted(results.items()), ticks > 10)
"""
    finished = run([sys.executable, "-c", code], cwd=product.work, env=product.env)
    assert (finished.stdout, finished.stderr) == (b"[(1, 1), (2, 2)] True\n", b"")
