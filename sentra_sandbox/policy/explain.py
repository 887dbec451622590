"""Says in words what a filter does with every call; for users and reviewers.

Rules of this file: pure, from plans to text. tests/policy proves that the compiled program does what the plans say.
"""

from __future__ import annotations

import errno
import os
import textwrap
from collections.abc import Iterable

from sentra_sandbox.policy.decision import DEFAULT_KERNEL, Call, Fate, Outcome, Plan, make_plans
from sentra_sandbox.policy.rules import Comparison, Condition, Profile

_WIDTH = 110
_LOW = 0xFFFFFFFF
_SIGNS = {
    Comparison.NE: "is not",
    Comparison.LT: "<",
    Comparison.LE: "<=",
    Comparison.EQ: "=",
    Comparison.GE: ">=",
    Comparison.GT: ">",
}


def explain(
    profile: Profile | None,
    *,
    capabilities: frozenset[str] = frozenset(),
    kernel: tuple[int, int] = DEFAULT_KERNEL,
    calls: Iterable[Call] | None = None,
) -> str:
    """The filter that ``compile_filter`` makes of the same arguments, for people. Raises as ``make_plans`` does."""
    if calls is None:
        from sentra_sandbox.policy.calls import table_calls

        calls = table_calls()
    table = sorted(calls, key=lambda call: call.name)
    plans = make_plans(profile, table, capabilities=capabilities, kernel=kernel)
    groups: dict[Outcome, list[str]] = {}
    depends: list[str] = []
    for call in table:
        plan = plans.plan(call.number)
        if plan.clauses:
            depends += _conditional(call, plan)
        else:
            groups.setdefault(plan.otherwise, []).append(call.name)
    lines = [f"Filter of {profile.source}" if profile else "Filter for tracing only (no profile)"]
    lines += ["", "Entered as 32-bit or x32: refused with ENOSYS"]
    lines += [f"Numbers from {plans.unknown_from} up: {describe(plans.unknown.otherwise)}"]
    lines += [f"Other numbers that no call has: {describe(plans.gap.otherwise)}"]
    for outcome in sorted(groups, key=lambda one: (one.fate, one.errno)):
        lines += ["", f"{describe(outcome)} ({len(groups[outcome])}):"]
        lines += textwrap.wrap(", ".join(groups[outcome]), _WIDTH, initial_indent="  ", subsequent_indent="  ")
    if depends:
        lines += ["", "depends on the arguments:", *depends]
    return "\n".join(lines) + "\n"


def describe(outcome: Outcome) -> str:
    """An outcome in words: "refused with EPERM (Operation not permitted)"."""
    if outcome.fate is Fate.REFUSE and outcome.errno == 0:
        return "not run, answered 0"
    if outcome.fate is Fate.REFUSE:
        name = errno.errorcode.get(outcome.errno, str(outcome.errno))
        return f"refused with {name} ({os.strerror(outcome.errno)})"
    return {
        Fate.ALLOW: "runs without a stop",
        Fate.RECORD: "recorded",
        Fate.TRAP: "not run, the program gets SIGSYS",
        Fate.KILL: "the process is killed",
    }[outcome.fate]


def _conditional(call: Call, plan: Plan) -> list[str]:
    lines = [f"  {call.name}({', '.join(call.args)})"]
    for clause in plan.clauses:
        tests = " and ".join(_words(condition, call) for condition in clause.conditions)
        lines.append(f"    if {tests}: {describe(clause.outcome)}")
    lines.append(f"    otherwise: {describe(plan.otherwise)}")
    return lines


def _words(condition: Condition, call: Call) -> str:
    name = call.args[condition.index] if condition.index < len(call.args) else f"argument {condition.index}"
    if condition.op is not Comparison.MASKED_EQ:
        return f"{name} {_SIGNS[condition.op]} {condition.value:#x}"
    if condition.value == _LOW:
        return f"the low 32 bits of {name} = {condition.value_two:#x}"
    if condition.value_two == 0:
        return f"{name} has no bit of {condition.value:#x}"
    if condition.value_two == condition.value and condition.value.bit_count() == 1:
        return f"{name} has the bit {condition.value:#x}"
    return f"{name} & {condition.value:#x} = {condition.value_two:#x}"
