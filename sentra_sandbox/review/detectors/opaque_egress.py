"""Bytes that cannot be read left after a secret was read by the same process, or by one whose output it took. Derived, not proven.

Evidence: the event by which the run got the secret, the hand-overs between processes, and the sending, with its size. Bytes that look
encrypted (as random as their number allows, no known format) weigh more, and so does a size that a coding of the secret's file would have
(the same, 4/3 or 2 times, within 5 %). Declared hosts and ordinary TLS to them weigh little.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.content.search import Secret, Sightings
from sentra_sandbox.review.detectors.derived import once
from sentra_sandbox.review.detectors.evidence import ordered, pid_of, shown, who
from sentra_sandbox.review.detectors.hosts import REGISTRIES as _REGISTRIES
from sentra_sandbox.review.detectors.hosts import as_address, bare, declared, ends_in, is_loopback, is_synthetic
from sentra_sandbox.review.detectors.outgoing import Destination, destination, is_opaque, way
from sentra_sandbox.review.detectors.secret_egress import is_owner, leaves, source_evidence, source_of
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

DERIVED = FindingClass(
    "SEN-002",
    "Data left that may be derived from a secret",
    "exfiltration",
    Severity.MEDIUM,
    "A process that had read a secret, or took output of one that had, then sent bytes that the review could not look into or that do "
    "not show the secret. "
    "This is the order of events and their sizes, no proof: content may have been transformed beyond recognition.",
    "Look at the program that sent it, and at what it computed between reading and sending. Run it again with a canary in place of "
    "the secret, "
    "or with TLS interception, to be sure.",
    ("T1041", "T1567"),
    ("ASI02",),
    "Programs that read a key and use it to sign or to log in, over connections that are passed through, look the same: low severity "
    "where nothing else speaks for it.",
)
OPAQUE = FindingClass(
    "SEN-003",
    "Encrypted bytes left after a secret was read",
    "exfiltration",
    Severity.HIGH,
    "After a secret was read, the same lineage of processes sent bytes that look encrypted (no known format, as random as they can "
    "be) to a host that no rule "
    "of the policy names. Encrypting before sending is how theft is hidden from inspection.",
    "Treat the secret as stolen unless the program can be explained. Deny the host; run again with a canary to see what is sent.",
    ("T1027", "T1048.002", "T1132.001"),
    ("ASI02",),
    "Compressed files, images and archives are recognised by their beginnings and are none. Formats of one's own may look encrypted.",
)
_RATIOS = (1.0, 4 / 3, 2.0)
_NEAR_EVENTS = 2_000_000


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    proven = {(source_of(s.secret), bare(s.to)) for s in sightings.found if leaves(facts, s)}
    done: dict[tuple[str, str, str], Finding] = {}
    for secret, path, description, seq, size in (*sightings.lineage, *_own(facts, sightings)):
        place = destination(facts, seq)
        host = place.host if place else description
        if is_loopback(host) or is_owner(secret, host) or (source_of(secret), bare(host)) in proven:
            continue
        finding = _judge(facts, secret, path, place, description, seq, size)
        key = (finding.kind.id, source_of(secret), bare(host))
        if key not in done or finding.severity > done[key].severity:
            done[key] = finding
    strong = {key[1:] for key in done if key[0] == OPAQUE.id}
    yield from (finding for key, finding in done.items() if key[0] == OPAQUE.id or key[1:] not in strong)


def _own(facts: Facts, sightings: Sightings) -> Iterable[tuple[Secret, tuple[int, ...], str, int, int]]:
    """Requests with encrypted bodies by processes that secrets came to. The search cannot look into those either."""
    sources = {
        (secret.process, source_of(secret)): secret
        for secret in sightings.secrets
        if secret.kind in ("credential-file", "private-key", "canary", "metadata")
    }
    if not sources:
        return
    for exchange in facts.network.exchanges.values():
        if not exchange.request.size >= 48 or exchange.request.seq == 0:
            continue
        process = facts.process_of(exchange.task, exchange.request.seq)
        for (reader, _), secret in sources.items():
            if secret.source_seq < exchange.request.seq and (
                reader == process or way(facts, reader, process, secret.source_seq, exchange.request.seq)
            ):
                if is_opaque(exchange.request.decoded(1 << 16).data):
                    yield (
                        secret,
                        (reader, process) if reader != process else (reader,),
                        exchange.host,
                        exchange.request.seq,
                        exchange.request.size,
                    )
                break


def _judge(
    facts: Facts, secret: Secret, path: tuple[int, ...], place: Destination | None, description: str, seq: int, size: int
) -> Finding:
    host = place.host if place else description
    hidden = is_opaque(_bytes(facts, place, seq))
    unknown = _unknown(place)
    fits = _fits(facts, secret, size)
    kind = OPAQUE if hidden and unknown else DERIVED
    if kind is OPAQUE:
        severity, confidence = Severity.HIGH, Confidence.MEDIUM
    elif fits and unknown:
        severity, confidence = Severity.MEDIUM, Confidence.MEDIUM
    else:
        severity, confidence = Severity.LOW, Confidence.LOW
    sender = path[-1] if path else secret.process
    evidence = [source_evidence(facts, secret)]
    for flow in way(facts, secret.process, sender, secret.source_seq, seq):
        text = f"{who(facts, flow.source)} hands {flow.size} bytes to {who(facts, flow.target)} ({flow.kind})"
        evidence.append(Evidence(flow.first_seq, text, pid_of(facts, flow.source)))
    looks = "that look encrypted " if hidden else ""
    number = place.exchange.number if place and place.exchange else 0
    evidence.append(
        Evidence(seq, f"{who(facts, sender)} sends {size} bytes {looks}to {shown(host)}", pid_of(facts, sender), size=size, exchange=number)
    )
    why = "; their number fits a coding of the file" if fits else ""
    return Finding(
        kind,
        severity,
        confidence,
        f"After {shown(secret.name)} was read, {who(facts, sender)} sent {size} bytes {looks}to {shown(host)}{why}.",
        f"{shown(source_of(secret))} → {shown(bare(host))}",
        ordered(evidence),
        sender,
    )


def _unknown(place: Destination | None) -> bool:
    """A host that no rule of the user names and that is no package registry."""
    if place is None or ends_in(place.host, _REGISTRIES):
        return False
    if place.connection is not None and declared(place.connection):
        return False
    return as_address(place.host) is None or not is_synthetic(place.host)


def _bytes(facts: Facts, place: Destination | None, seq: int) -> bytes:
    """What was sent there, as far as it says something: TLS that was passed through is always opaque, and says nothing."""
    if place is not None and place.exchange is not None:
        return place.exchange.request.decoded(1 << 16).data
    connection = place.connection if place else None
    if connection is not None and connection.tls is not None and connection.tls.mode == "passthrough":
        return b""
    try:
        data = facts.bytes_of(seq)
    except KeyError:
        return b""
    return b"" if data[:2] in (b"\x16\x03", b"\x17\x03", b"\x14\x03") or data.startswith(b"SSH-") else data


def _fits(facts: Facts, secret: Secret, size: int) -> bool:
    """Whether so many bytes could be the file that the secret is in, coded."""
    sizes = once(facts, "sizes read", _sizes_read)
    whole = sizes.get((secret.process, secret.source_seq), 0)
    return any(
        length >= 64 and abs(size - length * ratio) <= max(0.05 * length * ratio, 8)
        for length in (whole, len(secret.value))
        for ratio in _RATIOS
    )


def _sizes_read(facts: Facts) -> dict[tuple[int, int], int]:
    found = {}
    for access in facts.files:
        if access.kind in ("read", "map"):
            for seq in (access.seq, *access.seqs):
                found[access.process, seq] = access.size
    return found


DETECTOR = Detector("opaque_egress", (DERIVED, OPAQUE), _detect)
