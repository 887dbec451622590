"""Compiles plans into ONE classic-BPF seccomp program: architecture, then a binary search by number, then arguments.

Rules of this file: what is decided comes from decision.py, how instructions look from bpf.py. Refusals are
SECCOMP_RET_TRACE stops, because an errno answered by the kernel would be invisible to the trace; the data word tells
the engine what to do (csrc/intercept/filter.h has the same values and their meaning).

Calls that are allowed whatever their arguments are decided by number alone, with instructions that the kernel's
analysis understands: since Linux 5.11 it then skips the program for them altogether.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.policy import bpf
from sentra_sandbox.policy.decision import DEFAULT_KERNEL, Call, Fate, Outcome, Plan, Plans, make_plans
from sentra_sandbox.policy.rules import Comparison, Condition, Profile

FILTER_RECORD = 0x0000
FILTER_REFUSE = 0x1000
FILTER_KILL = 0x2000
FILTER_TRAP = 0x3000
FILTER_WHAT = 0xF000
FILTER_ERRNO = 0x0FFF

_LOW = 0xFFFFFFFF


def compile_filter(
    profile: Profile | None,
    *,
    capabilities: frozenset[str] = frozenset(),
    kernel: tuple[int, int] = DEFAULT_KERNEL,
    calls: Iterable[Call] | None = None,
) -> bytes:
    """The filter for ``profile`` (None: tracing only), an array of ``struct sock_filter`` (8 bytes each).

    ``capabilities`` ("CAP_SYS_ADMIN") and ``kernel`` decide about includes and excludes; ``calls`` is the system call
    table unless given. Raises ``PolicyError`` when the profile cannot be enforced or needs more than 4096 instructions.
    """
    if calls is None:
        from sentra_sandbox.policy.calls import table_calls

        calls = table_calls()
    plans = make_plans(profile, calls, capabilities=capabilities, kernel=kernel)
    try:
        return _compile(plans)
    except bpf.BadProgram as error:
        source = profile.source if profile else "(tracing only)"
        raise PolicyError(
            f"Seccomp profile {source} does not compile into a filter: {error}.",
            "Use fewer rules with argument tests.",
        ) from error


def ret_value(outcome: Outcome) -> int:
    """What the program returns for ``outcome``."""
    if outcome.fate is Fate.ALLOW:
        return bpf.RET_ALLOW
    word = {
        Fate.RECORD: FILTER_RECORD,
        Fate.REFUSE: FILTER_REFUSE,
        Fate.TRAP: FILTER_TRAP,
        Fate.KILL: FILTER_KILL,
    }[outcome.fate]
    return bpf.RET_TRACE | word | outcome.errno


def _compile(plans: Plans) -> bytes:
    asm = bpf.Assembler()
    foreign, native = asm.label(), asm.label()
    asm.load(bpf.OFFSET_ARCH)
    asm.branch(bpf.JEQ, bpf.AUDIT_ARCH_X86_64, no=foreign)
    asm.load(bpf.OFFSET_NR)
    asm.branch(bpf.JGE, bpf.X32_BIT, no=native)
    asm.place(foreign)
    asm.ret(bpf.RET_TRACE | FILTER_REFUSE | errno.ENOSYS)
    asm.place(native)
    _search(asm, _ranges(plans))
    return asm.assemble()


def _ranges(plans: Plans) -> list[tuple[int, Plan]]:
    """``(first number, plan)`` of neighbours with equal plans, ascending from 0; the last one has no end."""
    end = max([plans.unknown_from, *(number + 1 for number in plans.by_number)])
    ranges: list[tuple[int, Plan]] = []
    for number in range(end + 1):
        plan = plans.plan(number)
        if not ranges or ranges[-1][1] != plan:
            ranges.append((number, plan))
    return ranges


def _search(asm: bpf.Assembler, ranges: list[tuple[int, Plan]]) -> None:
    """Binary search; A holds the number."""
    if len(ranges) == 1:
        _decide(asm, ranges[0][1])
        return
    middle = len(ranges) // 2
    upper = asm.label()
    asm.branch(bpf.JGE, ranges[middle][0], yes=upper)
    _search(asm, ranges[:middle])
    asm.place(upper)
    _search(asm, ranges[middle:])


def _decide(asm: bpf.Assembler, plan: Plan) -> None:
    for clause in plan.clauses:
        other = asm.label()
        for condition in clause.conditions:
            _require(asm, condition, other)
        asm.ret(ret_value(clause.outcome))
        asm.place(other)
    asm.ret(ret_value(plan.otherwise))


def _require(asm: bpf.Assembler, condition: Condition, otherwise: bpf.Label) -> None:
    """Go on behind this code if ``condition`` holds, else to ``otherwise``. Arguments are two 32-bit words."""
    op, value = condition.op, condition.value
    low = bpf.OFFSET_ARGS + 8 * condition.index
    holds = asm.label()
    if op is Comparison.MASKED_EQ:
        for offset, shift in ((low + 4, 32), (low, 0)):
            mask, wanted = value >> shift & _LOW, condition.value_two >> shift & _LOW
            if mask:
                asm.load(offset)
                if mask != _LOW:
                    asm.and_(mask)
                asm.branch(bpf.JEQ, wanted, no=otherwise)
        return
    # NE, LT and LE are EQ, GE and GT with the targets exchanged.
    negated = op in (Comparison.NE, Comparison.LT, Comparison.LE)
    true, false = (otherwise, holds) if negated else (holds, otherwise)
    asm.load(low + 4)
    if op in (Comparison.EQ, Comparison.NE):
        asm.branch(bpf.JEQ, value >> 32, no=false)
        asm.load(low)
        asm.branch(bpf.JEQ, value & _LOW, yes=true, no=false)
    else:
        asm.branch(bpf.JGT, value >> 32, yes=true)
        asm.branch(bpf.JEQ, value >> 32, no=false)
        asm.load(low)
        greater = op in (Comparison.GT, Comparison.LE)
        asm.branch(bpf.JGT if greater else bpf.JGE, value & _LOW, yes=true, no=false)
    asm.place(holds)
