"""What several detectors need of a run and is costly to make: made once a run, forgotten with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from sentra_sandbox.review.facts import Facts
from sentra_sandbox.views.network import Network

T = TypeVar("T")

# A run's Network lives as long as its Facts, which cannot be a weak key themselves.
_MADE: WeakKeyDictionary[Network, dict[str, object]] = WeakKeyDictionary()


def once(facts: Facts, name: str, make: Callable[[Facts], T]) -> T:
    """``make(facts)``, the first time; what that gave, later."""
    made = _MADE.setdefault(facts.network, {})
    if name not in made:
        made[name] = make(facts)
    return made[name]  # type: ignore[return-value]
