"""Standard streams and signals from outside: JSON-RPC over stdio, end of input, early close, shared file offsets,
SIGTERM.

Every test also holds for the bare program (``--native``).
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import fresh, run, sandbox_command

SERVER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "initialize":
        answer = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
    elif request["method"] == "tools/call":
        answer = {"content": [{"type": "text", "text": str(sum(request["params"]["numbers"]))}]}
    else:
        answer = {"error": "unknown method"}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answer}), flush=True)
print("end of input", file=sys.stderr)
raise SystemExit(3)
"""


@pytest.fixture
def prefix(native: bool) -> list[str]:
    """What to put before a command to record it."""
    return [] if native else [*sandbox_command(), "exec", "-q", "--"]


def start(argv: list[str], work: Path, env: dict[str, str], **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, cwd=fresh(work), env=env, start_new_session=True, **options)  # type: ignore[call-overload,no-any-return]


def test_json_rpc_server_over_stdio(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    """Each answer comes before the next question is asked: nothing is held back."""
    pipe = subprocess.PIPE
    with start([*prefix, sys.executable, "-c", SERVER], work, env, stdin=pipe, stdout=pipe, stderr=pipe) as server:
        assert server.stdin and server.stdout and server.stderr
        for number in range(50):
            method = "tools/call" if number else "initialize"
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": {"numbers": [number, 1]}}
            server.stdin.write(json.dumps(request).encode() + b"\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())
            assert answer["id"] == number
            if number:
                assert answer["result"]["content"][0]["text"] == str(number + 1)
        server.stdin.close()
        assert server.wait(10) == 3
        assert server.stdout.read() == b""
        assert server.stderr.read() == b"end of input\n"


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signal_from_outside_reaches_the_program(
    prefix: list[str], work: Path, env: dict[str, str], signo: int
) -> None:
    code = f"import signal, sys; signal.signal({int(signo)}, lambda *_: sys.exit(9)); print('up', flush=True)\nwhile True: signal.pause()"
    with start([*prefix, sys.executable, "-c", code], work, env, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"up\n"
        process.send_signal(signo)
        assert process.wait(10) == 9


def test_sigterm_ends_a_program_that_does_not_handle_it(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    with start([*prefix, "sh", "-c", "echo up; exec sleep 60"], work, env, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.wait(10) in (143, -signal.SIGTERM)


def test_early_close_of_the_output(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    """The reader goes after three lines: SIGPIPE ends the writer."""
    script = f"{shlex.join([*prefix, 'yes'])} | head -3; echo ${{PIPESTATUS[0]}}"
    finished = run(["bash", "-c", script], cwd=fresh(work), env=env)
    assert (finished.stdout, finished.stderr) == (b"y\ny\ny\n141\n", b"")


def test_a_pipeline_of_recorded_programs(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    parts = [["seq", "1", "20000"], ["sort", "-rn"], ["head", "-2"]]
    finished = run(["bash", "-c", " | ".join(shlex.join([*prefix, *part]) for part in parts)], cwd=fresh(work), env=env)
    assert finished.stdout == b"20000\n19999\n"


def test_file_offset_is_shared(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    """The program reads one line of its input; the shell goes on behind it. The same for output."""
    (fresh(work) / "lines").write_text("first\nsecond\nthird\n")
    inner = shlex.join([*prefix, "sh", "-c", "read x; echo program $x"])
    script = f"{{ {inner}; read y; echo shell $y; }} < lines > out; echo end >> out; cat out"
    assert run(["bash", "-c", script], cwd=work, env=env).stdout == b"program first\nshell second\nend\n"


@pytest.mark.parametrize("script", ["cat <&-; echo $?", "(echo lost >&-); echo $?", "cat < /dev/null; echo $?"])
def test_streams_closed_or_empty(prefix: list[str], work: Path, env: dict[str, str], script: str) -> None:
    expected = run(["bash", "-c", script], cwd=fresh(work), env=env)
    finished = run([*prefix, "bash", "-c", script], cwd=fresh(work), env=env)
    assert (finished.stdout, finished.stderr, finished.status) == (expected.stdout, expected.stderr, expected.status)


def test_started_with_closed_streams(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    """The recorder's own files must never become the program's standard streams."""
    script = (
        shlex.join([*prefix, "sh", "-c", "echo written > file; cat file > copy; exit 7"])
        + " <&- >&- 2>&-; echo $? > status"
    )
    run(["bash", "-c", script], cwd=fresh(work), env=env)
    assert [(work / name).read_text() for name in ("file", "copy", "status")] == ["written\n", "written\n", "7\n"]


def test_large_data_both_ways(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    data = os.urandom(1 << 20) * 20
    finished = run([*prefix, "cat"], cwd=fresh(work), env=env, stdin=data, timeout=60)
    assert finished.status == 0
    assert finished.stdout == data


def test_stderr_and_stdout_keep_their_order(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    script = shlex.join([*prefix, "sh", "-c", "for i in 1 2 3; do echo out $i; echo err $i >&2; done"]) + " 2>&1"
    assert (
        run(["sh", "-c", script], cwd=fresh(work), env=env).stdout.split()
        == b"out 1 err 1 out 2 err 2 out 3 err 3".split()
    )


def test_output_comes_while_the_program_runs(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    with start([*prefix, "sh", "-c", "echo first; sleep 2; echo second"], work, env, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"first\n"
        start_of_wait = time.monotonic()
        assert process.stdout.readline() == b"second\n"
        assert time.monotonic() - start_of_wait > 1
        assert process.wait(10) == 0


def test_ignored_signals_stay_ignored(prefix: list[str], work: Path, env: dict[str, str]) -> None:
    """nohup and shells hand on ignored signals; the sandbox must not set them back, nor add its own."""
    code = "import signal; print([s.name for s in (signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD) if signal.getsignal(s) == signal.SIG_IGN], signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    script = f"trap '' HUP; exec {shlex.join([*prefix, sys.executable, '-S', '-c', code])}"
    expected = run(
        ["bash", "-c", f"trap '' HUP; exec {shlex.join([sys.executable, '-S', '-c', code])}"], cwd=fresh(work), env=env
    )
    assert run(["bash", "-c", script], cwd=fresh(work), env=env).stdout == expected.stdout
    assert b"SIGHUP" in expected.stdout
