"""The readers behind stacks: right against what the interpreter and the linker say, and harmless on whatever they are given."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentra_sandbox.replay.cfi import NAMES, NoFrame, Outermost, caller_of
from sentra_sandbox.replay.elf import ElfFile, NotElf
from sentra_sandbox.replay.memory import MemoryRange, Unreadable
from sentra_sandbox.replay.native_stack import native_stack
from sentra_sandbox.replay.python_layouts import LAYOUTS, layout_of_offsets
from sentra_sandbox.replay.python_lines import line_of
from sentra_sandbox.replay.python_stack import FRAMES_MAX, _frames, _thread

HOSTILE_S = 20


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def test_lines_are_what_python_says() -> None:
    """Every instruction of some modules full of odd layouts, in this Python's own form of the table."""
    checked = 0
    for module in (subprocess, threading, random, sys.modules["dataclasses"], sys.modules["argparse"]):
        source = Path(module.__file__ or "").read_text()
        for code in codes(compile(source, "x", "exec")):
            table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
            for start, end, line in code.co_lines():
                for place in range(start, end, 2):
                    assert line_of(sys.version_info[1], table, code.co_firstlineno, place) == (line or 0)
                    checked += 1
    assert checked > 10_000


def test_tables_of_nonsense_end() -> None:
    rng = random.Random(1)
    for version in range(8, 15):
        for _ in range(300):
            line_of(version, rng.randbytes(rng.randrange(200)), rng.randrange(1000), rng.randrange(400))


@pytest.fixture(scope="session")
def program(place: Path) -> Path:
    source, target = place / "small.c", place / "small"
    source.write_text("int twice(int n) { return n * 2; }\nint main(int n, char **v) { (void)v; return twice(n) - 2; }\n")
    subprocess.run(["cc", "-O0", "-o", target, source], check=True, timeout=60)
    return target


def test_symbols_are_what_nm_says(program: Path) -> None:
    elf = ElfFile(program)
    listed = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    functions = [line.split() for line in listed.splitlines() if len(line.split()) == 4 and line.split()[2] in "tT"]
    assert {"main", "twice"} <= {name for *_, name in functions}
    for start, size, _, name in functions:
        address = int(start, 16)
        found = elf.function_at(address + int(size, 16) - 1)
        assert found is not None and (found.address, found.name) == (address, name)
        symbol = elf.symbol(name)
        assert symbol is not None and symbol.address == address
    assert elf.function_at(1 << 40) is None and elf.symbol("no_such_name") is None


def test_damaged_files_are_survived(program: Path, tmp_path: Path) -> None:
    rng = random.Random(2)
    whole = program.read_bytes()
    main = ElfFile(program).symbol("main")
    assert main is not None
    copy = tmp_path / "copy"
    until = time.monotonic() + HOSTILE_S
    for _ in range(400):
        assert time.monotonic() < until, "too slow"
        data = bytearray(whole[: rng.randrange(1, len(whole))] if rng.random() < 0.2 else whole)
        for _ in range(rng.choice((1, 5, 100))):
            at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 1000))
            data[at] = rng.choice((0, 255, rng.randrange(256)))
        copy.write_bytes(data)
        try:
            elf = ElfFile(copy)
        except NotElf:
            continue
        elf.function_at(main.address)
        elf.symbol("_PyRuntime")
        elf.section(".PyRuntime")
        registers = dict.fromkeys(range(len(NAMES)), 0x7FFF0000)
        for address in (main.address, main.address + 5, 0, 1 << 63):
            with contextlib.suppress(NoFrame, Outermost):
                caller_of(elf, address, registers, lambda at: at & 0xFFFF)


class OddMemory:
    """Memory that answers everything, with words that lead back into it."""

    def __init__(self, rng: random.Random, ranges: list[MemoryRange]) -> None:
        self._rng = rng
        self.ranges = ranges

    def range_at(self, address: int) -> MemoryRange | None:
        return next((item for item in self.ranges if item.start <= address < item.end), None)

    def read_some(self, address: int, size: int) -> bytes:
        if self._rng.random() < 0.01:
            return b""
        words = [self._rng.choice((0x1000, 0x2000, 0, 1, 2**64 - 1, 0x401000)) for _ in range(size // 8 + 1)]
        return struct.pack(f"<{len(words)}Q", *words)[:size]

    def read(self, address: int, size: int) -> bytes:
        data = self.read_some(address, size)
        if len(data) != size:
            raise Unreadable(hex(address))
        return data

    def word(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self.read(address, size), "little")


def test_memory_of_nonsense_is_survived(program: Path) -> None:
    rng = random.Random(3)
    ranges = [
        MemoryRange(0x400000, 0x405000, "r-xp", 0, "/program", program),
        MemoryRange(0x1000, 0x9000, "rw-p", 0, "[stack]", None),
    ]
    until = time.monotonic() + HOSTILE_S
    for _ in range(200):
        assert time.monotonic() < until, "too slow"
        memory = OddMemory(rng, ranges)
        registers = {name: rng.choice((0x1000, 0x401150, 0, 2**64 - 1)) for name in NAMES}
        assert len(native_stack(memory, registers)) <= 100  # type: ignore[arg-type]
        for layout in LAYOUTS.values():
            with contextlib.suppress(Unreadable):
                thread = _thread(memory, layout, 0x1000, 0x2000, 7)  # type: ignore[arg-type]
                assert len(list(_frames(memory, layout, thread))) <= FRAMES_MAX  # type: ignore[arg-type]
    assert layout_of_offsets(rng.randbytes(600)) is None
    assert layout_of_offsets(b"xdebugpy" + bytes(600)) is None
