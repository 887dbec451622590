"""DWARF expressions, as call frame information uses them, and reading DWARF's numbers. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

_WORD = (1 << 64) - 1
STEPS_MAX = 1000
_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: operator.and_,
    0x1C: operator.sub,
    0x1E: operator.mul,
    0x21: operator.or_,
    0x22: operator.add,
    0x24: lambda a, b: a << min(b, 64),
    0x25: lambda a, b: a >> min(b, 64),
    0x27: operator.xor,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(_signed(a) >= _signed(b)),
    0x2B: lambda a, b: int(_signed(a) > _signed(b)),
    0x2C: lambda a, b: int(_signed(a) <= _signed(b)),
    0x2D: lambda a, b: int(_signed(a) < _signed(b)),
    0x2E: lambda a, b: int(a != b),
}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


class Reader:
    """Numbers one after the other; ``IndexError`` beyond the end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def unsigned(self, size: int) -> int:
        if not 0 <= self.at <= len(self.data) - size:
            raise IndexError(self.at)
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "little")

    def signed(self, size: int) -> int:
        value = self.unsigned(size)
        return value - (1 << 8 * size) if value >> (8 * size - 1) else value

    def uleb(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.unsigned(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
        raise IndexError(self.at)

    def sleb(self) -> int:
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def block(self) -> bytes:
        size = self.uleb()
        if size > len(self.data) - self.at:
            raise IndexError(self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> bytes:
        end = self.data.index(b"\0", self.at, self.at + 64) if b"\0" in self.data[self.at : self.at + 64] else -1
        if end < 0:
            raise IndexError(self.at)
        found = self.data[self.at : end]
        self.at = end + 1
        return found


def evaluate(code: bytes, registers: Mapping[int, int], read: Callable[[int], int], first: int | None = None) -> int:
    """The value of an expression; ``first`` is on the stack before it.

    Raises ``IndexError`` or ``KeyError`` when it makes no sense.
    """
    reader = Reader(code)
    stack = [] if first is None else [first]
    for _ in range(STEPS_MAX):
        if reader.at >= len(code):
            return stack[-1]
        step = reader.unsigned(1)
        if 0x30 <= step <= 0x4F:
            stack.append(step - 0x30)
        elif 0x70 <= step <= 0x8F:
            stack.append(registers[step - 0x70] + reader.sleb())
        elif step in _BINARY:
            right, left = stack.pop(), stack.pop()
            stack.append(_BINARY[step](left, right))
        elif 0x08 <= step <= 0x0F:
            size = 1 << (step - 8) // 2
            stack.append(reader.signed(size) if step & 1 else reader.unsigned(size))
        elif step in (0x10, 0x11):
            stack.append(reader.uleb() if step == 0x10 else reader.sleb())
        elif step == 0x06:
            stack.append(read(stack.pop()))
        elif step == 0x23:
            stack.append(stack.pop() + reader.uleb())
        elif step == 0x12:
            stack.append(stack[-1])
        elif step == 0x13:
            stack.pop()
        elif step != 0x96:
            raise KeyError(step)
        if stack:
            stack[-1] &= _WORD
    raise IndexError(reader.at)
