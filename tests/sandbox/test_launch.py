"""A program in the sandbox is what it is outside: ids, arguments, environment, descriptors, limits, signals, status."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from launching import Launcher, eventually, processes_with, wait_for_end

from sentra_sandbox.sandbox.setup_op import limit

PYTHON = "/usr/bin/python3"


def test_ids_are_those_outside(sandbox: Launcher) -> None:
    result = sandbox(["sh", "-c", "id -u; id -g"])
    assert result.out.split()[0] == str(sandbox.uid)
    assert result.code == 0


@pytest.mark.parametrize("net", ["host", "none"])
def test_namespaces_are_new(sandbox: Launcher, net: str) -> None:
    names = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"]
    result = sandbox(["sh", "-c", "for n in " + " ".join(names) + "; do readlink /proc/self/ns/$n; done"], net=net)
    inside = dict(zip(names, result.out.split(), strict=True))
    outside = {name: os.readlink(f"/proc/self/ns/{name}") for name in names}
    assert {name for name in names if inside[name] == outside[name]} == ({"net"} if net == "host" else set())


def test_pid_1_is_ours_and_the_program_is_its_child(sandbox: Launcher) -> None:
    result = sandbox(["sh", "-c", "cat /proc/1/comm; echo $$ $PPID"])
    assert result.out.split() == ["sentra-init", "2", "1"]


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_exit_status_is_the_programs(as_user: Launcher, code: int) -> None:
    assert as_user(["sh", "-c", f"exit {code}"]).code == code


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGRTMIN + 3])
def test_death_by_signal_is_the_programs(sandbox: Launcher, signo: int) -> None:
    result = sandbox(["sh", "-c", f"kill -{int(signo)} $$; sleep 5"])
    assert result.status is not None
    assert os.WIFSIGNALED(result.status)
    assert os.WTERMSIG(result.status) == signo


def test_arguments_environment_and_directory(sandbox: Launcher, shared_dir: Path) -> None:
    result = sandbox(
        [PYTHON, "-c", "import os, sys; print(sys.argv[1:], os.environ['A'], len(os.environ), os.getcwd())", "", "ä b"],
        env={"A": "x=y z", "PATH": "/usr/bin", "LC_ALL": "C.UTF-8"},
        cwd=str(shared_dir),
    )
    assert result.out == f"['', 'ä b'] x=y z 3 {shared_dir}\n"


def test_argument_zero_is_free(as_user: Launcher) -> None:
    result = as_user(
        ["sh", "-c", "cat /proc/$$/cmdline"],
        edit=lambda plan: replace(plan, argv=("a name of its own", *plan.argv[1:])),
    )
    assert result.out.startswith("a name of its own\0-c\0")


def test_umask_and_limits_are_inherited(sandbox: Launcher) -> None:
    def before() -> None:
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))

    result = sandbox(["sh", "-c", "umask; ulimit -Sn; ulimit -Hn"], before=before)
    assert result.out.split() == ["0027", "123", "456"]


def test_a_planned_limit_binds_the_program(sandbox: Launcher) -> None:
    result = sandbox(
        ["sh", "-c", "ulimit -Hn"], edit=lambda plan: replace(plan, ops=(*plan.ops, limit(resource.RLIMIT_NOFILE, 77)))
    )
    assert result.out.split() == ["77"]


def test_descriptors_do_not_leak(sandbox: Launcher) -> None:
    def before() -> None:
        for number in (5, 77, 200):
            os.dup2(0, number, inheritable=True)

    listing = "import os; print([fd for fd in range(1000) if os.path.lexists(f'/proc/self/fd/{fd}')])"
    result = sandbox([PYTHON, "-c", listing], before=before)
    assert result.out == "[0, 1, 2]\n"
    kept = sandbox([PYTHON, "-c", listing], before=before, keep_fds=(77,))
    assert kept.out == "[0, 1, 2, 77]\n"


def test_stdio_can_be_replaced_and_swapped(as_user: Launcher, shared_dir: Path) -> None:
    with open(shared_dir / "out", "w+b") as out, open(shared_dir / "err", "w+b") as err:
        result = as_user(
            ["sh", "-c", "echo to-out; echo to-err >&2"],
            edit=lambda plan: replace(plan, stdio=(-1, 2, 1)),
            stdout=out.fileno(),
            stderr=err.fileno(),
        )
        assert result.code == 0
        assert (shared_dir / "out").read_text() == "to-err\n"
        assert (shared_dir / "err").read_text() == "to-out\n"


def test_works_with_stdio_closed(as_user: Launcher, shared_dir: Path) -> None:
    def before() -> None:
        os.closerange(0, 3)

    result = as_user(["sh", "-c", f"ls -l /proc/$$/fd > {shared_dir}/fds; exit 3"], before=before)
    assert result.code == 3
    # The shell opened the file as 1 for ls; 0 and 2 were closed and stay so.
    assert [line.split()[8] for line in (shared_dir / "fds").read_text().splitlines()[1:]] in ([], ["10"], ["1"])


def test_signal_state_is_passed_on(as_user: Launcher) -> None:
    def before() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    result = as_user(["cat", "/proc/self/status"], before=before)
    lines = [line for line in result.out.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in lines}
    assert masks == {"SigBlk": 1 << (signal.SIGUSR2 - 1), "SigIgn": 1 << (signal.SIGHUP - 1), "SigCgt": 0}


def test_address_randomisation_is_off(sandbox: Launcher) -> None:
    addresses = {sandbox(["grep", "stack", "/proc/self/maps"]).out for _ in range(3)}
    assert len(addresses) == 1
    assert sandbox(["cat", "/proc/self/personality"]).out.strip() == "00040000"


def test_pipe_ends_when_the_program_closes_it(as_user: Launcher) -> None:
    """Init and the supervisor's side must not hold copies of the program's pipe."""
    read_end, write_end = os.pipe()
    pid, result_fd = as_user.start(["sh", "-c", "echo hello; exec >&- 2>&-; sleep 20"], stdout=write_end)
    os.close(write_end)
    try:
        assert os.read(read_end, 100) == b"hello\n"
        # The forked supervisor itself holds its standard output: its copy is not ours to judge.
        init = eventually(lambda: children(pid))[0]
        assert eventually(lambda: not holders(read_end) - {pid, os.getpid()})
        assert init
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read_end)
        os.close(result_fd)


def test_input_ends_when_the_writer_closes(as_user: Launcher) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"three\nlines\nhere\n")
    fcntl.fcntl(write_end, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    out_read, out_write = os.pipe()
    pid, result_fd = as_user.start(["wc", "-l"], stdin=read_end, stdout=out_write, before=lambda: os.close(write_end))
    os.close(read_end)
    os.close(out_write)
    time.sleep(0.05)
    os.close(write_end)
    try:
        assert os.read(out_read, 100).strip() == b"3"
        wait_for_end(pid, 5)
    finally:
        os.close(out_read)
        os.close(result_fd)


def test_orphans_are_reaped(sandbox: Launcher) -> None:
    script = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.02)
        os._exit(0)
    os.wait()
time.sleep(0.3)
states = [open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()[0] for p in os.listdir('/proc') if p.isdigit()]
print(len(states), states.count('Z'))
"""
    assert sandbox([PYTHON, "-c", script]).out == "2 0\n"


@pytest.mark.parametrize("walls", [True, False])
def test_daemons_die_with_the_program(sandbox: Launcher, walls: bool) -> None:
    """Also without a pid namespace, where init has to do it itself."""
    marker = f"sentra-daemon-{os.getpid()}-{sandbox.who}"
    script = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv('/bin/sh', ['{marker}', '-c', 'sleep 30; :'])
    os._exit(0)
os.wait()
time.sleep(0.2)
"""
    walls_down = lambda plan: replace(plan, namespaces=type(plan.namespaces)(0), uid_map=None, gid_map=None, ops=())  # noqa: E731
    result = sandbox([PYTHON, "-c", script], edit=None if walls else walls_down)
    assert result.code == 0
    assert eventually(lambda: not processes_with(marker))


def test_supervisor_killed_takes_everything_along(sandbox: Launcher) -> None:
    marker = f"sentra-orphan-{os.getpid()}-{sandbox.who}"
    script = f"setsid sh -c 'sleep 30; : {marker}' & sleep 30; : {marker}"
    pid, result_fd = sandbox.start(["sh", "-c", script])
    eventually(lambda: len(processes_with(marker)) >= 2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(result_fd)
    assert eventually(lambda: not processes_with(marker))


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def holders(fd: int) -> set[int]:
    """Processes that hold the same pipe as ``fd``."""
    pipe = os.readlink(f"/proc/self/fd/{fd}")
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if any(os.readlink(link) == pipe for link in (entry / "fd").iterdir()):
                    found.add(int(entry.name))
            except OSError:
                continue
    return found
