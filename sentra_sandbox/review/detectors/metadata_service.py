"""The cloud's instance metadata service was asked: the address that gives a machine's own credentials to whoever asks on it.

Evidence: the DNS query, connection or request, with the path where it was plain HTTP. A path below the credentials is what an attacker
wants; a single probe that was refused or timed out is what cloud SDKs do when they look for credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.evidence import of_connection, of_exchange, of_query, ordered, shown, who
from sentra_sandbox.review.detectors.hosts import bare, is_metadata
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

METADATA = FindingClass(
    "SEN-010",
    "The instance metadata service was asked",
    "credential-access",
    Severity.HIGH,
    "The program contacted the address at which clouds hand the machine's own credentials to any process on it. An agent that is led "
    "there can take over "
    "what the machine may do in the cloud.",
    "Keep the address refused (it is by default). Give the program the credentials it needs by name, or require session tokens "
    "(IMDSv2) with a hop limit of 1.",
    ("T1552.005",),
    ("ASI03",),
    "Cloud SDKs probe the service once when they find no other credentials: without a request for credentials this has a low severity.",
)
_CREDENTIAL_PATH = re.compile(
    r"security-credentials|service-accounts/[^/]*/(?:token|identity)|/identity/oauth2/token|/v2/credentials|user-data|/ram/", re.IGNORECASE
)


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    network = facts.network
    evidence: list[Evidence] = [of_query(query) for query in network.dns if is_metadata(query.name)]
    tries = 0
    credentials = answered = False
    process = 0
    for connection in network.connections.values():
        if not (is_metadata(connection.host) or is_metadata(connection.server[0]) or is_metadata(connection.peer[0])):
            continue
        tries += 1
        evidence.append(of_connection(connection))
        process = process or facts.process_of(connection.task, connection.seq)
    for exchange in network.exchanges.values():
        if is_metadata(exchange.authority) or is_metadata(exchange.host) or is_metadata(exchange.server[0]):
            tries += 1
            wanted = bool(_CREDENTIAL_PATH.search(exchange.request.target))
            credentials = credentials or wanted
            answered = answered or (wanted and 200 <= exchange.response.status < 300 and exchange.response.source != "broker")
            evidence.append(of_exchange(exchange))
            if exchange.response.seen:
                evidence.append(
                    of_exchange(exchange, f"answered {exchange.response.status} with {exchange.response.size} bytes", answer=True)
                )
    for transfer in facts.transfers:
        if transfer.outgoing and (is_metadata(transfer.address) or is_metadata(transfer.host)) and not transfer.connection:
            tries += 1
            process = process or transfer.process
            seq = transfer.seqs[0] if transfer.seqs else 0
            data = facts.bytes_of(seq) if seq else b""
            credentials = credentials or bool(_CREDENTIAL_PATH.search(data[:4096].decode("latin-1")))
            evidence.append(Evidence(seq, f"{who(facts, transfer.process)} sends {transfer.size} bytes to {shown(transfer.address)}"))
    if not evidence:
        return
    taken = any(secret.kind == "metadata" for secret in sightings.secrets)
    for command, item in _commands(facts):
        credentials = credentials or bool(_CREDENTIAL_PATH.search(command))
        evidence.append(item)
    severity = Severity.CRITICAL if answered or taken else Severity.HIGH if credentials or tries > 2 else Severity.LOW
    yield Finding(
        METADATA,
        severity,
        Confidence.HIGH if tries else Confidence.MEDIUM,
        f"{who(facts, process)} "
        f"{'got credentials from' if answered or taken else 'asked for credentials at' if credentials else 'contacted'} the instance "
        f"metadata service.",
        "instance metadata service",
        ordered(evidence),
        process,
    )


def _commands(facts: Facts) -> Iterable[tuple[str, Evidence]]:
    """Commands that name the service: the path is in them where the connection was refused."""
    for fact in facts.processes.values():
        for image in fact.images:
            text = " ".join(image.argv)
            if any(is_metadata(bare(word.split("://", 1)[-1].split("/", 1)[0])) for word in image.argv[:64] if len(word) < 4096):
                yield text, Evidence(image.seq, f"{who(facts, fact.number)} is told to ask it: {shown(text)}", fact.pid, image.time_ns)


DETECTOR = Detector("metadata_service", (METADATA,), _detect)
