"""Which recorded request is this one? The rules of the recorded world, without I/O.

A request is compared by scheme, host and port, method, path, query and body; never by headers. Bodies are compared by what they mean: JSON
as values (after the ignored paths are taken out), forms and queries as pairs in any order of names, multipart without its boundary, the
rest byte for byte.
Equal means equal: nothing is ever answered because it is near. What is near is only told, with its differences, when there is no answer.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sentra_sandbox.network.match_body import Body, body_differences, body_key
from sentra_sandbox.network.match_rules import MatchRules

MAX_DIFFERENCES = 20
_MAX_COMPARED = 64  # bodies, in the search for the nearest

Pairs = tuple[tuple[str, str], ...]
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request without its body. ``host`` is in lower case, with the port where it is not the scheme's own."""

    scheme: str
    host: str
    method: str
    path: str
    query: Pairs = ()

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" if value else name for name, value in self.query)
        return f"{self.method} {self.scheme}://{self.host}{self.path}{'?' + query if query else ''}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded request: ``number`` is its exchange's, ``body`` fetches the body (it is not kept), ``answer`` what belongs to it."""

    number: int
    asked: Asked
    key: Key
    body: Callable[[], Body]
    answered: bool = True  # it got a response


@dataclass(frozen=True, slots=True)
class Miss:
    """No recorded request answers this one. ``differences`` are those of ``nearest``, a line each, the first ``MAX_DIFFERENCES``."""

    reason: str
    nearest: Recorded | None = None
    differences: tuple[str, ...] = ()
    more: int = 0

    def text(self, asked: Asked) -> str:
        """All of it, for people."""
        lines = [f"The recording has no answer to {asked}: {self.reason}."]
        if self.nearest is not None:
            lines.append(f"Nearest recorded request: exchange {self.nearest.number}, {self.nearest.asked}")
            lines += [f"  {line}" for line in self.differences]
            if self.more:
                lines.append(f"  and {self.more} more differences")
        return "\n".join(lines)


def key_of(asked: Asked, body: Body, rules: MatchRules) -> Key:
    """Equal for requests that count as the same."""
    return (asked.scheme, asked.host, asked.method, asked.path, query_key(asked.query, rules), body_key(body, rules.ignored))


def query_key(query: Pairs, rules: MatchRules) -> Pairs:
    """What of a query is compared; pairs of the same name keep their order."""
    kept = tuple(pair for pair in query if pair[0] not in rules.ignore_query)
    return kept if rules.query_order == "exact" else tuple(sorted(kept, key=lambda pair: pair[0]))


@dataclass(slots=True)
class Matcher:
    """Gives each recorded request away as the rules' order says. ``recorded`` in the order in which they were asked."""

    recorded: Sequence[Recorded]
    rules: MatchRules
    _by_key: dict[Key, deque[Recorded]] = field(default_factory=dict)
    _given: dict[Key, int] = field(default_factory=dict)
    _used: set[int] = field(default_factory=set)
    _next: int = 0

    def __post_init__(self) -> None:
        for each in self.recorded:
            self._by_key.setdefault(each.key, deque()).append(each)

    @property
    def unused(self) -> list[Recorded]:
        """Those that nobody has asked for."""
        return [each for each in self.recorded if each.number not in self._used]

    def take(self, asked: Asked, body: Body) -> Recorded | Miss:
        """The recorded request that answers this one."""
        key = key_of(asked, body, self.rules)
        found = self._strict(key) if self.rules.order == "strict" else self._of_key(key)
        if isinstance(found, Recorded):
            self._used.add(found.number)
            self._given[key] = self._given.get(key, 0) + 1
            return found
        return self._miss(asked, body, *found)

    def _strict(self, key: Key) -> Recorded | tuple[str, Recorded | None]:
        if self._next >= len(self.recorded):
            return f"all {len(self.recorded)} recorded requests have been answered, and the order is strict", None
        expected = self.recorded[self._next]
        if expected.key != key:
            return f"in strict order the recording expects another one now, number {self._next + 1} of {len(self.recorded)}", expected
        self._next += 1
        return expected

    def _of_key(self, key: Key) -> Recorded | tuple[str, Recorded | None]:
        waiting = self._by_key.get(key)
        if waiting is None:
            return "none like it was recorded", None
        if not waiting:
            times = self._given[key]
            return f"it was recorded {times} time{'s' * (times > 1)}, and {'each' if times > 1 else 'that'} was answered already", None
        if self.rules.order == "any" and len(waiting) == 1:
            return waiting[0]
        return waiting.popleft()

    # ---- what is near

    def _miss(self, asked: Asked, body: Body, reason: str, expected: Recorded | None) -> Miss:
        near = [expected] if expected is not None else self._nearest_heads(asked)
        best: tuple[tuple[int, int, int], Recorded, list[str]] | None = None
        for each in near:
            lines = differences(asked, body, each.asked, each.body(), self.rules)
            rank = (len(lines), each.number in self._used, each.number)
            if best is None or rank < best[0]:
                best = rank, each, lines
        if best is None:
            return Miss(reason if self.recorded else "it holds no HTTP request at all")
        _, nearest, lines = best
        return Miss(reason, nearest, tuple(lines[:MAX_DIFFERENCES]), max(len(lines) - MAX_DIFFERENCES, 0))

    def _nearest_heads(self, asked: Asked) -> list[Recorded]:
        """Those whose heads are nearest: their bodies are worth a look."""
        distances: dict[Asked, float] = {}
        for each in self.recorded:
            if each.asked not in distances:
                distances[each.asked] = _distance(asked, each.asked)
        least = min(distances.values(), default=0.0)
        near = [each for each in self.recorded if distances[each.asked] <= least]
        near.sort(key=lambda each: each.number in self._used)
        return near[:_MAX_COMPARED]


def _distance(asked: Asked, other: Asked) -> float:
    """0 for equal heads; the host weighs more than the method, that more than the path, that more than the query."""
    distance = 0.0
    if asked.host != other.host:
        distance += 100 if asked.host.partition(":")[0] != other.host.partition(":")[0] else 50
    if asked.scheme != other.scheme:
        distance += 20
    if asked.path != other.path:
        distance += 10 * (2 - difflib.SequenceMatcher(None, asked.path[:500], other.path[:500], autojunk=False).ratio())
    if asked.method != other.method:
        distance += 15
    return distance + min(len(set(asked.query) ^ set(other.query)), 9)


def differences(asked: Asked, body: Body, recorded: Asked, recorded_body: Body, rules: MatchRules) -> list[str]:
    """What keeps two requests from being the same, a line each."""
    lines = [
        f"{name}: sent {getattr(asked, name)}, recorded {getattr(recorded, name)}"
        for name in ("method", "scheme", "host", "path")
        if getattr(asked, name) != getattr(recorded, name)
    ]
    lines += _query_differences(query_key(asked.query, rules), query_key(recorded.query, rules))
    return lines + body_differences(body, recorded_body, rules.ignored)


def _query_differences(sent: Pairs, recorded: Pairs) -> list[str]:
    lines = []
    for name in dict.fromkeys(name for name, _ in (*sent, *recorded)):
        ours, theirs = ([value for each, value in pairs if each == name] for pairs in (sent, recorded))
        if ours != theirs:
            lines.append(
                f"query {name}: sent {', '.join(ours) if ours else 'nothing'}, recorded {', '.join(theirs) if theirs else 'nothing'}"
            )
    if not lines and sent != recorded:
        lines.append("query: another order of its parameters")
    return lines
