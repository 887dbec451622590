"""On a terminal the program is a job like any other: Ctrl-C, Ctrl-Z, window size reach it, and init does not care."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import Launcher, become, eventually

from sentra_sandbox.sandbox.launch import launch_untraced
from sentra_sandbox.sandbox.plan import default_plan

PROGRAM = """
import signal, sys
def seen(signo, frame):
    print("INT", flush=True)
signal.signal(signal.SIGINT, seen)
print("ready", flush=True)
for line in sys.stdin:
    print("line", line.strip(), flush=True)
    if line == "end\\n":
        sys.exit(3)
"""


class Job:
    """A supervisor as a foreground job of a session leader that does what a shell does: wait, say what happened."""

    def __init__(self, who: str) -> None:
        self.text = ""
        news_read, news_write = os.pipe()
        self.shell, self.terminal = pty.fork()
        if self.shell == 0:
            os.close(news_read)
            self._be_the_shell(who, news_write)
        os.close(news_write)
        self.news = news_read
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))

    @staticmethod
    def _be_the_shell(who: str, news: int) -> None:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            signal.signal(signal.SIGINT, lambda *_: None)
            become(who)
            status = launch_untraced(default_plan(["/usr/bin/python3", "-c", PROGRAM], cwd="/"))
            os._exit(os.waitstatus_to_exitcode(status))
        os.write(news, f"{job}\n".encode())
        while True:
            _, status = os.waitpid(job, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                os.write(news, b"stopped\n")
                continue
            os.write(news, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)

    def next_news(self) -> str:
        ready, _, _ = select.select([self.news], [], [], 10)
        assert ready, self.text
        return os.read(self.news, 100).decode().strip()

    def type(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def wait_text(self, wanted: str, count: int = 1) -> None:
        deadline = time.monotonic() + 10
        while self.text.count(wanted) < count:
            assert time.monotonic() < deadline, self.text
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.text += os.read(self.terminal, 4096).decode()

    def close(self) -> None:
        os.kill(self.shell, signal.SIGKILL)
        os.waitpid(self.shell, 0)
        os.close(self.terminal)
        os.close(self.news)


@pytest.fixture
def job(sandbox: Launcher) -> Iterator[Job]:
    job = Job(sandbox.who)
    yield job
    job.close()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def child_of(pid: int) -> int:
    return int(eventually(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split())[0])


def test_interrupt_stop_and_continue(job: Job) -> None:
    supervisor = int(job.next_news())
    job.wait_text("ready")
    init = child_of(supervisor)
    agent = child_of(init)

    job.type(b"\x03")
    job.wait_text("INT")
    job.type(b"one\n")
    job.wait_text("line one")

    job.type(b"\x1a")
    assert job.next_news() == "stopped"
    assert state(supervisor) == "T"
    eventually(lambda: state(agent) == "T")
    eventually(lambda: state(init) == "S")  # it took the signal too, and waits for the next
    os.killpg(supervisor, signal.SIGCONT)
    job.type(b"two\n")
    job.wait_text("line two")

    job.type(b"end\n")
    assert job.next_news() == "ended 3"
    assert job.text.count("INT") == 1


def test_hang_up_ends_everything(job: Job) -> None:
    supervisor = int(job.next_news())
    job.wait_text("ready")
    agent = child_of(child_of(supervisor))
    os.kill(job.shell, signal.SIGKILL)  # the session leader: the kernel sends SIGHUP to the foreground job
    eventually(lambda: not Path(f"/proc/{agent}").exists() or state(agent) == "Z")


def test_window_size_is_the_terminals(sandbox: Launcher) -> None:
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        assert sandbox(["stty", "size"], stdin=slave).out == "33 111\n"
    finally:
        os.close(master)
        os.close(slave)
