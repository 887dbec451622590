"""From a rule to the class of its findings: severity from the priority, category and technique ids from the tags."""

from __future__ import annotations

import re

from sentra_sandbox.review.findings import Confidence, FindingClass, Severity
from sentra_sandbox.review.rules.files import Rule

SEVERITIES = {
    "emergency": Severity.CRITICAL,
    "alert": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "error": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "notice": Severity.LOW,
    "informational": Severity.INFO,
    "debug": Severity.INFO,
}
_CATEGORIES = {
    "mitre_exfiltration": "exfiltration",
    "mitre_collection": "exfiltration",
    "mitre_credential_access": "credential-access",
    "mitre_persistence": "persistence",
    "mitre_initial_access": "execution",
    "mitre_execution": "execution",
    "mitre_privilege_escalation": "execution",
    "mitre_discovery": "discovery",
    "mitre_reconnaissance": "discovery",
    "mitre_lateral_movement": "command-and-control",
    "mitre_command_and_control": "command-and-control",
    "mitre_resource_development": "command-and-control",
    "mitre_defense_evasion": "defense-evasion",
    "mitre_impact": "impact",
}
CATEGORIES = frozenset((
    "exfiltration", "credential-access", "persistence", "execution", "discovery", "defense-evasion", "command-and-control", "impact",
    "prompt-injection", "supply-chain", "privacy", "policy",
))  # fmt: skip
_TECHNIQUE = re.compile(r"T\d{4}(?:\.\d{3})?")
_OWASP = re.compile(r"LLM\d\d(?::\d{4})?|ASI\d\d")
_REMEDY = "Look at the events. If this is what the program is for, add an exception to the rule or suppress the finding."


def finding_class(rule: Rule) -> FindingClass:
    """Its class. The id is the rule's own (``id:``) or ``FALCO-`` and its name in small letters."""
    slug = re.sub(r"[^a-z0-9]+", "-", rule.name.lower()).strip("-")[:80]
    own_id, category = rule.own.get("id"), rule.own.get("category")
    if own_id is not None and (not isinstance(own_id, str) or not re.fullmatch(r"[A-Z][A-Z0-9]*(?:-[A-Za-z0-9]+)+", own_id)):
        raise rule.place.error(f"rule '{rule.name}': an id is letters and numbers like SEN-R001")
    if category is not None and category not in CATEGORIES:
        raise rule.place.error(f"rule '{rule.name}': unknown category '{str(category)[:40]}'; there are {', '.join(sorted(CATEGORIES))}")
    owasp = rule.own.get("owasp")
    named = tuple(str(each) for each in owasp) if isinstance(owasp, list) else ()
    return FindingClass(
        own_id or f"FALCO-{slug or 'rule'}",
        rule.name,
        category or next((_CATEGORIES[tag] for tag in rule.tags if tag in _CATEGORIES), "policy"),
        SEVERITIES[rule.priority],
        " ".join(rule.desc.split()) or rule.name,
        _own_text(rule, "remedy") or _REMEDY,
        tuple(tag for tag in rule.tags if _TECHNIQUE.fullmatch(tag)),
        named or tuple(tag for tag in rule.tags if _OWASP.fullmatch(tag)),
        _own_text(rule, "false_positives"),
    )


def confidence_of(rule: Rule) -> Confidence:
    """``confidence:`` of the rule; a condition on one event is no proof, so MEDIUM without."""
    text = str(rule.own.get("confidence", "medium")).upper()
    if text not in ("LOW", "MEDIUM", "HIGH"):
        raise rule.place.error(f"rule '{rule.name}': confidence is low, medium or high")
    return Confidence[text]


def subject_template(rule: Rule) -> str:
    """What findings of a rule are told apart by: ``subject:``, else program and file or host."""
    return _own_text(rule, "subject") or "%proc.name %fs.path.name %fd.name"


def _own_text(rule: Rule, key: str) -> str:
    value = rule.own.get(key)
    return " ".join(value.split()) if isinstance(value, str) else ""
