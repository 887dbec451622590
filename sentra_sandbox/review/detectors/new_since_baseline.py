"""What a run did that its baseline does not have: programs, hosts, places of files, tools.

The comparison is the baseline's (``review.baseline``), and happens only when one is given; the classes are listed here so that they are
documented with the others. Evidence: the first event of each new thing.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.baseline import NEW_HOST, NEW_PATH, NEW_PROGRAM, NEW_TOOL
from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Detector, Finding


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    return ()


DETECTOR = Detector("new_since_baseline", (NEW_HOST, NEW_PROGRAM, NEW_PATH, NEW_TOOL), _detect)
