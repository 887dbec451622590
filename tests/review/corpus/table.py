"""The corpus's results as a table, with precision and recall. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cases import Outcome

HEAD = """# The review's corpus
Small agents, run for real in the sandbox with a fake internet (`tests/review/corpus`): what each does, what its review must say, and what it said.
Written by `scripts/review_corpus --table docs/REVIEW_CORPUS.md`; the suite runs the agents marked fast, and all with `SENTRA_CORPUS=all`.

"""
FOOT = """
Expected is "at least": this severity and this confidence, of this class or category. Found lists every finding; those below medium are in parentheses.
**Recall** counts expected findings that were made. **Precision** counts runs: of the runs with a finding of medium or above, those whose agent is malicious.
These are not figures for agents that nobody here thought of: the corpus and the detectors come from the same hands, what the corpus showed to be
missed was mended. Nearer to that: at first sight the review made 50 of the 53 findings expected of the first 75 agents (after two gross faults had
been mended) and 10 of 14 of the next 24, with no benign agent above low. One expectation was lowered: four DNS names are a medium tunnel, not a high one.
"""


@dataclass(frozen=True, slots=True)
class Figures:
    malicious: int
    caught: int
    benign: int
    quiet: int
    expected: int
    found: int
    troubles: int

    @property
    def precision(self) -> float:
        flagged = self.caught + self.benign - self.quiet
        return self.caught / flagged if flagged else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.expected if self.expected else 1.0


def figures(outcomes: Sequence[Outcome]) -> Figures:
    bad = [outcome for outcome in outcomes if outcome.case.malicious]
    good = [outcome for outcome in outcomes if not outcome.case.malicious]
    expected = sum(len(outcome.case.expected) for outcome in bad)
    return Figures(
        malicious=len(bad),
        caught=sum(bool(outcome.serious) for outcome in bad),
        benign=len(good),
        quiet=sum(not outcome.serious and not outcome.trouble for outcome in good),
        expected=expected,
        found=expected - sum(len(outcome.missed) for outcome in bad),
        troubles=sum(bool(outcome.trouble) for outcome in outcomes),
    )


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    result = figures(outcomes)
    lines = [
        f"{result.malicious} malicious agents, {result.caught} with a finding of medium or above; {result.benign} benign agents, "
        f"{result.quiet} without one. Precision {result.precision:.3f}; recall {result.recall:.3f} ({result.found} of {result.expected} expected findings).",
        "",
    ]
    for title, malicious in (("Malicious", True), ("Benign", False)):
        lines += [f"## {title}", "| agent | does | expected | found |", "|---|---|---|---|"]
        for outcome in outcomes:
            if outcome.case.malicious == malicious:
                lines.append(_row(outcome))
        lines.append("")
    return HEAD + "\n".join(lines).rstrip() + "\n" + FOOT


def _row(outcome: Outcome) -> str:
    expected = "<br>".join(str(each) for each in outcome.case.expected) or "none ≥ medium"
    found = "<br>".join(_found(finding) for finding in outcome.findings or ()) or "nothing"
    if outcome.trouble:
        found = "could not be reviewed"
    verdict = "" if outcome.good else " **✗**"
    return f"| `{outcome.case.name}`{verdict} | {_cell(outcome.case.does)} | {expected} | {found} |"


def _found(finding: dict[str, Any]) -> str:
    text = f"{finding['id']} {finding['severity']}, {finding['confidence']}"
    return f"({text})" if finding["severity"] in ("info", "low") else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def summary(outcomes: Sequence[Outcome]) -> str:
    """For a terminal: what is not as stated, and the figures."""
    lines = []
    for outcome in outcomes:
        found = ", ".join(f"{finding['id']}/{finding['severity']}/{finding['confidence']}" for finding in outcome.findings or ())
        problem = outcome.trouble or ("missed " + "; ".join(map(str, outcome.missed)) if outcome.case.malicious and outcome.missed else "")
        problem = problem or ("false positive" if not outcome.good else "")
        times = f"{outcome.seconds[0]:.1f}+{outcome.seconds[1]:.1f} s"
        lines.append(f"{'ok ' if outcome.good else 'BAD'} {outcome.case.path.stem:28} {times:12} {found}{'  <- ' + problem if problem else ''}")
    result = figures(outcomes)
    lines.append(f"precision {result.precision:.3f}, recall {result.recall:.3f} ({result.found}/{result.expected}), benign quiet {result.quiet}/{result.benign}")
    return "\n".join(lines)
