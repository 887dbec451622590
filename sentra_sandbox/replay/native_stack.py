"""The native stack of a stopped thread: who called whom, with the names that the recorded files have for it.

Three ways from a frame to its caller, best first: the call frame information of the file; the frame pointer, where
what it leads to is the return of a call; the nearest word on the stack that is the return of a call. Only the first is
certain, so each frame says by which way it was found, and everything below a guess is one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentra_sandbox.replay.cfi import NAMES, NoFrame, Outermost, Registers, caller_of
from sentra_sandbox.replay.elf import elf_file
from sentra_sandbox.replay.memory import TaskMemory, Unreadable

FRAMES_MAX = 100
SCAN_BYTES = 4096
_BP, _SP, _IP = 6, 7, 16


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """A place in native code. ``function`` is empty where no symbol is known; ``offset`` is from the function's start,
    else from the file's. ``found`` is ``"exact"``, ``"frame pointer"`` or ``"scan"``.
    """

    address: int
    function: str
    offset: int
    file: str
    found: str

    def __str__(self) -> str:
        place = f"{self.function}+{self.offset:#x}" if self.function else f"+{self.offset:#x}" if self.file else "?"
        guess = "" if self.found == "exact" else f"  (guessed: {self.found})"
        return f"{self.address:#018x} {place}{f' in {self.file}' if self.file else ''}{guess}"


def native_stack(memory: TaskMemory, registers: Mapping[str, int]) -> tuple[NativeFrame, ...]:
    """The frames, innermost first; at least one when there are registers."""
    if "rip" not in registers:
        return ()
    state: Registers = {number: registers[name] for number, name in enumerate(NAMES)}
    frames: list[NativeFrame] = []
    found = "exact"
    inner = True  # the address is the next instruction's, not the one after a call
    while len(frames) < FRAMES_MAX:
        frames.append(_frame(memory, state[_IP], inner, found))
        try:
            step = _caller(memory, state, inner)
        except (Outermost, Unreadable):
            break
        if step is None or step[0][_SP] <= state[_SP] or not step[0][_IP]:
            break
        state, way, inner = step
        found = way if found == "exact" or way == "scan" else found
    return tuple(frames)


def _frame(memory: TaskMemory, address: int, inner: bool, found: str) -> NativeFrame:
    item = memory.range_at(address)
    if item is None:
        return NativeFrame(address, "", 0, "", found)
    elf = elf_file(item.blob) if item.blob else None
    in_file = address - item.start + item.offset
    inside = elf.address_of_offset(in_file) if elf else None
    symbol = elf.function_at(inside if inner else inside - 1) if elf and inside is not None else None
    if symbol is not None and inside is not None:
        return NativeFrame(address, symbol.name, inside - symbol.address, item.path, found)
    return NativeFrame(address, "", in_file, item.path, found)


def _caller(memory: TaskMemory, state: Registers, inner: bool) -> tuple[Registers, str, bool] | None:
    """(registers, how found, whether the next address is exact); None at the end."""
    address = state[_IP]
    item = memory.range_at(address)
    elf = elf_file(item.blob) if item and item.blob else None
    inside = elf.address_of_offset(address - item.start + item.offset) if elf and item else None
    if elf is not None and inside is not None:
        try:
            caller, signal = caller_of(elf, inside if inner else inside - 1, state, memory.word)
            return caller, "exact", signal
        except NoFrame:
            pass
    return _by_frame_pointer(memory, state) or _by_scan(memory, state)


def _by_frame_pointer(memory: TaskMemory, state: Registers) -> tuple[Registers, str, bool] | None:
    base = state[_BP]
    if not state[_SP] <= base < state[_SP] + (8 << 20) or base % 8:
        return None
    pair = memory.read_some(base, 16)
    back = int.from_bytes(pair[8:], "little")
    if len(pair) < 16 or not _follows_call(memory, back):
        return None
    return {**state, _BP: int.from_bytes(pair[:8], "little"), _SP: base + 16, _IP: back}, "frame pointer", False


def _by_scan(memory: TaskMemory, state: Registers) -> tuple[Registers, str, bool] | None:
    at = state[_SP] & ~7
    content = memory.read_some(at, SCAN_BYTES)
    for index in range(0, len(content) - 7, 8):
        word = int.from_bytes(content[index : index + 8], "little")
        if _follows_call(memory, word):
            return {**state, _SP: at + index + 8, _IP: word}, "scan", False
    return None


def _follows_call(memory: TaskMemory, address: int) -> bool:
    """Whether the instruction before ``address`` may be a call: E8 rel32, or FF /2 in its lengths."""
    item = memory.range_at(address)
    if item is None or not item.executable or address - 7 < item.start:
        return False
    code = memory.read_some(address - 7, 7)
    if len(code) < 7:
        return False
    if code[2] == 0xE8:
        return True
    return any(code[7 - size] == 0xFF and code[8 - size] >> 3 & 7 == 2 for size in (2, 3, 4, 6, 7))
