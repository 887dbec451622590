"""Decides what happens to every system call: profile and table joined, the stricter of the two wins.

Rules of this file: pure functions from data to data, tested without a kernel. A plan is a short list of clauses a call,
the first whose conditions hold decides; filter.py turns plans into a program, explain.py into words.

How rules join (runtimes leave part of this open; every choice here is the stricter one):
- a rule whose conditions hold beats the default action; of several the strictest wins, in any order;
- KILL and KILL_THREAD kill the process: a program that lost one thread hangs;
- LOG and TRACE let the call run and record it; NOTIFY needs a listener that we do not run and is an error;
- under a default that refuses, numbers above the highest call the profile knows are answered ENOSYS instead, because
  the profile's author could not know them and libraries fall back on ENOSYS only (runc does the same).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.policy.rules import Action, Comparison, Condition, Profile

DEFAULT_KERNEL = (6, 18)


class Fate(IntEnum):
    """What becomes of a call, from lenient to strict."""

    ALLOW = 0  # runs without a stop
    RECORD = 1
    REFUSE = 2  # answered with an errno, recorded
    TRAP = 3  # SIGSYS, recorded
    KILL = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fate and, for ``REFUSE``, its error number."""

    fate: Fate
    errno: int = 0


ALLOW = Outcome(Fate.ALLOW)
RECORD = Outcome(Fate.RECORD)
NO_SUCH_CALL = Outcome(Fate.REFUSE, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Treatment:
    """What the system call table wants for a call: ``outcome`` is never stricter than ``REFUSE``.

    If ``mask`` is not 0, ``outcome`` is ``RECORD`` and holds only for calls with any bit of ``mask`` set in the low
    32 bits of argument ``arg``; others are allowed without a stop.
    """

    outcome: Outcome
    arg: int = 0
    mask: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the table, as far as filters care. ``args`` are the names of its arguments, for people."""

    number: int
    name: str
    treatment: Treatment
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clause:
    """All conditions hold → outcome."""

    conditions: tuple[Condition, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Plan:
    """The fate of one call: the first clause that holds, else ``otherwise``."""

    clauses: tuple[Clause, ...]
    otherwise: Outcome

    def decide(self, args: Sequence[int]) -> Outcome:
        """The outcome for six unsigned 64-bit arguments."""
        for clause in self.clauses:
            if all(condition.holds(args) for condition in clause.conditions):
                return clause.outcome
        return self.otherwise


@dataclass(frozen=True, slots=True)
class Plans:
    """Plans of all calls. ``by_number`` has those of the table, ``gap`` is for numbers below ``unknown_from`` that the
    table does not have, ``unknown`` for all from there on."""

    by_number: Mapping[int, Plan]
    gap: Plan
    unknown_from: int
    unknown: Plan

    def plan(self, number: int) -> Plan:
        """The plan for any number without the x32 bit."""
        if number in self.by_number:
            return self.by_number[number]
        return self.unknown if number >= self.unknown_from else self.gap


def make_plans(
    profile: Profile | None,
    calls: Iterable[Call],
    *,
    capabilities: frozenset[str] = frozenset(),
    kernel: tuple[int, int] = DEFAULT_KERNEL,
) -> Plans:
    """Join ``profile`` (None: trace only) with the table's ``calls``.

    ``capabilities`` may be written with or without ``CAP_``. Raises ``PolicyError`` for what cannot be enforced here
    (a rule in force that asks a listener to decide).
    """
    table = sorted(calls, key=lambda call: call.number)
    last = table[-1].number if table else -1
    if profile is None:
        plans = {call.number: _join([], ALLOW, call.treatment) for call in table}
        recorded = Plan((), RECORD)
        return Plans(plans, recorded, last + 1, recorded)
    held = frozenset(name if name.startswith("CAP_") else f"CAP_{name}" for name in capabilities)
    clauses = _profile_clauses(profile, held, kernel)
    default = _outcome(profile.default_action, profile.default_errno, profile.source)
    # A number that is no system call must not run unseen should a later kernel have it; programs expect ENOSYS of it.
    gap = Plan((), NO_SUCH_CALL)
    if default.fate < Fate.REFUSE:
        plans = {call.number: _join(clauses.get(call.name, []), default, call.treatment) for call in table}
        return Plans(plans, gap, last + 1, gap)
    named = {name for rule in profile.rules for name in rule.names}
    highest = max((call.number for call in table if call.name in named), default=last)
    plans = {}
    for call in table:
        otherwise = NO_SUCH_CALL if call.number > highest else default
        plans[call.number] = _join(clauses.get(call.name, []), otherwise, call.treatment)
    return Plans(plans, gap, highest + 1, Plan((), NO_SUCH_CALL))


def _profile_clauses(
    profile: Profile, capabilities: frozenset[str], kernel: tuple[int, int]
) -> dict[str, list[Clause]]:
    """Per call its clauses, strictest first."""
    found: dict[str, list[Clause]] = {}
    for index, rule in enumerate(profile.rules):
        if not rule.applies(capabilities, kernel):
            continue
        outcome = _outcome(rule.action, rule.errno, f"{profile.source}, syscalls[{index}]")
        for name in rule.names:
            found.setdefault(name, []).append(Clause(rule.conditions, outcome))
    for clauses in found.values():
        clauses.sort(key=lambda clause: -clause.outcome.fate)
    return found


def _outcome(action: Action, number: int, where: str) -> Outcome:
    if action is Action.ALLOW:
        return ALLOW
    if action in (Action.LOG, Action.TRACE):
        return RECORD
    if action is Action.NOTIFY:
        raise PolicyError(
            f"Seccomp profile {where}: SCMP_ACT_NOTIFY asks a listener process to decide, and none runs here.",
            "Use SCMP_ACT_LOG to let the call run and record it, or SCMP_ACT_ERRNO to refuse it.",
        )
    if action is Action.ERRNO:
        return Outcome(Fate.REFUSE, number)
    if action is Action.TRAP:
        return Outcome(Fate.TRAP)
    return Outcome(Fate.KILL)


def _join(clauses: Sequence[Clause], default: Outcome, treatment: Treatment) -> Plan:
    """The plan for a call with these profile clauses (strictest first), else ``default``, and this treatment."""
    joined: list[Clause] = []
    for clause in clauses:
        joined += _with_table(clause.conditions, clause.outcome, treatment)
        if not clause.conditions:
            break
    else:
        # A refusal that the profile only means by default leaves the errno to the table, which knows the fallbacks.
        if default.fate is Fate.REFUSE and treatment.outcome.fate is Fate.REFUSE:
            default = treatment.outcome
        joined += _with_table((), default, treatment)
    last = next(index for index, clause in enumerate(joined) if not clause.conditions)
    otherwise = joined[last].outcome
    kept = list(dict.fromkeys(joined[:last]))
    while kept and kept[-1].outcome == otherwise:
        kept.pop()
    return Plan(tuple(kept), otherwise)


def _with_table(conditions: tuple[Condition, ...], outcome: Outcome, treatment: Treatment) -> list[Clause]:
    if outcome.fate < treatment.outcome.fate and treatment.mask and outcome.fate is Fate.ALLOW:
        unset = Condition(treatment.arg, Comparison.MASKED_EQ, treatment.mask, 0)
        return [Clause((*conditions, unset), ALLOW), Clause(conditions, RECORD)]
    stricter = treatment.outcome if treatment.outcome.fate > outcome.fate else outcome
    return [Clause(conditions, stricter)]
