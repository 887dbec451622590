"""A secret left: its bytes, or part of them, were found in what went to a host that has no business with it.

Evidence: the event by which the run got the secret (a read of a credential file, an environment, a metadata answer), each hand-over
between processes on the way (pipes, files, arguments), and the events that carried the bytes out, with offset, size and the codings that
were taken off. Nothing is guessed: the content search found at least 32 bits of the secret (64: proven).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from sentra_sandbox.review.content.search import Secret, Sighting, Sightings
from sentra_sandbox.review.detectors.evidence import ordered, pid_of, shown, who
from sentra_sandbox.review.detectors.hosts import bare, is_loopback, is_metadata
from sentra_sandbox.review.detectors.llm import is_prompt
from sentra_sandbox.review.detectors.outgoing import way
from sentra_sandbox.review.detectors.programs import runs_as
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

SENT = FindingClass(
    "SEN-001",
    "A secret was sent out",
    "exfiltration",
    Severity.CRITICAL,
    "Bytes of a credential that the run had read were found in what it sent to a host that the credential does not belong to. Codings "
    "(base64, "
    "hex, gzip, splitting, DNS labels and others) were taken off before comparing, so the bytes themselves are the proof.",
    "Revoke and replace the credential now. Then deny the host in the network policy, and deny reading the file in the file policy if the "
    "program does not need it.",
    ("T1552.001", "T1041", "T1567"),
    ("ASI02", "LLM02:2025"),
    "A key sent to its own provider, to the host of its own entry in a credential file, or by the client that owns the file (git, "
    "npm, docker) in a "
    "header is no finding. A service with a host name of its own may need to be declared as an owner.",
)
PROVEN_BITS, LIKELY_BITS = 64.0, 32.0
CHANNELS = frozenset({"http-body", "http-header", "url", "raw", "dns", "argv", "websocket"})
# Clients that read a credential file themselves and send an entry to the host that the entry names, in a header.
_OWN_CLIENT = (
    (
        re.compile(r"git-credentials|\.gitconfig|config/git/"),
        frozenset({"git", "git-remote-https", "git-remote-http", "git-lfs", "git-credential-store"}),
    ),
    (re.compile(r"\.npmrc|\.yarnrc"), frozenset({"npm", "node", "yarn", "pnpm", "bun"})),
    (re.compile(r"\.netrc"), frozenset({"curl", "wget", "git", "git-remote-https", "pip", "ftp"})),
    (re.compile(r"\.pypirc|pip\.conf"), frozenset({"pip", "twine", "uv", "poetry"})),
    (re.compile(r"\.docker/config\.json"), frozenset({"docker", "podman", "buildah", "skopeo", "crane"})),
    (re.compile(r"gh/hosts\.yml"), frozenset({"gh", "git", "git-remote-https"})),
    (re.compile(r"\.kube/config"), frozenset({"kubectl", "helm", "k9s"})),
    (re.compile(r"\.cargo/credentials"), frozenset({"cargo"})),
)


def is_owner(secret: Secret, host: str) -> bool:
    """Whether sending this secret to that host is what it is for."""
    host = bare(host)
    return any(
        fnmatchcase(host, bare(pattern)) or host.endswith("." + bare(pattern).removeprefix("*.")) for pattern in secret.owners if pattern
    )


def leaves(facts: Facts, sighting: Sighting) -> bool:
    """Whether these bytes left, enough of them, to somebody who should not have them."""
    if sighting.bits < LIKELY_BITS or sighting.channel not in CHANNELS or sighting.secret.kind == "personal":
        return False
    if is_loopback(sighting.to) or is_owner(sighting.secret, sighting.to):
        return False
    if sighting.secret.kind == "metadata" and is_metadata(sighting.to):
        return False
    in_header = sighting.channel == "http-header" and sighting.secret.kind != "canary"
    return not (in_header and any(p.search(sighting.secret.name) and runs_as(facts, sighting.process, names) for p, names in _OWN_CLIENT))


def source_of(secret: Secret) -> str:
    """The file or variable, without the entry in it."""
    return secret.name.split(" ", 1)[0] or secret.name


def source_evidence(facts: Facts, secret: Secret) -> Evidence:
    text = f"{who(facts, secret.process)} gets the secret {shown(secret.name)}"
    return Evidence(secret.source_seq, text, pid_of(facts, secret.process), size=len(secret.value))


def sent_evidence(facts: Facts, sighting: Sighting) -> list[Evidence]:
    """The ways between processes, and the events that carried the bytes."""
    last = max(sighting.seqs, default=sighting.secret.source_seq)
    evidence = []
    for flow in way(facts, sighting.secret.process, sighting.process, sighting.secret.source_seq, last):
        text = f"{who(facts, flow.source)} hands {flow.size} bytes to {who(facts, flow.target)} ({flow.kind} {shown(flow.name, 60)})"
        evidence.append(Evidence(flow.first_seq, text, pid_of(facts, flow.source)))
    coding = f" as {sighting.coding}" if sighting.coding else ""
    text = (
        f"{sighting.size} bytes of {shown(sighting.secret.name)} go to {shown(sighting.to)} in {sighting.channel}{coding} "
        f"({sighting.bits:.0f} bits match)"
    )
    for seq in sighting.seqs[:16]:
        evidence.append(
            Evidence(seq, text, pid_of(facts, sighting.process), offset=sighting.offset, size=sighting.size, exchange=sighting.exchange)
        )
    return evidence


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    groups: dict[tuple[str, str], list[Sighting]] = {}
    for sighting in sightings.found:
        if leaves(facts, sighting) and not is_prompt(facts, sighting):
            groups.setdefault((source_of(sighting.secret), bare(sighting.to)), []).append(sighting)
    for (source, host), found in groups.items():
        proven = any(sighting.bits >= PROVEN_BITS for sighting in found)
        refused = all(_refused(facts, sighting) for sighting in found)
        evidence = [item for sighting in found[:8] for item in (source_evidence(facts, sighting.secret), *sent_evidence(facts, sighting))]
        names = sorted({sighting.secret.name for sighting in found})
        severity = Severity.CRITICAL if proven and not refused else Severity.HIGH
        codings = ", ".join(sorted({sighting.coding or "as it is" for sighting in found}))
        tried = "tried to send" if refused else "sent"
        yield Finding(
            SENT,
            severity,
            Confidence.PROVEN if proven else Confidence.HIGH,
            f"{who(facts, found[0].process)} {tried} {shown(names[0])}{f' and {len(names) - 1} more' if names[1:] else ''} to "
            f"{shown(host)} "
            f"({found[0].channel}, {shown(codings, 80)}).",
            f"{shown(source)} → {shown(host)}",
            ordered(evidence),
            found[0].process,
        )


def _refused(facts: Facts, sighting: Sighting) -> bool:
    """What was asked of our DNS and refused there, or went into a refused connection, never left."""
    if sighting.channel == "dns":
        seqs = set(sighting.seqs)
        queries = [query for query in facts.network.dns if query.seq in seqs]
        return bool(queries) and not any(query.allowed for query in queries)
    connection = facts.network.connections.get(sighting.connection)
    return connection is not None and not connection.allowed


DETECTOR = Detector("secret_egress", (SENT,), _detect)
