"""Names of flags and constants: reads flags.tbl and turns numbers into ``O_RDONLY|O_CLOEXEC``.

A number without a name is shown in hexadecimal; nothing here fails on a strange value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from .table_format import TableError

FLAGS_FILE = Path(__file__).resolve().parent / "flags.tbl"


@dataclass(slots=True)
class FlagNames:
    """One section of flags.tbl. ``bits``: values are OR-ed together; otherwise each value has one name."""

    name: str
    bits: bool
    zero: str = "0"
    names: dict[int, str] = field(default_factory=dict)
    fields: list[tuple[int, dict[int, str]]] = field(default_factory=list)

    def name_of(self, value: int) -> str | None:
        """The name of exactly this value, or None."""
        return self.names.get(value)

    def render(self, value: int) -> str:
        """Show ``value``; what has no name is shown in hexadecimal (negative or small enum values in decimal)."""
        if not self.bits:
            return self.names.get(value) or (str(value) if -10 < value < 10 else hex(value))
        parts = []
        for mask, names in self.fields:
            name = names.get(value & mask)
            if name is not None:
                parts.append(name)
                value &= ~mask
        for bit, name in self.names.items():
            if value & bit == bit:
                parts.append(name)
                value &= ~bit
        if value:
            parts.append(hex(value))
        return "|".join(parts) or self.zero

    def value_of(self, name: str) -> int | None:
        """The number behind a name, or None; for tests and for filters written by people."""
        for names in (self.names, *(names for _, names in self.fields)):
            for value, known in names.items():
                if known == name:
                    return value
        return None


def parse_flags(text: str, source: str = "flags.tbl") -> dict[str, FlagNames]:
    """Read flags.tbl; raises TableError naming the line that is wrong."""
    sections: dict[str, FlagNames] = {}
    section: FlagNames | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("["):
            section = _section(line, sections, f"{source}:{number}")
        elif section is None:
            raise TableError(f"{source}:{number}: a [kind bits] or [kind enum] line must come first.")
        elif words[0] == "zero":
            section.zero = words[1]
        elif words[0] == "field":
            section.fields.append((int(words[1], 0), _pairs(words[2:], f"{source}:{number}")))
        else:
            for value, name in _pairs(words, f"{source}:{number}").items():
                section.names.setdefault(value, name)
    return sections


def _section(line: str, sections: dict[str, FlagNames], where: str) -> FlagNames:
    name, _, form = line.strip("[] \n").partition(" ")
    if form not in ("bits", "enum") or name in sections:
        raise TableError(f"{where}: a section is '[kind bits]' or '[kind enum]', each kind once.")
    sections[name] = FlagNames(name, form == "bits")
    return sections[name]


def _pairs(words: list[str], where: str) -> dict[int, str]:
    pairs: dict[int, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            pairs[int(value, 0)] = name
        except ValueError:
            raise TableError(f"{where}: {word!r} is not NAME=NUMBER.") from None
    return pairs


@lru_cache(maxsize=1)
def all_flags() -> dict[str, FlagNames]:
    """Every section by name."""
    return parse_flags(FLAGS_FILE.read_text(encoding="ascii"))


def flag_text(section: str, value: int) -> str:
    """Show ``value`` with the names of ``section``; in hexadecimal if there is no such section."""
    names = all_flags().get(section)
    return names.render(value) if names else hex(value)
