"""Findings as OCSF events, one JSON object a line: class Detection Finding (2004) of schema version 1.5.0, as SIEMs take them.

Times are those of the wall clock in ms: the run's start and the evidence's time. A run's tasks are named by pid. Suppressed findings have
status Suppressed. https://schema.ocsf.io/1.5.0/classes/detection_finding
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from sentra_sandbox.review.findings import Confidence, Evidence, Finding, Severity
from sentra_sandbox.review.report.sarif import tool_version
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import command_text
from sentra_sandbox.review.review import Review

VERSION = "1.5.0"
CLASS, CATEGORY, CREATE = 2004, 2, 1
_SEVERITIES = {Severity.INFO: 1, Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4, Severity.CRITICAL: 5}
_SEVERITY_NAMES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
_CONFIDENCES = {
    Confidence.LOW: (1, "Low", 25),
    Confidence.MEDIUM: (2, "Medium", 50),
    Confidence.HIGH: (3, "High", 80),
    Confidence.PROVEN: (3, "High", 100),
}
_NEW, _SUPPRESSED = (1, "New"), (3, "Suppressed")
_EVIDENCE_MAX = 200


def render(review: Review, *, show_secrets: bool = False) -> str:
    """One line for each finding, suppressed ones too; nothing if there are none."""
    shown = Shown(review, show_secrets)
    start_ms = _start_ms(shown.run.created)
    pairs: list[tuple[Finding, str | None]] = [(finding, None) for finding in shown.findings]
    pairs += review.suppressed
    return "".join(json.dumps(_event(shown, finding, reason, start_ms)) + "\n" for finding, reason in pairs)


def _start_ms(created: str) -> int:
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
        return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def _event(shown: Shown, finding: Finding, reason: str | None, start_ms: int) -> dict[str, Any]:
    text = shown.text
    severity = _SEVERITIES[finding.severity]
    confidence, confidence_name, score = _CONFIDENCES[finding.confidence]
    status, status_name = _NEW if reason is None else _SUPPRESSED
    times = [start_ms + item.time_ns // 1_000_000 for item in finding.evidence] or [start_ms]
    event: dict[str, Any] = {
        "activity_id": CREATE,
        "activity_name": "Create",
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + CREATE,
        "type_name": "Detection Finding: Create",
        "time": max(times),
        "start_time": min(times),
        "end_time": max(times),
        "severity_id": severity,
        "severity": _SEVERITY_NAMES[severity],
        "confidence_id": confidence,
        "confidence": confidence_name,
        "confidence_score": score,
        "status_id": status,
        "status": status_name,
        "is_alert": reason is None and finding.severity >= shown.review.fail_on,
        "message": text(finding.summary),
        "metadata": {
            "version": VERSION,
            "product": {"name": "sentra-sandbox", "vendor_name": "sentra-sandbox", "version": tool_version()},
            "uid": f"{shown.run.id}:{finding.fingerprint}",
            "correlation_uid": shown.run.id,
        },
        "finding_info": _finding_info(shown, finding, times),
        "remediation": {"desc": text(finding.kind.remedy) or "-"},
        "evidences": [_evidence(shown, item) for item in finding.evidence[:_EVIDENCE_MAX]],
    }
    if reason is not None:
        event["comment"] = text(reason)
    return event


def _finding_info(shown: Shown, finding: Finding, times: list[int]) -> dict[str, Any]:
    text, kind = shown.text, finding.kind
    info: dict[str, Any] = {
        "uid": finding.fingerprint,
        "title": text(kind.title),
        "desc": text(f"{finding.summary} {kind.explanation}"),
        "types": [text(kind.category)],
        "analytic": {"uid": text(kind.id), "name": text(kind.title), "type_id": 1, "type": "Rule"},
        "first_seen_time": min(times),
        "last_seen_time": max(times),
    }
    if kind.attack:
        info["attacks"] = [_attack(text(id)) for id in kind.attack]
    if kind.owasp:
        info["tags"] = [{"name": "owasp", "value": text(id)} for id in kind.owasp]
    return info


def _attack(id: str) -> dict[str, Any]:
    """``T1552.001`` is a sub-technique of ``T1552``."""
    technique, dot, _ = id.partition(".")
    return {"technique": {"uid": technique}, **({"sub_technique": {"uid": id}} if dot else {})}


def _evidence(shown: Shown, item: Evidence) -> dict[str, Any]:
    text = shown.text
    data: dict[str, Any] = {"seq": item.seq, "time_ns": item.time_ns, "text": text(item.text), "excerpt": text(item.excerpt)}
    if item.exchange:
        data["exchange"] = item.exchange
    if item.offset is not None:
        data["offset"], data["size"] = item.offset, item.size
    if item.sha256:
        data["sha256"] = item.sha256
    evidence: dict[str, Any] = {"data": data}
    process = shown.facts.processes.get(shown.facts.process_of(item.task, item.seq)) if item.task else None
    if process is not None:
        made: dict[str, Any] = {"pid": process.pid, "name": text(process.name) or "?"}
        if process.images:
            image = process.images[-1]
            made["cmd_line"] = text(command_text(image.argv, 1000))
            made["file"] = {"name": text(image.path.rsplit("/", 1)[-1]) or "?", "path": text(image.path), "type_id": 1}
        evidence["process"] = made
    return evidence
