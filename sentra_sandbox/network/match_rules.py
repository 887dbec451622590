"""The rules by which requests count as the same: options of the recorded world, checked. Pure.

As a file (``--match FILE``, YAML; each key may be absent):

    order: per_key_fifo          # or strict, any
    ignore: ["$.metadata", "$..id"]      # parts of JSON bodies
    ignoreQuery: [nonce]         # parameters of the query
    queryOrder: any              # or exact
    timing: none                 # or recorded: answers take the time that they took

Paths are a small part of JSONPath: ``$``, then ``.name``, ``['name']``, ``[0]``, ``.*`` or ``[*]``, and ``..`` for any depth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from sentra_sandbox.errors import UsageError

ORDERS = ("strict", "per_key_fifo", "any")


class _Deep:
    """``..``"""


class _Any:
    """``*``"""


DEEP: Final = _Deep()
ANY: Final = _Any()
Step = str | int | _Deep | _Any
Path = tuple[Step, ...]

_STEP = re.compile(
    r"""(\.\.)?(?:\.?(?P<name>[^.\[\]*'"\s]+)|\.?(?P<star>\*)|\[(?:(?P<index>\d+)|(?P<every>\*)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\])"""
)


@dataclass(frozen=True, slots=True)
class MatchRules:
    """``order``: ``strict`` (the whole run's), ``per_key_fifo`` (in order among equal requests), ``any`` (as that, and the last
    answer again and again). ``ignored``: parsed paths.
    """

    order: Literal["strict", "per_key_fifo", "any"] = "per_key_fifo"
    ignored: tuple[Path, ...] = ()
    ignore_query: frozenset[str] = frozenset()
    query_order: Literal["any", "exact"] = "any"
    timing: Literal["none", "recorded"] = "none"


def rules_of(options: Mapping[str, object] | None) -> MatchRules:
    """Rules from a file's keys (or ``BrokerSettings.match``). Raises ``UsageError`` that names the bad one."""
    given = dict(options or {})
    rules = MatchRules(
        order=cast(Any, _choice(given, "order", ORDERS, "per_key_fifo")),
        ignored=tuple(parse_path(text) for text in _texts(given, "ignore")),
        ignore_query=frozenset(_texts(given, "ignoreQuery")),
        query_order=cast(Any, _choice(given, "queryOrder", ("any", "exact"), "any")),
        timing=cast(Any, _choice(given, "timing", ("none", "recorded"), "none")),
    )
    if given:
        raise UsageError(f"Match rules have no key {next(iter(given))!r}.", "Keys: order, ignore, ignoreQuery, queryOrder, timing.")
    return rules


def _choice(given: dict[str, object], name: str, choices: tuple[str, ...], default: str) -> str:
    value = given.pop(name, default)
    if value not in choices:
        raise UsageError(f"Match rule {name} is {value!r}.", f"It is one of: {', '.join(choices)}.")
    return str(value)


def _texts(given: dict[str, object], name: str) -> list[str]:
    value = given.pop(name, [])
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"Match rule {name} is {value!r}.", "It is a list of texts.")
    return list(value)


def parse_path(text: str) -> Path:
    """``$.a..b[0]['x y'].*`` as steps. Raises ``UsageError``."""
    if not text.startswith("$"):
        raise UsageError(f"{text!r} is no path into JSON.", "It begins with $, for example $.metadata or $..id.")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (match["name"] and not match[1] and text[at] != "."):
            raise UsageError(
                f"{text!r} is no path into JSON: {text[at:]!r} is not understood.", "Use .name, ['name'], [0], [*] and .. only."
            )
        if match[1]:
            steps.append(DEEP)
        steps.append(_step(match))
        at = match.end()
    if not steps:
        raise UsageError("The path '$' is a whole body.", "Name the parts of it to ignore, for example $.metadata.")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["star"] or match["every"]:
        return ANY
    if match["index"]:
        return int(match["index"])
    return next(match[name] for name in ("name", "single", "double") if match[name] is not None)
