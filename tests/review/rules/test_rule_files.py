"""Rule files: what Falco's loader accepts, what changes earlier rules, where errors are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentra_sandbox.review.rules.compiled import Compiler, of_table
from sentra_sandbox.review.rules.evaluate import Evaluator, load_rules
from sentra_sandbox.review.rules.files import RuleFiles, RuleSet, load
from sentra_sandbox.review.rules.yaml_source import RuleFileError

EVERYTHING = Path(__file__).with_name("everything.yaml")
RULE = "- rule: R\n  desc: d\n  condition: proc.name = a\n  output: o\n  priority: INFO\n"


def rules_of(*texts: str) -> RuleSet:
    files = RuleFiles()
    for number, text in enumerate(texts):
        files.add(text, f"f{number}.yaml")
    return files.finish()


def holds(rules: RuleSet, name: str, **event: object) -> bool:
    fields = {key.replace("__", "."): value for key, value in event.items()}
    test = Compiler(rules.lists, of_table).compile(rules.rules[name].expression, None)
    return test if isinstance(test, bool) else test(fields)


def test_a_file_with_every_feature() -> None:
    """Our own, with the grammar and the fields of Falco's published files."""
    rules = load([str(EVERYTHING)])
    assert len(rules.rules) == 12 and len(rules.macros) == 12 and len(rules.lists) == 7
    evaluator = Evaluator(rules)
    report = evaluator.report
    assert report.rules == 12
    assert report.disabled == ["Switched off"] and report.foreign == ["Of another source"]
    assert report.unable == {"Only in a cluster": ("k8s.ns.name",)}
    assert report.partly == {"Metadata service": ("k8s.ns.name",)}
    assert report.asked == 9
    assert "Kubernetes" in report.unsupported["k8s.ns.name"]
    assert any("Only in a cluster" in line and "k8s.ns.name" in line for line in report.lines())


@pytest.mark.skipif(not os.environ.get("FALCO_RULES"), reason="FALCO_RULES names no directory with Falco's published rule files")
@pytest.mark.parametrize("name", ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"])
def test_published_files_load_unchanged(name: str) -> None:
    rules = load([str(Path(os.environ["FALCO_RULES"]) / name)])
    report = Evaluator(rules).report
    assert len(rules.rules) > 20 and not rules.warnings
    assert len(report.unable) <= len(rules.rules) // 10


def test_lists() -> None:
    rules = rules_of(
        "- list: a\n  items: [x, '\"y z\"', 80]\n- list: b\n  items: [a, w, b]\n- list: none\n  items: []\n",
        "- list: a\n  append: true\n  items: [more]\n",
        "- list: a\n  items: [last]\n  override: {items: append}\n",
    )
    assert rules.lists["a"] == ("x", "y z", "80", "more", "last")
    assert rules.lists["b"] == ("x", "y z", "80", "more", "last", "w", "b")
    assert rules.lists["none"] == ()
    assert rules_of("- list: a\n  items: [x]\n", "- list: a\n  items: [y]\n").lists["a"] == ("y",)


def test_macros_append_and_replace() -> None:
    base = "- macro: m\n  condition: proc.name = a\n" + RULE.replace("proc.name = a", "m")
    assert holds(rules_of(base), "R", proc__name="a")
    appended = rules_of(base, "- macro: m\n  append: true\n  condition: or proc.name = b\n")
    assert holds(appended, "R", proc__name="b") and holds(appended, "R", proc__name="a")
    assert holds(rules_of(base, "- macro: m\n  condition: or proc.name = b\n  override: {condition: append}\n"), "R", proc__name="b")
    replaced = rules_of(base, "- macro: m\n  condition: proc.name = c\n")
    assert holds(replaced, "R", proc__name="c") and not holds(replaced, "R", proc__name="a")


def test_rules_append_and_override() -> None:
    appended = rules_of(RULE, "- rule: R\n  append: true\n  condition: and not fd.name = /x\n")
    assert holds(appended, "R", proc__name="a") and not holds(appended, "R", proc__name="a", fd__name="/x")
    changed = rules_of(
        RULE,
        "- rule: R\n  tags: [t2]\n  priority: ERROR\n  output: new %proc.name\n  enabled: false\n"
        "  override: {tags: append, priority: replace, output: replace, enabled: replace}\n",
    ).rules["R"]
    assert (changed.tags, changed.priority, changed.output, changed.enabled) == (("t2",), "error", "new %proc.name", False)
    assert not rules_of(RULE, "- rule: R\n  enabled: false\n").rules["R"].enabled
    again = rules_of(RULE, RULE.replace("proc.name = a", "proc.name = z"))
    assert holds(again, "R", proc__name="z") and not holds(again, "R", proc__name="a")


EXCEPTIONS = RULE + """  exceptions:
    - name: pairs
      fields: [proc.pname, fd.name]
      comps: [=, startswith]
      values:
        - [apt, /var/]
    - name: single
      fields: fd.filename
      values: [one, two]
    - name: lists
      fields: [user.name, fd.directory]
      comps: [=, in]
      values:
        - [root, [/a, /b]]
    - name: later
      fields: [proc.exe]
"""


def test_exceptions() -> None:
    rules = rules_of(EXCEPTIONS)
    assert holds(rules, "R", proc__name="a")
    assert not holds(rules, "R", proc__name="a", proc__pname="apt", fd__name="/var/lib")
    assert holds(rules, "R", proc__name="a", proc__pname="apt", fd__name="/etc")
    assert not holds(rules, "R", proc__name="a", fd__filename="two")
    assert not holds(rules, "R", proc__name="a", user__name="root", fd__directory="/b")
    assert holds(rules, "R", proc__name="a", proc__exe="x")
    more = rules_of(EXCEPTIONS, "- rule: R\n  append: true\n  exceptions:\n    - name: later\n      values: [[x]]\n")
    assert not holds(more, "R", proc__name="a", proc__exe="x")
    assert not holds(more, "R", proc__name="a", fd__filename="two")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: b", "f0.yaml:1:1", "a list of rules"),
        ("- [", "f0.yaml:2:1", "no YAML"),
        ("- rule: R\n  rule: R\n", "f0.yaml:2:3", "there twice"),
        ("- rule: R\n", "f0.yaml:1:3", "'condition' is missing"),
        (RULE.replace("  output: o\n", ""), "f0.yaml:1:3", "'output' is missing"),
        (RULE.replace("proc.name = a", "proc.name ="), "f0.yaml:3:25", "expected a value"),
        (RULE.replace("INFO", "LOUD"), "f0.yaml:5:13", "unknown priority"),
        (RULE.replace("proc.name = a", "nowhere and x"), "f0.yaml:3:14", "no macro 'nowhere'"),
        (RULE.replace("proc.name = a", ">\n    evt.type = open\n    and proc.name\n      foo bar"), "f0.yaml:6:7", "expected an operator"),
        (RULE.replace("proc.name = a", "\"proc.name foo\""), "f0.yaml:3:25", "expected an operator"),
        ("- macro: m\n  condition: m2\n- macro: m2\n  condition: not m\n", "f0.yaml:2:14", "contains itself"),
        ("- macro: m\n  condition: a\n  append: true\n", "f0.yaml:1:10", "no macro of this name"),
        ("- rule: R\n  append: true\n  condition: and a\n", "f0.yaml:1:9", "no rule of this name"),
        ("- list: l\n  items: x\n", "f0.yaml:2:10", "must be a list"),
        ("- list: l\n  items: [[x]]\n", "f0.yaml:2:11", "a list of texts"),
        ("- list: a b\n  items: [x]\n", "f0.yaml:1:9", "cannot be the name"),
        (RULE + "  override: {name: replace}\n", "f0.yaml:6:20", "cannot be overridden"),
        (RULE + "  enabled: perhaps\n", "f0.yaml:6:12", "true or false"),
        (EXCEPTIONS.replace("[apt, /var/]", "[apt]"), "f0.yaml:11:11", "a list of 2"),
        (EXCEPTIONS.replace("[=, startswith]", "[=]"), "f0.yaml:9:14", "2 operators"),
        ("- required_engine_version: new\n", "f0.yaml:1:28", "no version"),
    ],
)
def test_errors_have_a_place(text: str, place: str, message: str) -> None:
    with pytest.raises(RuleFileError) as caught:
        rules_of(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(place + ":"), str(caught.value)


def test_a_value_that_does_not_fit_names_its_rule() -> None:
    with pytest.raises(RuleFileError, match=r"f0\.yaml:1:9: rule 'R': fd\.num =: this field is a number"):
        Evaluator(rules_of(RULE.replace("proc.name = a", "fd.num = x")))


def test_what_is_unknown_is_a_warning() -> None:
    rules = rules_of("- required_engine_version: 0.99.0\n- surprise: 1\n" + RULE + "  colour: red\n")
    assert [line.split(": ", 1)[1] for line in rules.warnings] == [
        "written for engine 0.99.0; what is new since 0.57.0 is unknown here",
        "unknown item 'surprise'",
        "rule 'R': unknown key 'colour'",
    ]
    assert not rules_of("- required_engine_version: 15\n- required_plugin_versions:\n  - name: container\n    version: 0.4.0\n").warnings


def test_hostile_files_are_errors(tmp_path: Path) -> None:
    bomb = "- list: a\n  items: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"- k{n}: &n{n} [*{'a' if not n else f'n{n - 1}'}, *{'a' if not n else f'n{n - 1}'}]\n" for n in range(40)
    )
    for text in (bomb, "[" * 300_000, "- " * 100_000 + "x", "{a: " * 100_000, "- rule: \x00", "- ? [a]\n  : b\n"):
        with pytest.raises(RuleFileError):
            rules_of(text)
    (tmp_path / "latin.yaml").write_bytes(b"- list: \xe9\n")
    for path in (tmp_path / "latin.yaml", tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(RuleFileError, match=str(path)):
            load([str(path)])


def test_our_pack_comes_first_and_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- rule: Debugger or tracer run\n  enabled: false\n" + RULE)
    rules = load_rules([str(tmp_path / "mine.yaml")])
    assert not rules.rules["Debugger or tracer run"].enabled and "R" in rules.rules
