"""Contacts that the policy refused, or that go around what it sees: bare addresses, DNS over HTTPS, TLS that stays on, fronting.

Evidence: the refused query or connection with the policy's reason; the connection to a bare address; the request to a resolver; the
exchange whose host is another than the connection's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.contacts import contacts
from sentra_sandbox.review.detectors.evidence import of_connection, of_exchange, of_query, ordered, shown, who
from sentra_sandbox.review.detectors.hosts import (
    DOH,
    as_address,
    bare,
    declared,
    ends_in,
    is_loopback,
    is_metadata,
    is_private,
    is_synthetic,
    registrable,
)
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

REFUSED = FindingClass(
    "SEN-080",
    "A host was contacted that the policy refuses",
    "policy",
    Severity.MEDIUM,
    "The program tried to reach a host that the network policy does not allow. Nothing left; but the program wanted to, and with "
    "another policy would have.",
    "If the program needs the host, allow it by name (--allow-net HOST). If not, find out which part of it asked.",
    ("T1041", "T1071"),
    ("ASI02",),
    "Telemetry and update checks of tools. Services on the machine itself that are looked for (localhost) have a low severity.",
)
ADDRESS = FindingClass(
    "SEN-081",
    "An address was contacted without asking for a name",
    "defense-evasion",
    Severity.MEDIUM,
    "Bytes went to an address that no DNS answer had given: it stands in the program or came from elsewhere. Rules by name do not "
    "apply to it, and legitimate services hardly ever do this.",
    "Find out where the address comes from. Refuse addresses in the policy unless one is named.",
    ("T1071", "T1571"),
    ("ASI02",),
    "Health checks and time servers. With the host's own network names may have been asked where the trace does not see it: low "
    "severity there.",
)
OVER_HTTPS = FindingClass(
    "SEN-082",
    "DNS over HTTPS or TLS was used",
    "defense-evasion",
    Severity.MEDIUM,
    "Names were asked for through an encrypted resolver of the program's own choice, around the system's resolver and what watches it.",
    "Deny the resolver's host. Programs that insist have a setting for the system's resolver.",
    ("T1071.004", "T1572"),
    ("ASI02",),
    "Browsers and some HTTP libraries can be set to do this.",
)
PASSED = FindingClass(
    "SEN-083",
    "TLS was not taken off",
    "policy",
    Severity.LOW,
    "The bytes of this connection were passed through encrypted, because the policy says so or the client accepts no other "
    "certificate. The review cannot say what is in them.",
    "Let the client trust the run's certificate authority, or accept the gap by a suppression with a reason.",
    ("T1573",),
    (),
    "Clients that pin certificates.",
)
FRONTING = FindingClass(
    "SEN-084",
    "A request named another host than its connection",
    "defense-evasion",
    Severity.HIGH,
    "Inside a connection to one host a request was made for another that the policy refuses (domain fronting), or the name in the TLS "
    "handshake is not the one that was asked for. "
    "This is how a refused host is reached through an allowed content network.",
    "Look at the program that made the request. The sandbox refuses it; keep it so.",
    ("T1090.004",),
    ("ASI02",),
    "Connections that an HTTP/2 client shares between hosts of one certificate.",
)


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    yield from _refused(facts)
    yield from _addresses(facts)
    yield from _over_https(facts)
    yield from _passed(facts)
    yield from _fronting(facts)


def _refused(facts: Facts) -> Iterator[Finding]:
    found: dict[str, tuple[str, list[Evidence], list[int]]] = {}
    for query in facts.network.dns:
        name = bare(query.name)
        if not query.allowed and not is_metadata(name) and not name.endswith((".arpa", ".local")):
            found.setdefault(name, (query.reason, [], []))[1].append(of_query(query))
            found[name][2].append(facts.process_of(query.task, query.seq) if query.task else 0)
    for contact in contacts(facts):
        connection = contact.connection
        if connection is None or connection.allowed or is_metadata(contact.host) or is_metadata(connection.server[0]):
            continue
        found.setdefault(bare(contact.host), (connection.reason, [], []))[1].append(of_connection(connection))
        found[bare(contact.host)][2].append(contact.process)
    tunnels: dict[str, int] = {}
    for host, (reason, evidence, processes) in found.items():
        own = is_loopback(host) or ("." not in host.strip(".") and as_address(host) is None)
        domain = host if own or as_address(host) else registrable(host)
        tunnels[domain] = tunnels.get(domain, 0) + 1
        if tunnels[domain] > 5:  # data in names is another detector's: one finding a name would bury it
            continue
        process = next((number for number in processes if number), 0)
        summary = f"{who(facts, process)} tried to reach {shown(host)}, which was refused: {shown(reason, 100).rstrip('.')}."
        yield Finding(REFUSED, Severity.LOW if own else Severity.MEDIUM, Confidence.HIGH, summary, shown(host), ordered(evidence), process)


def _addresses(facts: Facts) -> Iterator[Finding]:
    blind = facts.run.options.get("net") == "host"
    found: dict[str, tuple[bool, list[Evidence], int]] = {}
    for contact in contacts(facts):
        host, connection = contact.host, contact.connection
        if (
            as_address(host) is None
            or is_loopback(host)
            or is_synthetic(host)
            or is_metadata(host)
            or contact.port in (53, 123, 853)
            or bare(host) in _RESOLVERS
        ):
            continue
        if connection is not None and (
            not connection.allowed
            or declared(connection)
            or not (connection.sent or connection.received or connection.exchanges or connection.transfers)
        ):
            continue
        if connection is not None and connection.protocol == "udp" and not connection.sent:
            continue
        found.setdefault(bare(host), (contact.is_raw, [], contact.process))[1].append(contact.evidence(facts))
    for host, (raw, evidence, process) in found.items():
        severity = Severity.LOW if blind or (is_private(host) and not raw) else Severity.MEDIUM
        summary = (
            f"{who(facts, process)} exchanged {'raw bytes' if raw else 'data'} with {shown(host)}, an address that no DNS answer gave."
        )
        yield Finding(ADDRESS, severity, Confidence.LOW if blind else Confidence.HIGH, summary, shown(host), ordered(evidence), process)


_RESOLVERS = {"1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "149.112.112.112", "2606:4700:4700::1111", "2001:4860:4860::8888"}


def _over_https(facts: Facts) -> Iterator[Finding]:
    found: dict[str, tuple[list[Evidence], int]] = {}
    asked: set[int] = set()
    for exchange in facts.network.exchanges.values():
        kinds = f"{exchange.request.media_type} {exchange.request.header('accept')} {exchange.response.media_type}"
        query = "dns-query" in exchange.path or exchange.request.target.startswith("/resolve?")
        if (
            "application/dns-message" in kinds
            or "application/dns-json" in kinds
            or (query and (ends_in(exchange.host, DOH) or bare(exchange.host) in _RESOLVERS))
        ):
            asked.add(exchange.connection)
            process = facts.process_of(exchange.task, exchange.request.seq) if exchange.task else 0
            found.setdefault(bare(exchange.host), ([], process))[0].append(of_exchange(exchange))
    for contact in contacts(facts):
        host, connection = bare(contact.host), contact.connection
        if connection is not None and (connection.number in asked or not connection.allowed):
            continue
        known = ends_in(host, DOH) or host in _RESOLVERS
        if contact.port == 853 or (contact.port == 443 and known and (connection is None or not connection.exchanges)):
            found.setdefault(host, ([], contact.process))[0].append(contact.evidence(facts))
    for host, (evidence, process) in found.items():
        summary = f"{who(facts, process)} asked {shown(host)} for names over an encrypted connection."
        yield Finding(OVER_HTTPS, Severity.MEDIUM, Confidence.HIGH, summary, shown(host), ordered(evidence), process)


def _passed(facts: Facts) -> Iterator[Finding]:
    found: dict[str, tuple[list[Evidence], int]] = {}
    for contact in contacts(facts):
        connection = contact.connection
        if connection is not None and connection.tls is not None and connection.tls.mode == "passthrough" and connection.allowed:
            text = (
                f"{who(facts, contact.process)}: {connection.sent} bytes to and {connection.received} from "
                f"{shown(connection.target)}, encrypted"
            )
            found.setdefault(bare(contact.host), ([], contact.process))[0].append(of_connection(connection, text))
    for host, (evidence, process) in found.items():
        yield Finding(
            PASSED,
            Severity.LOW,
            Confidence.HIGH,
            f"What went to {shown(host)} was not looked into: its TLS was passed through.",
            shown(host),
            ordered(evidence),
            process,
        )


def _fronting(facts: Facts) -> Iterator[Finding]:
    network = facts.network
    found: dict[str, tuple[list[Evidence], int, bool]] = {}
    for exchange in network.exchanges.values():
        connection = network.connections.get(exchange.connection)
        named, own = bare(exchange.authority), bare(connection.name) if connection else ""
        if connection is None or not named or not own or named == own or exchange.request.method == "CONNECT":
            continue
        refused = exchange.response.source == "broker" and exchange.response.status == 403
        if refused or (registrable(named) != registrable(own) and not declared(connection)):
            process = facts.process_of(exchange.task, exchange.request.seq) if exchange.task else 0
            outcome = "refused" if refused else f"answered {exchange.response.status}"
            text = f"a request for {shown(named)} inside a connection to {shown(own)}: {outcome}"
            found.setdefault(f"{named} in {own}", ([], process, refused))[0].append(of_exchange(exchange, text))
    for contact in contacts(facts):
        connection = contact.connection
        sni = bare(connection.tls.sni) if connection is not None and connection.tls is not None else ""
        if (
            connection is not None
            and sni
            and connection.name
            and sni != bare(connection.name)
            and registrable(sni) != registrable(connection.name)
        ):
            text = f"the TLS handshake names {shown(sni)} in a connection to {shown(connection.name)}"
            found.setdefault(f"{sni} in {bare(connection.name)}", ([], contact.process, not connection.allowed))[0].append(
                of_connection(connection, text)
            )
    for subject, (evidence, process, refused) in found.items():
        severity = Severity.HIGH if refused else Severity.MEDIUM
        yield Finding(
            FRONTING,
            severity,
            Confidence.HIGH,
            f"{who(facts, process)} asked for {shown(subject)}.",
            shown(subject),
            ordered(evidence),
            process,
        )


DETECTOR = Detector("egress_bypass", (REFUSED, ADDRESS, OVER_HTTPS, PASSED, FRONTING), _detect)
