"""``Finding`` and what it is made of. Pure data; ids, severities and fingerprints are stable across versions: people suppress by them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentra_sandbox.review.content.search import Sightings
    from sentra_sandbox.review.facts import Facts


class Severity(IntEnum):
    """How bad it is if it is true."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Confidence(IntEnum):
    """How sure it is. PROVEN: the bytes themselves were found."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    PROVEN = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """One event of the proof, in the order of what happened. ``offset`` and ``size``: bytes of ``segment`` (or of the body of exchange
    ``exchange``) that it is about; ``sha256`` of the whole thing they are in; ``excerpt`` is masked already.
    """

    seq: int
    text: str
    task: int = 0
    time_ns: int = 0
    offset: int | None = None
    size: int | None = None
    exchange: int = 0
    sha256: str = ""
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class FindingClass:
    """What a detector or rule finds, independent of a run. ``id`` is ``SEN-`` and a number or ``FALCO-`` and a slug; ``attack`` are MITRE
    ATT&CK technique ids, ``owasp`` OWASP ids (LLM01:2025, ASI02, ...); ``category`` one of ``exfiltration``, ``credential-access``,
    ``persistence``,
    ``execution``, ``discovery``, ``defense-evasion``, ``command-and-control``, ``impact``, ``prompt-injection``, ``supply-chain``,
    ``privacy``, ``policy``.
    """

    id: str
    title: str
    category: str
    severity: Severity
    explanation: str
    remedy: str
    attack: tuple[str, ...] = ()
    owasp: tuple[str, ...] = ()
    false_positives: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is, or may be, wrong. ``subject`` is what it is about, normalised (a path, a host, a program): with the class it makes
    the fingerprint, so the same thing in another run has the same one.
    """

    kind: FindingClass
    severity: Severity
    confidence: Confidence
    summary: str  # one sentence with the particulars of this run
    subject: str
    evidence: tuple[Evidence, ...]
    process: int = 0

    @property
    def fingerprint(self) -> str:
        """16 hex digits: the class and the subject."""
        return hashlib.sha256(f"{self.kind.id}\0{self.subject}".encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector: the classes of what it may find, and the function that looks. ``needs_content``: it wants the sightings of secrets."""

    name: str
    kinds: tuple[FindingClass, ...]
    detect: Callable[[Facts, Sightings], Iterable[Finding]]


def strongest(findings: Iterable[Finding]) -> Severity | None:
    """The highest severity, None without findings."""
    return max((finding.severity for finding in findings), default=None)
