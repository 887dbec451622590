"""Reads what ``strace -f -o FILE`` wrote into the same records as our own traces (tests/seen.py)."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from seen import Seen

# Wide enough to see whole paths; -qq leaves out messages about attaching.
STRACE = ["strace", "-f", "-qq", "-s", "256", "-a", "0"]

_RESULT = re.compile(r"\) = (-?\d+|0x[0-9a-f]+|\?)(?: (E[A-Z0-9]+))?(?: .*)?$")
_CALL = re.compile(r"([a-z_][a-z0-9_]*)\((.*)$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. ([a-z_][a-z0-9_]*) resumed>(.*)$", re.DOTALL)
_SIGNAL = re.compile(r"--- (SIG[A-Z0-9_]+) ")
_NEW_TASK = {"clone", "clone3", "fork", "vfork"}


def read(path: Path) -> list[Seen]:
    """The events of a log, in strace's order: a call stands where it ended."""
    return list(_events(path.read_text(errors="surrogateescape").splitlines()))


def _events(lines: list[str]) -> Iterator[Seen]:
    started: dict[int, str] = {}
    for line in lines:
        number, _, text = line.partition(" ")
        task, text = int(number), text.strip()
        if found := _SIGNAL.match(text):
            yield Seen("signal", task, found[1])
        elif text.startswith("+++ "):
            yield Seen("exit", task, "exit", text=text.strip("+ "))
        elif text.endswith("<unfinished ...>"):
            started[task] = text.removesuffix("<unfinished ...>").rstrip()
        elif found := _RESUMED.match(text):
            before = started.pop(task, f"{found[1]}(")
            yield from _call(task, before + found[2].lstrip())
        else:
            yield from _call(task, text)
    for task, text in started.items():
        yield from _call(task, text)


def _call(task: int, text: str) -> Iterator[Seen]:
    found = _CALL.match(text)
    if not found:
        return
    name, end = found[1], _RESULT.search(text)
    result = _result(end[1], end[2]) if end else None
    yield Seen("call", task, name, result, text=text)
    if name in _NEW_TASK and result is not None and result > 0:
        yield Seen("task", result, "task", args=(task,))
    if name in ("execve", "execveat") and result == 0:
        yield Seen("exec", task, "exec", text=text)


def _result(number: str, name: str | None) -> int | None:
    if number == "?":
        return None
    if name:
        return -int(getattr(errno, name, 0) or {"ENOTSUPP": 524}.get(name, 0))
    value = int(number, 0)
    return value - (1 << 64) if value >= 1 << 63 else value


def signal_number(name: str) -> int:
    """SIGUSR1 -> 10; strace's SIGRT_3 -> 35."""
    if name.startswith("SIGRT_"):
        return 32 + int(name[6:])
    return int(getattr(signal, name))
