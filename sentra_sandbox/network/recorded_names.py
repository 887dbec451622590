"""Names in the recorded world: those that the recorded run asked for or talked to exist, all others do not. Asks nobody."""

from __future__ import annotations

import ipaddress

from sentra_sandbox.network.resolver import Lookup, Resolver
from sentra_sandbox.views.network import Network

_BOTH = ("192.0.2.1", "2001:db8::1")  # where the recording does not say what a name had: it has both families (RFC 5737, RFC 3849)


class RecordedResolver(Resolver):
    """A ``Resolver`` that has nobody to ask."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._addresses: dict[str, tuple[str, ...]] = {}
        for query in network.dns:
            name = query.name.lower().rstrip(".")
            if query.rcode == "NOERROR" and query.allowed and query.type in ("A", "AAAA", "ANY"):
                known = self._addresses.get(name, ())
                self._addresses[name] = (*known, *(each for each in query.real if _is_address(each) and each not in known))
        for connection in network.connections.values():
            if connection.name and connection.allowed:
                self._addresses.setdefault(connection.name.lower(), ())

    async def lookup(self, name: str, kind: str = "A") -> Lookup:
        """See ``Resolver``. Other types than addresses are not recorded: they do not exist."""
        addresses = self._addresses.get(name)
        if addresses is None:
            return Lookup("NXDOMAIN", error="The recorded run never asked for this name.")
        if kind not in ("A", "AAAA", "ADDRESS"):
            return Lookup("NOERROR")
        wanted = tuple(each for each in addresses or _BOTH if kind == "ADDRESS" or (":" in each) == (kind == "AAAA"))
        return Lookup("NOERROR", wanted)

    def known(self, name: str, kind: str = "ADDRESS") -> Lookup | None:
        """See ``Resolver``: nothing has to be asked for, so nothing is remembered."""
        return None

    def forget(self, name: str) -> None:
        """See ``Resolver``."""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
