"""Differential: the calls, results and order that we record against what strace sees of the same program.

Tolerated is only what must differ, and the rules below say why. Programs with one thread are compared call by call
for each process; for Node and Go, whose threads share out work as it comes, the files they open, what they execute
and connect to.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import strace_log
from commands.commands import FILES, GIT, PYTHON
from programs import build, find
from running import Recorder, fresh
from seen import INTERRUPTED, Seen, never_stopped
from test_commands import go_workload  # noqa: F401  (a fixture)

Step = tuple[str, object]

# Hidden in the vDSO natively, real calls when recorded (or the other way round when a signal interrupts one).
CLOCKS = {"clock_gettime", "gettimeofday", "time", "getcpu", "restart_syscall"}
# Mappings: special in our table, and libraries decide by addresses.
MAPPINGS = {"mmap", "munmap", "mprotect", "mremap", "brk", "madvise"}
# How often these are made depends on who runs when.
SCHEDULING = {"futex", "sched_yield"}
# Their results are ids or addresses (a process group whose leader is outside of the sandbox has the id 0).
IDENTITIES = {"clone", "clone3", "fork", "vfork", "wait4", "getpid", "gettid", "getppid", "set_tid_address", "getpgid", "getpgrp", "getsid", "setsid", "shmat", "shmget", "semget", "msgget", "times"}  # fmt: skip
# Refused by the sandbox and used by every libc; one CPU shown.
OTHERWISE = {"rseq", "sched_getaffinity"}

SINGLE = [
    "mem_iovec",
    "mem_msg",
    "mem_mmsg",
    "mem_poll",
    "mem_dirs",
    "mem_locks",
    "mem_splice",
    "mem_map",
    "mem_sysv",
    "mem_queries",
    "mem_sockets",
    "proc_fork",
    "proc_vfork",
    "proc_exec",
    "sig_faults",
    "sig_handlers",
    "bad_buffers",
    "bad_code",
    "bad_closefds",
]


def task_names(events: list[Seen]) -> dict[int, str]:
    """Tasks by their place in the tree of creation ("0", its second child "0.2"): ids differ, places do not."""
    first = next(event.task for event in events if event.kind == "exec")
    names, children = {first: "0"}, defaultdict(list)
    for event in events:
        if event.kind == "task":
            children[event.args[0]].append(event.task)
    waiting = [first]
    while waiting:
        parent = waiting.pop()
        for number, child in enumerate(children[parent], 1):
            if child not in names:
                names[child] = f"{names[parent]}.{number}"
                waiting.append(child)
    return names


def step(event: Seen) -> Step:
    """An event as far as it must be equal."""
    if event.kind != "call":
        return event.kind, None
    if event.name in ("exit", "exit_group", "rt_sigreturn"):
        return event.name, None
    if event.result in INTERRUPTED:
        return event.name, "interrupted"
    if event.name in IDENTITIES:
        return event.name, "ok" if event.result is not None and event.result >= 0 else event.result
    return event.name, event.result


def steps(events: list[Seen], ignored: set[str]) -> dict[str, list[Step]]:
    """The comparable steps of each task."""
    names = task_names(events)
    result: dict[str, list[Step]] = defaultdict(list)
    for event in events:
        executed = event.name in ("execve", "execveat") and event.result == 0  # both sides tell it as an exec event too
        if event.task in names and event.kind in ("call", "exec") and event.name not in ignored and not executed:
            result[names[event.task]].append(step(event))
    return dict(result)


def strace(command: list[str], work: Path, env: dict[str, str]) -> list[Seen]:
    return Recorder(work.parent, by_strace=True).record(command, cwd=work, env=env).events()


def ignored_calls(native: bool) -> set[str]:
    return CLOCKS | MAPPINGS | SCHEDULING | OTHERWISE | (set() if native else never_stopped())


def first_difference(ours: list[Step], theirs: list[Step]) -> str:
    """Where two lists part, with what led there."""
    index = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return f"after {ours[max(0, index - 3) : index]}: recorded {ours[index : index + 4]}, strace {theirs[index : index + 4]}"


def compare_calls(recorded: list[Seen], reference: list[Seen], native: bool) -> None:
    ours, theirs = steps(recorded, ignored_calls(native)), steps(reference, ignored_calls(native))
    assert sorted(ours) == sorted(theirs)
    for task in theirs:
        assert ours[task] == theirs[task], f"task {task}: {first_difference(ours[task], theirs[task])}"
    assert sum(map(len, theirs.values())) > 5


@pytest.mark.parametrize("name", SINGLE)
def test_tracee(name: str, binaries: Path, work: Path, env: dict[str, str], recorder: Recorder, native: bool) -> None:
    command = build(find(name), binaries)
    reference = strace(command, fresh(work), env)
    compare_calls(recorder.record(command, cwd=fresh(work), env=env).events(), reference, native)


COMMANDS = {
    "ls": (FILES, "exec ls -la tree/a tree"),
    "git": (GIT + "git init -q r; cd r; seq 99 > a; git add .; git commit -qm x; seq 98 > a; touch b", "cd r && git status && git diff"),
    "pipeline": (FILES, "grep -r alpha tree | wc -l; (cat tree/words; exit 3) && echo no || echo yes"),
    "python": ("", f"exec {PYTHON} -S -c 'import json, os; print(json.dumps(sorted(os.listdir(\"/\"))[:2])); open(\"f\", \"w\").write(\"x\")'"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_command(name: str, work: Path, env: dict[str, str], recorder: Recorder, native: bool) -> None:
    setup, script = COMMANDS[name]
    env = {**env, "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1", "GIT_OPTIONAL_LOCKS": "0"}

    def prepared() -> Path:
        subprocess.run(["bash", "-c", setup or "true"], cwd=fresh(work), env=env, check=True)
        return work

    reference = strace(["bash", "-c", script], prepared(), env)
    recording = recorder.record(["bash", "-c", script], cwd=prepared(), env=env)
    compare_calls(recording.events(), reference, native)


def opened(events: list[Seen], by_strace: bool) -> Counter[tuple[str, bool]]:
    """Paths opened and whether that worked; numbers in /proc paths are ids."""
    found: Counter[tuple[str, bool]] = Counter()
    for event in events:
        if event.kind == "call" and event.name == "openat" and event.result is not None:
            if by_strace:
                quoted = re.search(r'"((?:[^"\\]|\\.)*)"', event.text)
                path = quoted[1] if quoted else ""
            else:
                path = event.memory.get(("in", 1), b"").decode(errors="replace")
            if path.startswith(("/proc/", "/dev/pts")):
                path = re.sub(r"\d+", "N", path)
            path = re.sub(r"^(/sys/fs/cgroup/).*/", r"\1.../", path)  # a namespace of its own begins at its root
            found[path, event.result >= 0] += 1
    return found


def counted(events: list[Seen], names: set[str]) -> Counter[tuple[str, bool]]:
    """How often these calls worked and failed (an interrupted or waiting connect counts as failed on both sides)."""
    return Counter(
        (event.name, (event.result or 0) >= 0) for event in events if event.kind == "call" and event.name in names
    )


NODE = "const fs = require('fs'); require('http'); fs.writeFileSync('f', 'x'); fs.readdirSync('/'); fs.promises.readFile('f').then((d) => console.log(d.length))"
NETWORK = {"socket", "bind", "listen", "connect", "execve", "mkdir", "mkdirat", "unlink", "unlinkat", "rename"}


@pytest.mark.parametrize("name", ["node", "go"])
def test_threads(
    name: str, work: Path, env: dict[str, str], recorder: Recorder, native: bool, request: pytest.FixtureRequest
) -> None:
    command = ["node", "-e", NODE] if name == "node" else [str(request.getfixturevalue("go_workload"))]
    reference = strace(command, fresh(work), env)
    recording = recorder.record(command, cwd=fresh(work), env=env)
    ours, theirs = opened(recording.events(), native), opened(reference, True)
    if name == "go":  # it kills a child that may or may not have begun to load, and connects as often as it sees fit
        ours, theirs = Counter(set(ours)), Counter(set(theirs))
    assert ours == theirs, f"only recorded {ours - theirs}, only by strace {theirs - ours}"
    names = NETWORK if name == "node" else NETWORK - {"connect", "socket", "execve"}
    assert counted(recording.events(), names) == counted(reference, names)


def test_log_reader(tmp_path: Path) -> None:
    """The reader of strace's log itself, on lines of every form."""
    log = tmp_path / "log"
    log.write_text(
        '7 execve("/bin/x", ["x"], 0x7ffe /* 3 vars */) = 0\n'
        '7 openat(AT_FDCWD, "a) = 5", O_RDONLY) = -1 ENOENT (No such file or directory)\n'
        "7 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n"
        "8 read(3,  <unfinished ...>\n"
        "7 <... clone resumed>, child_tidptr=0x7f) = 8\n"
        '8 <... read resumed>"x\\n", 9) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)\n'
        "8 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER} ---\n"
        "8 +++ killed by SIGTERM +++\n"
        "7 mmap(NULL, 4096) = 0x7f0000000000\n"
        "7 exit_group(0) = ?\n"
    )
    events = strace_log.read(log)
    assert [(event.kind, event.name, event.result) for event in events] == [
        ("call", "execve", 0), ("exec", "exec", None), ("call", "openat", -2), ("call", "clone", 8), ("task", "task", None),
        ("call", "read", None), ("signal", "SIGTERM", None), ("exit", "exit", None), ("call", "mmap", 0x7F0000000000),
        ("call", "exit_group", None),
    ]  # fmt: skip
    assert task_names(events) == {7: "0", 8: "0.1"}
