"""Call frame information (``.eh_frame``): from a function's registers to its caller's. Pure, over one ELF file.

System V ABI for x86-64, the Linux Standard Base (the encoding of ``.eh_frame``), DWARF 5 section 6.4. Files are
hostile: anything odd ends in ``NoFrame``, and nothing loops without a bound.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from sentra_sandbox.replay.cfi_expression import Reader, evaluate
from sentra_sandbox.replay.elf import PT_GNU_EH_FRAME, ElfFile

NAMES = (
    *("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"),
)
_SP, _RETURN = 7, 16
_OMIT, _PCREL, _DATAREL, _INDIRECT = 0xFF, 0x10, 0x30, 0x80
INSTRUCTIONS_MAX = 10_000
ENTRIES_MAX = 200_000
Registers = dict[int, int]
ReadWord = Callable[[int], int]


class NoFrame(Exception):
    """There is no usable information about this address."""


class Outermost(Exception):
    """The information says that this function has no caller."""


@dataclass(slots=True)
class _Common:
    """A CIE: what the descriptions of several functions share."""

    code_align: int = 1
    data_align: int = 1
    encoding: int = 0
    augmented: bool = False
    signal: bool = False
    program: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _Row:
    """How to find the caller's registers; ``cfa`` is (register, offset) or the bytes of an expression."""

    cfa: tuple[int, int] | bytes = (_SP, 8)
    rules: dict[int, tuple[str, int | bytes]] = field(default_factory=dict)


def caller_of(elf: ElfFile, address: int, registers: Registers, read: ReadWord) -> tuple[Registers, bool]:
    """The caller's registers, and whether this frame is one that the kernel made for a signal.

    ``address`` is inside the function, as in the file. Raises ``NoFrame``, ``Outermost``, or what ``read`` raises.
    """
    try:
        common, row = _row_at(elf, address)
        cfa = evaluate(row.cfa, registers, read) if isinstance(row.cfa, bytes) else registers[row.cfa[0]] + row.cfa[1]
        caller = dict(registers)
        for register, (kind, value) in row.rules.items():
            if isinstance(value, bytes):
                found = evaluate(value, registers, read, cfa)
                caller[register] = read(found) if kind == "at" else found
            elif kind == "at":
                caller[register] = read(cfa + value)
            elif kind == "value":
                caller[register] = cfa + value
            elif kind == "register":
                caller[register] = registers[value]
            elif register == _RETURN:
                raise Outermost
        if _RETURN not in row.rules:
            raise NoFrame
        if _SP not in row.rules:
            caller[_SP] = cfa
        return caller, common.signal
    except (IndexError, KeyError, RecursionError) as error:
        raise NoFrame from error


def _row_at(elf: ElfFile, address: int) -> tuple[_Common, _Row]:
    at = _description_of(elf, address)
    reader = Reader(elf.data, at)
    end, start_of_id = _entry(reader)
    common = _common(elf, start_of_id - reader.unsigned(4))
    begin = _pointer(elf, reader, common.encoding)
    size = _pointer(elf, reader, common.encoding & 0xF)
    if not begin <= address < begin + size:
        raise NoFrame
    if common.augmented:
        skip = reader.uleb()
        reader.at += skip
    row = _Row()
    _run(elf, common, row, _Row(), common.program, None)
    initial = _Row(row.cfa, dict(row.rules))
    _run(elf, common, row, initial, (reader.at, end), (begin, address))
    return common, row


def _entry(reader: Reader) -> tuple[int, int]:
    """The length of a CIE or FDE: where it ends, and where its id field is."""
    length = reader.unsigned(4)
    if length in (0, 0xFFFFFFFF):
        raise NoFrame
    return reader.at + length, reader.at


def _description_of(elf: ElfFile, address: int) -> int:
    """Where the FDE of the function at ``address`` is in the file: by binary search in ``.eh_frame_hdr``, or in an
    index of our own where a static program has none.
    """
    header = next((item for item in elf.segments if item.kind == PT_GNU_EH_FRAME), None)
    if header is None:
        if elf.frame_index is None:
            elf.frame_index = _index(elf)
        starts, places = elf.frame_index
        index = bisect_right(starts, address) - 1
        if index < 0:
            raise NoFrame
        return places[index]
    reader = Reader(elf.data, header.offset)
    version, frame_encoding, count_encoding, table_encoding = (reader.unsigned(1) for _ in range(4))
    if version != 1 or table_encoding != _DATAREL | 0x0B:
        raise NoFrame
    _pointer(elf, reader, frame_encoding)
    low, high = 0, _pointer(elf, reader, count_encoding)
    table = reader.at
    while high - low > 1:
        middle = (low + high) // 2
        if header.address + Reader(elf.data, table + middle * 8).signed(4) <= address:
            low = middle
        else:
            high = middle
    found = elf.offset_of_address(header.address + Reader(elf.data, table + low * 8 + 4).signed(4))
    if found is None:
        raise NoFrame
    return found


def _index(elf: ElfFile) -> tuple[list[int], list[int]]:
    """Beginnings of functions, in order, and where the FDE of each is."""
    found: list[tuple[int, int]] = []
    section = elf.section(".eh_frame")
    if section is None:
        return [], []
    at, limit = section[1], section[1] + section[2]
    try:
        while at < limit and len(found) < ENTRIES_MAX:
            reader = Reader(elf.data, at)
            end, start_of_id = _entry(reader)
            if back := reader.unsigned(4):
                found.append((_pointer(elf, reader, _common(elf, start_of_id - back).encoding), at))
            at = end
    except (IndexError, NoFrame):
        pass  # the end of the section, or of what makes sense in it
    found.sort()
    return [item[0] for item in found], [item[1] for item in found]


def _pointer(elf: ElfFile, reader: Reader, encoding: int) -> int:
    if encoding == _OMIT or encoding & _INDIRECT:
        raise NoFrame
    place = elf.address_of_offset(reader.at)
    form = encoding & 0xF
    if form in (1, 9):
        value = reader.uleb() if form == 1 else reader.sleb()
    else:
        size = {0: 8, 2: 2, 3: 4, 4: 8, 10: 2, 11: 4, 12: 8}.get(form)
        if size is None:
            raise NoFrame
        value = reader.signed(size) if form > 8 else reader.unsigned(size)
    if encoding & 0x70 == _PCREL:
        if place is None:
            raise NoFrame
        return value + place
    if encoding & 0x70:
        raise NoFrame
    return value


def _common(elf: ElfFile, at: int) -> _Common:
    reader = Reader(elf.data, at)
    end, _ = _entry(reader)
    reader.unsigned(4)
    version = reader.unsigned(1)
    letters = reader.text()
    common = _Common(code_align=reader.uleb(), data_align=reader.sleb())
    if (reader.unsigned(1) if version == 1 else reader.uleb()) != _RETURN:
        raise NoFrame
    if letters.startswith(b"z"):
        common.augmented = True
        size = reader.uleb()
        after = reader.at + size
        for letter in letters[1:]:
            if letter == ord("R"):
                common.encoding = reader.unsigned(1)
            elif letter == ord("P"):
                form = reader.unsigned(1)
                _pointer(elf, reader, form & 0xF)
            elif letter == ord("L"):
                reader.unsigned(1)
            elif letter == ord("S"):
                common.signal = True
        reader.at = after
    common.program = (reader.at, end)
    return common


def _run(elf: ElfFile, common: _Common, row: _Row, initial: _Row, program: tuple[int, int], span: tuple[int, int] | None) -> None:
    """Executes call frame instructions until they describe the wanted address."""
    reader = Reader(elf.data, program[0])
    location, wanted = span or (0, 0)
    stack: list[_Row] = []
    for _ in range(INSTRUCTIONS_MAX):
        if reader.at >= program[1]:
            return
        code = reader.unsigned(1)
        high, low = code & 0xC0, code & 0x3F
        advance = 0
        if high == 0x40:
            advance = low
        elif high == 0x80:
            row.rules[low] = "at", reader.uleb() * common.data_align
        elif high == 0xC0:
            _restore(row, initial, low)
        elif code in (2, 3, 4):
            advance = reader.unsigned(1 << (code - 2))
        elif code == 1:
            location = _pointer(elf, reader, common.encoding)
        elif code == 0x0A:
            stack.append(_Row(row.cfa, dict(row.rules)))
        elif code == 0x0B:
            saved = stack.pop()
            row.cfa, row.rules = saved.cfa, saved.rules
        else:
            _rule(reader, common, row, initial, code)
        location += advance * common.code_align
        if span and location > wanted:
            return
    raise NoFrame


def _restore(row: _Row, initial: _Row, register: int) -> None:
    if register in initial.rules:
        row.rules[register] = initial.rules[register]
    else:
        row.rules.pop(register, None)


def _rule(reader: Reader, common: _Common, row: _Row, initial: _Row, code: int) -> None:
    """The instructions that set one rule."""
    if code == 0:
        return
    if code == 0x0F:
        row.cfa = reader.block()
    elif code in (0x0C, 0x12):
        register = reader.uleb()
        row.cfa = register, reader.uleb() if code == 0x0C else reader.sleb() * common.data_align
    elif code in (0x0D, 0x0E, 0x13):
        if isinstance(row.cfa, bytes):
            raise NoFrame
        if code == 0x0D:
            row.cfa = reader.uleb(), row.cfa[1]
        else:
            row.cfa = row.cfa[0], reader.uleb() if code == 0x0E else reader.sleb() * common.data_align
    elif code == 0x2E:
        reader.uleb()  # GNU_args_size: of no use here
    else:
        register = reader.uleb()
        if code in (5, 0x11, 0x14, 0x15):
            offset = reader.uleb() if code in (5, 0x14) else reader.sleb()
            row.rules[register] = "at" if code in (5, 0x11) else "value", offset * common.data_align
        elif code == 6:
            _restore(row, initial, register)
        elif code == 7:
            row.rules[register] = "undefined", 0
        elif code == 8:
            row.rules.pop(register, None)
        elif code == 9:
            row.rules[register] = "register", reader.uleb()
        elif code in (0x10, 0x16):
            row.rules[register] = "at" if code == 0x10 else "value", reader.block()
        else:
            raise NoFrame
