"""YAML with places: the nodes of a rule file as values that know the file and line they came from. Bounded, and without YAML's types:
a scalar is its text.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import yaml

from sentra_sandbox.errors import UsageError

FILE_MAX = 16 << 20
_NODES_MAX = 200_000
_DEEPEST = 50
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RuleFileError(UsageError):
    """Something in a rule file is wrong; ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, file: str, line: int = 0, column: int = 0) -> None:
        place = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(f"{place}: {message}")
        self.file, self.line, self.column = file, line, column


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands."""

    file: str
    line: int
    column: int = 0

    def error(self, message: str) -> RuleFileError:
        return RuleFileError(message, self.file, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar: its text, where it begins, and the file's own characters for it."""

    value: str
    place: Place
    source: str = ""

    def at(self, offset: int) -> Place:
        """The place of a character of ``value``. YAML folds lines but keeps what is not blank: those characters are counted."""
        wanted = sum(not character.isspace() for character in self.value[:offset])
        line, column = self.place.line, self.place.column
        start = 0
        if self.source[:1] in ("|", ">"):  # a block: its text begins on the next line
            start = self.source.find("\n") + 1
            line, column = line + 1, 1
        elif self.source[:1] in ("'", '"'):
            start, column = 1, column + 1
        for character in self.source[start:]:
            if not character.isspace():
                if not wanted:
                    break
                wanted -= 1
            line, column = (line + 1, 1) if character == "\n" else (line, column + 1)
        return Place(self.place.file, line, column)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping with text keys."""

    place: Place
    items: dict[str, Tree]


@dataclass(frozen=True, slots=True)
class Sequence:
    place: Place
    items: list[Tree]


Tree = Text | Table | Sequence


def read(path: str) -> str:
    """A rule file's text. Raises ``RuleFileError``."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX + 1)
    except OSError as error:
        raise RuleFileError(f"the rule file cannot be read: {os.strerror(error.errno or 0)}", path) from error
    if len(data) > FILE_MAX:
        raise RuleFileError(f"the rule file is larger than {FILE_MAX >> 20} MiB", path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RuleFileError(f"the rule file is not UTF-8 (byte {error.start})", path) from error


def load(text: str, file: str) -> Tree | None:
    """The only document of a file; None if it is empty. Raises ``RuleFileError``."""
    try:
        _check_depth(text, file)
        node = yaml.compose(text, Loader=_LOADER)
        return None if node is None else _Builder(text, file).tree(node, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise RuleFileError(f"this is no YAML: {error.problem}", file, line, column) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise RuleFileError(f"this is no YAML: {str(error)[:200]}", file) from error


def _check_depth(text: str, file: str) -> None:
    """YAML's own composer calls itself for each level, in C, and dies of a text that is deep enough."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            depth += 1
            if depth > _DEEPEST:
                mark = event.start_mark
                raise RuleFileError(f"nested deeper than {_DEEPEST}", file, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            depth -= 1


class _Builder:
    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._nodes = 0

    def tree(self, node: yaml.Node, depth: int) -> Tree:
        place = Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)
        self._nodes += 1  # aliases are followed, and a few lines of them can stand for billions
        if self._nodes > _NODES_MAX or depth > _DEEPEST:
            raise place.error("the rule file is too large or nested too deeply")
        if isinstance(node, yaml.ScalarNode):
            return Text(node.value, place, self._characters(node))
        if isinstance(node, yaml.SequenceNode):
            return Sequence(place, [self.tree(item, depth + 1) for item in node.value])
        table: dict[str, Tree] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise place.error("a key must be text")
            if key.value in table:
                raise Place(self._file, key.start_mark.line + 1, key.start_mark.column + 1).error(f"'{key.value[:60]}' is there twice")
            table[key.value] = self.tree(value, depth + 1)
        return Table(place, table)

    def _characters(self, node: yaml.ScalarNode) -> str:
        """What the file has for a scalar. The C parser counts in characters by line and column."""
        start, end = node.start_mark, node.end_mark
        if start.line >= len(self._starts) or end.line >= len(self._starts):
            return ""
        return self._text[self._starts[start.line] + start.column : self._starts[end.line] + end.column]


def plain(tree: Tree) -> Any:
    """As Python values: text as YAML would read it (numbers, true, false, null)."""
    if isinstance(tree, Text):
        if tree.source[:1] in ("'", '"', "|", ">"):
            return tree.value
        return _scalar(tree.value)
    if isinstance(tree, Sequence):
        return [plain(item) for item in tree.items]
    return {key: plain(item) for key, item in tree.items.items()}


def _scalar(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "null", "~"):
        return None
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        return int(text)
    return text
