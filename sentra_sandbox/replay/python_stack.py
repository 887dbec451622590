"""The Python stack of a stopped CPython thread, read from its memory: file, line, function of each frame.

Threads of the interpreter are told apart by ``pthread_self()``, which is the thread's FS base, so that a process after
fork is right too. Memory is hostile and may be in the middle of anything: all walks are bounded, and what cannot be
read ends the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sentra_sandbox.replay.elf import elf_file
from sentra_sandbox.replay.memory import MemoryRange, TaskMemory, Unreadable
from sentra_sandbox.replay.python_layouts import COOKED_BYTES, COOKIE, LAYOUTS, Layout, layout_of_offsets
from sentra_sandbox.replay.python_lines import line_of

FRAMES_MAX = 200
THREADS_MAX = 4096
TEXT_MAX = 1000
TABLE_MAX = 1 << 20
_INTERPRETER = re.compile(r"/(?:lib)?python3(?:\.\d+)?[a-z]*(?:\.so[.\d]*)?$")
_MINOR = re.compile(r"(?:python3\.|cpython-3)(\d+)")
_OWNED_BY_C = 3  # frames that the interpreter puts between C and Python; they have no code


@dataclass(frozen=True, slots=True)
class PythonFrame:
    """One call of a Python function. ``line`` is 0 where it cannot be told."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


def python_stack(memory: TaskMemory, registers: Mapping[str, int], inner_tid: int) -> tuple[PythonFrame, ...]:
    """The frames of the thread, innermost first; empty when it runs no Python, or one that we do not know."""
    found = _runtime(memory)
    if found is None:
        return ()
    runtime, layout = found
    frames: list[PythonFrame] = []
    try:
        thread = _thread(memory, layout, runtime, registers.get("fs_base", 0), inner_tid)
        if thread:
            for frame in _frames(memory, layout, thread):
                frames.append(frame)
    except Unreadable:
        pass
    return tuple(frames)


def _runtime(memory: TaskMemory) -> tuple[int, Layout] | None:
    """Address of ``_PyRuntime`` and the layout that goes with it."""
    seen: set[str] = set()
    for item in memory.ranges:
        if item.blob is None or item.path in seen or not _INTERPRETER.search(item.path):
            continue
        seen.add(item.path)
        address = _runtime_address(item)
        if address is None:
            continue
        content = memory.read_some(address, COOKED_BYTES)
        layout = layout_of_offsets(content) if content[:8] == COOKIE else LAYOUTS.get(_minor_version(memory, item))
        if layout is not None:
            return address, layout
    return None


def _runtime_address(item: MemoryRange) -> int | None:
    assert item.blob is not None
    elf = elf_file(item.blob)
    base = elf.address_of_offset(item.offset) if elf else None
    if elf is None or base is None:
        return None
    symbol = elf.symbol("_PyRuntime")
    if symbol is not None:
        return item.start - base + symbol.address
    section = elf.section(".PyRuntime")
    return item.start - base + section[0] if section else None


def _minor_version(memory: TaskMemory, interpreter: MemoryRange) -> int:
    """From the symbol ``Py_Version`` (3.11 and later), else from the names of mapped files; 0 when nothing says it."""
    assert interpreter.blob is not None
    elf = elf_file(interpreter.blob)
    base = elf.address_of_offset(interpreter.offset) if elf else None
    symbol = elf.symbol("Py_Version") if elf else None
    if symbol is not None and base is not None:
        value = int.from_bytes(memory.read_some(interpreter.start - base + symbol.address, 4), "little")
        return value >> 16 & 0xFF if value >> 24 == 3 else 0
    for item in (interpreter, *memory.ranges):
        if found := _MINOR.search(item.path.rpartition("/")[2]):
            return int(found[1])
    return 0


def _thread(memory: TaskMemory, layout: Layout, runtime: int, fs_base: int, inner_tid: int) -> int:
    """The PyThreadState of this thread: by pthread id, else by thread id; 0 when there is none."""
    by_native = 0
    interpreter = memory.word(runtime + layout.interpreters)
    for _ in range(64):
        if not interpreter:
            break
        thread = memory.word(interpreter + layout.threads)
        for _ in range(THREADS_MAX):
            if not thread:
                break
            if fs_base and memory.word(thread + layout.thread_id) == fs_base:
                return thread
            if layout.native_id is not None and memory.word(thread + layout.native_id) == inner_tid:
                by_native = thread
            thread = memory.word(thread + layout.thread_next)
        interpreter = memory.word(interpreter + layout.interpreter_next)
    return by_native


def _frames(memory: TaskMemory, layout: Layout, thread: int) -> Iterator[PythonFrame]:
    frame = memory.word(thread + layout.frame)
    if frame and layout.frame_through is not None:
        frame = memory.word(frame + layout.frame_through)
    shown = 0
    for _ in range(10 * FRAMES_MAX):
        if not frame or shown == FRAMES_MAX:
            return
        if layout.owner is None or memory.word(frame + layout.owner, 1) < _OWNED_BY_C:
            yield _frame(memory, layout, frame)
            shown += 1
        frame = memory.word(frame + layout.previous)


def _frame(memory: TaskMemory, layout: Layout, frame: int) -> PythonFrame:
    code = memory.word(frame + layout.code) & ~7
    if layout.first_instruction is not None:
        place = memory.word(frame + layout.instruction) - (code + layout.first_instruction)
    else:
        place = memory.word(frame + layout.instruction, 4)
        place = (place if place < 1 << 31 else 0) * (2 if layout.version == 10 else 1)
    first = memory.word(code + layout.first_line, 4)
    table = _bytes(memory, memory.word(code + layout.lines))
    return PythonFrame(
        _text(memory, layout, memory.word(code + layout.file)),
        line_of(layout.version, table, first, place),
        _text(memory, layout, memory.word(code + layout.name)),
    )


def _bytes(memory: TaskMemory, address: int) -> bytes:
    size = memory.word(address + 16)
    return memory.read(address + 32, size) if size <= TABLE_MAX else b""


def _text(memory: TaskMemory, layout: Layout, address: int) -> str:
    """A ``str`` object: one, two or four bytes a character, after the header of its kind."""
    length = min(memory.word(address + 16), TEXT_MAX)
    state = memory.word(address + 32, 4)
    # unsigned interned:2, kind:3, compact:1, ascii:1
    kind, compact, ascii_only = state >> 2 & 7, state >> 5 & 1, state >> 6 & 1
    if kind not in (1, 2, 4) or not compact:
        raise Unreadable(f"a string at {address:#x}")
    data = memory.read(address + (layout.text if ascii_only else layout.wide_text), length * kind)
    return data.decode({1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[kind], "replace")
