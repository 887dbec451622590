"""Colours and tables for a terminal; plain text for everything else.

Colour only when stdout is a terminal, ``NO_COLOR`` is unset or empty (https://no-color.org) and TERM is not ``dumb``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from sentra_sandbox.cli.messages import printable

_CODES = {"dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1"}


class Style:
    """Wraps text in colours, or does not."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    @classmethod
    def for_stdout(cls) -> Style:
        return cls(sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")

    def __call__(self, text: str, colour: str) -> str:
        return f"\033[{_CODES[colour]}m{text}\033[0m" if self.enabled and text else text


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Columns as wide as their widest cell, two spaces apart; those in ``right`` aligned to the right; the last
    one as it is.
    """
    cells = [list(map(printable, row)) for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        aligned = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip())
    return lines


def write_line(line: str) -> None:
    """One line to stdout; bytes that are not UTF-8 in the trace come out as escapes instead of an error."""
    sys.stdout.write(line.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
