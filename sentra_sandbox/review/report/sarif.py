"""The review as SARIF 2.1.0 (OASIS standard), for code scanning services. One run; each finding is a result, its evidence a code flow.

Results have a place in the workspace where there is one (``places``), and always a logical location, the process. Suppressed findings are
results with a suppression. Bounds are those of GitHub's code scanning.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from sentra_sandbox.review.findings import Evidence, Finding, FindingClass, Severity
from sentra_sandbox.review.report.places import Places
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.review import Review

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RESULTS_MAX = 5000
_STEPS_MAX = 1000
_TAGS_MAX = 20
_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note", Severity.INFO: "note"}
_SCORES = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.5", Severity.LOW: "3.0", Severity.INFO: "0.0"}


def render(review: Review, *, show_secrets: bool = False) -> str:
    """The log as indented ASCII JSON."""
    return json.dumps(_Log(Shown(review, show_secrets)).object(), indent=1) + "\n"


def tool_version() -> str:
    """Of this package, ``0`` from a source tree."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sentra-sandbox")
    except PackageNotFoundError:
        return "0"


class _Log:
    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.places = Places(shown)
        pairs: list[tuple[Finding, str | None]] = [(finding, None) for finding in shown.findings]
        pairs += shown.review.suppressed
        self.pairs = pairs[:_RESULTS_MAX]
        self.left_off = len(pairs) - len(self.pairs)
        self.kinds: dict[str, FindingClass] = {}
        for finding, _ in self.pairs:
            self.kinds.setdefault(finding.kind.id, finding.kind)
        self.numbers = {id: number for number, id in enumerate(self.kinds)}

    def object(self) -> dict[str, Any]:
        run = self.shown.run
        driver = {
            "name": "sentra-sandbox",
            "version": tool_version(),
            "rules": [self._rule(kind) for kind in self.kinds.values()],
        }
        one = {
            "tool": {"driver": driver},
            "automationDetails": {"id": f"sentra-sandbox/review/{run.id}"},
            "originalUriBaseIds": {"WORKSPACE": {"uri": f"file://{_path_uri(self.shown.facts.workspace.rstrip('/'))}/"}},
            "invocations": [self._invocation()],
            "results": [self._result(finding, reason) for finding, reason in self.pairs],
            "columnKind": "unicodeCodePoints",
            "properties": {"verdict": self.shown.review.verdict, "events": self.shown.facts.events},
        }
        return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [one]}

    def _invocation(self) -> dict[str, Any]:
        run = self.shown.run
        notes = [*self.shown.missing[:500], *([f"{self.left_off} findings are left off"] if self.left_off else [])]
        told = [{"level": "warning", "message": {"text": note}} for note in notes]
        told += [{"level": "note", "message": {"text": note}} for note in self.shown.notes[:500]]
        invocation: dict[str, Any] = {
            "commandLine": self.shown.command,
            "executionSuccessful": self.shown.review.verdict != "incomplete",
            "toolExecutionNotifications": told,
        }
        if run.exit_status is not None:
            invocation["exitCode"] = run.exit_status
        return invocation

    def _rule(self, kind: FindingClass) -> dict[str, Any]:
        text = self.shown.text
        tags = ["security", kind.category, *(f"attack/{id}" for id in kind.attack), *(f"owasp/{id}" for id in kind.owasp)]
        rule: dict[str, Any] = {
            "id": text(kind.id),
            "name": text(kind.id),
            "shortDescription": {"text": text(kind.title) or "-"},
            "fullDescription": {"text": text(kind.explanation) or "-"},
            "help": {"text": text(f"{kind.remedy} {kind.false_positives}").strip() or "-"},
            "defaultConfiguration": {"level": _LEVELS[kind.severity]},
            "properties": {"tags": [text(tag) for tag in dict.fromkeys(tags)][:_TAGS_MAX], "security-severity": _SCORES[kind.severity]},
        }
        return rule

    def _result(self, finding: Finding, reason: str | None) -> dict[str, Any]:
        text = self.shown.text
        location = self._location(finding)
        result: dict[str, Any] = {
            "ruleId": text(finding.kind.id),
            "ruleIndex": self.numbers[finding.kind.id],
            "level": _LEVELS[finding.severity],
            "message": {"text": text(finding.summary) or text(finding.kind.title) or "-"},
            "locations": [location],
            "partialFingerprints": {"sentraFinding/v1": finding.fingerprint},
            "properties": {
                "severity": finding.severity.name.lower(),
                "security-severity": _SCORES[finding.severity],
                "confidence": finding.confidence.name.lower(),
                "subject": text(finding.subject),
            },
        }
        if finding.evidence:
            steps = [self._step(item, number, location) for number, item in enumerate(finding.evidence[:_STEPS_MAX])]
            result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
        if reason is not None:
            result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": text(reason)}]
        stack = self.shown.where(finding)
        if stack:
            result["stacks"] = [{"frames": [{"location": {"message": {"text": line}}} for line in reversed(stack)]}]
        return result

    def _location(self, finding: Finding) -> dict[str, Any]:
        name = self.shown.process(finding.process) or self.shown.command or "run"
        location: dict[str, Any] = {"logicalLocations": [{"name": name, "fullyQualifiedName": f"{self.shown.run.id}/{name}"}]}
        place = self.places.of(finding)
        if place is not None:
            physical: dict[str, Any] = {"artifactLocation": {"uri": _path_uri(self.shown.masked(place.path)), "uriBaseId": "WORKSPACE"}}
            physical["region"] = {"startLine": max(place.line, 1)}
            location["physicalLocation"] = physical
        return location

    def _step(self, item: Evidence, number: int, location: dict[str, Any]) -> dict[str, Any]:
        text = self.shown.text
        excerpt = f" «{text(item.excerpt, 300)}»" if item.excerpt else ""
        message = f"{self.shown.evidence_head(item)}: {text(item.text)}{excerpt}"
        where: dict[str, Any] = {"message": {"text": message}}
        if "physicalLocation" in location:
            where["physicalLocation"] = location["physicalLocation"]
        properties = {"seq": item.seq, "time_ns": item.time_ns, "exchange": item.exchange}
        return {"location": where, "executionOrder": number + 1, "properties": properties}


def _path_uri(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), safe="/")
