"""``Review``: facts and findings of one run put together, the verdict, suppressions. ``review(trace)`` is the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Finding, Severity

if TYPE_CHECKING:
    from sentra_sandbox.review.content.search import Sightings
    from sentra_sandbox.trace.reader import Trace

Verdict = Literal["findings", "no findings", "incomplete"]


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """``rules``: rule files besides our own pack; ``canaries``: name → bytes that must not leave; ``suppressions``: file; ``baseline``:
    run or file;
    ``fail_on``: severity from which on the exit status is 1.
    """

    rules: tuple[str, ...] = ()
    own_rules: bool = True
    canaries: tuple[tuple[str, bytes], ...] = ()
    suppressions: str = ""
    baseline: str = ""
    fail_on: Severity = Severity.MEDIUM


@dataclass(slots=True)
class Review:
    """``suppressed`` pairs a finding with the reason. ``incomplete`` says in words what the review could not look at (with the reasons
    the verdict is
    ``incomplete`` when there is no finding at or above the threshold). ``new`` is what a baseline does not have. ``where`` (finding's
    fingerprint → stack lines) is filled by
    the command line, which may replay.
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


def review(trace: Trace, options: ReviewOptions | None = None) -> Review:
    """Review one run. Raises ``TraceError``, ``UsageError`` (rule file, suppression file, baseline)."""
    raise NotImplementedError


def exit_status(result: Review) -> int:
    """0 no finding at or above the threshold, 1 findings, 3 incomplete."""
    raise NotImplementedError


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Worst first: severity, confidence, then time of the first evidence."""
    return sorted(findings, key=lambda finding: (-finding.severity, -finding.confidence, finding.evidence[0].seq if finding.evidence else
    0))
