"""Looking into a replay at an event: stacks that the program itself vouches for, memory, control, and what must not be shown."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from edited_runs import edited, find_call, replaced, with_data
from needs import lacking
from replaying import record, run_directory
from running import Product, complaint

import sentra_sandbox
from sentra_sandbox.errors import UsageError
from sentra_sandbox.replay import session
from sentra_sandbox.replay.held import HeldReplay
from sentra_sandbox.replay.memory import Hold
from sentra_sandbox.trace.events import Event, EventType
from sentra_sandbox.trace.reader import Trace

PACKAGE = Path(sentra_sandbox.__file__).parent
WRITE = 1

# Each `tell` writes the stack that the interpreter itself sees, from the line that calls write.
SELF_TELLING = """
import json, os, sys, threading

def stack():
    frame = sys._getframe(1)
    found = []
    while frame:
        found.append([frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name])
        frame = frame.f_back
    return found

def tell(word):
    os.write(1, json.dumps([word, stack()]).encode() + b"\\n")

class Thing:
    def method(self, word):
        for unused in range(3):
            pass
        tell(
            word,
        )

def generator(word):
    for item in [word]:
        yield [Thing().method(name) for name in [item]]

def worker(barrier, word):
    barrier.wait()
    list(generator(word))

barrier = threading.Barrier(3)
threads = [threading.Thread(target=worker, args=(barrier, word)) for word in ("first", "second")]
for thread in threads:
    thread.start()
tell("main \\u20ac")
barrier.wait()
for thread in threads:
    thread.join()
pid = os.fork()
if pid == 0:
    Thing().method("child")
    os._exit(0)
os.waitpid(pid, 0)
sorted([1], key=lambda word: tell("lambda"))
"""

C_PROGRAM = r"""
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#define KEPT __attribute__((noinline))
static char text[64];
KEPT int innermost(const char *what) { strcpy(text, what); return (int)write(1, text, strlen(text)) + 1; }
KEPT int middle_part(const char *what) { return innermost(what) + 1; }
KEPT int outer_part(const char *what) { return middle_part(what) + 1; }
static void handler(int signo) { (void)signo; outer_part("handler\n"); }
static void *thread_part(void *unused) { (void)unused; outer_part("thread\n"); return NULL; }
int main(void)
{
    pthread_t thread;
    outer_part("main\n");
    pthread_create(&thread, NULL, thread_part, NULL);
    pthread_join(thread, NULL);
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    return 0;
}
"""
CHAIN = ["innermost", "middle_part", "outer_part"]


def pythons() -> list[str]:
    """Every CPython of this machine that has a layout of its own: one a minor version."""
    places = [Path(sys.executable), *Path.home().glob(".pyenv/versions/3.*/bin/python3")]
    places += [Path(found) for minor in range(8, 15) if (found := shutil.which(f"python3.{minor}"))]
    by_version: dict[str, str] = {}
    for place in places:
        asked = subprocess.run([place, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True)
        if asked.returncode == 0 and 8 <= int(asked.stdout) <= 14:
            by_version.setdefault(asked.stdout, str(place))
    return list(by_version.values())


def inspect(product: Product, *arguments: str) -> dict[str, Any]:
    (found,) = product.json("inspect", "--json", *arguments)
    return found


def current(found: dict[str, Any]) -> dict[str, Any]:
    task = found["tasks"][0]
    assert task["task"] == found["current"]
    assert isinstance(task, dict)
    return task


def writes(run: Path) -> list[Event]:
    """The program's writes to its output."""
    with Trace(run) as trace:
        return [e for e in trace.events() if e.type == EventType.SYSCALL and e.nr == WRITE and e.args[0] == 1]


@pytest.mark.parametrize("python", pythons())
def test_python_stacks_are_what_python_says(product: Product, python: str) -> None:
    script = product.work / "telling.py"
    script.write_text(SELF_TELLING)
    recorded = record(product, "telling", python, str(script))
    assert recorded.finished.status == 0, recorded.finished
    told = [json.loads(line) for line in recorded.finished.stdout.splitlines()]
    assert sorted(word for word, _ in told) == sorted(["main \u20ac", "first", "second", "child", "lambda"])
    events = writes(run_directory(product, "telling"))
    assert len(events) == len(told)
    for event, (word, stack) in zip(events, told, strict=True):
        found = inspect(product, "telling", "--at", str(event.seq))
        shown = current(found)["python_stack"]
        assert [[frame["file"], frame["line"]] for frame in shown] == [frame[:2] for frame in stack], word
        for frame, (_, _, name) in zip(shown, stack, strict=True):
            assert frame["function"].rpartition(".")[2] == name


def test_other_threads_have_stacks_of_their_own(product: Product) -> None:
    (product.work / "telling.py").write_text(SELF_TELLING)
    record(product, "telling", sys.executable, "telling.py")
    (first, *_) = writes(run_directory(product, "telling"))
    found = inspect(product, "telling", "--at", str(first.seq))
    waiting = [task for task in found["tasks"] if task["task"] != found["current"]]
    assert len(waiting) == 2
    for task in waiting:
        assert "worker" in [frame["function"].rpartition(".")[2] for frame in task["python_stack"]]
        assert task["process"] == current(found)["process"] and task["call"] == "futex"


@pytest.fixture(scope="session")
def c_programs(place: Path) -> dict[str, str]:
    """The C program, built with and without what unwinding needs."""
    source = place / "chain.c"
    source.write_text(C_PROGRAM)
    built = {}
    for name, flags in {
        "usual": ["-O2"],
        "static": ["-O1", "-static"],
        "frame-pointers": ["-O1", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
        "nothing": ["-O1", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
    }.items():
        target = place / f"chain-{name}"
        calls = ["-fno-optimize-sibling-calls", "-fno-ipa-cp", "-fno-inline", "-pthread"]
        subprocess.run(["cc", *flags, *calls, "-o", target, source], check=True, timeout=60)
        built[name] = str(target)
    return built


def names(task: dict[str, Any]) -> list[str]:
    return [frame["function"] for frame in task["native_stack"]]


@pytest.mark.parametrize("build", ["usual", "static"])
def test_native_stacks(product: Product, c_programs: dict[str, str], build: str) -> None:
    product.record("chain", c_programs[build])
    at = {bytes(e.segments[0].data): e.seq for e in writes(run_directory(product, "chain"))}
    tasks = {word: current(inspect(product, "chain", "--at", str(seq))) for word, seq in at.items()}
    for task in tasks.values():
        assert all(frame["found"] == "exact" for frame in task["native_stack"]), task["native_stack"]
        functions = names(task)
        start = functions.index("innermost")
        assert functions[start : start + 3] == CHAIN
    main = names(tasks[b"main\n"])
    assert main[main.index("outer_part") + 1] == "main" and main[-1] == "_start"
    assert "thread_part" in names(tasks[b"thread\n"]) and "main" not in names(tasks[b"thread\n"])
    handler = names(tasks[b"handler\n"])
    assert handler.index("outer_part") < handler.index("handler") < handler.index("main")  # through the signal frame


@pytest.mark.parametrize(("build", "way"), [("frame-pointers", "frame pointer"), ("nothing", "scan")])
def test_guessed_frames_say_so(product: Product, c_programs: dict[str, str], build: str, way: str) -> None:
    product.record("chain", c_programs[build])
    task = current(inspect(product, "chain", "--next-syscall", "write"))
    found = {frame["function"]: frame["found"] for frame in task["native_stack"]}
    assert found["innermost"] == "exact"  # write's own caller is in libc's information
    assert found["middle_part"] == way and found["main"] != "exact"


def test_memory_is_what_is_written(product: Product, c_programs: dict[str, str]) -> None:
    product.record("chain", c_programs["usual"])
    for event in writes(run_directory(product, "chain")):
        data = event.segments[0].data
        found = inspect(product, "chain", "--at", str(event.seq), "--memory", f"{event.args[1]:#x}:{len(data)}")
        assert bytes.fromhex(found["memory"][0]["hex"]) == data
        assert int(current(found)["registers"]["rsi"], 16) == event.args[1]
    text = product("inspect", "chain", "--next-syscall", "write", "--memory", "rsi:5").stdout.decode()
    assert "6d 61 69 6e 0a" in text and "|main.|" in text


def test_descriptors_and_maps_are_the_recorded_ones(product: Product) -> None:
    (product.work / "data").write_text("x")
    script = "exec 7<data; exec 8>/dev/null; read line <&7; cat data"
    product.record("files", "bash", "-c", script)
    found = inspect(product, "files", "--next-syscall", "read", "--path", "*/data")
    task = current(found)
    assert task["descriptors"]["7"] == str(product.work / "data")
    assert task["descriptors"]["8"] == "/dev/null" and task["descriptors"]["1"] == "stdout"
    mapped = {item["path"] for item in task["maps"]}
    assert any(path.endswith("/bash") for path in mapped) and any("libc.so" in path for path in mapped)
    assert not any(path.startswith("/.blobs") for path in mapped)
    assert task["command"] == ["bash", "-c", script]
    text = product("inspect", "files", "--at", str(found["seq"])).stdout.decode()
    assert text.count("> task ") == 1 and f"before event {found['seq']:,} of" in text
    assert str(product.work / "data") in text and "rip" in text


def test_nothing_of_ours_is_shown(product: Product) -> None:
    """Before the first image the task is the launcher."""
    product.record("true", "true")
    task = current(inspect(product, "true", "--at", "1"))
    assert task["registers"] == {} and task["maps"] == [] and task["native_stack"] == []
    assert "not been loaded" in task["problem"]
    complaint(product("inspect", "true", "--at", "1", "--memory", "rsp:16"))


def test_control(product: Product, tmp_path: Path) -> None:
    """Stop again and again, look, go on: the output is the recorded one."""
    (product.work / "telling.py").write_text(SELF_TELLING)
    recorded = record(product, "telling", sys.executable, "telling.py")
    run = run_directory(product, "telling")
    with Trace(run) as trace, open(tmp_path / "out", "w+b") as out:
        last = trace.meta.counts["events"]
        with HeldReplay(trace, stdout=out.fileno()) as held:
            for event in writes(run):
                assert held.run_to(event.seq) == Hold.AT_EVENT
                task = next(item for item in held.tasks() if item.inner_tid == event.task)
                assert (task.state, task.nr, task.args[:3]) == ("call", WRITE, event.args[:3])
                printed = Path(out.name).read_bytes()
                assert recorded.finished.stdout.startswith(printed) and event.segments[0].data not in printed
            with pytest.raises(UsageError, match="already"):
                held.run_to(1)
            result = held.finish()
        assert result.divergence is None and result.exit_status == 0 and result.last_seq == last
        assert Path(out.name).read_bytes() == recorded.finished.stdout
        with HeldReplay(trace) as held:
            assert held.run_to(last + 1) == Hold.ENDED
            assert held.tasks() == () and held.finish().exit_status == 0
        with HeldReplay(trace) as held:
            assert held.run_to(last // 2) == Hold.AT_EVENT
            tids = [task.tid for task in held.tasks()]
        assert tids and not any(Path(f"/proc/{tid}").exists() for tid in tids)  # left in the middle


def test_divergence_has_the_stacks(product: Product) -> None:
    script = product.work / "reads.py"
    script.write_text(
        "import os\n\ndef inner(line):\n    os.write(1, line.upper().encode())\n\n"
        "def outer():\n    for line in open('data'):\n        inner(line)\n\nouter()\n"
    )
    (product.work / "data").write_text("one\ntwo\n")
    record(product, "reads", sys.executable, str(script))

    def change(events: list[Event]) -> list[Event]:
        index = find_call(events, 0, b"one\ntwo\n")
        return replaced(events, index, segments=with_data(events[index], b"two", b"owt"))

    run = edited(run_directory(product, "reads"), change)
    finished = product("replay", "--verify", "--json", str(run))
    assert finished.status == 122, finished
    report = json.loads(finished.stdout)["divergence"]
    expected = [(str(script), 4, "inner"), (str(script), 8, "outer"), (str(script), 10, "<module>")]
    assert [(f["file"], f["line"], f["function"]) for f in report["python_stack"]] == expected
    assert "write" in report["native_stack"][0]["function"] and len(report["native_stack"]) > 5
    text = product("replay", "-q", str(run)).stderr.decode()
    assert f"{script}:4 inner" in text and "native stack" in text
    at_end = product("inspect", str(run), "--at", str(report["seq"] + 1))
    assert at_end.status == 122 and f"{script}:4 inner" in at_end.stdout.decode()
    assert "replay diverged" in at_end.stderr.decode()


def test_a_loop_that_never_ends_has_the_stacks(product: Product, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No call comes, so the task is stopped where it is."""
    script = product.work / "loops.py"
    script.write_text(
        "import os\n\ndef spin():\n    while data == b'qzx':\n        pass\n\ndata = os.read(os.open('data', 0), 3)\nspin()\n"
    )
    (product.work / "data").write_text("qzq")
    product.record("loops", sys.executable, str(script))

    def change(events: list[Event]) -> list[Event]:
        index = find_call(events, 0, b"qzq")
        return replaced(events, index, segments=with_data(events[index], b"qzq", b"qzx"))

    monkeypatch.setattr(session, "HANG_NS", 300_000_000)
    result = session.replay(edited(run_directory(product, "loops"), change), stdout=-1, stderr=-1)
    assert result.divergence is not None and result.divergence.kind == "hang"
    innermost, outer = result.divergence.python_stack
    assert innermost.function == "spin" and innermost.line in (4, 5) and outer.line == 8
    assert "PyEval" in " ".join(frame.function for frame in result.divergence.native_stack)


def test_a_new_task_is_its_parents_doing(product: Product) -> None:
    product.record("fork", "sh", "-c", "(exit 0); exit 0")
    with Trace(run_directory(product, "fork")) as trace:
        started = next(event for event in trace.events() if event.type == EventType.TASK)
    found = inspect(product, "fork", "--at", str(started.seq))
    assert [task["task"] for task in found["tasks"]] == [found["current"]] != [started.task]
    after = inspect(product, "fork", "--at", str(started.seq + 1))
    assert {task["task"] for task in after["tasks"]} == {found["current"], started.task}


def test_mistakes(product: Product) -> None:
    product.record("true", "true")
    for arguments, word in (
        ((), "--at"),
        (("--at", "999999"), "no event 999999"),
        (("--next-syscall", "connect"), "no such call"),
        (("--next-syscall", "konnect"), "konnect"),
        (("--at", "5", "--memory", "rsp"), "ADDR:LEN"),
        (("--at", "5", "--memory", "rsp:99999999"), "ADDR:LEN"),
        (("--at", "5", "--memory", "nowhere:4"), "register"),
        (("--at", "5", "--memory", "0x10:4"), "no memory"),
        (("--at", "5", "--task", "77"), "no task 77"),
    ):
        finished = product("inspect", "true", *arguments)
        assert finished.status == 125 and finished.stdout == b"", (arguments, finished)
        assert word in complaint(finished), arguments


def as_nobody(argv: list[str], env: dict[str, str]) -> bytes | None:
    """What the command prints; None when it fails, or may not even be executed."""
    ours = [path for path in sys.path if path.endswith("site-packages")]
    nobody = pwd.getpwnam("nobody")
    try:
        done = subprocess.run(
            argv,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *ours]), **env},
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            stdout=subprocess.PIPE,
            cwd="/",
            timeout=60,
        )
    except PermissionError:
        return None
    return done.stdout if done.returncode == 0 else None


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here is already an ordinary user's")
def test_as_an_ordinary_user(c_programs: dict[str, str], short_path: Path) -> None:
    needs = "import cffi, click, zstandard, sentra_sandbox.native"
    places = (sys.executable, "/usr/bin/python3")
    python = next((place for place in places if as_nobody([place, "-c", needs], {}) is not None), "")
    if not python:
        lacking("a Python with our needs that an ordinary user may execute")
    os.chmod(short_path, 0o777)
    program = shutil.copy(c_programs["static"], short_path / "chain")
    env = {"SENTRA_SANDBOX_HOME": str(short_path / "home")}
    product = [python, "-m", "sentra_sandbox"]
    assert as_nobody([*product, "exec", "-q", "--name", "chain", "--", str(program)], env)
    shown = as_nobody([*product, "inspect", "chain", "--next-syscall", "write", "--memory", "rsi:5", "--json"], env)
    assert shown is not None
    found = json.loads(shown)
    assert bytes.fromhex(found["memory"][0]["hex"]) == b"main\n"
    functions = names(current(found))
    start = functions.index("innermost")
    assert functions[start : start + 4] == [*CHAIN, "main"]
