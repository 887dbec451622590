"""What the decoders of one call know: its arguments, its memory and how much to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .memory import SEGMENT_IN, SEGMENT_OUT, Memory
from .quoting import quote, signed32
from .table_format import Argument, Call, Command

MAX_ITEMS = 32  # elements of an array that are shown


@dataclass(frozen=True, slots=True)
class Context:
    """One call being shown. ``arguments`` are the table's, with those of the command in their place."""

    call: Call
    command: Command | None
    arguments: tuple[Argument, ...]
    args: tuple[int, ...]
    result: int
    memory: Memory
    max_string: int
    describe_fd: Callable[[int], str | None] | None

    @property
    def succeeded(self) -> bool:
        return self.result >= 0

    def fd(self, value: int) -> str:
        """A descriptor with what it refers to: 3</etc/passwd>."""
        number = signed32(value)
        what = self.describe_fd(number) if self.describe_fd and number >= 0 else None
        return f"{number}<{what}>" if what else str(number)

    def quote(self, data: bytes, total: int | None = None) -> str:
        """Bytes, cut at max_string; ``total`` if there were more in the program than ``data`` holds."""
        return quote(data, self.max_string, more=total is not None and total > len(data))

    def read(self, addr: int, size: int, *, out: bool) -> bytes | None:
        """Captured bytes at an address inside a structure: ``out``: first what the kernel wrote."""
        return self.memory.read(addr, size, (SEGMENT_OUT, SEGMENT_IN) if out else (SEGMENT_IN, SEGMENT_OUT))

    def value(self, name: str) -> int:
        """The register of the argument called ``name``, 0 if there is none."""
        for argument, value in zip(self.arguments, self.args, strict=False):
            if argument.name == name:
                return value
        return 0


def items(parts: list[str], total: int) -> str:
    """A list in brackets, with "..." if not all ``total`` elements are among ``parts``."""
    return "[" + ", ".join(parts + (["..."] if total > len(parts) else [])) + "]"
