"""All detectors, in the order in which they run. A new one is a line here, a section of docs/DETECTORS.md, and tests."""

from __future__ import annotations

from collections.abc import Iterator

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import (
    code_path_persistence,
    destruction,
    dns_tunnel,
    download_and_run,
    egress_bypass,
    escape_probing,
    hidden_execution,
    library_injection,
    log_wiping,
    mcp_poisoning,
    metadata_service,
    miner,
    new_since_baseline,
    opaque_egress,
    package_scripts,
    persistence,
    personal_data,
    process_memory,
    prompt_injection,
    reverse_shell,
    secret_egress,
    secret_in_prompt,
)
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Detector, Finding, FindingClass

DETECTORS: tuple[Detector, ...] = (
    secret_egress.DETECTOR,
    opaque_egress.DETECTOR,
    secret_in_prompt.DETECTOR,
    metadata_service.DETECTOR,
    persistence.DETECTOR,
    code_path_persistence.DETECTOR,
    package_scripts.DETECTOR,
    reverse_shell.DETECTOR,
    miner.DETECTOR,
    dns_tunnel.DETECTOR,
    egress_bypass.DETECTOR,
    library_injection.DETECTOR,
    process_memory.DETECTOR,
    hidden_execution.DETECTOR,
    escape_probing.DETECTOR,
    destruction.DETECTOR,
    log_wiping.DETECTOR,
    download_and_run.DETECTOR,
    mcp_poisoning.DETECTOR,
    prompt_injection.DETECTOR,
    personal_data.DETECTOR,
    new_since_baseline.DETECTOR,
)


def classes() -> dict[str, FindingClass]:
    """Everything that can be found, by id."""
    return {kind.id: kind for detector in DETECTORS for kind in detector.kinds}


def detect(facts: Facts, sightings: Sightings) -> Iterator[Finding]:
    """What all detectors find in a run."""
    for detector in DETECTORS:
        yield from detector.detect(facts, sightings)
