"""``CheckedOrigin``: lets through only requests for hosts that the policy allows.

A connection to an allowed name is no permission for whatever host a request inside it names: a server that serves many
names (a CDN) would hand the request on to any of them ("domain fronting"). So each request's authority is decided like a
connection to it would be.
"""

from __future__ import annotations

import ipaddress

from sentra_sandbox.network.decision import Decision, NetworkPolicy
from sentra_sandbox.network.exchange import Answering, Origin, OriginFailed, RequestHead

_MAX_ACCEPTED = 64
_DEFAULT_PORTS = {b"http": 80, b"https": 443, b"ws": 80, b"wss": 443}


class CheckedOrigin:
    """Asks ``inner`` for requests whose authority is one of ``hosts`` (the connection's own), or is allowed by itself."""

    def __init__(self, inner: Origin, policy: NetworkPolicy, hosts: frozenset[str], port: int) -> None:
        self._inner = inner
        self._policy = policy
        self._hosts = hosts
        self._port = port
        self._accepted: set[tuple[bytes, bytes]] = set()  # authority and scheme: a connection has few

    async def open(self, head: RequestHead) -> Answering:
        """See ``Origin``. Status 403 for a host that may not be reached, 400 for one that is none."""
        for authority in _authorities(head):
            if (authority, head.scheme) not in self._accepted:
                self._check(authority, head.scheme)
                if len(self._accepted) < _MAX_ACCEPTED:
                    self._accepted.add((authority, head.scheme))
        return await self._inner.open(head)

    async def close(self) -> None:
        """See ``Origin``."""
        await self._inner.close()

    def _check(self, authority: bytes, scheme: bytes) -> None:
        try:
            host, port = split_authority(authority.decode("latin-1"), _DEFAULT_PORTS.get(scheme.lower(), self._port))
        except ValueError:
            raise OriginFailed(400, "The request's host is malformed.") from None
        if not host or host in self._hosts:
            return
        decision = decide_host(self._policy, host, port)
        if not decision.allowed:
            reason = f"This connection goes to another host; for {host} itself: {decision.reason}"
            raise OriginFailed(403, reason, decision.remedy)


def decide_host(policy: NetworkPolicy, host: str, port: int) -> Decision:
    """The decision about a name, or an address written as one."""
    return Decision(True, "--map") if policy.mapped(host, port) is not None else policy.decide_name(host, port)


def is_address(host: str) -> bool:
    """Whether a host is an IP address (without brackets)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def split_authority(authority: str, default_port: int) -> tuple[str, int]:
    """``host[:port]`` as name (lower case, no final dot) or address (no brackets), and port. ``ValueError`` if malformed."""
    host, port = authority.rpartition("@")[2].strip(), ""
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(authority)
        port = rest[1:]
    elif ":" in host:
        host, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(authority)
    if any(character <= " " or character in "/?#\\" for character in host):
        raise ValueError(authority)
    return host.lower().rstrip("."), int(port) if port else default_port


def _authorities(head: RequestHead) -> list[bytes]:
    """All places where a request names its host; a server may believe any of them."""
    found = [head.authority]
    found += [value for name, value in head.headers if name.lower() == b"host"]
    if b"://" in head.target:
        found.append(head.target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0])
    elif head.method == b"CONNECT":
        found.append(head.target)
    return [each for each in found if each]
