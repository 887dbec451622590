"""What an operator means: a right side becomes a predicate of the field's value. Semantics as in Falco.

A value that is missing (None) makes every check false, ``!=`` too; the caller sees to that. A tuple is a field with several values at
once (both addresses of a socket, all ancestors): ``=`` and the other operators want one of them to fit. ``!=`` wants that none is equal,
except for ancestors, where Falco is content with one that differs (``Spread``).

``regex`` matches the whole value, ``glob``'s ``*`` crosses slashes, ``pmatch`` is a prefix by path components (which may be globs). Values
come from a hostile trace: only their first ``PATTERN_MAX`` characters are given to patterns, whose time can grow with a power of the
length; the other operators look at all of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

Kind = Literal["text", "number", "truth", "address", "network", "bytes", "list", "any"]
"""``list`` is a field whose value is a list as such: ``in`` wants all of it, ``intersects`` some. ``any`` is text or a number."""
Spread = Literal["", "none-equal", "one-differs"]
"""Of fields with several values: what ``!=`` means."""
Predicate = Callable[[Any], bool]
PATTERN_MAX = 16 * 1024

_TEXT_ONLY = frozenset({"contains", "icontains", "startswith", "endswith", "glob", "iglob", "regex", "pmatch"})
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


class OperandError(ValueError):
    """A right side that does not fit the field or the operator."""


def predicate(kind: Kind, operator: str, words: tuple[str, ...], spread: Spread = "") -> Predicate:
    """The check of one value that is not None. Raises ``OperandError``."""
    single = _single(kind, operator, words)
    if kind == "list" or not spread:
        return single
    if operator == "!=" and spread == "none-equal":
        return lambda values: bool(values) and all(map(single, values))
    return lambda values: any(map(single, values))


def compare(operator: str, left: Any, right: Any) -> bool:
    """Two fields' values, neither None."""
    if operator in _ORDER:
        return isinstance(left, (int, float)) and isinstance(right, (int, float)) and _ORDER[operator](left, right)
    rights = right if isinstance(right, tuple) else (right,)
    words = tuple(_text(item) for item in rights)
    if operator not in ("in", "intersects", "pmatch"):
        words = words[:1]
    try:
        return bool(words) and predicate("list" if isinstance(left, tuple) else "any", operator, words)(left)
    except OperandError:
        return False  # a value of the trace that is no pattern


def _single(kind: Kind, operator: str, words: tuple[str, ...]) -> Predicate:
    if operator in _ORDER:
        if kind not in ("number", "any"):
            raise OperandError(f"'{operator}' compares numbers, and this field is {_article(kind)}")
        limit, order = number(words[0]), _ORDER[operator]
        return lambda value: isinstance(value, (int, float)) and order(value, limit)
    if kind == "list":
        return _list(operator, words)
    if operator in ("bcontains", "bstartswith"):
        return _bytes(operator, words[0])
    if operator in _TEXT_ONLY:
        if kind not in ("text", "any"):
            if operator == "pmatch" or kind in ("number", "truth", "address", "network"):
                raise OperandError(f"'{operator}' compares text, and this field is {_article(kind)}")
            return _on_bytes(_text_predicate(operator, words))
        check = _text_predicate(operator, words)
        return check if kind == "text" else lambda value: check(_text(value))
    equal = _equal(kind, words)
    return (lambda value: not equal(value)) if operator == "!=" else equal


def _equal(kind: Kind, words: tuple[str, ...]) -> Predicate:
    """Equal to one of the words: ``=``, ``in`` and ``intersects``."""
    if kind == "text":
        return frozenset(words).__contains__ if len(words) != 1 else words[0].__eq__
    if kind == "number":
        return frozenset(number(word) for word in words).__contains__
    if kind == "truth":
        return frozenset(_truth(word) for word in words).__contains__
    if kind in ("address", "network"):
        return _addresses(words)
    if kind == "bytes":
        return frozenset(word.encode("utf-8", "surrogateescape") for word in words).__contains__
    texts = frozenset(words)
    numbers = frozenset(found for word in words if (found := _number_or_none(word)) is not None)
    return lambda value: value in numbers if isinstance(value, int) else value in texts


def _list(operator: str, words: tuple[str, ...]) -> Predicate:
    if operator == "in":
        allowed = frozenset(words)
        return lambda values: bool(values) and all(_text(value) in allowed for value in values)
    if operator == "!=":
        return lambda values: words[0] not in map(_text, values)
    if operator in ("bcontains", "bstartswith"):
        raise OperandError(f"'{operator}' compares bytes, and this field is a list")
    check = _equal("text", words) if operator in ("=", "==", "intersects") else _text_predicate(operator, words)
    return lambda values: any(check(_text(value)) for value in values)


def _text_predicate(operator: str, words: tuple[str, ...]) -> Predicate:
    word = words[0] if words else ""
    if operator == "contains":
        return lambda value: word in value
    if operator == "icontains":
        lower = word.lower()
        return lambda value: lower in value.lower()
    if operator == "startswith":
        return lambda value: bool(value.startswith(word))
    if operator == "endswith":
        return lambda value: bool(value.endswith(word))
    if operator == "pmatch":
        return path_prefixes(words)
    pattern = compiled(word) if operator == "regex" else re.compile(glob_pattern(word), re.IGNORECASE if operator == "iglob" else 0)
    return lambda value: pattern.fullmatch(value[:PATTERN_MAX]) is not None


def compiled(word: str) -> re.Pattern[str]:
    """A regular expression of a rule."""
    try:
        return re.compile(word, re.DOTALL)
    except (re.error, RecursionError, OverflowError) as error:
        raise OperandError(f"'{word[:80]}' is no regular expression: {error}") from error


def glob_pattern(glob: str) -> str:
    """As a regular expression: ``*``, ``?``, ``[...]`` and backslashes; ``*`` also matches slashes."""
    parts, at = ["(?s:"], 0
    while at < len(glob):
        character = glob[at]
        if character == "*":
            if parts[-1] != ".*":
                parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[" and (end := glob.find("]", at + 2)) > 0:
            inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[").replace("&&", "&\\&").replace("~~", "~\\~")
            parts.append(f"[{'^' + inside[1:] if inside[0] in '!^' else inside}]")
            at = end
        else:
            if character == "\\" and at + 1 < len(glob):
                at += 1
            parts.append(re.escape(glob[at]))
        at += 1
    try:
        re.compile("".join([*parts, ")"]))
    except re.error as error:
        raise OperandError(f"'{glob[:80]}' is no glob: {error}") from error
    return "".join([*parts, ")"])


def path_prefixes(paths: Iterable[str]) -> Predicate:
    """Whether a path is one of these or lies below one."""
    plain: set[tuple[str, ...]] = set()
    globs: list[list[re.Pattern[str]]] = []
    for path in paths:
        parts = _components(path)
        if any(sign in path for sign in "*?["):
            globs.append([re.compile(glob_pattern(part)) for part in parts])
        else:
            plain.add(tuple(parts))
    lengths = sorted({len(parts) for parts in plain})

    def check(value: str) -> bool:
        parts = _components(value)
        if any(tuple(parts[:length]) in plain for length in lengths if length <= len(parts)):
            return True
        return any(
            len(wanted) <= len(parts) and all(one.fullmatch(part) for one, part in zip(wanted, parts, strict=False)) for wanted in globs
        )

    return check


def _components(path: str) -> list[str]:
    """The root is a component of its own, so that it is a prefix of all absolute paths and of no other."""
    return (["/"] if path.startswith("/") else []) + [part for part in path[:PATTERN_MAX].split("/") if part]


def _addresses(words: tuple[str, ...]) -> Predicate:
    """Addresses and networks; an address of the trace that is none is equal to nothing."""
    exact: set[str] = set()
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for word in words:
        try:
            if "/" in word:
                networks.append(ipaddress.ip_network(word, strict=False))
            else:
                exact.add(str(ipaddress.ip_address(word)))
        except ValueError as error:
            raise OperandError(f"'{word[:80]}' is no address or network: {error}") from error

    def check(value: str) -> bool:
        if value in exact:
            return True
        try:
            address = ipaddress.ip_address(value) if networks else None
        except ValueError:
            return False
        return address is not None and any(address in network for network in networks)

    return check


def _bytes(operator: str, word: str) -> Predicate:
    try:
        wanted = bytes.fromhex(word)
    except ValueError as error:
        raise OperandError(f"'{operator}' needs hexadecimal digits, not '{word[:80]}'") from error

    def check(value: Any) -> bool:
        data = value if isinstance(value, bytes) else _text(value).encode("utf-8", "surrogateescape")
        return wanted in data if operator == "bcontains" else data.startswith(wanted)

    return check


def _on_bytes(check: Predicate) -> Predicate:
    """Text operators on bytes: every byte is a character."""
    return lambda value: check(value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value)


def number(word: str) -> int | float:
    """Decimal, hexadecimal or with a fraction. Raises ``OperandError``."""
    found = _number_or_none(word)
    if found is None:
        raise OperandError(f"this field is a number, and '{word[:80]}' is none")
    return found


def _number_or_none(word: str) -> int | float | None:
    if not re.fullmatch(r"[-+]?(?:0[xX][0-9a-fA-F]{1,32}|[0-9]{1,40}(?:\.[0-9]{1,40})?)", word):
        return None
    return float(word) if "." in word else int(word, 0 if "x" in word.lower() else 10)


def _truth(word: str) -> bool:
    if word not in ("true", "false"):
        raise OperandError(f"this field is true or false, not '{word[:80]}'")
    return word == "true"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _article(kind: str) -> str:
    return {"text": "text", "number": "a number", "truth": "true or false", "address": "an address", "network": "an address"}.get(
        kind, f"of kind {kind}"
    )
