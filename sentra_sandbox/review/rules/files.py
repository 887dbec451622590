"""Rule files in Falco's YAML: lists, macros and rules, with everything that changes earlier ones (append, override, exceptions).

``RuleFiles`` takes files one after the other, later ones may change what earlier ones said; ``finish`` gives the ``RuleSet``. What is wrong
raises ``RuleFileError`` with file, line and column; what is only unknown to us is a warning, so that files for newer engines load.

Our own keys of a rule, which Falco's loader passes over with a warning: ``id``, ``category``, ``remedy``, ``owasp``, ``false_positives``,
``subject`` (the field that findings are told apart by), ``confidence`` and ``tests``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sentra_sandbox.review.rules import yaml_source
from sentra_sandbox.review.rules.compiled import Unresolvable, expand
from sentra_sandbox.review.rules.conditions import And, ConditionError, Expression, Not, Or, parse
from sentra_sandbox.review.rules.exceptions import Exceptions
from sentra_sandbox.review.rules.yaml_source import Place, Sequence, Table, Text, Tree, plain

ENGINE_VERSION = (0, 57, 0)
"""The engine whose grammar and loading we follow."""
PRIORITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "info", "debug")
_RULE_KEYS = frozenset((
    "rule", "condition", "output", "desc", "priority", "tags", "enabled", "source", "exceptions", "append", "override", "warn_evttypes",
    "skip-if-unknown-filter", "capture", "capture_duration", "required_engine_version", "id", "category", "remedy", "owasp",
    "false_positives", "subject", "confidence", "tests",
))  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(slots=True)
class Condition:
    """A condition's text, in the pieces that it was put together from."""

    pieces: list[Text]

    @property
    def text(self) -> str:
        return " ".join(piece.value for piece in self.pieces)

    def place(self, offset: int) -> Place:
        """Where a character of ``text`` stands."""
        for piece in self.pieces:
            if offset <= len(piece.value):
                return piece.at(offset)
            offset -= len(piece.value) + 1
        return self.pieces[-1].place

    def parsed(self) -> Expression:
        try:
            return parse(self.text)
        except ConditionError as error:
            raise self.place(error.offset).error(error.message) from error


@dataclass(slots=True)
class Rule:
    """A rule. ``expression`` has its macros put in and its exceptions taken out."""

    name: str
    place: Place
    condition: Condition
    output: str = ""
    desc: str = ""
    priority: str = "warning"
    tags: tuple[str, ...] = ()
    enabled: bool = True
    source: str = "syscall"
    exceptions: Exceptions = field(default_factory=Exceptions)
    own: dict[str, Any] = field(default_factory=dict)
    expression: Expression = field(default_factory=lambda: Or(()))

    @property
    def tests(self) -> list[Any]:
        """``[{match: true, event: {...}}, ...]``"""
        found = self.own.get("tests")
        return found if isinstance(found, list) else []


@dataclass(slots=True)
class RuleSet:
    """``lists`` are spelled out; ``rules`` by name in the order of the files."""

    rules: dict[str, Rule]
    macros: dict[str, Expression]
    lists: dict[str, tuple[str, ...]]
    warnings: list[str]


def load(paths: Iterable[str]) -> RuleSet:
    """Rule files, in order. Raises ``RuleFileError``."""
    files = RuleFiles()
    for path in paths:
        files.add(yaml_source.read(path), path)
    return files.finish()


class RuleFiles:
    """Takes rule files in order."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._lists: dict[str, list[str]] = {}
        self._macros: dict[str, Condition] = {}
        self._rules: dict[str, Rule] = {}

    def add(self, text: str, file: str) -> None:
        """The next file. Raises ``RuleFileError``."""
        tree = yaml_source.load(text, file)
        if tree is None:
            return
        if not isinstance(tree, Sequence):
            raise tree.place.error("a rule file is a list of rules, macros and lists")
        for item in tree.items:
            if not isinstance(item, Table):
                raise item.place.error("expected a rule, a macro or a list")
            self._item(item)

    def _item(self, item: Table) -> None:
        if "rule" in item.items:
            self._rule(item)
        elif "macro" in item.items:
            self._macro(item)
        elif "list" in item.items:
            self._list(item)
        elif "required_engine_version" in item.items:
            self._engine(_text(item, "required_engine_version"))
        elif "required_plugin_versions" not in item.items:
            self._warn(item.place, f"unknown item '{next(iter(item.items), '')[:60]}'")

    def _warn(self, place: Place, message: str) -> None:
        if len(self.warnings) < 1000:
            self.warnings.append(f"{place.file}:{place.line}: {message}")

    def _engine(self, version: Text) -> None:
        parts = version.value.split(".")
        if not all(part.isascii() and part.isdigit() and len(part) < 9 for part in parts):
            raise version.place.error(f"'{version.value[:40]}' is no version")
        # A bare number is the old way of counting engines: 57 is 0.57.0.
        wanted = (0, int(parts[0]), 0) if len(parts) == 1 else tuple(int(part) for part in parts)
        if wanted > ENGINE_VERSION:
            ours = ".".join(map(str, ENGINE_VERSION))
            self._warn(version.place, f"written for engine {version.value}; what is new since {ours} is unknown here")

    # ---- lists and macros

    def _list(self, item: Table) -> None:
        name = _name(item, "list", _NAME)
        mode = _mode(item, "items")
        items = [_unquoted(text.value) for text in _texts(item, "items")]
        if mode and name.value not in self._lists:
            raise name.place.error(f"list '{name.value}' is changed, but no list of this name came before")
        self._lists[name.value] = self._lists[name.value] + items if mode == "append" else items

    def _macro(self, item: Table) -> None:
        name = _name(item, "macro", _NAME)
        mode = _mode(item, "condition")
        text = _text(item, "condition")
        before = self._macros.get(name.value)
        if mode and before is None:
            raise name.place.error(f"macro '{name.value}' is changed, but no macro of this name came before")
        condition = Condition([*before.pieces, text]) if before and mode == "append" else Condition([text])
        condition.parsed()
        self._macros[name.value] = condition

    # ---- rules

    def _rule(self, item: Table) -> None:
        name = _name(item, "rule", None)
        for key in item.items:
            if key not in _RULE_KEYS:
                self._warn(item.place, f"rule '{name.value}': unknown key '{key[:60]}'")
        before = self._rules.get(name.value)
        changes = _changes(item)
        if not changes and "condition" not in item.items and before is not None:
            changes = {"enabled": "replace"}  # an old way to switch a rule on or off
        if not changes:
            self._rules[name.value] = self._new_rule(name, item)
            return
        if before is None:
            raise name.place.error(f"rule '{name.value}' is changed, but no rule of this name came before")
        self._change(before, item, changes)

    def _new_rule(self, name: Text, item: Table) -> Rule:
        rule = Rule(name.value, name.place, Condition([_text(item, "condition")]))
        for key in ("output", "desc", "priority"):
            _text(item, key)
        for key in item.items:
            self._set(rule, item, key, append=False)
        return rule

    def _change(self, rule: Rule, item: Table, changes: dict[str, str]) -> None:
        for key, how in changes.items():
            if key not in item.items:
                raise item.place.error(f"override names '{key}', but the rule does not have it")
            self._set(rule, item, key, append=how == "append")

    def _set(self, rule: Rule, item: Table, key: str, *, append: bool) -> None:
        if key == "condition":
            text = _text(item, key)
            rule.condition = Condition([*rule.condition.pieces, text] if append else [text])
            rule.condition.parsed()
        elif key in ("output", "desc"):
            value = _text(item, key).value.strip()
            setattr(rule, key, f"{getattr(rule, key)} {value}" if append else value)
        elif key == "priority":
            rule.priority = _priority(_text(item, key))
        elif key == "tags":
            tags = tuple(text.value for text in _texts(item, key))
            rule.tags = (*rule.tags, *tags) if append else tags
        elif key == "enabled":
            rule.enabled = _truth(_text(item, key))
        elif key == "source":
            rule.source = _text(item, key).value
        elif key == "exceptions":
            if not append:
                rule.exceptions = Exceptions()
            rule.exceptions.add(item.items[key])
        elif key in ("id", "category", "remedy", "owasp", "false_positives", "subject", "confidence", "tests"):
            rule.own[key] = plain(item.items[key])

    # ---- the end

    def finish(self) -> RuleSet:
        """Everything put together. Raises ``RuleFileError`` for macros that do not exist or contain themselves."""
        macros = {name: condition.parsed() for name, condition in self._macros.items()}
        for name, condition in self._macros.items():
            self._expanded(macros[name], macros, condition)
        for rule in self._rules.values():
            expression = self._expanded(rule.condition.parsed(), macros, rule.condition)
            if exception := rule.exceptions.expression():
                expression = And((expression, Not(exception)))
            rule.expression = expression
        return RuleSet(self._rules, macros, self._spelled_out(), self.warnings)

    def _expanded(self, expression: Expression, macros: dict[str, Expression], condition: Condition) -> Expression:
        try:
            return expand(expression, macros)
        except Unresolvable as error:
            raise condition.place(error.offset).error(str(error)) from error

    def _spelled_out(self) -> dict[str, tuple[str, ...]]:
        """Lists in lists are put in; one that contains itself keeps the name as text there."""
        done: dict[str, tuple[str, ...]] = {}

        def spell(name: str, inside: tuple[str, ...]) -> tuple[str, ...]:
            if name not in done or inside:
                found: dict[str, None] = {}
                for item in self._lists[name]:
                    deeper = item in self._lists and item not in (*inside, name) and len(inside) < 50
                    spelled = done.get(item) or spell(item, (*inside, name)) if deeper else (item,)
                    found.update(dict.fromkeys(spelled))
                done.setdefault(name, tuple(found))
                return tuple(found)
            return done[name]

        return {name: spell(name, ()) for name in self._lists}


def _text(item: Table, key: str) -> Text:
    value = item.items.get(key)
    if not isinstance(value, Text):
        raise (value or item).place.error(f"'{key}' is missing" if value is None else f"'{key}' must be text")
    return value


def _texts(item: Table, key: str) -> list[Text]:
    value = item.items.get(key)
    if isinstance(value, Text) and not value.value:
        return []
    if not isinstance(value, Sequence):
        raise (value or item).place.error(f"'{key}' is missing" if value is None else f"'{key}' must be a list")
    for each in value.items:
        if not isinstance(each, Text):
            raise each.place.error(f"'{key}' must be a list of texts")
    return [each for each in value.items if isinstance(each, Text)]


def _name(item: Table, key: str, pattern: re.Pattern[str] | None) -> Text:
    name = _text(item, key)
    if not name.value.strip() or (pattern and not pattern.fullmatch(name.value)):
        raise name.place.error(f"'{name.value[:60]}' cannot be the name of a {key}")
    return name


def _mode(item: Table, key: str) -> str:
    """``append``, ``replace``, or ``""`` for a new definition."""
    return _changes(item, (key,)).get(key, "")


def _changes(item: Table, appended: tuple[str, ...] = ("condition", "exceptions")) -> dict[str, str]:
    """What an ``append: true`` or an ``override:`` changes, and how."""
    if isinstance(append := item.items.get("append"), Text) and _truth(append):
        return {key: "append" for key in appended if key in item.items}
    override = item.items.get("override")
    if override is None:
        return {}
    if not isinstance(override, Table):
        raise override.place.error("'override' says for each key 'append' or 'replace'")
    return {key: _how(key, value) for key, value in override.items.items()}


_APPENDABLE = ("condition", "items", "output", "desc", "tags", "exceptions")


def _how(key: str, value: Tree) -> str:
    if not isinstance(value, Text) or value.value not in ("append", "replace"):
        raise value.place.error("'override' says for each key 'append' or 'replace'")
    if value.value == "append" and key not in _APPENDABLE:
        raise value.place.error(f"'{key}' can be replaced, not appended to")
    if key not in (*_APPENDABLE, "priority", "enabled", "warn_evttypes", "skip-if-unknown-filter", "source", "capture", "capture_duration"):
        raise value.place.error(f"'{key[:60]}' cannot be overridden")
    return value.value


def _truth(text: Text) -> bool:
    if text.value.lower() not in ("true", "false"):
        raise text.place.error(f"expected true or false, not '{text.value[:40]}'")
    return text.value.lower() == "true"


def _priority(text: Text) -> str:
    priority = text.value.lower()
    if priority not in PRIORITIES:
        raise text.place.error(f"unknown priority '{text.value[:40]}'; there are {', '.join(PRIORITIES)}")
    return "informational" if priority == "info" else priority


def _unquoted(text: str) -> str:
    """Items of lists were once pasted into conditions, so some carry quotes of their own."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
