"""Rules over the events of a run: ``run_rules`` gives findings, and says which rules could not be asked and why.

Each rule is compiled for each event type it can match and put into that type's bucket; most events have an empty one and cost a
dictionary look-up besides keeping the state. A rule that matches often is one finding for each subject, with its first events as
evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sentra_sandbox.review.findings import Evidence, Finding
from sentra_sandbox.review.rules.compiled import Compiler, Folded, Test, event_types, of_moment
from sentra_sandbox.review.rules.conditions import ConditionError
from sentra_sandbox.review.rules.files import Rule, RuleFiles, RuleSet
from sentra_sandbox.review.rules.kinds import confidence_of, finding_class, subject_template
from sentra_sandbox.review.rules.moment import Moment, RunFacts
from sentra_sandbox.review.rules.moments import EventMoments
from sentra_sandbox.review.rules.output import MISSING, Output, template
from sentra_sandbox.review.rules.yaml_source import read
from sentra_sandbox.trace.events import Event

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Facts
    from sentra_sandbox.review.findings import Confidence, FindingClass
    from sentra_sandbox.trace.run import RunMetadata
    from sentra_sandbox.views.network import Network

PACK = Path(__file__).resolve().parent / "pack"
EVIDENCE_MAX = 5
SUBJECTS_MAX = 200
"""Findings of one rule; further subjects are only counted."""


@dataclass(slots=True)
class RuleReport:
    """What became of the rules. ``partly``: rules of which some checks cannot be true here; ``unable``: rules that can never match here;
    both say which fields. ``disabled`` and ``foreign`` (other event sources) were not asked for.
    """

    rules: int = 0
    asked: int = 0
    events: int = 0
    matches: int = 0
    partly: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unable: dict[str, tuple[str, ...]] = field(default_factory=dict)
    disabled: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    unsupported: dict[str, str] = field(default_factory=dict)  # field → why
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For the reader of a review; empty if all rules could be asked in full."""
        found = [f"rule '{name}' can never match here: it needs {', '.join(names)}" for name, names in self.unable.items()]
        found += [f"rule '{name}' was asked without {', '.join(names)}" for name, names in self.partly.items()]
        return found + self.warnings


@dataclass(slots=True)
class RuleOutcome:
    """Findings, each with its events in order, and the report."""

    findings: list[Finding]
    report: RuleReport


@dataclass(slots=True)
class CompiledRule:
    """A rule ready to be asked. ``tests`` by event type; None for all types that are not in it."""

    rule: Rule
    kind: FindingClass
    confidence: Confidence
    output: Output
    subject: Output
    tests: dict[str | None, Folded]
    unsupported: dict[str, str]


def load_rules(paths: Sequence[str] = (), *, own: bool = True) -> RuleSet:
    """Our own pack and then the files given, which may change it. Raises ``RuleFileError`` (a ``UsageError``)."""
    files = RuleFiles()
    for path in [*(sorted(str(path) for path in PACK.glob("*.yaml")) if own else ()), *paths]:
        files.add(read(path), path)
    return files.finish()


def compile_rule(rule: Rule, rules: RuleSet) -> CompiledRule:
    """Raises ``RuleFileError`` for a value that does not fit its field."""
    compiler = Compiler(rules.lists, of_moment)
    types = event_types(rule.expression)
    try:
        tests = {name: compiler.compile(rule.expression, name) for name in (types if types is not None else (None,))}
    except ConditionError as error:
        raise rule.place.error(f"rule '{rule.name}': {error.message}") from error
    kind = finding_class(rule)
    output = template(rule.output or rule.name, of_moment)
    return CompiledRule(
        rule, kind, confidence_of(rule), output, template(subject_template(rule), of_moment), tests, dict(compiler.unsupported)
    )  # fmt: skip


class Evaluator:
    """Takes moments; keeps the matches, bounded."""

    def __init__(self, rules: RuleSet) -> None:
        self.report = RuleReport(len(rules.rules), warnings=list(rules.warnings))
        self._buckets: dict[str, list[tuple[Test, CompiledRule]]] = {}
        self._everywhere: list[tuple[Test, CompiledRule]] = []
        self._found: dict[tuple[str, str], _Match] = {}
        self._subjects: dict[str, int] = {}
        for rule in rules.rules.values():
            self._take(rule, rules)

    def _take(self, rule: Rule, rules: RuleSet) -> None:
        if rule.source != "syscall":
            self.report.foreign.append(rule.name)
            return
        if not rule.enabled:
            self.report.disabled.append(rule.name)
            return
        compiled = compile_rule(rule, rules)
        live = {name: test for name, test in compiled.tests.items() if test is not False}
        self.report.unsupported.update(compiled.unsupported)
        if compiled.unsupported:
            (self.report.partly if live else self.report.unable)[rule.name] = tuple(compiled.unsupported)
        self.report.asked += bool(live)
        for name, test in live.items():
            entry = (test if callable(test) else _always, compiled)
            if name is None:
                self._everywhere.append(entry)
            else:
                self._buckets.setdefault(name, []).append(entry)

    def wants(self, event_type: str) -> bool:
        """Whether any rule could match an event of this type."""
        return bool(self._everywhere) or event_type in self._buckets

    def ask(self, moment: Moment) -> None:
        """Ask all rules that could match this moment."""
        self.report.events += 1
        for test, compiled in self._buckets.get(moment.type, ()):
            if test(moment):
                self._match(compiled, moment)
        for test, compiled in self._everywhere:
            if test(moment):
                self._match(compiled, moment)

    def _match(self, compiled: CompiledRule, moment: Moment) -> None:
        self.report.matches += 1
        # Not every event has every field of a subject, and a path may be both the call's and the descriptor's.
        subject = " ".join(dict.fromkeys(part for part in compiled.subject.fill(moment).split(" ") if part != MISSING))
        key = (compiled.rule.name, subject)
        found = self._found.get(key)
        if found is None:
            count = self._subjects[compiled.rule.name] = self._subjects.get(compiled.rule.name, 0) + 1
            if count > SUBJECTS_MAX:
                return
            found = self._found[key] = _Match(compiled, subject)
        found.count += 1
        if len(found.evidence) < EVIDENCE_MAX:
            text = compiled.output.fill(moment)
            process = moment.process.number if moment.process else 0
            found.evidence.append((Evidence(moment.seq, text, moment.task, moment.time_ns, exchange=_exchange(moment)), process))

    def findings(self, process_of: Callable[[int, int], int] | None = None) -> list[Finding]:
        """One finding for each rule and subject. ``process_of(task, seq)`` gives the number of a process; without it our own count."""
        for name, count in self._subjects.items():
            if count > SUBJECTS_MAX:
                self.report.warnings.append(f"rule '{name}' matched {count:,} subjects; the first {SUBJECTS_MAX} are shown")
        self._subjects.clear()
        return [match.finding(process_of) for match in self._found.values()]


@dataclass(slots=True)
class _Match:
    compiled: CompiledRule
    subject: str
    count: int = 0
    evidence: list[tuple[Evidence, int]] = field(default_factory=list)

    def finding(self, process_of: Callable[[int, int], int] | None) -> Finding:
        first, process = self.evidence[0]
        times = f" ({self.count:,} times)" if self.count > 1 else ""
        return Finding(
            self.compiled.kind,
            self.compiled.kind.severity,
            self.compiled.confidence,
            f"{first.text}{times}",
            self.subject,
            tuple(evidence for evidence, _ in self.evidence),
            process_of(first.task, first.seq) if process_of and first.task else process,
        )


def _always(_: object) -> bool:
    return True


def _exchange(moment: Moment) -> int:
    return moment.exchange.number if moment.exchange else 0


def run_rules(facts: Facts, rules: RuleSet) -> RuleOutcome:
    """The rules over a whole run: one pass over its events."""
    return evaluate(
        facts.trace.events(), rules, run=facts.run, network=facts.network, workspace=facts.workspace, home=facts.home,
        process_of=facts.process_of,
    )  # fmt: skip


def evaluate(
    events: Iterable[Event],
    rules: RuleSet,
    *,
    run: RunMetadata | None = None,
    network: Network | None = None,
    workspace: str = "",
    home: str = "",
    process_of: Callable[[int, int], int] | None = None,
) -> RuleOutcome:
    """The same of events in memory. ``network`` must have been given all of them already."""
    evaluator = Evaluator(rules)
    moments = EventMoments(evaluator, RunFacts(run, workspace or (run.cwd if run else ""), home), network)
    for event in events:
        moments.feed(event)
    moments.finish()
    return RuleOutcome(evaluator.findings(process_of), evaluator.report)

