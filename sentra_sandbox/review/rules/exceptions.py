"""``exceptions:`` of a rule: combinations of values for which it does not match.

    exceptions:
      - name: known_writers
        fields: [proc.name, fd.name]
        comps: [=, startswith]
        values:
          - [apt, /var/lib/apt]
          - [dpkg, /var/lib/dpkg]

is ``and not ((proc.name = apt and fd.name startswith /var/lib/apt) or (...))``. With one field as text, ``values`` is a list for ``in``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sentra_sandbox.review.rules.conditions import (
    LIST_OPERATORS,
    OPERATORS,
    And,
    Check,
    ConditionError,
    Expression,
    Field,
    Or,
    Word,
    parse,
)
from sentra_sandbox.review.rules.yaml_source import Place, Sequence, Table, Text, Tree


@dataclass(slots=True)
class _Exception:
    fields: list[Field]
    comparisons: list[str]
    single: bool  # one field as text, whose values are a plain list
    values: list[Tree] = field(default_factory=list)


@dataclass(slots=True)
class Exceptions:
    """Of one rule, by name; later definitions add values to those of the same name."""

    known: dict[str, _Exception] = field(default_factory=dict)

    def add(self, tree: Tree) -> None:
        """Raises ``RuleFileError``."""
        if isinstance(tree, Text) and not tree.value:
            return
        if not isinstance(tree, Sequence):
            raise tree.place.error("'exceptions' must be a list")
        for item in tree.items:
            if not isinstance(item, Table) or not isinstance(name := item.items.get("name"), Text):
                raise item.place.error("an exception needs a name")
            self._one(name.value, item)

    def _one(self, name: str, item: Table) -> None:
        known = self.known.get(name)
        if known is None or "fields" in item.items:
            known = _defined(item)
            if name in self.known:
                known.values = self.known[name].values
            self.known[name] = known
        values = item.items.get("values")
        if values is None or (isinstance(values, Text) and not values.value):
            return
        if not isinstance(values, Sequence):
            raise values.place.error("'values' must be a list")
        for value in values.items:
            if not known.single and (not isinstance(value, Sequence) or len(value.items) != len(known.fields)):
                raise value.place.error(f"each of the values must be a list of {len(known.fields)}, one for each field")
        known.values.extend(values.items)

    def expression(self) -> Expression | None:
        """When it does not match; None if there are no values."""
        found: list[Expression] = []
        for known in self.known.values():
            if not known.values:
                continue
            if known.single:
                found.append(_check(known.fields[0], known.comparisons[0], known.values))
                continue
            for value in known.values:
                assert isinstance(value, Sequence)
                triples = zip(known.fields, known.comparisons, value.items, strict=True)
                found.append(And(tuple(_check(name, comparison, [each]) for name, comparison, each in triples)))
        return Or(tuple(found)) if found else None


def _defined(item: Table) -> _Exception:
    fields = item.items.get("fields")
    if isinstance(fields, Text):
        comparisons = _operators(item, 1, "in")
        return _Exception([_field(fields)], comparisons, comparisons[0] in LIST_OPERATORS)
    if not isinstance(fields, Sequence) or not fields.items:
        raise (fields or item).place.error("an exception needs 'fields'")
    return _Exception([_field(each) for each in fields.items], _operators(item, len(fields.items), "="), False)


def _field(tree: Tree) -> Field:
    if not isinstance(tree, Text):
        raise tree.place.error("expected the name of a field")
    try:
        found = parse(f"{tree.value} exists")
    except ConditionError as error:
        raise tree.place.error(f"'{tree.value[:60]}' is no field") from error
    if not isinstance(found, Check):
        raise tree.place.error(f"'{tree.value[:60]}' is no field")
    return found.field


def _operators(item: Table, count: int, default: str) -> list[str]:
    tree = item.items.get("comps")
    if tree is None:
        return [default] * count
    texts = [tree] if isinstance(tree, Text) else tree.items if isinstance(tree, Sequence) else []
    found = [each.value for each in texts if isinstance(each, Text)]
    if len(found) != count or any(operator not in OPERATORS or operator == "exists" for operator in found):
        raise tree.place.error(f"'comps' must name {count} operators")
    return found


def _check(name: Field, operator: str, values: list[Tree]) -> Check:
    words: list[Word] = []
    for value in values:
        if isinstance(value, Sequence) and operator in LIST_OPERATORS:
            words.extend(_word(each) for each in value.items)
        else:
            words.append(_word(value))
    if operator not in LIST_OPERATORS:
        words = words[:1]
    return Check(name, operator, tuple(words))


def _word(tree: Tree) -> Word:
    if not isinstance(tree, Text):
        raise tree.place.error("expected a value")
    text = tree.value.strip()
    if text.startswith("(") and text.endswith(")"):  # an older way to write a list
        raise _old_list(tree.place)
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return Word(text[1:-1] if quoted else text, quoted)


def _old_list(place: Place) -> Exception:
    return place.error("write a list as [a, b], not as text in parentheses")
