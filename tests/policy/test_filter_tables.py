"""Runs the text tables (*.tests) of this folder through the compiler and the simulator; no kernel is involved.

A table has lines ``profile NAME|PATH``, ``capabilities CAP...``, ``kernel X.Y`` (each holds from there; a new profile
resets the other two) and cases ``CALL [ARG...] -> OUTCOME``. CALL is a name, a number, or ``x32 N`` / ``i386 N`` for a
foreign entry. OUTCOME is ``allow``, ``record``, ``kill``, ``trap`` or ``refuse ERRNO``.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from sentra_sandbox.policy import bpf, filter
from sentra_sandbox.policy.oci import load_profile
from sentra_sandbox.policy.profiles import find_profile
from sentra_sandbox.syscalls import table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    profile: Path
    capabilities: frozenset[str]
    kernel: tuple[int, int]
    arch: int
    number: int
    args: tuple[int, ...]
    expected: str


def cases(path: Path) -> Iterator[tuple[str, Case]]:
    profile, capabilities, kernel = Path(), frozenset[str](), (6, 18)
    for line_number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "profile":
            profile = HERE / words[1] if "/" in words[1] else find_profile(words[1])
            capabilities, kernel = frozenset(), (6, 18)
        elif words[0] == "capabilities":
            capabilities = frozenset(words[1:])
        elif words[0] == "kernel":
            major, minor = words[1].split(".")
            kernel = (int(major), int(minor))
        else:
            arrow = words.index("->")
            arch, number, rest = entry(words[:arrow])
            args = tuple(int(word, 0) for word in rest)
            case = Case(profile, capabilities, kernel, arch, number, args, " ".join(words[arrow + 1 :]))
            yield f"{path.name}:{line_number}:{' '.join(words)}", case


def entry(words: list[str]) -> tuple[int, int, list[str]]:
    if words[0] == "x32":
        return bpf.AUDIT_ARCH_X86_64, int(words[1]) | bpf.X32_BIT, words[2:]
    if words[0] == "i386":
        return bpf.AUDIT_ARCH_I386, int(words[1]), words[2:]
    if words[0].isdigit():
        return bpf.AUDIT_ARCH_X86_64, int(words[0]), words[1:]
    call = table.call_named(words[0])
    assert call is not None, f"no call {words[0]}"
    return bpf.AUDIT_ARCH_X86_64, call.number, words[1:]


@cache
def compiled(profile: Path, capabilities: frozenset[str], kernel: tuple[int, int]) -> bytes:
    return filter.compile_filter(load_profile(profile), capabilities=capabilities, kernel=kernel)


def outcome(action: int, data: int) -> str:
    if action == bpf.RET_ALLOW:
        return "allow"
    assert action == bpf.RET_TRACE, hex(action)
    what, number = data & filter.FILTER_WHAT, data & filter.FILTER_ERRNO
    if what == filter.FILTER_REFUSE:
        return f"refuse {errno.errorcode.get(number, number)}"
    assert number == 0, hex(data)
    return {filter.FILTER_RECORD: "record", filter.FILTER_KILL: "kill", filter.FILTER_TRAP: "trap"}[what]


ALL = [found for path in sorted(HERE.glob("*.tests")) for found in cases(path)]


def test_tables_are_found() -> None:
    assert len(ALL) > 150


@pytest.mark.parametrize("case", [case for _, case in ALL], ids=[name for name, _ in ALL])
def test_case(case: Case) -> None:
    program = compiled(case.profile, case.capabilities, case.kernel)
    result = bpf.simulate(program, case.number, case.args, case.arch)
    assert outcome(*result) == case.expected
