"""The vocabulary: documented as it is, every field can be asked of every kind of event without raising."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sentra_sandbox.review.rules.compiled import of_moment, resolve
from sentra_sandbox.review.rules.conditions import Field
from sentra_sandbox.review.rules.fields import FieldSpec, argument_problem, registry, why_not
from sentra_sandbox.review.rules.moment import Moment, RunFacts
from sentra_sandbox.review.rules.state import RunState
from sentra_sandbox.syscalls import table
from sentra_sandbox.trace.events import Event

RULES = Path(__file__).resolve().parents[3] / "docs" / "RULES.md"


def row(spec: FieldSpec) -> str:
    return f"| `{spec.shown}` | {spec.kind} | {spec.origin} | {spec.meaning} |"


@pytest.mark.parametrize("spec", registry().values(), ids=lambda spec: spec.name)
def test_every_field_is_documented(spec: FieldSpec) -> None:
    assert row(spec) in RULES.read_text().splitlines()


def test_nothing_else_is_documented() -> None:
    lines = RULES.read_text().partition("## Fields")[2].splitlines()
    documented = [line for line in lines if line.startswith("| `")]
    assert documented == [row(spec) for spec in registry().values()]


@pytest.mark.parametrize("name", ["execve", "openat", "connect", "sendto", "clone", "ptrace", "rename", "symlinkat", "bpf", "read", "mount"])
def test_fields_of_an_event_of_a_damaged_trace(name: str) -> None:
    """No arguments, no segments, an unknown task."""
    call = table.call_named(name)
    assert call is not None
    moment = Moment(name, RunState(), RunFacts(), event=Event(1, 1, 0, 77, 0, 0, call.number, -2, (), ()))
    for spec in registry().values():
        spec.get(moment, "0" if spec.argument.startswith("number") else "flags" if spec.argument.startswith("text") else None)


def test_arguments_of_fields() -> None:
    fields = registry()
    assert argument_problem(fields["proc.aname"], None) == argument_problem(fields["proc.aname"], "3") == ""
    assert "number" in argument_problem(fields["proc.aname"], "x")
    assert "no argument" in argument_problem(fields["proc.name"], "1")
    assert "needs an argument" in argument_problem(fields["evt.arg"], None)
    assert argument_problem(fields["proc.env"], "HOME") == ""


def test_what_cannot_be_told_says_why() -> None:
    assert "Kubernetes" in why_not("k8s.ns.name")
    assert "capability" in why_not("thread.cap_permitted")
    assert why_not("proc.nmae") == "no such field; did you mean proc.name?"
    assert resolve(Field("k8s.ns.name")) == (None, None)
    spec, argument = resolve(Field("evt.arg.flags"))
    assert spec is registry()["evt.arg"] and argument == "flags"
    assert of_moment(Field("proc.name"), registry()["proc.name"], None)


def table_of_fields() -> str:
    """For the document: ``python tests/review/rules/test_rule_fields.py``."""
    return "\n".join(["| field | kind | origin | meaning |", "| --- | --- | --- | --- |", *(row(spec) for spec in registry().values())])


if __name__ == "__main__":
    sys.stdout.write(table_of_fields() + "\n")
