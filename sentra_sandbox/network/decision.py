"""What may be reached: a pure function of the policy, a name and an address. No I/O here.

The order: a name or address that is denied is refused; one that is named in ``allow`` is allowed, wherever it is; with ``strict`` nothing
else is; else
public addresses are allowed, and the host's own services, private, link-local and metadata addresses are refused with the option that
would allow them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TlsMode = Literal["intercept", "passthrough"]


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` names what decided (``default: public``, ``allowedDomains[2] *.example.com``, ``--allow-net localhost:11434``), ``reason``
    says it in
    words, ``remedy`` is the option that would allow it ("" if allowed).
    """

    allowed: bool
    rule: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """Rules as given, checked when made (``UsageError`` names the bad one).

    ``allow``, ``deny``: ``example.com``, ``*.example.com`` (names below it), ``host:port``, addresses, CIDRs with or without port,
    ``[::1]:80``, ``localhost``, ``unix:/path``,
    ``*`` (everything public). ``strict``: only what ``allow`` names. ``maps``: name or name:port → host:port to go to instead; mapping is
    permission.
    ``tls``, ``tls_exclude``: mode, and the host patterns that pass through; ``tls_refused``: what happens to a host whose client refused
    our certificate, from
    its next connection on; ``unix``: paths of unix sockets of the host that may be used (also directories with ``/*``).
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    strict: bool = False
    maps: tuple[tuple[str, str], ...] = ()
    tls: TlsMode = "intercept"
    tls_exclude: tuple[str, ...] = ()
    tls_refused: Literal["fail", "passthrough"] = "fail"
    insecure_upstream: tuple[str, ...] = ()  # host patterns whose certificates are not verified
    unix: tuple[str, ...] = ()

    def decide_name(self, name: str, port: int | None = None) -> Decision:
        """May this name be asked for (``port`` None) or connected to? Whether its addresses may is decided when they are known."""
        raise NotImplementedError

    def decide_address(self, address: str, port: int, name: str = "") -> Decision:
        """May this address, which ``name`` resolved to ("" for a bare address), be connected to?"""
        raise NotImplementedError

    def mapped(self, name: str, port: int) -> tuple[str, int] | None:
        """Where ``maps`` sends this name (or address), or None."""
        raise NotImplementedError

    def tls_mode(self, name: str) -> TlsMode:
        """How TLS to this host (SNI, or the name of the address) is treated."""
        raise NotImplementedError

    def verifies(self, name: str) -> bool:
        """Whether the certificate of this host is verified upstream."""
        raise NotImplementedError
