"""The vocabulary of rules: every field name, what it means, and how to get it from a moment. docs/RULES.md has the same table (tested).

Three kinds of names: fields that we know and can tell; names of Falco's that a sandbox's trace cannot tell (``UNSUPPORTED``, with the
reason), and names that nobody knows. Checks of the last two are never true, and the report lists them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sentra_sandbox.review.rules.moment import Moment
from sentra_sandbox.review.rules.operators import Kind, Spread

Value = Any
"""``str``, ``int``, ``float``, ``bool``, ``bytes``, a tuple of these, or None where the moment has no such thing."""
Getter = Callable[[Moment], Value]
Argument = Literal["", "number", "number?", "text", "text?"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """``get`` takes the moment and the argument (None without). ``argument`` says whether there is one (``?``: may be left out).
    ``origin``: ``Falco`` or ``ours``.
    """

    name: str
    kind: Kind
    meaning: str
    get: Callable[[Moment, str | None], Value]
    argument: Argument = ""
    spread: Spread = ""
    origin: str = "Falco"
    direct: Getter | None = None  # of a field without an argument: the same, a call less

    @property
    def shown(self) -> str:
        """With its argument, for the table."""
        return {"": self.name, "number": f"{self.name}[n]", "text": f"{self.name}[name]"}.get(
            self.argument, f"{self.name}[{'n' if self.argument == 'number?' else 'name'}]?"
        )


def plain(name: str, kind: Kind, meaning: str, get: Getter, spread: Spread = "", origin: str = "Falco") -> FieldSpec:
    """A field without an argument."""
    return FieldSpec(name, kind, meaning, lambda moment, _: get(moment), "", spread, origin, get)


UNSUPPORTED: tuple[tuple[str, str], ...] = (
    (r"k8s\..*", "there is no Kubernetes in a sandbox"),
    (r"k8smeta\..*|ka\..*|jevt\..*|json\..*|ct\..*|gcp\..*|github\..*|okta\..*", "a field of another event source"),
    (r"container\.(?:mount|mount\.(?:source|mode|rdwr|propagation)|healthcheck|liveness_probe|readiness_probe|cni\.json|image\.(?:digest|tag|id)|ip|labels?|host_.*)",
     "the sandbox has no container runtime that would know"),
    (r"thread\.(?:cpu.*|exectime|totexectime|vmsize.*|vmrss.*)|proc\.(?:vmsize|vmrss|vmswap|thread_(?:cpu|vm).*|fd(?:openc|limit|usage).*|nchilds)",
     "processor and memory use are not recorded"),
    (r"thread\.cap_(?:inheritable|effective|permitted|bounding|ambient)|thread\.cap.*|proc\.pcap.*",
     "capability sets are not recorded"),
    (r"proc\.exe_ino(?:\..*)?|proc\.is_exe_lower_layer|proc\.hash\..*", "inode times and layers of executables are not recorded"),
    (r"fd\.(?:dev.*|ino|is_upper_layer|is_lower_layer|name_changed_.*)|evt\.(?:cpu|latency\..*|around|abspath.*|count\..*|pluginname|plugininfo)",
     "not recorded"),
    (r"user\.(?:shell|homedir)|group\.list", "the user database is not recorded"),
    (r"span\..*|evtin\..*|syslog\..*|mesos\..*|marathon\..*|fdlist\..*", "an old or internal field of sysdig's"),
)  # fmt: skip
_UNSUPPORTED = tuple((re.compile(pattern), reason) for pattern, reason in UNSUPPORTED)


@lru_cache(maxsize=1)
def registry() -> dict[str, FieldSpec]:
    """All fields that we can tell, by name."""
    from sentra_sandbox.review.rules import fields_event, fields_network, fields_process

    specs = (*fields_event.FIELDS, *fields_process.FIELDS, *fields_network.FIELDS)
    found = {spec.name: spec for spec in specs}
    assert len(found) == len(specs), "a field is defined twice"
    return found


def why_not(name: str) -> str:
    """Why a field cannot be told: a name of Falco's that a trace does not hold, or a name that nobody knows."""
    for pattern, reason in _UNSUPPORTED:
        if pattern.fullmatch(name):
            return reason
    near = difflib.get_close_matches(name[:80], registry(), 1, 0.8)
    return f"no such field; did you mean {near[0]}?" if near else "no such field"


def argument_problem(spec: FieldSpec, argument: str | None) -> str:
    """What is wrong with a field's argument, ``""`` if nothing."""
    if argument is None:
        return "" if spec.argument in ("", "number?", "text?") else f"{spec.name} needs an argument: {spec.shown}"
    if not spec.argument:
        return f"{spec.name} takes no argument"
    if spec.argument.startswith("number") and not (argument.isascii() and argument.isdigit() and len(argument) < 5):
        return f"{spec.shown} needs a number in its brackets, not '{argument[:40]}'"
    return ""
