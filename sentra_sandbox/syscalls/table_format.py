"""Reads the three tables of this folder into frozen dataclasses: kinds.tbl, syscalls.tbl, commands.tbl.

Their syntax is described at the top of each. Rules of this file: only the standard library and no relative imports,
because scripts/gen_syscall_table.py loads it while the package itself cannot be imported yet; every mistake in a table
is a TableError that names file and line.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntFlag

CLASSES = (
    *("fd", "file", "futex", "identity", "ipc", "key", "memory", "mount", "network", "poll", "process", "random"),
    *("signal", "system", "time"),
)
CALL_FLAGS = ("blocks", "no_return", "commands", "fd_result", "out_on_error")
COMMAND_FLAGS = ("blocks", "fd_result")
MAX_ARGS = 6
MAX_COMMAND_ARGS = 3
# x86-64 numbers a call up to here by itself; newer calls have the same number on all architectures, from 424.
LAST_OWN_NUMBER = 336
FIRST_SHARED_NUMBER = 424


class TableError(ValueError):
    """A table is wrong; the message names file, line and mistake. Only someone editing a table ever sees it."""


class Treatment(Enum):
    """What the engine does with a call; see syscalls.tbl."""

    ALLOW = "allow"
    RECORD = "record"
    REFUSE = "refuse"
    SPECIAL = "special"


class Direction(IntFlag):
    """Who writes the memory an argument points at: IN the program, OUT the kernel."""

    NONE = 0
    IN = 1
    OUT = 2
    INOUT = 3


class SizeRule(Enum):
    """Where the count of units comes from; the names are those of enum sentra_size without SENTRA_SIZE_."""

    ONE = "ONE"
    ARG = "ARG"
    RESULT = "RESULT"
    AT_ARG = "AT_ARG"
    AT_ARG64 = "AT_ARG64"
    RESULT_CAPPED = "RESULT_CAPPED"
    PAGES = "PAGES"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of kinds.tbl. ``number`` is its KIND_* value, from 1; ``width`` the bytes of the register that count."""

    name: str
    number: int
    form: str
    width: int


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument.

    ``memory`` is "none", "string", "strings", "bytes", "iovec", "msghdr", "mmsghdr", "fdset" or "ifconf". Its size is
    ``unit`` times the count that ``size`` names, plus ``header`` bytes before it; ``size_arg`` is the index of the
    argument that ``size`` refers to (0 where it refers to none).
    """

    name: str
    kind: str
    memory: str = "none"
    direction: Direction = Direction.NONE
    size: SizeRule = SizeRule.ONE
    size_arg: int = 0
    unit: int = 0
    header: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. ``condition`` = (argument index, mask): recorded only if one of these bits is set."""

    name: str
    number: int
    classes: tuple[str, ...]
    treatment: Treatment
    refuse_errno: int
    condition: tuple[int, int] | None
    replay: str
    flags: frozenset[str]
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a multiplexed call: ``args`` pairs argument indexes with what replaces the call's own row."""

    call: str
    name: str
    value: int
    selector_arg: int
    selector_mask: int
    flags: frozenset[str]
    args: tuple[tuple[int, Argument], ...]


_SHAPES = {
    "": "bytes",
    "iovec": "iovec",
    "msghdr": "msghdr",
    "mmsghdr": "mmsghdr",
    "fdset": "fdset",
    "ifconf": "ifconf",
}
_DIRECTIONS = {"in": Direction.IN, "out": Direction.OUT, "inout": Direction.INOUT}
_UNITS = {"bytes": 1, "iovec": 16, "msghdr": 56, "mmsghdr": 64, "fdset": 1, "ifconf": 16}
_MEMORY = re.compile(r"(?:(iovec|msghdr|mmsghdr|fdset|ifconf)_)?(in|out|inout)(?:\[([^\]]*)\])?(?::(\w+))?")
_SIZE = re.compile(
    r"(?P<header>8\+)?(?:(?P<number>\d+)|(?:(?P<unit>\d+)\*)?"
    r"(?:min\(ret,(?P<cap>\w+)\)|pages\((?P<pages>\w+)\)|\*(?P<at>\w+?)(?P<wide>\.u64)?|(?P<arg>[a-z]\w*)))"
)


def _rows(text: str, source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield ("file:line", words) for every line that is not blank and not a comment."""
    for line_number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield f"{source}:{line_number}", words


def _number(word: str, where: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise TableError(f"{where}: {word!r} is not a number.") from None


def _words(word: str, allowed: tuple[str, ...], what: str, where: str) -> tuple[str, ...]:
    """Split "a,b" ("-" is empty) and check every part."""
    parts = () if word == "-" else tuple(word.split(","))
    for part in parts:
        if part not in allowed:
            raise TableError(f"{where}: unknown {what} {part!r}; known are {', '.join(sorted(allowed))}.")
    if len(set(parts)) != len(parts):
        raise TableError(f"{where}: a {what} is named twice in {word!r}.")
    return parts


def parse_kinds(text: str, source: str = "kinds.tbl") -> dict[str, Kind]:
    """Read kinds.tbl; the result is in line order."""
    kinds: dict[str, Kind] = {}
    for where, words in _rows(text, source):
        if len(words) != 3 or words[1] not in ("value", "text", "memory"):
            raise TableError(f"{where}: a row is 'name form bytes' with the form value, text or memory.")
        name, form, width = words
        if name in kinds:
            raise TableError(f"{where}: the kind {name!r} is there twice.")
        if (form == "value") != (width in ("4", "8")):
            raise TableError(f"{where}: values have 4 or 8 bytes, other kinds '-'.")
        kinds[name] = Kind(name, len(kinds) + 1, form, int(width) if form == "value" else 0)
    return kinds


class _ArgumentParser:
    """Parses "name:..." words; knows the kinds, and the argument names that size rules may refer to."""

    def __init__(self, kinds: dict[str, Kind]) -> None:
        self.kinds = kinds

    def kind(self, name: str, where: str) -> Kind:
        kind = self.kinds.get(name)
        if kind is None:
            raise TableError(f"{where}: unknown kind {name!r}; add it to kinds.tbl or correct it.")
        return kind

    def parse(self, word: str, names: list[str], where: str) -> Argument:
        name, colon, rest = word.partition(":")
        if not colon or not name.isidentifier():
            raise TableError(f"{where}: {word!r} is not 'name:kind' or 'name:direction[size]:kind'.")
        match = _MEMORY.fullmatch(rest)
        if match:
            return self._memory(name, match, names, where)
        kind = self.kind(rest, where)
        if kind.form == "memory":
            raise TableError(f"{where}: {word!r} needs a direction and a size, as the kind {kind.name} is memory.")
        if kind.form == "text":
            return Argument(name, rest, "strings" if rest == "strings" else "string", Direction.IN, unit=1)
        return Argument(name, rest)

    def _memory(self, name: str, match: re.Match[str], names: list[str], where: str) -> Argument:
        shape, direction, size, kind = match.groups()
        memory = _SHAPES[shape or ""]
        if (size is None) != (memory in ("msghdr", "ifconf")):
            raise TableError(f"{where}: argument {name}: msghdr and ifconf have no [size], everything else has one.")
        kind = kind or (memory if memory in self.kinds else "bytes")
        if self.kind(kind, where).form == "text":
            raise TableError(f"{where}: argument {name}: the kind {kind} is text and takes no direction.")
        unit = _UNITS[memory]
        if size is None:
            return Argument(name, kind, memory, _DIRECTIONS[direction], unit=unit)
        parsed = _SIZE.fullmatch(size)
        if not parsed:
            raise TableError(f"{where}: argument {name}: {size!r} is not a size; see the top of syscalls.tbl.")
        rule, size_arg, unit = self._size(parsed, unit, names, where)
        if rule in (SizeRule.RESULT, SizeRule.RESULT_CAPPED) and direction != "out":
            raise TableError(f"{where}: argument {name}: only OUT memory can have the result as its size.")
        if memory != "bytes" and (rule is not SizeRule.ARG or parsed["unit"] or parsed["header"]):
            raise TableError(f"{where}: argument {name}: the size of a {memory} is the name of an argument.")
        if not 0 < unit <= 0xFFFF:
            raise TableError(f"{where}: argument {name}: {unit} bytes do not fit the 16 bits of a unit.")
        return Argument(name, kind, memory, _DIRECTIONS[direction], rule, size_arg, unit, 8 if parsed["header"] else 0)

    @staticmethod
    def _size(size: re.Match[str], unit: int, names: list[str], where: str) -> tuple[SizeRule, int, int]:
        """Turn the parsed text between the brackets into (rule, size_arg, unit)."""

        def index(name: str) -> int:
            if name not in names:
                raise TableError(f"{where}: the size refers to {name!r}, but the arguments are {', '.join(names)}.")
            return names.index(name)

        if size["number"]:
            return SizeRule.ONE, 0, int(size["number"])
        unit = int(size["unit"]) if size["unit"] else unit
        if size["cap"]:
            return SizeRule.RESULT_CAPPED, index(size["cap"]), unit
        if size["pages"]:
            return SizeRule.PAGES, index(size["pages"]), unit
        if size["at"]:
            return (SizeRule.AT_ARG64 if size["wide"] else SizeRule.AT_ARG), index(size["at"]), unit
        if size["arg"] == "ret":
            return SizeRule.RESULT, 0, unit
        return SizeRule.ARG, index(size["arg"]), unit


def _arg_names(words: list[str]) -> list[str]:
    return [word.partition(":")[0] for word in words if word != "-"]


def _treatment(word: str, names: list[str], where: str) -> tuple[Treatment, int, tuple[int, int] | None]:
    """Read "record", "refuse(ENOSYS)", "record(prot&4)" into (treatment, errno, condition)."""
    name, bracket, rest = word.partition("(")
    try:
        treatment = Treatment(name)
    except ValueError:
        raise TableError(f"{where}: unknown treatment {name!r}; known are allow, record, refuse, special.") from None
    inner = rest[:-1] if rest.endswith(")") else ""
    if treatment is Treatment.REFUSE:
        code = getattr(errno, inner, None)
        if not isinstance(code, int) or not inner.startswith("E"):
            raise TableError(f"{where}: write the error number a refused call gets: refuse(ENOSYS).")
        return treatment, code, None
    if not bracket:
        return treatment, 0, None
    arg, ampersand, mask = inner.partition("&")
    if treatment is not Treatment.RECORD or not ampersand or arg not in names:
        raise TableError(f"{where}: {word!r} is not a treatment; a condition is written record(ARG&MASK).")
    return treatment, 0, (names.index(arg), _number(mask, where))


def parse_calls(text: str, kinds: dict[str, Kind], source: str = "syscalls.tbl") -> list[Call]:
    """Read syscalls.tbl; the result is in line order, which is by name."""
    parser = _ArgumentParser(kinds)
    calls: list[Call] = []
    numbers: dict[int, str] = {}
    for where, words in _rows(text, source):
        call = _call(parser, words, where)
        if calls and calls[-1].name >= call.name:
            raise TableError(f"{where}: {call.name} must come before {calls[-1].name}: sorted by name, no repeats.")
        if call.number in numbers:
            raise TableError(f"{where}: {call.name} has the number {call.number} of {numbers[call.number]}.")
        numbers[call.number] = call.name
        calls.append(call)
    _check_gaps(set(numbers), source)
    return calls


def _check_gaps(numbers: set[int], source: str) -> None:
    """Every number up to the newest call must have a row: "unsupported" is a row too, not an absence."""
    last = max(numbers, default=0)
    expected = {*range(min(last, LAST_OWN_NUMBER) + 1), *range(FIRST_SHARED_NUMBER, last + 1)}
    if missing := sorted(expected - numbers):
        raise TableError(f"{source}: no row for the number {missing[0]}; every call has one, at least a refused one.")
    if strange := sorted(numbers - expected):
        raise TableError(f"{source}: the number {strange[0]} lies where x86-64 has no calls.")


def _call(parser: _ArgumentParser, words: list[str], where: str) -> Call:
    if len(words) < 7:
        raise TableError(f"{where}: a row is 'name number classes treatment replay flags args...'.")
    name, number, classes, treatment, replay, flags, *arg_words = words
    names = _arg_names(arg_words)
    if len(names) > MAX_ARGS or len(set(names)) != len(names):
        raise TableError(f"{where}: {name} has {len(names)} arguments; at most {MAX_ARGS}, each named once.")
    if replay not in ("emulate", "execute"):
        raise TableError(f"{where}: the replay word is 'emulate' or 'execute', not {replay!r}.")
    kind, refuse_errno, condition = _treatment(treatment, names, where)
    args = tuple(parser.parse(word, names, where) for word in arg_words if word != "-")
    class_words = _words(classes, CLASSES, "class", where)
    if not class_words:
        raise TableError(f"{where}: {name} has no class.")
    flag_words = frozenset(_words(flags, CALL_FLAGS, "flag", where))
    return Call(name, _number(number, where), class_words, kind, refuse_errno, condition, replay, flag_words, args)


def parse_commands(text: str, calls: list[Call], kinds: dict[str, Kind], source: str = "commands.tbl") -> list[Command]:
    """Read commands.tbl; checks that its calls carry the flag "commands" and that every such call has rows."""
    parser = _ArgumentParser(kinds)
    by_name = {call.name: call for call in calls}
    selected: list[tuple[Call, int, int]] = []
    done: set[str] = set()
    seen: set[tuple[str, int]] = set()
    commands: list[Command] = []
    for where, words in _rows(text, source):
        if words[0] == "select":
            selected = _selection(words, by_name, done, where)
            continue
        if not selected:
            raise TableError(f"{where}: a 'select CALLS ARG MASK' line must come before the first command.")
        for call, arg, mask in selected:
            command = _command(parser, call, (arg, mask), words, where)
            if (call.name, command.value) in seen:
                raise TableError(f"{where}: {call.name} has the command {command.value:#x} twice.")
            seen.add((call.name, command.value))
            commands.append(command)
    missing = {call.name for call in calls if "commands" in call.flags} - done
    if missing:
        raise TableError(f"{source}: no commands for {', '.join(sorted(missing))}, which have the flag 'commands'.")
    return commands


def _selection(words: list[str], by_name: dict[str, Call], done: set[str], where: str) -> list[tuple[Call, int, int]]:
    if len(words) != 4:
        raise TableError(f"{where}: write 'select CALLS ARG MASK'.")
    selected = []
    for name in words[1].split(","):
        call = by_name.get(name)
        if call is None or "commands" not in call.flags or name in done:
            raise TableError(f"{where}: {name!r} is no call with the flag 'commands', or was selected before.")
        names = [arg.name for arg in call.args]
        if words[2] not in names:
            raise TableError(f"{where}: {name} has no argument {words[2]!r}.")
        done.add(name)
        selected.append((call, names.index(words[2]), _number(words[3], where)))
    return selected


def _command(parser: _ArgumentParser, call: Call, selector: tuple[int, int], words: list[str], where: str) -> Command:
    if len(words) < 4:
        raise TableError(f"{where}: a command is 'NAME VALUE FLAGS ARGS...'.")
    name, value_word, flags, *arg_words = words
    value = _number(value_word, where)
    if value & ~selector[1]:
        raise TableError(f"{where}: {name} has bits outside the mask {selector[1]:#x} and would never be found.")
    names = [arg.name for arg in call.args]
    args = []
    for word in arg_words:
        if word == "-":
            continue
        argument = parser.parse(word, names, where)
        if argument.name not in names:
            raise TableError(f"{where}: {call.name} has no argument {argument.name!r}; it has {', '.join(names)}.")
        args.append((names.index(argument.name), argument))
    if len(args) > MAX_COMMAND_ARGS or len({index for index, _ in args}) != len(args):
        raise TableError(f"{where}: {name} describes {len(args)} arguments; at most {MAX_COMMAND_ARGS}, each once.")
    flag_words = frozenset(_words(flags, COMMAND_FLAGS, "flag", where))
    return Command(call.name, name, value, *selector, flag_words, tuple(args))
