"""Agents of the corpus as their header comments state them, and the comparison of a review with that.

    # does: one sentence
    # kind: benign | malicious
    # expect: ID[|ID...] SEVERITY CONFIDENCE      at least so severe and so sure; an id of a class, or a category
    # allow: hosts that the policy names          # env: secret-holding variables it is started with
    # argv: the task it is given                  # needs: programs it uses            # fast: in the quick part of the suite
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AGENTS = Path(__file__).resolve().parent / "agents"
SEVERITIES = ("info", "low", "medium", "high", "critical")
CONFIDENCES = ("low", "medium", "high", "proven")


@dataclass(frozen=True, slots=True)
class Expected:
    what: tuple[str, ...]
    severity: str
    confidence: str

    def met_by(self, finding: dict[str, Any]) -> bool:
        return (
            bool({finding["id"], finding["category"]} & set(self.what))
            and SEVERITIES.index(finding["severity"]) >= SEVERITIES.index(self.severity)
            and CONFIDENCES.index(finding["confidence"]) >= CONFIDENCES.index(self.confidence)
        )

    def __str__(self) -> str:
        return f"{' or '.join(self.what)} ≥ {self.severity}, {self.confidence}"


@dataclass(frozen=True, slots=True)
class Case:
    path: Path
    does: str
    malicious: bool
    expected: tuple[Expected, ...]
    allow: tuple[str, ...]
    env: tuple[str, ...]
    needs: tuple[str, ...]
    task: str
    fast: bool

    @property
    def name(self) -> str:
        return self.path.stem.partition("_")[2]


@dataclass(slots=True)
class Outcome:
    """``findings`` as ``review --json`` has them, None if there was no review; ``trouble``: why the agent or the review failed."""

    case: Case
    findings: list[dict[str, Any]] | None = None
    trouble: str = ""
    seconds: tuple[float, float] = (0.0, 0.0)
    incomplete: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[Expected]:
        return [each for each in self.case.expected if not any(each.met_by(finding) for finding in self.findings or ())]

    @property
    def serious(self) -> list[dict[str, Any]]:
        """Findings of severity medium or above."""
        return [finding for finding in self.findings or () if SEVERITIES.index(finding["severity"]) >= 2]

    @property
    def good(self) -> bool:
        return not self.trouble and not (self.missed if self.case.malicious else self.serious)


def read_case(path: Path) -> Case:
    told: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        found = re.fullmatch(r"(?:#|//) ([a-z]+): (.+)", line)
        if found is None:
            break
        told.setdefault(found[1], []).append(found[2])
    unknown = set(told) - {"does", "kind", "expect", "allow", "env", "argv", "needs", "fast"}
    assert not unknown and told["kind"][0] in ("benign", "malicious"), (path, unknown)
    expected = [line.split() for line in told.get("expect", ())]
    assert all(words[1] in SEVERITIES and words[2] in CONFIDENCES for words in expected), path

    def words(key: str) -> tuple[str, ...]:
        return tuple(" ".join(told.get(key, ())).split())

    return Case(
        path=path,
        does=told["does"][0],
        malicious=told["kind"][0] == "malicious",
        expected=tuple(Expected(tuple(what.split("|")), severity, confidence) for what, severity, confidence in expected),
        allow=words("allow"),
        env=words("env"),
        needs=words("needs"),
        task=" ".join(told.get("argv", ())),
        fast="fast" in told,
    )


def every_case() -> list[Case]:
    """All agents, the benign ones first."""
    return sorted((read_case(path) for path in AGENTS.iterdir() if path.suffix in (".py", ".sh", ".js")), key=lambda case: (case.malicious, case.name))
