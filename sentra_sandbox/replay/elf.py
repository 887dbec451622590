"""What stacks need of an ELF file: where its segments are, and the names of its functions. x86-64 only.

The files are recorded ones and hostile: whatever is wrong with one gives fewer symbols, never an error after
construction.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PT_LOAD, PT_GNU_EH_FRAME = 1, 0x6474E550
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11
_STT_OBJECT, _STT_FUNC, _STT_IFUNC = 1, 2, 10
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
FILE_MAX = 1 << 30
SYMBOLS_MAX = 2_000_000
NAME_MAX = 500
UNSIZED_MAX = 1 << 16  # functions written in assembler may say no size


class NotElf(Exception):
    """Not an x86-64 ELF file."""


@dataclass(frozen=True, slots=True)
class Segment:
    kind: int
    offset: int
    address: int
    file_size: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """``address`` as in the file, before the loader moved it."""

    address: int
    size: int
    name: str


class ElfFile:
    """One file, read whole. Raises ``NotElf`` or ``OSError``."""

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > FILE_MAX:
            raise NotElf(str(path))
        self.data = path.read_bytes()
        try:
            header = _HEADER.unpack_from(self.data)
            if header[0][:6] != b"\x7fELF\x02\x01" or header[2] != 62:
                raise NotElf(str(path))
            _, _, _, _, _, segments_at, self._sections_at, _, _, size, count, _, self._sections, self._names = header
            self.segments = [
                Segment(kind, offset, address, file_size)
                for kind, _, offset, address, _, file_size, _, _ in (
                    _SEGMENT.unpack_from(self.data, segments_at + index * size) for index in range(count)
                )
            ]
        except (struct.error, OverflowError) as error:
            raise NotElf(str(path)) from error
        self.frame_index: tuple[list[int], list[int]] | None = None  # kept here by cfi.py
        self._by_name: dict[str, Symbol | None] = {}
        self._functions: tuple[list[int], list[tuple[int, int, int]]] | None = None

    def address_of_offset(self, offset: int) -> int | None:
        """The address that the byte at ``offset`` of the file has in the file's own terms."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.offset & ~0xFFF <= offset < segment.offset + segment.file_size:
                return segment.address + offset - segment.offset
        return None

    def offset_of_address(self, address: int) -> int | None:
        """The reverse."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                return segment.offset + address - segment.address
        return None

    def function_at(self, address: int) -> Symbol | None:
        """The function that holds ``address``, or the one before it where sizes are not given."""
        if self._functions is None:
            found = sorted(self._symbols({_STT_FUNC, _STT_IFUNC}))
            self._functions = [item[0] for item in found], found
        starts, functions = self._functions
        for index in range(bisect_right(starts, address) - 1, -1, -1):
            start, size, name_at = functions[index]
            if address < start + (size or UNSIZED_MAX):
                return Symbol(start, size, self._string(name_at))
            if address - start > 1 << 20:
                break
        return None

    def symbol(self, name: str) -> Symbol | None:
        """A data or function symbol by its name."""
        if name not in self._by_name:
            wanted = name.encode() + b"\0"
            found = (item for item in self._symbols({_STT_OBJECT, _STT_FUNC, 0}) if self.data.startswith(wanted, item[2]))
            self._by_name[name] = next((Symbol(address, size, name) for address, size, _ in found), None)
        return self._by_name[name]

    def section(self, name: str) -> tuple[int, int, int] | None:
        """Address, offset and size of a section by its name."""
        sections = self._all_sections()
        if not 0 <= self._names < len(sections):
            return None
        for entry in sections:
            if self.data.startswith(name.encode() + b"\0", sections[self._names][4] + entry[0]):
                return entry[3], entry[4], entry[5]
        return None

    def _all_sections(self) -> list[tuple[int, ...]]:
        try:
            return [_SECTION.unpack_from(self.data, self._sections_at + index * _SECTION.size) for index in range(self._sections)]
        except (struct.error, OverflowError):
            return []

    def _symbols(self, kinds: set[int]) -> list[tuple[int, int, int]]:
        """(address, size, place of the name in the file) of the defined symbols of these kinds."""
        sections = self._all_sections()
        tables = {entry[1]: entry for entry in sections if entry[1] in (_SHT_SYMTAB, _SHT_DYNSYM)}
        table = tables.get(_SHT_SYMTAB) or tables.get(_SHT_DYNSYM)
        if table is None or table[6] >= len(sections):
            return []
        names = sections[table[6]][4]
        size = min(table[5], SYMBOLS_MAX * _SYMBOL.size) // _SYMBOL.size * _SYMBOL.size
        content = memoryview(self.data)[table[4] : table[4] + size]
        content = content[: len(content) // _SYMBOL.size * _SYMBOL.size]
        return [
            (address, length, names + name)
            for name, info, _, section, address, length in _SYMBOL.iter_unpack(content)
            if info & 15 in kinds and section and address
        ]

    def _string(self, at: int) -> str:
        end = self.data.find(b"\0", at, at + NAME_MAX)
        return self.data[at : end if end >= 0 else at + NAME_MAX].decode("utf-8", "replace")


@lru_cache(maxsize=16)
def elf_file(path: Path) -> ElfFile | None:
    """The file, kept for the next use; None when it is no ELF file or not readable."""
    try:
        return ElfFile(path)
    except (NotElf, OSError):
        return None
