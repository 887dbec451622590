"""A condition's tree becomes a Python function of a moment.

Macros are put in, lists are spelled out, then everything that is known beforehand is folded: the event's type (each rule is compiled once
for each type that it can match, so most of it disappears), and checks of fields that cannot be told, which are false. What is left is a
closure; ``True`` or ``False`` if nothing is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sentra_sandbox.review.rules.conditions import And, Check, ConditionError, Expression, Field, Macro, Not, Or, Word
from sentra_sandbox.review.rules.fields import FieldSpec, argument_problem, registry, why_not
from sentra_sandbox.review.rules.operators import Kind, OperandError, compare, predicate

Test = Callable[[Any], bool]
Folded = Test | bool
Getter = Callable[[Any], Any]
Lookup = Callable[[Field, FieldSpec, str | None], Getter]
"""How to get a field of whatever the condition is asked about: a moment, or in a test of a rule a table of values."""
EVENT_TYPES = frozenset({"evt.type", "syscall.type"})
_EXPANDED_MAX = 100_000  # checks in one condition with its macros put in


class Unresolvable(ValueError):
    """A macro that does not exist or contains itself."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def expand(expression: Expression, macros: Mapping[str, Expression]) -> Expression:
    """The condition with its macros put in. Raises ``Unresolvable``."""
    return _Expansion(macros).of(expression, ())


class _Expansion:
    def __init__(self, macros: Mapping[str, Expression]) -> None:
        self._macros = macros
        self._done: dict[str, tuple[Expression, int]] = {}
        self._size = 0

    def of(self, item: Expression, inside: tuple[str, ...], offset: int | None = None) -> Expression:
        if isinstance(item, Check):
            self._size += 1
            if self._size > _EXPANDED_MAX:
                raise Unresolvable("its macros make it too large", 0)
            return item
        if isinstance(item, Macro):
            return self._macro(item, inside, item.offset if offset is None else offset)
        if isinstance(item, Not):
            return Not(self.of(item.item, inside, offset))
        return type(item)(tuple(self.of(each, inside, offset) for each in item.items))

    def _macro(self, item: Macro, inside: tuple[str, ...], offset: int) -> Expression:
        if item.name in inside:
            raise Unresolvable(f"macro '{item.name}' contains itself", offset)
        if item.name not in self._macros:
            raise Unresolvable(f"there is no macro '{item.name}'", offset)
        if len(inside) > 50:
            raise Unresolvable("macros are nested too deeply", offset)
        if item.name in self._done:
            found, size = self._done[item.name]
            self._size += size
            if self._size > _EXPANDED_MAX:
                raise Unresolvable("its macros make it too large", offset)
            return found
        before = self._size
        found = self.of(self._macros[item.name], (*inside, item.name), offset)
        self._done[item.name] = (found, self._size - before)
        return found


def event_types(expression: Expression) -> frozenset[str] | None:
    """The event types for which an expanded condition can be true; None for all."""
    if isinstance(expression, Check):
        plain = all(isinstance(value, Word) for value in expression.values) and not expression.field.functions
        if expression.field.name in EVENT_TYPES and plain and expression.operator in ("=", "==", "in"):
            return frozenset(value.text for value in expression.values if isinstance(value, Word))
        return None
    if isinstance(expression, (Not, Macro)):
        return None
    found = [event_types(item) for item in expression.items]
    if isinstance(expression, Or):
        return None if any(types is None for types in found) else frozenset().union(*(types for types in found if types is not None))
    known = [types for types in found if types is not None]
    return frozenset.intersection(*known) if known else None


@dataclass(slots=True)
class Compiler:
    """``lists`` are spelled out already. ``unsupported`` collects the fields that could not be told, with the reason."""

    lists: Mapping[str, tuple[str, ...]]
    lookup: Lookup
    unsupported: dict[str, str] = field(default_factory=dict)
    _checks: dict[Check, Folded] = field(default_factory=dict)

    def compile(self, expression: Expression, event_type: str | None) -> Folded:
        """Raises ``ConditionError`` (without its text's line) for a value that does not fit its field."""
        if isinstance(expression, Check):
            return self._check(expression, event_type)
        if isinstance(expression, Not):
            return _not(self.compile(expression.item, event_type))
        if isinstance(expression, Macro):
            raise Unresolvable(f"there is no macro '{expression.name}'", expression.offset)
        parts = [self.compile(item, event_type) for item in expression.items]
        return _both(parts) if isinstance(expression, And) else _either(parts)

    def _check(self, check: Check, event_type: str | None) -> Folded:
        if event_type is not None and check.field.name in EVENT_TYPES and not check.field.functions:
            if check.operator == "exists":
                return True
            if all(isinstance(value, Word) for value in check.values):
                return predicate("text", check.operator, self._words(check))(event_type)
        found = self._checks.get(check)
        if found is None:
            found = self._checks[check] = self._compiled(check)
        return found

    def _compiled(self, check: Check) -> Folded:
        try:
            getter, kind, spec = self._getter(check.field)
            if spec is None or getter is None:
                return False
            if check.operator == "exists":
                return lambda subject: getter(subject) is not None
            if any(isinstance(value, Field) for value in check.values):
                return self._of_fields(check, getter)
            # With an argument it is one of the values; a length is one number.
            many = spec.spread if check.field.argument is None and "len" not in check.field.functions else ""
            test = predicate(kind, check.operator, self._words(check), many)
        except OperandError as error:
            raise ConditionError(f"{check.field} {check.operator}: {error}", "", check.offset) from error

        def present(subject: Any) -> bool:
            value = getter(subject)
            return value is not None and test(value)

        return present

    def _of_fields(self, check: Check, getter: Getter) -> Folded:
        rights = [self._getter(value)[0] for value in check.values if isinstance(value, Field)]
        if any(right is None for right in rights) or len(rights) != 1:
            return False
        other, operator = rights[0], check.operator

        def both(subject: Any) -> bool:
            left, right = getter(subject), other(subject) if other else None
            return left is not None and right is not None and compare(operator, left, right)

        return both

    def _words(self, check: Check) -> tuple[str, ...]:
        words: list[str] = []
        spelled = check.operator in ("in", "intersects", "pmatch")
        for value in check.values:
            if isinstance(value, Word):
                words.extend(self.lists.get(value.text, (value.text,)) if spelled and not value.quoted else (value.text,))
        return tuple(words)

    def _getter(self, wanted: Field) -> tuple[Getter | None, Kind, FieldSpec | None]:
        spec, argument = resolve(wanted)
        if spec is None:
            self.unsupported[str(Field(wanted.name, wanted.argument))] = why_not(wanted.name)
            return None, "any", None
        if problem := argument_problem(spec, argument):
            raise OperandError(problem)
        getter, kind = self.lookup(Field(wanted.name, wanted.argument), spec, argument), spec.kind
        for function in wanted.functions:
            getter, kind = _applied(function, getter), "number" if function == "len" else "text"
        return getter, kind, spec


def resolve(wanted: Field) -> tuple[FieldSpec | None, str | None]:
    """The field and its argument; ``evt.arg.flags`` is ``evt.arg[flags]``. None if there is no such field."""
    fields = registry()
    if wanted.name in fields:
        return fields[wanted.name], wanted.argument
    for prefix in ("evt.arg", "evt.rawarg"):
        if wanted.name.startswith(prefix + ".") and wanted.argument is None:
            return fields[prefix], wanted.name[len(prefix) + 1 :]
    return None, None


def of_moment(wanted: Field, spec: FieldSpec, argument: str | None) -> Getter:
    """``Lookup`` for moments."""
    get = spec.get
    return spec.direct or (lambda moment: get(moment, argument))


def of_table(wanted: Field, spec: FieldSpec, argument: str | None) -> Getter:
    """``Lookup`` for a table of field names and values, as in the tests of a rule. Lists become tuples."""
    name = str(wanted)

    def get(subject: Mapping[str, Any]) -> Any:
        value = subject.get(name)
        if spec.kind == "bytes" and isinstance(value, str):
            return value.encode()
        if spec.spread and argument is None and value is not None and not isinstance(value, (list, tuple)):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    return get


def _applied(function: str, getter: Getter) -> Getter:
    transform = _FUNCTIONS[function]

    def get(subject: Any) -> Any:
        value = getter(subject)
        if isinstance(value, tuple) and function != "len":
            return tuple(found for item in value if (found := transform(item)) is not None)
        return None if value is None else transform(value)

    return get


def _plain_text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _from_base64(value: Any) -> str | None:
    text = _plain_text(value).strip()
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "tolower": lambda value: _plain_text(value).lower(),
    "toupper": lambda value: _plain_text(value).upper(),
    "b64": _from_base64,
    "basename": lambda value: _plain_text(value).rsplit("/", 1)[-1],
    "len": lambda value: len(value) if isinstance(value, (str, bytes, tuple)) else len(str(value)),
}


def _not(item: Folded) -> Folded:
    if isinstance(item, bool):
        return not item
    return lambda subject: not item(subject)


def _both(parts: list[Folded]) -> Folded:
    if any(part is False for part in parts):
        return False
    tests = [part for part in parts if not isinstance(part, bool)]
    if len(tests) < 2:
        return tests[0] if tests else True
    if len(tests) == 2:
        first, second = tests
        return lambda subject: first(subject) and second(subject)

    def every(subject: Any) -> bool:
        for test in tests:  # noqa: SIM110 - the loop is half the time of all() with a generator
            if not test(subject):
                return False
        return True

    return every


def _either(parts: list[Folded]) -> Folded:
    if any(part is True for part in parts):
        return True
    tests = [part for part in parts if not isinstance(part, bool)]
    if len(tests) < 2:
        return tests[0] if tests else False
    if len(tests) == 2:
        first, second = tests
        return lambda subject: first(subject) or second(subject)

    def some(subject: Any) -> bool:
        for test in tests:  # noqa: SIM110 - as above
            if test(subject):
                return True
        return False

    return some
