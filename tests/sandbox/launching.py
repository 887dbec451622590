"""Launches real sandboxes from a forked copy of the test process, as root or an ordinary user; collects the outcome."""

from __future__ import annotations

import ctypes
import os
import pickle
import pwd
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sentra_sandbox.errors import SentraError
from sentra_sandbox.sandbox.launch import launch_untraced
from sentra_sandbox.sandbox.plan import SandboxPlan, default_plan

PR_SET_DUMPABLE = 4
LIBC = ctypes.CDLL(None, use_errno=True)

# Loads what Python loads late (codecs), which an ordinary user may not be able to read where this interpreter lives.
default_plan(["true"])


@dataclass(frozen=True)
class Outcome:
    """``status`` is the wait status, None when the launch raised ``error``."""

    status: int | None
    error: SentraError | None
    out: str
    err: str

    @property
    def code(self) -> int:
        assert self.error is None, self.error
        assert self.status is not None
        assert os.WIFEXITED(self.status), self
        return os.WEXITSTATUS(self.status)


def become(who: str) -> None:
    """Turn this (forked) process into an ordinary user's, as if it had logged in."""
    if who == "user" and os.geteuid() == 0:
        entry = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        # A change of uid takes this away; execve, which a login does, gives it back.
        LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


@dataclass(frozen=True)
class Launcher:
    """Runs commands in a sandbox as ``who``."""

    who: str

    @property
    def uid(self) -> int:
        return pwd.getpwnam("nobody").pw_uid if self.who == "user" and os.geteuid() == 0 else os.geteuid()

    def start(
        self,
        command: Sequence[str],
        *,
        edit: Callable[[SandboxPlan], SandboxPlan] | None = None,
        before: Callable[[], None] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        **options: Any,
    ) -> tuple[int, int]:
        """``(pid, result_fd)`` of a forked supervisor; its status or exception arrives pickled on ``result_fd``."""
        result_read, result_write = os.pipe()
        pid = os.fork()
        if pid:
            os.close(result_write)
            return pid, result_read
        try:
            for target, source in enumerate((stdin, stdout, stderr)):
                if source is not None:
                    os.dup2(source, target)
            become(self.who)
            os.chdir(options.get("cwd") or "/")
            if before:
                before()
            plan = default_plan(command, **options)
            result: Any = launch_untraced(edit(plan) if edit else plan)
        except SentraError as error:
            result = error
        except BaseException:
            result = traceback.format_exc()
        with os.fdopen(result_write, "wb") as file:
            pickle.dump(
                result if not isinstance(result, SentraError) else (type(result), result.args, vars(result)), file
            )
        os._exit(0)

    def __call__(self, command: Sequence[str], *, timeout: float = 15, **options: Any) -> Outcome:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull, "rb") as null:
            options = {"stdin": null.fileno(), "stdout": out.fileno(), "stderr": err.fileno(), **options}
            pid, result_fd = self.start(command, **options)
            wait_for_end(pid, timeout)
            with os.fdopen(result_fd, "rb") as file:
                result = pickle.load(file)
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
        if isinstance(result, str):
            raise AssertionError(result)
        if isinstance(result, tuple):
            kind, args, fields = result
            error = kind.__new__(kind, *args)
            error.__dict__.update(fields)
            return Outcome(None, error, *texts)
        return Outcome(result, None, *texts)


def wait_for_end(pid: int, timeout: float) -> int:
    """The wait status of a child; past the deadline it is killed and the test fails."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail(f"no end after {timeout} s")


def eventually(condition: Callable[[], Any], timeout: float = 5) -> Any:
    """The first true value of ``condition``; fails when it stays false."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    pytest.fail(f"did not happen within {timeout} s")


def processes_with(marker: str) -> list[int]:
    """Host pids of live processes with ``marker`` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
