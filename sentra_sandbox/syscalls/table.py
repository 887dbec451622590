"""The system call table for Python: look up a call or a command by number or by name.

The table files beside this module are parsed at the first question, in about 10 ms; starting a recording asks none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .table_format import (
    Argument,
    Call,
    Command,
    Direction,
    Kind,
    SizeRule,
    Treatment,
    parse_calls,
    parse_commands,
    parse_kinds,
)

__all__ = [
    "TABLE_DIRECTORY",
    "Argument",
    "Call",
    "Command",
    "Direction",
    "Kind",
    "SizeRule",
    "Treatment",
    "all_calls",
    "all_commands",
    "call",
    "call_named",
    "command_for",
    "kinds",
]

TABLE_DIRECTORY = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class _Calls:
    by_number: dict[int, Call]
    by_name: dict[str, Call]


@dataclass(frozen=True, slots=True)
class _Commands:
    rows: tuple[Command, ...]
    by_value: dict[tuple[str, int], Command]
    selectors: dict[str, tuple[int, int]]


@lru_cache(maxsize=1)
def kinds() -> dict[str, Kind]:
    """All argument kinds by name."""
    return parse_kinds((TABLE_DIRECTORY / "kinds.tbl").read_text(encoding="ascii"))


@lru_cache(maxsize=1)
def _calls() -> _Calls:
    rows = parse_calls((TABLE_DIRECTORY / "syscalls.tbl").read_text(encoding="ascii"), kinds())
    return _Calls({row.number: row for row in rows}, {row.name: row for row in rows})


@lru_cache(maxsize=1)
def _commands() -> _Commands:
    text = (TABLE_DIRECTORY / "commands.tbl").read_text(encoding="ascii")
    rows = tuple(parse_commands(text, list(all_calls()), kinds()))
    return _Commands(
        rows,
        {(row.call, row.value): row for row in rows},
        {row.call: (row.selector_arg, row.selector_mask) for row in rows},
    )


def call(number: int) -> Call | None:
    """The call with this x86-64 number, or None if there is no such call."""
    return _calls().by_number.get(number)


def call_named(name: str) -> Call | None:
    """The call of this name ("openat"), or None."""
    return _calls().by_name.get(name)


def all_calls() -> tuple[Call, ...]:
    """Every call, sorted by name."""
    return tuple(_calls().by_name.values())


def all_commands() -> tuple[Command, ...]:
    """Every command of every multiplexed call, in the order of commands.tbl."""
    return _commands().rows


def command_for(call: Call, args: tuple[int, ...]) -> Command | None:
    """The command row for a multiplexed call with these arguments, or None if none is in the table."""
    if "commands" not in call.flags:
        return None
    commands = _commands()
    selector_arg, selector_mask = commands.selectors[call.name]
    if selector_arg >= len(args):
        return None
    return commands.by_value.get((call.name, args[selector_arg] & selector_mask))
