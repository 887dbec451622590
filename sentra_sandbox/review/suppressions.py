"""Findings that somebody has looked at and accepts: a YAML file, each entry with a reason and an end.

    suppressions:
      - fingerprint: 3f9a0c1b2d4e5f60
        reason: The deploy key is meant to be used by this agent (SEC-1234).
        expires: 2027-01-31
      - id: SEN-102
        subject: "~/.npmrc"          # a pattern: * and ?
        reason: npm reads it at every start.
        expires: never

An entry names a fingerprint, or an id and a pattern of the subject. Reason and expiry are required; one that has expired suppresses
nothing, and the review says so.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from sentra_sandbox.errors import UsageError
from sentra_sandbox.review.findings import Finding

FILE_MAX = 4 << 20
_KEYS = {"fingerprint", "id", "subject", "reason", "expires"}
_REMEDY = "An entry has 'fingerprint', or 'id' and 'subject'; and 'reason' and 'expires' (YYYY-MM-DD or never)."


@dataclass(frozen=True, slots=True)
class Suppression:
    """``expires`` is the last day on which it holds, None for never."""

    fingerprint: str
    id: str
    subject: str
    reason: str
    expires: datetime.date | None

    def covers(self, finding: Finding) -> bool:
        if self.fingerprint:
            return finding.fingerprint == self.fingerprint
        return finding.kind.id == self.id and fnmatchcase(finding.subject, self.subject)

    @property
    def what(self) -> str:
        return self.fingerprint or f"{self.id} {self.subject}"


def read_suppressions(path: str) -> list[Suppression]:
    """The entries of a file. Raises ``UsageError`` for anything that is not one."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(FILE_MAX + 1)
    except OSError as error:
        raise UsageError(f"The suppressions {path} cannot be read: {error.strerror}.") from error
    if len(text) > FILE_MAX:
        raise UsageError(f"{path} is larger than 4 MiB; that is no list of suppressions.")
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    entries = document.get("suppressions") if isinstance(document, dict) and set(document) == {"suppressions"} else None
    if not isinstance(entries, list):
        raise UsageError(f"{path} has no list 'suppressions' (and nothing else).", _REMEDY)
    return [_entry(path, number, entry) for number, entry in enumerate(entries, 1)]


def _entry(path: str, number: int, entry: Any) -> Suppression:
    where = f"Entry {number} of {path}"
    if not isinstance(entry, dict) or not set(entry) <= _KEYS:
        unknown = sorted(map(str, set(entry) - _KEYS)) if isinstance(entry, dict) else []
        raise UsageError(f"{where} is not a suppression{': unknown ' + ', '.join(unknown) if unknown else ''}.", _REMEDY)
    fingerprint, identity, subject = (str(entry.get(key) or "") for key in ("fingerprint", "id", "subject"))
    if bool(fingerprint) == bool(identity and subject) or (fingerprint and (identity or subject)):
        raise UsageError(f"{where} names neither a fingerprint nor an id with a subject, or both.", _REMEDY)
    if fingerprint and not re.fullmatch(r"[0-9a-f]{16}", fingerprint):
        raise UsageError(f"{where}: '{fingerprint}' is no fingerprint (16 hex digits; quote it if it is all digits).", _REMEDY)
    reason = entry.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f"{where} gives no reason.", _REMEDY)
    return Suppression(fingerprint, identity, subject, reason.strip(), _date(where, entry.get("expires")))


def _date(where: str, value: Any) -> datetime.date | None:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    if value == "never":
        return None
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        raise UsageError(f"{where} does not say when it expires.", _REMEDY) from None


def split(
    findings: Iterable[Finding], suppressions: list[Suppression], today: datetime.date
) -> tuple[list[Finding], list[tuple[Finding, str]], list[str]]:
    """``(findings that stand, those that are suppressed with the reason, what to say about expired entries)``."""
    valid = [entry for entry in suppressions if entry.expires is None or entry.expires >= today]
    expired = [entry for entry in suppressions if entry.expires is not None and entry.expires < today]
    standing: list[Finding] = []
    suppressed: list[tuple[Finding, str]] = []
    for finding in findings:
        entry = next((entry for entry in valid if entry.covers(finding)), None)
        if entry is None:
            standing.append(finding)
        else:
            suppressed.append((finding, entry.reason))
    told = [
        f"The suppression of {entry.what} expired on {entry.expires}; its finding counts again."
        for entry in expired
        if any(entry.covers(finding) for finding in standing)
    ]
    return standing, suppressed, told
