"""The tracee programs: what there is, how it is built, what its opening comment declares, what events it expects.

A tracee is a C or Python file in tests/tracees/. Its opening comment may hold lines ``tracee KEY: VALUE``:

    timeout   seconds one run may take when recorded (default 30)
    runs      argument lists separated by "|": each is a run of its own (default: one run without arguments)
    refused   calls that must be in the trace and refused
    grade     "any" when the run may be graded inexact (default "exact")
    leaves    a word in the command line of a process it leaves behind, which must be gone after a recorded run
    session   "own": it signals its whole process group
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "tracees"

# Tracees do on purpose what warnings are for.
CC_FLAGS = "-std=gnu11 -O1 -g -Wall -Wextra -Werror -Wno-return-type -Wno-infinite-recursion -Wno-stringop-overflow -Wno-stringop-overread -pthread"
CC_FLAGS_UNKNOWN_TO_CLANG = {"-Wno-stringop-overflow", "-Wno-stringop-overread"}

_KEYS = {"timeout", "runs", "refused", "grade", "leaves", "session"}


@dataclass(frozen=True, slots=True)
class Tracee:
    """One program and what it declares."""

    name: str
    source: Path
    timeout: float = 30.0
    runs: tuple[tuple[str, ...], ...] = ((),)
    refused: tuple[str, ...] = ()
    grade: str = "exact"
    leaves: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """One EXPECT line: a call that must be in the trace, with bytes by (direction, argument)."""

    task: int
    call: str
    result: int
    memory: dict[tuple[str, int], bytes] = field(default_factory=dict)


def find(name: str) -> Tracee:
    """The tracee of this name, with its declarations; raises ``ValueError`` on a key that does not exist."""
    source = next(path for path in (SOURCES / f"{name}.c", SOURCES / f"{name}.py") if path.exists())
    opening = re.split(
        r"\*/|\"\"\"(?=\s)",
        source.read_text().split('"""', 1)[-1] if source.suffix == ".py" else source.read_text(),
        maxsplit=1,
    )[0]
    declared = dict(re.findall(r"^[ *]*tracee (\w+): *(.*?) *$", opening, re.MULTILINE))
    if unknown := set(declared) - _KEYS:
        raise ValueError(f"{source.name} declares {sorted(unknown)}, known are {sorted(_KEYS)}")
    return Tracee(
        name,
        source,
        timeout=float(declared.get("timeout", 30)),
        runs=tuple(tuple(run.split()) for run in declared.get("runs", "").split("|")),
        refused=tuple(declared.get("refused", "").split()),
        grade=declared.get("grade", "exact"),
        leaves=declared.get("leaves", ""),
        session=declared.get("session", ""),
    )


def all_tracees() -> list[Tracee]:
    """Every tracee, by name."""
    return [find(path.stem) for path in sorted(SOURCES.iterdir()) if path.suffix in (".c", ".py")]


def build(tracee: Tracee, directory: Path) -> list[str]:
    """The command that runs the tracee, compiled into ``directory`` unless it is there already and newer than its
    source."""
    if tracee.source.suffix == ".py":
        return [sys.executable, str(tracee.source)]
    binary = directory / tracee.name
    newest = max(tracee.source.stat().st_mtime, (SOURCES / "tracee.h").stat().st_mtime)
    if not binary.exists() or binary.stat().st_mtime < newest:
        temporary = directory / f".{tracee.name}.{os.getpid()}"
        command = [os.environ.get("CC", "cc"), *CC_FLAGS.split(), "-o", str(temporary), str(tracee.source), "-lrt"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise AssertionError(f"{tracee.source.name} does not compile:\n{done.stderr}")
        temporary.rename(binary)
    return [str(binary)]


def read_expected(path: Path) -> list[Expected]:
    """The EXPECT lines a tracee wrote (none if there is no such file)."""
    return list(_expected_lines(path.read_text().splitlines())) if path.exists() else []


def _expected_lines(lines: list[str]) -> Iterator[Expected]:
    calls: list[Expected] = []
    latest: dict[int, Expected] = {}
    for line in lines:
        words = line.split(" ")
        task = int(words[0])
        if words[1] == "+":
            latest[task].memory[words[2], int(words[3])] = bytes.fromhex(words[4])
        else:
            latest[task] = Expected(task, words[1], int(words[2]))
            calls.append(latest[task])
    yield from calls
