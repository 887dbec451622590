"""Classic BPF as seccomp runs it: an assembler with labels, a checker, a disassembler and a simulator.

Rules of this file: it knows instructions and ``struct seccomp_data``, nothing of system calls, profiles or tables.
Only the instructions that the kernel's own "always allowed" analysis understands are supported (load a word, AND,
compare with a constant, jump, return), so that the kernel can cache the verdict of every program made here per number.
Sources: seccomp(2), Documentation/userspace-api/seccomp_filter.rst, Documentation/networking/filter.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_I386 = 0x40000003
X32_BIT = 0x40000000

# struct seccomp_data { int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]; } on a little-endian machine
OFFSET_NR = 0
OFFSET_ARCH = 4
OFFSET_IP = 8
OFFSET_ARGS = 16
DATA_SIZE = 64

RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_USER_NOTIF = 0x7FC00000
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000
RET_ACTION_FULL = 0xFFFF0000
RET_DATA = 0x0000FFFF

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
MAX_CONDITIONAL_JUMP = 255

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JA = 0x05  # BPF_JMP | BPF_JA
JEQ = 0x15
JGT = 0x25
JGE = 0x35
JSET = 0x45
RET = 0x06  # BPF_RET | BPF_K

_COMPARISONS = {JEQ: "==", JGT: ">", JGE: ">=", JSET: "&"}
_RET_NAMES = {
    RET_KILL_PROCESS: "KILL_PROCESS",
    RET_KILL_THREAD: "KILL_THREAD",
    RET_TRAP: "TRAP",
    RET_ERRNO: "ERRNO",
    RET_USER_NOTIF: "USER_NOTIF",
    RET_TRACE: "TRACE",
    RET_LOG: "LOG",
    RET_ALLOW: "ALLOW",
}
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter


class BadProgram(ValueError):
    """Bytes that are not a program this module can run; says which instruction and why."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One ``struct sock_filter``; ``jt`` and ``jf`` count instructions to skip."""

    code: int
    jt: int
    jf: int
    k: int


@dataclass(frozen=True, slots=True)
class Label:
    """A place in a program being assembled; made by ``Assembler.label``."""

    index: int


@dataclass(frozen=True, slots=True)
class _Plain:
    code: int
    k: int


@dataclass(frozen=True, slots=True)
class _Branch:
    code: int
    k: int
    yes: Label | None  # None: the next instruction
    no: Label | None


@dataclass(frozen=True, slots=True)
class _Goto:
    target: Label


class Assembler:
    """Collects instructions and labels; ``assemble`` resolves them. Jumps go forward only, as in the kernel.

    A conditional jump can skip 255 instructions at most; where a target is farther, an unconditional jump is put
    right behind it and taken instead.
    """

    def __init__(self) -> None:
        self._items: list[_Plain | _Branch | _Goto | Label] = []
        self._labels = 0

    def label(self) -> Label:
        """A new label, to be placed later with ``place``."""
        self._labels += 1
        return Label(self._labels)

    def place(self, label: Label) -> None:
        self._items.append(label)

    def load(self, offset: int) -> None:
        """A = the 32-bit word at ``offset`` of ``struct seccomp_data``."""
        self._items.append(_Plain(LOAD, offset))

    def and_(self, mask: int) -> None:
        self._items.append(_Plain(AND, mask))

    def branch(self, code: int, k: int, *, yes: Label | None = None, no: Label | None = None) -> None:
        """Compare A with ``k`` (``JEQ``, ``JGT``, ``JGE``, ``JSET``); a missing target is the next instruction."""
        self._items.append(_Branch(code, k, yes, no))

    def goto(self, target: Label) -> None:
        self._items.append(_Goto(target))

    def ret(self, value: int) -> None:
        self._items.append(_Plain(RET, value))

    def assemble(self) -> bytes:
        """The finished program. Raises ``BadProgram`` if it would not be accepted by the kernel."""
        far: set[tuple[int, bool]] = set()  # (item, side) pairs that need a long jump
        while True:
            starts, places = self._layout(far)
            found = self._too_far(starts, places, far)
            if not found:
                break
            far |= found
        program = b"".join(self._emit(index, starts, places, far) for index in range(len(self._items)))
        check(program)
        return program

    def _layout(self, far: set[tuple[int, bool]]) -> tuple[list[int], dict[Label, int]]:
        starts: list[int] = []
        places: dict[Label, int] = {}
        position = 0
        for index, item in enumerate(self._items):
            starts.append(position)
            if isinstance(item, Label):
                places[item] = position
            else:
                position += 1 + ((index, True) in far) + ((index, False) in far)
        return starts, places

    def _too_far(
        self, starts: list[int], places: dict[Label, int], far: set[tuple[int, bool]]
    ) -> set[tuple[int, bool]]:
        found: set[tuple[int, bool]] = set()
        for index, item in enumerate(self._items):
            if not isinstance(item, _Branch):
                continue
            for side, target in ((True, item.yes), (False, item.no)):
                if target is None or (index, side) in far:
                    continue
                if self._place(places, target) - starts[index] - 1 > MAX_CONDITIONAL_JUMP:
                    found.add((index, side))
        return found

    @staticmethod
    def _place(places: dict[Label, int], label: Label) -> int:
        if label not in places:
            raise BadProgram(f"label {label.index} is used and never placed")
        return places[label]

    def _emit(self, index: int, starts: list[int], places: dict[Label, int], far: set[tuple[int, bool]]) -> bytes:
        item, here = self._items[index], starts[index]
        if isinstance(item, Label):
            return b""
        if isinstance(item, _Plain):
            return _INSTRUCTION.pack(item.code, 0, 0, item.k)
        if isinstance(item, _Goto):
            return _INSTRUCTION.pack(JA, 0, 0, self._distance(places, item.target, here))
        trampolines: list[Label] = []
        skips: list[int] = []
        extra = ((index, True) in far) + ((index, False) in far)
        for side, target in ((True, item.yes), (False, item.no)):
            if target is None:
                skips.append(extra)
            elif (index, side) in far:
                skips.append(len(trampolines))
                trampolines.append(target)
            else:
                skips.append(self._distance(places, target, here))
        out = _INSTRUCTION.pack(item.code, skips[0], skips[1], item.k)
        for offset, target in enumerate(trampolines, start=1):
            out += _INSTRUCTION.pack(JA, 0, 0, self._distance(places, target, here + offset))
        return out

    def _distance(self, places: dict[Label, int], target: Label, here: int) -> int:
        distance = self._place(places, target) - here - 1
        if distance < 0:
            raise BadProgram(f"instruction {here} jumps backwards")
        return distance


def decode(program: bytes) -> list[Instruction]:
    """The instructions of ``program``. Raises ``BadProgram`` if its length is no whole number of them."""
    if len(program) % _INSTRUCTION.size:
        raise BadProgram(f"a program is made of {_INSTRUCTION.size}-byte instructions, not of {len(program)} bytes")
    return [Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(program)]


def encode(instructions: Sequence[Instruction]) -> bytes:
    return b"".join(_INSTRUCTION.pack(i.code, i.jt, i.jf, i.k) for i in instructions)


def check(program: bytes) -> None:
    """Raise ``BadProgram`` unless the kernel would accept the program (bpf_check_classic, seccomp_check_filter)."""
    instructions = decode(program)
    count = len(instructions)
    if not 0 < count <= MAX_INSTRUCTIONS:
        raise BadProgram(f"{count} instructions; the kernel takes 1 to {MAX_INSTRUCTIONS}")
    for index, one in enumerate(instructions):
        left = count - index - 1
        if one.code == LOAD:
            if one.k % 4 or one.k >= DATA_SIZE:
                raise BadProgram(f"instruction {index} loads from offset {one.k} of seccomp_data")
        elif one.code == JA:
            if one.k >= left:
                raise BadProgram(f"instruction {index} jumps out of the program")
        elif one.code in _COMPARISONS:
            if max(one.jt, one.jf) >= left:
                raise BadProgram(f"instruction {index} jumps out of the program")
        elif one.code not in (AND, RET):
            raise BadProgram(f"instruction {index} has code {one.code:#x}, which is not used by our filters")
    if instructions[-1].code != RET:
        raise BadProgram("the program does not end with a return")


def simulate(
    program: bytes, nr: int, args: Sequence[int] = (), arch: int = AUDIT_ARCH_X86_64, ip: int = 0
) -> tuple[int, int]:
    """Run the program as the kernel would for one call; returns ``(action, data)``.

    ``action`` is one of the ``RET_*`` values, ``data`` the low 16 bits of the result. ``args`` are up to six 64-bit
    values (negative ones count as two's complement); missing ones are 0.
    """
    words = [value & 0xFFFFFFFFFFFFFFFF for value in args] + [0] * (6 - len(args))
    data = struct.pack("=IIQ6Q", nr & 0xFFFFFFFF, arch, ip, *words)
    instructions = decode(program)
    accumulator = 0
    position = 0
    while position < len(instructions):
        one = instructions[position]
        position += 1
        if one.code == LOAD:
            (accumulator,) = struct.unpack_from("=I", data, one.k)
        elif one.code == AND:
            accumulator &= one.k
        elif one.code == JA:
            position += one.k
        elif one.code == RET:
            return one.k & RET_ACTION_FULL, one.k & RET_DATA
        else:
            position += one.jt if _holds(one.code, accumulator, one.k) else one.jf
    raise BadProgram("the program ran past its end")


def _holds(code: int, accumulator: int, k: int) -> bool:
    if code == JEQ:
        return accumulator == k
    if code == JGT:
        return accumulator > k
    if code == JGE:
        return accumulator >= k
    if code == JSET:
        return bool(accumulator & k)
    raise BadProgram(f"code {code:#x} is not used by our filters")


def disassemble(program: bytes) -> str:
    """One line per instruction: position, what it does, where it goes. For people; ``explain`` tells what it means."""
    return "\n".join(_line(index, one) for index, one in enumerate(decode(program)))


def _line(index: int, one: Instruction) -> str:
    if one.code == LOAD:
        text = f"A = {_field(one.k)}"
    elif one.code == AND:
        text = f"A = A & {one.k:#x}"
    elif one.code == JA:
        text = f"goto {index + 1 + one.k}"
    elif one.code == RET:
        action, data = one.k & RET_ACTION_FULL, one.k & RET_DATA
        text = f"return {_RET_NAMES.get(action, hex(action))}" + (f" {data:#x}" if data else "")
    elif one.code in _COMPARISONS:
        yes, no = index + 1 + one.jt, index + 1 + one.jf
        text = f"if A {_COMPARISONS[one.code]} {one.k:#x} goto {yes} else {no}"
    else:
        text = f"code {one.code:#x} jt {one.jt} jf {one.jf} k {one.k:#x}"
    return f"{index:5}  {text}"


def _field(offset: int) -> str:
    if offset >= OFFSET_ARGS:
        number, rest = divmod(offset - OFFSET_ARGS, 8)
        return f"arg{number}.{'high' if rest else 'low'}"
    names = {OFFSET_NR: "nr", OFFSET_ARCH: "arch", OFFSET_IP: "ip.low", OFFSET_IP + 4: "ip.high"}
    return names.get(offset, str(offset))
