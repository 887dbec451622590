"""The compiled program against the plans it is made from, the kernel's fast path, and the values shared with C."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.policy import bpf, filter
from sentra_sandbox.policy.calls import table_calls
from sentra_sandbox.policy.decision import Fate, Plan, make_plans
from sentra_sandbox.policy.explain import explain
from sentra_sandbox.policy.oci import load_profile, parse_profile
from sentra_sandbox.policy.profiles import find_profile, profile_names
from sentra_sandbox.policy.rules import Profile

HERE = Path(__file__).parent
PROFILES = [find_profile(name) for name in profile_names()] + sorted((HERE / "profiles").glob("*.json"))


def interesting(plan: Plan) -> list[int]:
    """Every constant that the plan compares with, its neighbours, and the same with the other half disturbed."""
    values = {0, 1, (1 << 64) - 1}
    for condition in (one for clause in plan.clauses for one in clause.conditions):
        for value in (condition.value, condition.value_two):
            values |= {value, value + 1, value - 1, value ^ (1 << 32), value ^ (1 << 63), value & 0xFFFFFFFF}
    return sorted(value for value in values if 0 <= value < 1 << 64)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_program_does_what_the_plans_say(path: Path) -> None:
    """Plans and the simulated program agree for every number, with arguments near every constant."""
    profile = load_profile(path)
    plans = make_plans(profile, table_calls())
    program = filter.compile_filter(profile)
    source = random.Random(7)
    numbers = [*range(plans.unknown_from + 3), 1023, 4096, bpf.X32_BIT - 1]
    for number in numbers:
        plan = plans.plan(number)
        values = interesting(plan)
        for _ in range(200 if plan.clauses else 2):
            args = [source.choice(values) for _ in range(6)]
            action, data = bpf.simulate(program, number, args)
            assert action | data == filter.ret_value(plan.decide(args)), (number, args)


def test_decisions_reach_every_clause_of_the_default_profile() -> None:
    """The random arguments above are no blind test: each clause decides at least once."""
    plans = make_plans(load_profile(find_profile("default")), table_calls())
    source = random.Random(7)
    for number, plan in plans.by_number.items():
        values, reached = interesting(plan), set()
        for _ in range(20000 if plan.clauses else 0):
            args = [source.choice(values) for _ in range(6)]
            holds = [all(one.holds(args) for one in clause.conditions) for clause in plan.clauses]
            reached.add(holds.index(True) if True in holds else len(holds))
            if len(reached) > len(holds):
                break
        assert len(reached) == len(plan.clauses) + 1 or not plan.clauses, number


def decided_by_number_alone(program: bytes, number: int) -> bool:
    """What the kernel finds out when a filter is installed (seccomp_is_const_allow): ALLOW by number alone."""
    instructions = bpf.decode(program)
    words = {bpf.OFFSET_NR: number, bpf.OFFSET_ARCH: bpf.AUDIT_ARCH_X86_64}
    position, accumulator = 0, 0
    while True:
        one = instructions[position]
        position += 1
        if one.code == bpf.LOAD:
            if one.k not in words:
                return False
            accumulator = words[one.k]
        elif one.code == bpf.RET:
            return one.k == bpf.RET_ALLOW
        elif one.code == bpf.AND:
            accumulator &= one.k
        elif one.code == bpf.JA:
            position += one.k
        elif one.code in (bpf.JEQ, bpf.JGE, bpf.JGT, bpf.JSET):
            taken = {
                bpf.JEQ: accumulator == one.k,
                bpf.JGE: accumulator >= one.k,
                bpf.JGT: accumulator > one.k,
                bpf.JSET: bool(accumulator & one.k),
            }[one.code]
            position += one.jt if taken else one.jf
        else:
            return False


@pytest.mark.parametrize("path", [None, *PROFILES], ids=lambda path: path.name if path else "tracing")
def test_the_kernel_can_skip_the_program_for_allowed_calls(path: Path | None) -> None:
    profile = load_profile(path) if path else None
    plans = make_plans(profile, table_calls())
    program = filter.compile_filter(profile)
    for number, plan in plans.by_number.items():
        always = not plan.clauses and plan.otherwise.fate is Fate.ALLOW
        assert decided_by_number_alone(program, number) == always, number


def test_tracing_filter_stops_for_all_but_deterministic_calls() -> None:
    program = filter.compile_filter(None)
    for call in table_calls():
        action, data = bpf.simulate(program, call.number)
        want = call.treatment
        if want.outcome.fate is Fate.REFUSE:
            assert (action, data) == (bpf.RET_TRACE, filter.FILTER_REFUSE | want.outcome.errno)
        elif want.outcome.fate is Fate.ALLOW or want.mask:
            assert (action, data) == (bpf.RET_ALLOW, 0)
        else:
            assert (action, data) == (bpf.RET_TRACE, filter.FILTER_RECORD)


@pytest.mark.parametrize("path", [None, *PROFILES], ids=lambda path: path.name if path else "tracing")
@pytest.mark.parametrize("number", [0, 59, 0x3FFFFFFF, 0x40000000, 0x40000001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_foreign_entries_are_refused(path: Path | None, number: int) -> None:
    program = filter.compile_filter(load_profile(path) if path else None)
    refused = (bpf.RET_TRACE, filter.FILTER_REFUSE | 38)
    assert bpf.simulate(program, number, (), bpf.AUDIT_ARCH_I386) == refused
    if number >= bpf.X32_BIT:
        assert bpf.simulate(program, number) == refused


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_filters_are_short(path: Path) -> None:
    assert len(filter.compile_filter(load_profile(path))) // 8 < 600


def rules(count: int) -> Profile:
    """A profile with ``count`` rules for one call, which need about 9 instructions each."""
    many = [
        {
            "names": ["ioctl"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1 + index % 100,
            "args": [{"index": position, "value": index + (index << 32), "op": "SCMP_CMP_EQ"} for position in (1, 2)],
        }
        for index in range(count)
    ]
    return parse_profile(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": many}), "many.json")


def test_a_large_profile_needs_far_jumps_and_works() -> None:
    program = filter.compile_filter(rules(400))
    assert 3000 < len(program) // 8 <= 4096
    for index in (0, 1, 199, 399):
        value = index + (index << 32)
        expected = (bpf.RET_TRACE, filter.FILTER_REFUSE | 1 + index % 100)
        assert bpf.simulate(program, 16, (0, value, value)) == expected
        assert bpf.simulate(program, 16, (0, value, value ^ (1 << 32))) == (bpf.RET_TRACE, filter.FILTER_RECORD)


def test_a_profile_that_does_not_fit_is_a_policy_error() -> None:
    with pytest.raises(PolicyError, match=r"many\.json does not compile .* 4096"):
        filter.compile_filter(rules(500))


def test_a_rule_that_asks_a_listener_is_a_policy_error() -> None:
    text = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mount", "action": "SCMP_ACT_NOTIFY"%s}]}'
    with pytest.raises(PolicyError, match=r"p\.json, syscalls\[0\]: SCMP_ACT_NOTIFY .* none runs here"):
        filter.compile_filter(parse_profile(text % "", "p.json"))
    only_with = parse_profile(text % ', "includes": {"caps": ["CAP_SYS_ADMIN"]}', "p.json")
    assert filter.compile_filter(only_with), "a rule that is not in force is no reason to fail"


def test_order_of_rules_does_not_matter() -> None:
    profile = load_profile(find_profile("default"))
    turned = Profile(profile.source, profile.default_action, profile.default_errno, profile.rules[::-1])
    plans, others = make_plans(profile, table_calls()), make_plans(turned, table_calls())
    source = random.Random(3)
    for number, plan in plans.by_number.items():
        values = interesting(plan)
        for _ in range(100 if plan.clauses else 1):
            args = [source.choice(values) for _ in range(6)]
            assert plan.decide(args).fate == others.by_number[number].decide(args).fate


def test_the_header_for_c_has_the_same_values() -> None:
    header = (HERE.parent.parent / "csrc" / "intercept" / "filter.h").read_text()
    values = {name: int(value, 16) for name, value in re.findall(r"#define SENTRA_FILTER_(\w+) (0x\w+)u", header)}
    assert values == {
        "RECORD": filter.FILTER_RECORD,
        "REFUSE": filter.FILTER_REFUSE,
        "KILL": filter.FILTER_KILL,
        "TRAP": filter.FILTER_TRAP,
        "WHAT": filter.FILTER_WHAT,
        "ERRNO": filter.FILTER_ERRNO,
    }


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_explanation_mentions_every_call_once(path: Path) -> None:
    text = explain(load_profile(path))
    for call in table_calls():
        assert len(re.findall(rf"(?m)(?<![\w]){call.name}(?=[,(]|$)", text)) == 1, call.name


def test_explanation_in_words() -> None:
    text = explain(load_profile(find_profile("default")))
    assert "if the low 32 bits of request = 0x5412: refused with EPERM (Operation not permitted)" in text
    assert "Entered as 32-bit or x32: refused with ENOSYS" in text
    assert "runs without a stop" in text
