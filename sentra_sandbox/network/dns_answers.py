"""What the program's DNS queries are answered with.

- ``localhost`` and below: 127.0.0.1, ::1. The sandbox's own host name: its own addresses. Both without policy.
- A, AAAA of a name that policy allows: the name's synthetic address (``names``), TTL 1, if the real name has that family; a mapped name
  has both and is never asked for. NXDOMAIN, "no such type" and failures are as outside. ANY: what A and AAAA would say (RFC 8482).
- A name that policy refuses: NXDOMAIN, and the query never leaves the machine. Not REFUSED: with that the C library, Go and c-ares ask
  the next server, try again, and report a temporary failure, upon which programs retry for minutes; NXDOMAIN ends at once with "not
  known", and search domains work on. The reason is in the event, and in an Extended DNS Error (RFC 8914) for clients that speak EDNS.
- HTTPS, SVCB: no such type. Their address hints would lead past the synthetic addresses, their ECH keys would hide the name of the
  connection, and HTTP/3 is refused anyway; without them clients use A and AAAA.
- PTR of a synthetic address: its name. Of others: asked if policy allows the address on any port.
- TXT, MX, SRV, CNAME and the other types in ``FORWARDED``: asked, if policy allows the name; only records of that type and the
  aliases before them are passed on, no addresses. Types not listed there: no such type, never asked (NULL and private types
  are what tunnels use).
- Zone transfers, classes but IN, operations but QUERY: refused.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from dnslib import RCODE  # type: ignore[import-untyped]

from sentra_sandbox.network import addresses
from sentra_sandbox.network.decision import Decision, NetworkPolicy
from sentra_sandbox.network.dns_message import (
    EDE_NETWORK_ERROR,
    EDE_OTHER,
    EDE_PROHIBITED,
    Query,
    own_record,
    pack_records,
    type_name,
    wire_name,
)
from sentra_sandbox.network.names import NamesExhausted, NameTable
from sentra_sandbox.network.patterns import canonical, is_localhost
from sentra_sandbox.network.resolver import Lookup, Resolver

A, CNAME, PTR, AAAA, ANY = 1, 5, 12, 28, 255
NO_SUCH_TYPE = {64: "SVCB", 65: "HTTPS"}
REFUSED_TYPES = {41, 249, 250, 251, 252, 253, 254}  # OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: not questions, or zone transfers
FORWARDED = {
    *(2, 5, 6, 13, 15, 16, 17, 18, 24, 29, 33, 35, 37, 39, 43, 44, 46, 47, 48, 52, 53),  # NS CNAME SOA HINFO MX TXT RP ... SRV ... SMIMEA
    *(59, 60, 61, 62, 99, 256, 257),  # CDS CDNSKEY OPENPGPKEY CSYNC SPF URI CAA
}
# TXT SRV TLSA SMIMEA URI: they stand at names such as _sip._tcp.example.com, which belong to example.com (RFC 8552)
UNDERSCORED = {16, 33, 52, 53, 256}
NOWHERE = ("onion", "invalid")  # never asked for in DNS (RFC 7686, RFC 6761)
BADVERS = 16


@dataclass(slots=True)
class Outcome:
    """What is answered, and what the event says of it. ``records``: whole records; ``texts``: the same for people."""

    rcode: int = 0
    records: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    real: tuple[str, ...] = ()
    decision: Decision = field(default_factory=lambda: Decision(True, "sandbox"))
    error: str = ""
    ede: tuple[int, str] | None = None

    def add_address(self, text: str) -> None:
        """An address of the name asked for."""
        version = socket.AF_INET6 if ":" in text else socket.AF_INET
        self.records.append(own_record(AAAA if ":" in text else A, socket.inet_pton(version, text)))
        self.texts.append(text)


class Answers:
    """Answers from policy, the table of names and the host's resolvers. ``own``: the sandbox's addresses, for its ``hostname``."""

    def __init__(self, policy: NetworkPolicy, names: NameTable, resolver: Resolver, hostname: str, own: tuple[str, str]) -> None:
        self._policy = policy
        self._names = names
        self._resolver = resolver
        self._hostname = canonical(hostname)
        self._own = own

    async def to(self, query: Query) -> Outcome:
        """What a well-formed query gets."""
        name, qtype = query.name, query.qtype
        if query.version:
            return Outcome(BADVERS, decision=Decision(False, "DNS", f"EDNS version {query.version} does not exist"))
        if query.qclass != 1:
            return Outcome(RCODE.REFUSED, decision=Decision(False, "DNS", f"class {query.qclass} is not the Internet's"))
        if qtype in REFUSED_TYPES:
            return Outcome(RCODE.REFUSED, decision=Decision(False, "DNS", f"{type_name(qtype)} is for name servers"))
        own = self._own_addresses(name)
        if own:
            return self._local(qtype, own)
        if name.rpartition(".")[2] in NOWHERE:
            return Outcome(RCODE.NXDOMAIN, decision=Decision(False, "DNS", f"names in {name.rpartition('.')[2]} are not in the DNS"))
        if name == "arpa" or name.endswith((".in-addr.arpa", ".ip6.arpa")):
            return await self._reverse(query)
        decision = self._decide(name, qtype)
        if not decision.allowed:
            return Outcome(RCODE.NXDOMAIN, decision=decision, ede=_prohibited(decision))
        if qtype in (A, AAAA, ANY) and name:
            return await self._addresses(name, qtype, decision)
        if qtype not in FORWARDED or self._policy.maps_name(name):
            why = "its hints would lead past the sandbox" if qtype in NO_SUCH_TYPE else "not asked for"
            return Outcome(decision=decision, error=f"{type_name(qtype)} is answered as not there: {why}")
        return await self._forward(name, query, decision)

    def _own_addresses(self, name: str) -> tuple[str, str] | None:
        if is_localhost(name):
            return "127.0.0.1", "::1"
        return self._own if name and name == self._hostname else None

    @staticmethod
    def _local(qtype: int, own: tuple[str, str]) -> Outcome:
        outcome = Outcome(decision=Decision(True, "sandbox", "a name of the sandbox itself"))
        for text, kind in zip(own, (A, AAAA), strict=True):
            if text and qtype in (kind, ANY):
                outcome.add_address(text)
        return outcome

    def _decide(self, name: str, qtype: int) -> Decision:
        """A record at an underscored name below an allowed one is that one's, for types that are kept at such names."""
        decision = self._policy.decide_name(name)
        if decision.allowed or decision.rule != "strictAllowlist" or qtype not in UNDERSCORED:
            return decision
        owner = name
        while owner.startswith("_") and "." in owner:
            owner = owner.partition(".")[2]
        return self._policy.decide_name(owner) if owner != name else decision

    async def _addresses(self, name: str, qtype: int, decision: Decision) -> Outcome:
        outcome = Outcome(decision=decision)
        families = {4, 6}
        if not self._policy.maps_name(name):
            found = self._resolver.known(name) or await self._resolver.lookup(name, "ADDRESS")
            outcome.real = found.addresses
            families = {6 if ":" in text else 4 for text in found.addresses}
            if not families:
                return _nothing(outcome, found)
        try:
            synthetic = self._names.addresses(name)
        except NamesExhausted as error:
            outcome.rcode, outcome.error, outcome.ede = RCODE.SERVFAIL, str(error), (EDE_OTHER, f"sentra-sandbox: {error}")
            return outcome
        for text, version, kind in ((synthetic[0], 4, A), (synthetic[1], 6, AAAA)):
            if version in families and qtype in (kind, ANY):
                outcome.add_address(text)
        return outcome

    async def _forward(self, name: str, query: Query, decision: Decision) -> Outcome:
        """A type that real servers answer."""
        outcome = Outcome(decision=decision)
        found = await self._resolver.lookup(name, type_name(query.qtype))
        records = tuple(record for record in found.records if record.rclass == 1 and record.rtype in (query.qtype, CNAME, 39))
        if not records:
            return _nothing(outcome, found)
        outcome.records = pack_records(records, query.question)
        for record in records:
            prefix = "" if record.rtype == query.qtype else f"{type_name(record.rtype)} "
            outcome.texts.append(prefix + record.rdata.toZone())
        return outcome

    async def _reverse(self, query: Query) -> Outcome:
        """PTR. Names of reverse zones that are no address's own (service discovery, zone cuts) do not exist here."""
        address = reversed_address(query.name)
        if address is None:
            return Outcome(RCODE.NXDOMAIN, decision=Decision(True, "sandbox", "not the reverse name of an address"))
        name = self._names.name_of(address)
        if not name and address in self._own and self._hostname:
            name = self._hostname
        if not name and (address == "::1" or address.startswith("127.")):
            name = "localhost"
        if name:
            outcome = Outcome(decision=Decision(True, "sandbox", f"{address} stands for {name}"))
            if query.qtype in (PTR, ANY):
                outcome.records = [own_record(PTR, wire_name(name))]
                outcome.texts = [f"{name}."]
            return outcome
        decision = self._policy.decide_address(address, None)
        if not decision.allowed:
            return Outcome(RCODE.NXDOMAIN, decision=decision, ede=_prohibited(decision))
        if query.qtype != PTR:
            return Outcome(decision=decision)
        return await self._forward(query.name, query, decision)


def _nothing(outcome: Outcome, found: Lookup) -> Outcome:
    """No records: as it is outside."""
    outcome.rcode = RCODE.reverse[found.rcode]
    outcome.error = found.error
    if found.rcode == "SERVFAIL":
        outcome.ede = (EDE_NETWORK_ERROR, f"sentra-sandbox: {found.error}")
    return outcome


def _prohibited(decision: Decision) -> tuple[int, str]:
    return EDE_PROHIBITED, "; ".join(text for text in (f"sentra-sandbox: {decision.reason}", decision.remedy) if text)


def reversed_address(name: str) -> str | None:
    """The address whose reverse name this is, in its usual spelling; None if it is none's."""
    labels = name.split(".")
    if name.endswith(".in-addr.arpa") and len(labels) == 6:
        address = addresses.parse(".".join(reversed(labels[:4])))
        return addresses.spell(address) if address else None
    if name.endswith(".ip6.arpa") and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
        digits = "".join(reversed(labels[:32]))
        try:
            return addresses.spell((6, int(digits, 16)))
        except ValueError:
            return None
    return None
