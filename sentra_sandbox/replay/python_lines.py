"""Line numbers of CPython code objects, from the tables that each version keeps. Pure.

In CPython's sources: Objects/lnotab_notes.txt for 3.8 to 3.10, Objects/locations.md (InternalDocs/code_objects.md) for
3.11 and later.
"""

from __future__ import annotations

_NO_LINE, _LONG, _NO_COLUMNS, _ONE_LINE = 15, 14, 13, 10


def line_of(version: int, table: bytes, first: int, place: int) -> int:
    """The line of the instruction at byte ``place`` of code that begins at line ``first``; 0 when it has none."""
    if version >= 11:
        return _locations(table, first, place)
    if version == 10:
        return _pairs_3_10(table, first, place)
    return _pairs(table, first, place)


def _signed_byte(value: int) -> int:
    return value - 256 if value > 127 else value


def _pairs(table: bytes, line: int, place: int) -> int:
    """Pairs (bytes of code, lines): the line changes after that many bytes."""
    at = 0
    for step, lines in zip(table[::2], table[1::2], strict=False):
        at += step
        if at > place:
            break
        line += _signed_byte(lines)
    return line


def _pairs_3_10(table: bytes, line: int, place: int) -> int:
    """Pairs (bytes of code, lines): the line changes before these bytes; -128 means that they have none."""
    at = 0
    for step, lines in zip(table[::2], table[1::2], strict=False):
        if lines == 128:
            at += step
            if at > place:
                return 0
            continue
        line += _signed_byte(lines)
        at += step
        if at > place:
            return line
    return line


def _locations(table: bytes, line: int, place: int) -> int:
    """Entries of a code, a length in code units, and a line delta in one of several forms."""
    at = index = 0
    while index < len(table):
        first = table[index]
        kind, units = first >> 3 & 15, (first & 7) + 1
        index += 1
        if kind in (_LONG, _NO_COLUMNS):
            value, _ = _variable(table, index)
            line += -(value >> 1) if value & 1 else value >> 1
        elif _ONE_LINE <= kind < _NO_COLUMNS:
            line += kind - _ONE_LINE
        at += units * 2
        if at > place:
            return 0 if kind == _NO_LINE else line
        while index < len(table) and not table[index] & 0x80:
            index += 1
    return line


def _variable(table: bytes, index: int) -> tuple[int, int]:
    """A number of six bits a byte, least first; bit 6 says that more follow."""
    value = shift = 0
    while index < len(table) and shift < 42:
        value |= (table[index] & 63) << shift
        index += 1
        shift += 6
        if not table[index - 1] & 64:
            break
    return value, index
