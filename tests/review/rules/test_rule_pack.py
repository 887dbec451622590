"""Our own rules: every one has tests, and they hold."""

from __future__ import annotations

from typing import Any

import pytest

from sentra_sandbox.review.rules.compiled import Compiler, of_moment, of_table
from sentra_sandbox.review.rules.evaluate import compile_rule, load_rules
from sentra_sandbox.review.rules.files import Rule
from sentra_sandbox.review.rules.output import template

RULES = load_rules()
TESTS = [(rule, test) for rule in RULES.rules.values() for test in rule.tests]


def test_the_pack_is_sound() -> None:
    assert len(RULES.rules) >= 25 and not RULES.warnings
    assert len({rule.own["id"] for rule in RULES.rules.values()}) == len(RULES.rules)


@pytest.mark.parametrize("rule", RULES.rules.values(), ids=lambda rule: rule.own["id"])
def test_a_rule_is_complete(rule: Rule) -> None:
    compiled = compile_rule(rule, RULES)
    assert not compiled.unsupported and not compiled.output.unsupported
    assert not template(str(rule.own.get("subject", "")), of_moment).unsupported
    assert None not in compiled.tests, "names no event type, so it is asked about every event"
    assert compiled.kind.id.startswith("SEN-R") and compiled.kind.attack and compiled.kind.explanation and rule.own["subject"]
    assert {test["match"] for test in rule.tests} == {True, False}


@pytest.mark.parametrize(("rule", "case"), TESTS, ids=[f"{rule.own['id']}-{number}" for number, (rule, _) in enumerate(TESTS)])
def test_the_tests_of_a_rule(rule: Rule, case: dict[str, Any]) -> None:
    compiler = Compiler(RULES.lists, of_table)
    test = compiler.compile(rule.expression, None)
    assert callable(test)
    assert test(case["event"]) is case["match"]
    # As it is asked in a review, compiled for the event's type.
    for_type = compiler.compile(rule.expression, case["event"]["evt.type"])
    assert (for_type(case["event"]) if callable(for_type) else for_type) is case["match"]
