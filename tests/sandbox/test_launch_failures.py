"""Each step that fails is named with its errno, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from launching import Launcher

from sentra_sandbox.errors import CommandNotExecutable, CommandNotFound, HostError, SetupError
from sentra_sandbox.sandbox.plan import SandboxPlan
from sentra_sandbox.sandbox.setup_op import SetupKind, SetupOp, bind, limit, mount, write_file

Edit = Callable[[SandboxPlan], SandboxPlan]


def with_op(op: SetupOp) -> Edit:
    return lambda plan: replace(plan, ops=(*plan.ops, op))


@pytest.mark.parametrize(
    ("edit", "step", "number"),
    [
        (lambda plan: replace(plan, cwd="/nowhere/at/all"), "enter the working directory", errno.ENOENT),
        (with_op(mount("none", "/nowhere", "tmpfs", 0)), "mount tmpfs", errno.ENOENT),
        (with_op(mount("none", "/mnt", "nosuchfs", 0)), "mount nosuchfs", errno.ENODEV),
        (with_op(bind("/nowhere", "/mnt")), "bind", errno.ENOENT),
        (with_op(write_file("/nowhere/file", "x")), "write file", errno.ENOENT),
        (with_op(SetupOp(SetupKind.MKDIR, a="/nowhere/dir", value=0o755)), "make directory", errno.ENOENT),
        (with_op(SetupOp(SetupKind.PIVOT_ROOT, a="/nowhere")), "enter the new root", errno.ENOENT),
        (with_op(SetupOp(SetupKind.UMOUNT, a="/nowhere")), "unmount", errno.ENOENT),
        (with_op(limit(99, 1)), "set resource limit", errno.EINVAL),
        (lambda plan: replace(plan, cpu=8000), "pin to a CPU", errno.EINVAL),
        (lambda plan: replace(plan, keep_fds=(999,)), "pass on a descriptor", errno.EBADF),
        (lambda plan: replace(plan, stdio=(999, -1, -1)), "pass on a descriptor", errno.EBADF),
        (lambda plan: replace(plan, filter=b"\0" * 8), "install the seccomp filter", errno.EINVAL),
    ],
)
def test_failed_step_is_named(sandbox: Launcher, edit: Edit, step: str, number: int) -> None:
    error = sandbox(["true"], edit=edit).error
    assert isinstance(error, SetupError)
    assert (error.step, error.errno) == (step, number)
    assert os.strerror(number) in error.message


def test_raising_a_limit_is_refused(as_user: Launcher) -> None:
    def before() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    error = as_user(["true"], before=before, edit=with_op(limit(resource.RLIMIT_NOFILE, 1000))).error
    assert isinstance(error, SetupError)
    assert (error.step, error.errno) == ("set resource limit", errno.EPERM)
    assert error.remedy


def test_unmappable_uid_is_named(as_user: Launcher) -> None:
    error = as_user(["true"], edit=lambda plan: replace(plan, uid_map="0 0 1")).error
    assert isinstance(error, HostError)
    assert error.message.startswith("Could not write uid_map")
    assert "userns" in error.remedy


def test_program_vanished_after_the_plan(sandbox: Launcher) -> None:
    error = sandbox(["true"], edit=lambda plan: replace(plan, path="/nowhere/program")).error
    assert isinstance(error, CommandNotFound)
    assert "/nowhere/program" in error.message


def test_directory_is_not_executable(sandbox: Launcher) -> None:
    error = sandbox(["true"], edit=lambda plan: replace(plan, path="/usr")).error
    assert isinstance(error, CommandNotExecutable)


def test_garbage_is_not_executable(sandbox: Launcher, shared_dir: Path) -> None:
    program = shared_dir / "program"
    program.write_bytes(b"\x7fELF" + b"\0" * 100)
    program.chmod(0o755)
    error = sandbox([str(program)]).error
    assert isinstance(error, CommandNotExecutable)
    assert os.strerror(errno.ENOEXEC) in error.message


def test_too_many_arguments_are_explained(as_user: Launcher) -> None:
    error = as_user(["true", "x" * 200_000]).error
    assert isinstance(error, CommandNotExecutable)
    assert "too large" in error.remedy


def test_namespaces_exhausted(as_user: Launcher) -> None:
    """In a namespace whose limit is 0; the limit file is the namespace's own."""
    script = "echo 0 > /proc/sys/user/max_user_namespaces && exec"
    if os.geteuid() != 0:
        pytest.skip("needs root to make the outer namespace")
    nested = (
        "from sentra_sandbox.sandbox.launch import launch_untraced\n"
        "from sentra_sandbox.sandbox.plan import default_plan\n"
        "from sentra_sandbox.errors import HostError\n"
        "try: launch_untraced(default_plan(['true']))\n"
        "except HostError as error: print(error)\n"
    )
    import subprocess

    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", f'{script} "$0" -c "$1"', sys.executable, nested],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert "Could not create namespaces (user,mnt,pid,ipc,uts,cgroup): No space left on device" in done.stdout, done
    assert "max_" in done.stdout


def test_nested_in_a_sandbox_names_the_cause(as_root: Launcher) -> None:
    nested = (
        "from sentra_sandbox.sandbox.launch import launch_untraced\n"
        "from sentra_sandbox.sandbox.plan import default_plan\n"
        "from sentra_sandbox.errors import HostError\n"
        "try: launch_untraced(default_plan(['true']))\n"
        "except HostError as error: print(error)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    result = as_root([sys.executable, "-c", nested], env={**os.environ, "PYTHONPATH": root})
    assert "already inside a sentra-sandbox" in result.out, result


def test_no_process_and_no_descriptor_stays_behind(as_user: Launcher) -> None:
    """A hundred failures in one supervisor: its children are reaped and its descriptors closed."""
    import sentra_sandbox.sandbox.launch as launch

    counts: list[int] = []

    def edit(plan: SandboxPlan) -> SandboxPlan:
        bad = replace(plan, ops=(*plan.ops, mount("none", "/nowhere", "tmpfs", 0)))
        before = os.listdir("/proc/self/fd")
        for _ in range(50):
            for wrong in (bad, replace(plan, cwd="/nowhere")):
                with pytest.raises(SetupError):
                    launch.launch_untraced(wrong)
        counts.append(len(os.listdir("/proc/self/fd")) - len(before))
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return replace(plan, argv=("sh", "-c", f"exit {counts[0]}"), path="/bin/sh")

    assert as_user(["true"], edit=edit).code == 0
