"""What is known of a run's connections, DNS queries and problems. Data; ``network`` fills it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sentra_sandbox.views.endpoints import Address, address_text
from sentra_sandbox.views.exchanges import Keep, Piece


@dataclass(slots=True)
class DnsQuery:
    """``task`` is 0 if unknown. ``began_ns`` to ``time_ns``: from the question to the answer."""

    seq: int
    time_ns: int
    began_ns: int
    task: int
    client: Address
    server: Address
    transport: str
    name: str
    type: str
    rcode: str
    answers: tuple[str, ...]
    real: tuple[str, ...]
    allowed: bool
    rule: str
    reason: str


@dataclass(slots=True)
class Tls:
    """What is known of a connection's TLS; ``side`` (``client``, ``server``) is where a handshake failed with ``error``."""

    mode: str = ""
    sni: str = ""
    offered: tuple[str, ...] = ()
    alpn: str = ""
    version: str = ""
    cipher: str = ""
    certificate: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    side: str = ""
    remedy: str = ""
    time_ns: int = 0
    duration_ns: int = 0


@dataclass(slots=True)
class Transfer:
    """Bytes of a connection that are no HTTP exchange, or a datagram; ``piece.data`` is empty where they were not recorded here."""

    piece: Piece
    to_client: bool
    datagram: bool


@dataclass(slots=True)
class Connection:
    """Times are 0 while what they stand for has not happened. ``sent`` and ``received`` are bytes as the program saw them."""

    number: int
    keep: Keep
    protocol: str = ""
    client: Address = ("", 0)
    server: Address = ("", 0)
    name: str = ""
    seen: bool = False  # its OPEN event was there
    allowed: bool = True
    rule: str = ""
    reason: str = ""
    remedy: str = ""
    task: int = 0
    opened_ns: int = 0
    peer: Address = ("", 0)
    local: Address = ("", 0)
    upstream_error: str = ""
    connect_began_ns: int = 0
    connected_ns: int = 0
    tls: Tls | None = None
    closed_ns: int = 0
    closed_by: str = ""
    closed_how: str = ""
    close_error: str = ""
    sent: int = 0
    received: int = 0
    transfers: list[Transfer] = field(default_factory=list)
    exchanges: list[int] = field(default_factory=list)
    last_ns: int = 0
    seq: int = 0  # of the first event about it

    @property
    def host(self) -> str:
        """Name, or address if it has none."""
        return self.name or (self.tls.sni if self.tls else "") or self.server[0]

    @property
    def target(self) -> str:
        """``api.example.com:443``."""
        return address_text((self.host, self.server[1]))

    def chunks(self, to_client: bool) -> Iterator[tuple[int, bytes]]:
        """Bytes of one direction that are no HTTP exchange, as far as they were recorded here."""
        return self.keep.chunks([t.piece for t in self.transfers if t.to_client == to_client])


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was refused or not understood; ``connection`` is 0 if it belongs to none."""

    seq: int
    time_ns: int
    connection: int
    exchange: int
    task: int
    what: str
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True)
class TrustShown:
    """A task opened a certificate bundle and was shown ours."""

    time_ns: int
    task: int
    path: str
    shown: str
