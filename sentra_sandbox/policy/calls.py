"""The system call table as filters see it: number, name, treatment.

Rules of this file: the only one in this folder that imports the table, so that a cached filter needs none of it.
"""

from __future__ import annotations

from sentra_sandbox.policy.decision import ALLOW, RECORD, Call, Fate, Outcome, Treatment
from sentra_sandbox.syscalls import table


def call_names() -> frozenset[str]:
    """The names of all x86-64 calls."""
    return frozenset(call.name for call in table.all_calls())


def table_calls() -> list[Call]:
    """All calls of the table."""
    return [
        Call(row.number, row.name, _treatment(row), tuple(argument.name for argument in row.args))
        for row in table.all_calls()
    ]


def _treatment(row: table.Call) -> Treatment:
    if row.treatment is table.Treatment.ALLOW:
        return Treatment(ALLOW)
    if row.treatment is table.Treatment.REFUSE:
        return Treatment(Outcome(Fate.REFUSE, row.refuse_errno))
    if row.condition is None:
        return Treatment(RECORD)
    return Treatment(RECORD, *row.condition)
