"""A secret was put into a prompt: its bytes were found in the body of a call of a language model.

Evidence: the event by which the run got the secret, and the request whose body holds it (exchange, offset). The key of the call itself, in
a header, is none.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sighting, Sightings
from sentra_sandbox.review.detectors.evidence import ordered, shown, who
from sentra_sandbox.review.detectors.hosts import bare
from sentra_sandbox.review.detectors.llm import is_prompt
from sentra_sandbox.review.detectors.secret_egress import LIKELY_BITS, PROVEN_BITS, sent_evidence, source_evidence, source_of
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Finding, FindingClass, Severity

IN_PROMPT = FindingClass(
    "SEN-004",
    "A secret is in a prompt",
    "exfiltration",
    Severity.HIGH,
    "A credential that the run had read is in the text that it sent to a language model. The provider of the model has it now, it may "
    "be in its logs, "
    "and the model can repeat it in any later answer or tool call.",
    "Replace the credential. Keep credential files out of what the agent reads into its context, or have them masked before they "
    "become a prompt.",
    ("T1552.001", "T1567"),
    ("LLM02:2025", "ASI02"),
    "Placeholders and example values are no secrets. The key by which the model's API is called is in a header, which does not count.",
)


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    groups: dict[tuple[str, str], list[Sighting]] = {}
    for sighting in sightings.found:
        if sighting.bits >= LIKELY_BITS and sighting.secret.kind != "personal" and is_prompt(facts, sighting):
            groups.setdefault((source_of(sighting.secret), bare(sighting.to)), []).append(sighting)
    for (source, host), found in groups.items():
        proven = any(sighting.bits >= PROVEN_BITS for sighting in found)
        evidence = [item for sighting in found[:8] for item in (source_evidence(facts, sighting.secret), *sent_evidence(facts, sighting))]
        yield Finding(
            IN_PROMPT,
            Severity.HIGH,
            Confidence.PROVEN if proven else Confidence.HIGH,
            f"{who(facts, found[0].process)} put {shown(found[0].secret.name)} into a prompt for {shown(host)}.",
            f"{shown(source)} → {shown(host)}",
            ordered(evidence),
            found[0].process,
        )


DETECTOR = Detector("secret_in_prompt", (IN_PROMPT,), _detect)
