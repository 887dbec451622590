"""From the address that a program connected to, to what may be connected to instead: name, decision, real addresses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sentra_sandbox.network.decision import Decision, NetworkPolicy
from sentra_sandbox.network.guard import is_address

if TYPE_CHECKING:
    from sentra_sandbox.network.names import NameTable
    from sentra_sandbox.network.resolver import Lookup, Resolver


@dataclass(frozen=True, slots=True)
class Destination:
    """``address``, ``port``: as the program meant it; ``name``: of the address, or "". ``targets``: where to connect, best first; empty
    if refused, or if ``error`` says why there is none.
    """

    address: str
    port: int
    name: str
    decision: Decision
    targets: tuple[tuple[str, int], ...] = ()
    error: str = ""

    @property
    def host(self) -> str:
        """Name or address, for people."""
        return self.name or self.address


async def decide(
    policy: NetworkPolicy,
    names: NameTable,
    resolver: Resolver,
    address: str,
    port: int,
    *,
    local: bool = False,
    recorded: bool = False,
) -> Destination:
    """Decide about a connection (or datagrams) to ``address``. ``local``: to a listener that stands for the host's own loopback;
    ``recorded``: nothing outside is reached, so nothing is to be decided.
    """
    address = plain_address(address)
    name = "localhost" if local else names.name_of(address)
    if recorded:
        return Destination(address, port, name, Decision(True, "--net recorded"))
    mapped = policy.mapped(name or address, port)
    if mapped is not None:
        targets, error = await _resolved_map(resolver, *mapped)
        rule = f"--map {name or address}={mapped[0]}:{mapped[1]}"
        return Destination(address, port, name, Decision(True, rule), targets, error)
    if local:
        decision = policy.decide_name(name, port)
        return Destination(address, port, name, decision, (("127.0.0.1", port), ("::1", port)) if decision.allowed else ())
    if not name:
        decision = policy.decide_address(address, port)
        return Destination(address, port, name, decision, ((address, port),) if decision.allowed else ())
    decision = policy.decide_name(name, port)
    if not decision.allowed:
        return Destination(address, port, name, decision)
    return await _decided_name(policy, resolver, Destination(address, port, name, decision))


async def _decided_name(policy: NetworkPolicy, resolver: Resolver, wanted: Destination) -> Destination:
    """An allowed name: its addresses must be allowed too, or a name could be made to point at the host's own services."""
    found = await resolver.lookup(wanted.name, "ADDRESS")
    decisions = [(each, policy.decide_address(each, wanted.port, wanted.name)) for each in found.addresses]
    targets = tuple((each, wanted.port) for each, decision in decisions if decision.allowed)
    first = next((decision for _, decision in decisions if decision.allowed == bool(targets)), wanted.decision)
    return Destination(wanted.address, wanted.port, wanted.name, first, targets, _why_none(wanted.name, found))


async def _resolved_map(resolver: Resolver, host: str, port: int) -> tuple[tuple[tuple[str, int], ...], str]:
    if host == "localhost":
        return (("127.0.0.1", port), ("::1", port)), ""
    if is_address(host):
        return ((host, port),), ""
    found = await resolver.lookup(host, "ADDRESS")
    return tuple((each, port) for each in found.addresses), _why_none(host, found)


def _why_none(name: str, found: Lookup) -> str:
    """Why a name has no addresses, "" if it has some."""
    if found.addresses:
        return ""
    reason = found.error or {"NXDOMAIN": "there is no such name", "NOERROR": "the name has no address"}.get(found.rcode, found.rcode)
    return f"{name}: {reason}"


def plain_address(address: str) -> str:
    """Without a zone; an IPv4 address inside IPv6 as IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)
