"""On a terminal: keys, job control, window size, pagers, hang-up. Every test also holds for the bare program
(``--native``)."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from needs import lacking
from running import fresh, processes_with, sandbox_command
from terminal import CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z, Terminal

PROMPT = b"READY> "
Open = Callable[..., Terminal]


@pytest.fixture
def prefix(native: bool, work: Path) -> list[str]:
    """What to put before a command to record it."""
    return [] if native else [*sandbox_command(), "exec", "-q", "--"]


@pytest.fixture
def open_terminal(work: Path, env: dict[str, str]) -> Open:
    fresh(work)
    return lambda argv, **options: Terminal(
        argv, cwd=work, env={**env, "PS1": PROMPT.decode(), "BASH_SILENCE_DEPRECATION_WARNING": "1"}, **options
    )


BASH = ["bash", "--norc", "--noprofile", "--noediting", "-i"]


def test_interrupt_ends_the_program(prefix: list[str], open_terminal: Open) -> None:
    code = "import time\ntry:\n  print('up', flush=True); time.sleep(60)\nexcept KeyboardInterrupt:\n  print('interrupted')\n  raise SystemExit(4)"
    with open_terminal([*prefix, sys.executable, "-c", code]) as terminal:
        terminal.wait_for(b"up")
        time.sleep(0.2)  # until it sleeps: a key just before that is seen when the sleep has ended, natively too
        terminal.type(CTRL_C)
        terminal.wait_for(b"interrupted")
        assert terminal.wait() == 4


@pytest.mark.parametrize("key, status", [(CTRL_C, 130), (CTRL_BACKSLASH, 131)])
def test_status_of_a_program_ended_by_a_key(prefix: list[str], open_terminal: Open, key: bytes, status: int) -> None:
    with open_terminal([*prefix, "sh", "-c", "ulimit -c 0; echo up; exec sleep 60"]) as terminal:
        terminal.wait_for(b"up")
        time.sleep(0.2)
        terminal.type(key)
        assert terminal.wait() == status


def test_streams_are_the_terminal(prefix: list[str], open_terminal: Open) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && test -c $(tty) && echo all"
    with open_terminal([*prefix, "sh", "-c", script], rows=31, columns=97) as terminal:
        terminal.wait_for(b"31 97")
        terminal.wait_for(b"all")
        assert terminal.wait() == 0


def test_end_of_input(prefix: list[str], open_terminal: Open) -> None:
    with open_terminal([*prefix, "cat"]) as terminal:
        terminal.type(b"some words\n")
        terminal.wait_for(b"some words\r\n")
        terminal.wait_for(b"some words\r\n")
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


def test_window_size_changes(prefix: list[str], open_terminal: Open) -> None:
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b'now %d %d\\n' % os.get_terminal_size()))\n"
        "print('up', flush=True)\nwhile True: signal.pause()"
    )
    with open_terminal([*prefix, sys.executable, "-c", code]) as terminal:
        terminal.wait_for(b"up")
        terminal.resize(40, 111)
        terminal.wait_for(b"now 111 40")
        terminal.resize(10, 50)
        terminal.wait_for(b"now 50 10")


def test_password_without_echo(prefix: list[str], open_terminal: Open) -> None:
    code = "import getpass; print(len(getpass.getpass('secret: ')), 'characters')"
    with open_terminal([*prefix, sys.executable, "-c", code]) as terminal:
        terminal.wait_for(b"secret: ")
        time.sleep(0.1)
        terminal.type(b"swordfish\n")
        assert b"swordfish" not in terminal.wait_for(b"9 characters")
        assert terminal.wait() == 0


def test_stop_and_foreground_from_an_outer_shell(prefix: list[str], open_terminal: Open) -> None:
    # Not a shell: one that is stopped in the middle of a vfork cannot stop, natively either.
    code = "import signal, time, itertools; signal.signal(2, 0)\nfor n in itertools.count(): print('tick', n, flush=True); time.sleep(0.1)"
    command = shlex.join([*prefix, sys.executable, "-S", "-c", code])
    with open_terminal(BASH) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(command.encode() + b"\n")
        terminal.wait_for(b"tick 3")
        terminal.type(CTRL_Z)
        terminal.wait_for(b"Stopped")
        terminal.wait_for(PROMPT)
        time.sleep(0.5)
        terminal.type(b"echo still $((40+2)); jobs\n")
        assert b"tick" not in terminal.wait_for(b"still 42")
        terminal.wait_for(b"Stopped")
        terminal.wait_for(PROMPT)
        terminal.type(b"fg\n")
        terminal.wait_for(b"tick ")
        terminal.wait_for(b"tick ")
        terminal.type(CTRL_C)
        terminal.wait_for(PROMPT)
        terminal.type(b"echo status $?\n")
        terminal.wait_for(b"status 130")


def test_background_then_foreground(prefix: list[str], open_terminal: Open) -> None:
    script = shlex.join([*prefix, "sh", "-c", 'read line; echo "got $line"; exit 5'])
    with open_terminal(BASH) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(script.encode() + b" &\n")
        terminal.wait_for(PROMPT)
        time.sleep(1)  # reads from the terminal in the background: SIGTTIN
        terminal.type(b"jobs\n")
        terminal.wait_for(b"Stopped")
        terminal.wait_for(PROMPT)
        terminal.type(b"fg\n")
        time.sleep(0.5)
        terminal.type(b"a line\n")
        terminal.wait_for(b"got a line")
        terminal.wait_for(PROMPT)
        terminal.type(b"echo status $?\n")
        terminal.wait_for(b"status 5")


def test_background_job_is_waited_for(prefix: list[str], open_terminal: Open) -> None:
    script = shlex.join([*prefix, "sh", "-c", "sleep 0.3; exit 6"])
    with open_terminal(BASH) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(script.encode() + b" & wait $!; echo status $?\n")
        terminal.wait_for(b"status 6")


def test_shell_inside_has_job_control(prefix: list[str], open_terminal: Open) -> None:
    with open_terminal([*prefix, *BASH]) as terminal:
        assert b"no job control" not in terminal.wait_for(PROMPT)
        terminal.type(b"sleep 60\n")
        time.sleep(0.4)
        terminal.type(CTRL_Z)
        terminal.wait_for(b"Stopped")
        terminal.wait_for(PROMPT)
        terminal.type(b"bg; jobs -r\n")
        terminal.wait_for(b"Running")
        terminal.type(b"fg\n")
        terminal.wait_for(b"sleep 60")
        time.sleep(0.3)
        terminal.type(CTRL_C)
        terminal.wait_for(PROMPT)
        terminal.type(b"echo status $?; exit 3\n")
        terminal.wait_for(b"status 130")
        assert terminal.wait() == 3


def test_interrupt_in_a_shell_inside_only_ends_the_command(prefix: list[str], open_terminal: Open) -> None:
    with open_terminal([*prefix, *BASH]) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(b"sleep 60 | cat\n")
        time.sleep(0.4)
        terminal.type(CTRL_C)
        terminal.wait_for(PROMPT)
        terminal.type(b"echo alive; exit 0\n")
        terminal.wait_for(b"alive\r\n")
        assert terminal.wait() == 0


def test_into_a_pager(prefix: list[str], open_terminal: Open, env: dict[str, str]) -> None:
    import shutil

    if not shutil.which("less", path=env["PATH"]):
        lacking("less")
    with open_terminal(BASH) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(shlex.join([*prefix, "seq", "1", "100000"]).encode() + b" | less\n")
        terminal.wait_for(b"\r\n20")
        terminal.type(b"G")
        terminal.wait_for(b"100000")
        terminal.type(b"q")
        terminal.wait_for(PROMPT)
        terminal.type(shlex.join([*prefix, "less", "/etc/services"]).encode() + b"\n")
        terminal.wait_for(b"tcp")
        terminal.type(b"q")
        terminal.wait_for(PROMPT)
        terminal.type(b"echo status $?\n")
        terminal.wait_for(b"status 0")


def test_terminal_settings_are_as_before_afterwards(prefix: list[str], open_terminal: Open) -> None:
    """A program that is killed with the terminal in raw mode leaves it so, natively too; one that ends well must
    not."""
    with open_terminal(BASH) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(
            b"stty -g > before; "
            + shlex.join([*prefix, "sh", "-c", "stty raw -echo; stty sane"]).encode()
            + b"; stty sane; stty -g > after\n"
        )
        terminal.wait_for(PROMPT)
        terminal.type(shlex.join([*prefix, "true"]).encode() + b"; stty -g > again; cmp after again && echo equal\n")
        terminal.wait_for(b"equal\r\n")


def test_hang_up(prefix: list[str], open_terminal: Open) -> None:
    word = f"sentra-hang-up-{time.monotonic_ns()}"
    with open_terminal([*prefix, "sh", "-c", f": {word}; echo up; sleep 60; echo later"]) as terminal:
        terminal.wait_for(b"up")
        time.sleep(0.2)
        terminal.hang_up()
        end = time.monotonic() + 10
        while (left := processes_with(word)) and time.monotonic() < end:
            time.sleep(0.05)
        assert left == []
