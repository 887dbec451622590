"""``Review``: facts and findings of one run put together, the verdict, suppressions. ``review(trace)`` is the whole of it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from sentra_sandbox.review.facts import Facts, collect
from sentra_sandbox.review.findings import Evidence, Finding, Severity

if TYPE_CHECKING:
    from sentra_sandbox.review.baseline import Baseline
    from sentra_sandbox.review.content.search import Sightings
    from sentra_sandbox.review.rules.files import RuleSet
    from sentra_sandbox.trace.reader import Trace

Verdict = Literal["findings", "no findings", "incomplete"]


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """``rules``: rule files besides our own pack; ``canaries``: name → bytes that must not leave; ``suppressions``: file; ``baseline``:
    what the run usually does; ``fail_on``: severity from which on the exit status is 1; ``today``: for the expiry of suppressions.
    """

    rules: tuple[str, ...] = ()
    own_rules: bool = True
    canaries: tuple[tuple[str, bytes], ...] = ()
    suppressions: str = ""
    baseline: Baseline | None = None
    fail_on: Severity = Severity.MEDIUM
    today: datetime.date | None = None


@dataclass(slots=True)
class Review:
    """``suppressed`` pairs a finding with the reason. ``incomplete`` says in words what the review could not look at (with the reasons
    the verdict is ``incomplete`` when there is no finding at or above the threshold). ``new`` is what a baseline does not have. ``where``
    (finding's fingerprint → stack lines) is filled by the command line, which may replay. ``notes``: what a reader should know and that
    changes nothing about the verdict (rules that were not loaded, suppressions that have expired).
    """

    facts: Facts
    sightings: Sightings
    findings: list[Finding]
    suppressed: list[tuple[Finding, str]]
    verdict: Verdict
    incomplete: list[str]
    fail_on: Severity
    new: list[str] = field(default_factory=list)
    where: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def review(trace: Trace, options: ReviewOptions | None = None) -> Review:
    """Review one run. Raises ``TraceError``, ``UsageError`` (rule file, suppression file)."""
    from sentra_sandbox.review.rules.evaluate import load_rules
    from sentra_sandbox.review.suppressions import read_suppressions, split

    options = options or ReviewOptions()
    suppressions = read_suppressions(options.suppressions) if options.suppressions else []
    rules = load_rules(options.rules, own=options.own_rules)
    facts = collect(trace)
    incomplete = list(facts.gaps)
    notes: list[str] = []
    sightings = _search(facts, options)
    notes += sightings.notes
    findings = _detect(facts, sightings, incomplete)
    findings += _by_rules(facts, rules, notes, incomplete)
    new: list[str] = []
    if options.baseline is not None:
        from sentra_sandbox.review.baseline import baseline_of, new_things
        from sentra_sandbox.review.detectors import new_since_baseline

        things = new_things(baseline_of(facts), options.baseline)
        new = [f"{kind} {name}" for kind, name, _ in things]
        findings += new_since_baseline.findings(things)
    findings = [_timed(facts, finding) for finding in distinct(findings)]
    findings, suppressed, told = split(findings, suppressions, options.today or datetime.date.today())
    findings = ordered(findings)
    return Review(
        facts=facts,
        sightings=sightings,
        findings=findings,
        suppressed=suppressed,
        verdict=_verdict(findings, incomplete, options.fail_on),
        incomplete=incomplete,
        fail_on=options.fail_on,
        new=new,
        notes=notes + told,
    )


def _search(facts: Facts, options: ReviewOptions) -> Sightings:
    from sentra_sandbox.review.content.search import search

    return search(facts, options.canaries)


def _detect(facts: Facts, sightings: Sightings, incomplete: list[str]) -> list[Finding]:
    """What all detectors find. One that fails on a strange trace is told as something not looked at; the others still run."""
    from sentra_sandbox.review.detectors.registry import DETECTORS

    found: list[Finding] = []
    for detector in DETECTORS:
        try:
            found += detector.detect(facts, sightings)
        except Exception as error:  # a bug that a hostile trace may reach must not silence the other detectors
            what = f"{type(error).__name__}: {error}"
            incomplete.append(f"The detector '{detector.name}' failed ({what}); what it looks for was not looked for.")
    return found


def _by_rules(facts: Facts, rules: RuleSet, notes: list[str], incomplete: list[str]) -> list[Finding]:
    from sentra_sandbox.review.rules.evaluate import run_rules

    if not rules.rules:
        return []
    try:
        outcome = run_rules(facts, rules)
    except Exception as error:  # as above
        incomplete.append(f"the rules failed: {type(error).__name__}: {error}")
        return []
    notes += outcome.report.lines()
    return outcome.findings


def distinct(findings: Sequence[Finding]) -> list[Finding]:
    """One finding a fingerprint: the worst, then the surest, then the first."""
    best: dict[str, Finding] = {}
    for finding in findings:
        other = best.get(finding.fingerprint)
        if other is None or (finding.severity, finding.confidence) > (other.severity, other.confidence):
            best[finding.fingerprint] = finding
    return list(best.values())


def _timed(facts: Facts, finding: Finding) -> Finding:
    """With task and time of each piece of evidence, which a detector may leave to the event."""
    evidence = tuple(_of_event(facts, item) if not item.time_ns else item for item in finding.evidence)
    return finding if evidence == finding.evidence else replace(finding, evidence=evidence)


def _of_event(facts: Facts, evidence: Evidence) -> Evidence:
    try:
        event = facts.event(evidence.seq)
    except KeyError:
        return evidence
    return replace(evidence, time_ns=event.time_ns, task=evidence.task or event.task)


def _verdict(findings: Sequence[Finding], incomplete: Sequence[str], fail_on: Severity) -> Verdict:
    if any(finding.severity >= fail_on for finding in findings):
        return "findings"
    return "incomplete" if incomplete else "no findings"


def exit_status(result: Review) -> int:
    """0 no finding at or above the threshold, 1 findings, 3 incomplete."""
    return {"no findings": 0, "findings": 1, "incomplete": 3}[result.verdict]


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Worst first: severity, confidence, then time of the first evidence."""
    return sorted(findings, key=lambda found: (-found.severity, -found.confidence, found.evidence[0].seq if found.evidence else 0))
