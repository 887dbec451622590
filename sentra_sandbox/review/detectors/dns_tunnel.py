"""Data in DNS names: many different long names below one domain, with labels as random as coded data is.

Evidence: the queries. Counted per registered domain: distinct names, bytes of their labels, the entropy of these bytes, question types
that carry data back (TXT, NULL). What secret they hold, if any, is the content search's to prove (SEN-001).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.evidence import of_query, ordered, shown, who
from sentra_sandbox.review.detectors.hosts import bare, registrable
from sentra_sandbox.review.detectors.outgoing import entropy
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Finding, FindingClass, Severity
from sentra_sandbox.views.connections import DnsQuery

TUNNEL = FindingClass(
    "SEN-070",
    "Data goes out in DNS names",
    "command-and-control",
    Severity.HIGH,
    "Many different names with long, random-looking labels were asked for below one domain. Whoever runs the domain's name server "
    "receives those labels as data: DNS passes "
    "where connections are refused.",
    "Deny the domain, and allow names by list: the sandbox asks nobody outside about names that the policy does not allow.",
    ("T1071.004", "T1048.003", "T1572"),
    ("ASI02",),
    "Content networks and telemetry put hashes into names: few of them, and short. Reverse lookups, DNS block lists and SPF or DKIM "
    "records do not count.",
)
_SKIP = (".arpa", ".local", ".lan", ".internal")
_SKIP_LABEL = re.compile(r"^_|^(?:xn--)")
_ADDRESS_LABELS = re.compile(r"^(?:\d{1,3}\.){3}\d{1,3}\.|^(?:[0-9a-f]\.){16,}")


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    domains: dict[str, dict[str, DnsQuery]] = {}
    for query in facts.network.dns:
        name = bare(query.name)
        if name.endswith(_SKIP) or _ADDRESS_LABELS.match(name):
            continue
        domains.setdefault(registrable(name), {}).setdefault(name, query)
    for domain, names in domains.items():
        left = {name: _labels(name, domain) for name in names}
        often = Counter(label for labels in left.values() for label in set(labels))
        # A label that many names share (a region, a zone) is no data; what is left of a name is what differs.
        own = {name: [label for label in labels if often[label] * 4 <= len(left) or often[label] == 1] for name, labels in left.items()}
        long = {name: "".join(labels) for name, labels in own.items() if any(map(_is_data, labels))}
        size = sum(map(len, long.values()))
        random = entropy("".join(long.values()).lower().encode()) if long else 0.0
        carrying = sum(names[name].type in ("TXT", "NULL", "CNAME", "MX") for name in long)
        longest = max(map(len, long.values()), default=0)
        many = len(long) >= 10 and size >= 300 and random >= 3.0
        some = len(long) >= 3 and size >= 120 and random >= 3.3 and (longest >= 40 or carrying >= 3)
        short = not many and not some and _short_chunks(["".join(labels) for labels in own.values()])
        if not (many or some or short):
            continue
        queries = list(names.values())
        severity = Severity.HIGH if many or short or size >= 160 else Severity.MEDIUM
        refused = not any(query.allowed for query in queries)
        process = next((facts.process_of(query.task, query.seq) for query in queries if query.task), 0)
        carried = sum(len(label) for labels in own.values() for label in labels)
        summary = (
            f"{who(facts, process)} asked for {len(names)} different names below {shown(domain)} with {carried} bytes of labels that "
            f"look like data{' (refused here)' if refused else ''}."
        )
        evidence = [
            of_query(query, f"DNS {shown(query.type, 10)} of {len(query.name)} characters below {shown(domain)}: {shown(query.name[:16])}…")
            for query in queries
        ]
        yield Finding(TUNNEL, severity, Confidence.HIGH if many else Confidence.MEDIUM, summary, shown(domain), ordered(evidence), process)


def _is_data(label: str) -> bool:
    """Long, and not made of words."""
    return len(label) >= 30 or (len(label) >= 16 and sum(c.isdigit() for c in label) >= 2)


def _short_chunks(left: list[str]) -> bool:
    """A value cut into small pieces: dozens of names whose first labels are no words, of one length."""
    labels = [label for label in left if 4 <= len(label) < 64]
    if len(labels) < 24:
        return False
    lengths = sorted(map(len, labels))
    even = lengths[len(lengths) // 10] >= lengths[-1] - 4
    digits = sum(c.isdigit() for label in labels for c in label) / sum(map(len, labels))
    return even and digits > 0.12 and entropy("".join(labels).encode()) >= 3.3


def _labels(name: str, domain: str) -> list[str]:
    """What stands before the registered domain, without labels that mean something by themselves."""
    before = name[: -len(domain)].rstrip(".") if name != domain else ""
    return [label for label in before.split(".") if label and not _SKIP_LABEL.match(label)]


DETECTOR = Detector("dns_tunnel", (TUNNEL,), _detect)
