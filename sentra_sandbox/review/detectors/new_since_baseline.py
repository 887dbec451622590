"""What a run did that its baseline does not have: programs, hosts, places of files, tools.

The comparison itself is the baseline's; ``findings`` makes findings of its result. Without a baseline there are none, so ``DETECTOR`` finds
nothing by itself and is listed for its class. Evidence: the first event of each new thing.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.evidence import shown
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

NEW = FindingClass(
    "SEN-190",
    "Something is new against the baseline",
    "policy",
    Severity.LOW,
    "The run used a program, host, place or tool that the runs of its baseline had not used. That is what a change of the program, of its "
    "instructions or of its packages looks like.",
    "If it is meant to be so, save the baseline again (--save-baseline). If not, look at what led to it.",
    ("T1554",),
    ("ASI10",),
    "Names that differ from run to run (process ids, dates, temporary names) are normalised before comparing. A baseline of one short run "
    "knows little.",
)
_SEVERITY = {"host": Severity.MEDIUM, "executable": Severity.MEDIUM, "program": Severity.MEDIUM, "tool": Severity.LOW, "path": Severity.LOW}


def findings(new: Iterable[tuple[str, str, int]]) -> Iterable[Finding]:
    """``new``: what kind of thing (``host``, ``executable``, ``path``, ``tool``), which one, and the event that shows it first."""
    for kind, name, seq in new:
        evidence = (Evidence(seq, f"first use of the {kind} {shown(name)}"),)
        yield Finding(
            NEW,
            _SEVERITY.get(kind, Severity.INFO),
            Confidence.HIGH,
            f"The {kind} {shown(name)} is not in the baseline.",
            f"{kind} {shown(name)}",
            evidence,
        )


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    return ()


DETECTOR = Detector("new_since_baseline", (NEW,), _detect)
