"""Packets that could have been seen: IP, TCP and UDP around bytes that a broker recorded, with right lengths, numbers and checksums. Pure.

A ``Side`` is an address and a port. Addresses are what a trace says, so anything: what is no IP address becomes one that is reserved for
documentation.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sentra_sandbox.views.endpoints import Address

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP, UDP = 6, 17
SEGMENT_BYTES = 32 * 1024
DATAGRAM_MAX = 65000
_UNRECORDED_SEGMENTS_MAX = 64  # of one event: sizes in a trace are only claims
_SYN_OPTIONS = b"\x02\x04" + (65495).to_bytes(2, "big") + b"\x01\x03\x03\x0e"  # maximum segment size, window scale 14
_DOCUMENTATION = (bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)))  # RFC 5737


@dataclass(frozen=True, slots=True)
class Packet:
    """``data`` from the IP header on; ``size`` is what it would have on the wire, more where bytes were not recorded."""

    time_ns: int
    data: bytes
    size: int
    comment: str = ""


def ip_bytes(address: str, other: int = 0) -> bytes:
    """4 or 16 bytes."""
    try:
        return ipaddress.ip_address(address.split("%")[0]).packed
    except ValueError:
        return _DOCUMENTATION[other]


def checksum(*parts: bytes) -> int:
    """RFC 1071, of parts of even length but the last. The sum of 16-bit words is the remainder of the whole number by 65535."""
    data = b"".join(parts)
    if len(data) % 2:
        data += b"\0"
    rest = int.from_bytes(data, "big") % 0xFFFF
    return (0xFFFF - rest) & 0xFFFF or (0xFFFF if not any(data) else 0)


def ip_packet(source: bytes, target: bytes, protocol: int, payload: bytes, claimed: int = 0) -> bytes:
    """An IPv4 or IPv6 packet; ``claimed`` bytes of its payload were not recorded."""
    size = len(payload) + claimed
    if len(source) == 4:
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + size, 0, 0x4000, 64, protocol, 0, source, target)
        return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload
    return struct.pack("!IHBB16s16s", 6 << 28, size, protocol, 64, source, target) + payload


class _Ends:
    """Two sides, of one family."""

    def __init__(self, client: Address, server: Address) -> None:
        self.client, self.server = ip_bytes(client[0], 1), ip_bytes(server[0])
        if len(self.client) != len(self.server):
            self.client, self.server = (_mapped(address) for address in (self.client, self.server))
        self.ports = (client[1], server[1])

    def of(self, to_client: bool) -> tuple[bytes, bytes, int, int]:
        """Source and target, address and port."""
        if to_client:
            return self.server, self.client, self.ports[1], self.ports[0]
        return self.client, self.server, *self.ports

    def wrap(self, to_client: bool, protocol: int, segment: bytes, sum_at: int, claimed: int = 0) -> bytes:
        """A packet around a segment whose checksum stands at ``sum_at``; without one where bytes lack."""
        source, target, _, _ = self.of(to_client)
        if not claimed:
            pseudo = source + target + struct.pack("!II", len(segment), protocol)
            value = checksum(pseudo, segment) or (0xFFFF if protocol == UDP else 0)
            segment = segment[:sum_at] + value.to_bytes(2, "big") + segment[sum_at + 2 :]
        return ip_packet(source, target, protocol, segment, claimed)


def _mapped(address: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + address if len(address) == 4 else address


class TcpStream:
    """One connection; each method gives the packets for what happens at a time. Sequence numbers begin at 0 on both sides."""

    def __init__(self, client: Address, server: Address) -> None:
        self._ends = _Ends(client, server)
        self._next = [0, 0]  # sequence number of the next byte to the server, to the client

    def opened(self, time_ns: int, comment: str = "") -> Iterator[Packet]:
        """The handshake."""
        yield self._segment(time_ns, False, SYN, comment=comment)
        self._next[0] += 1
        yield self._segment(time_ns, True, SYN | ACK)
        self._next[1] += 1
        yield self._segment(time_ns, False, ACK)

    def data(self, time_ns: int, to_client: bool, data: bytes) -> Iterator[Packet]:
        """Bytes in one direction."""
        for start in range(0, len(data), SEGMENT_BYTES):
            piece = data[start : start + SEGMENT_BYTES]
            yield self._segment(time_ns, to_client, PSH | ACK, piece)
            self._next[to_client] = (self._next[to_client] + len(piece)) & 0xFFFFFFFF

    def unrecorded(self, time_ns: int, to_client: bool, size: int) -> Iterator[Packet]:
        """Bytes that passed and were not recorded: packets that were cut off while they were captured."""
        for _ in range(_UNRECORDED_SEGMENTS_MAX):
            if size <= 0:
                return
            claimed = min(size, SEGMENT_BYTES)
            yield self._segment(time_ns, to_client, PSH | ACK, claimed=claimed)
            self._next[to_client] = (self._next[to_client] + claimed) & 0xFFFFFFFF
            size -= claimed

    def closed(self, time_ns: int, by_client: bool) -> Iterator[Packet]:
        """Both sides end, ``by_client`` first."""
        for to_client in (not by_client, by_client):
            yield self._segment(time_ns, to_client, FIN | ACK)
            self._next[to_client] = (self._next[to_client] + 1) & 0xFFFFFFFF
        yield self._segment(time_ns, not by_client, ACK)

    def reset(self, time_ns: int, by_client: bool) -> Iterator[Packet]:
        """One side ends both directions at once."""
        yield self._segment(time_ns, not by_client, RST | ACK)

    def _segment(self, time_ns: int, to_client: bool, flags: int, data: bytes = b"", claimed: int = 0, comment: str = "") -> Packet:
        _, _, from_port, to_port = self._ends.of(to_client)
        options = _SYN_OPTIONS if flags & SYN else b""
        acknowledged = self._next[not to_client] if flags & ACK else 0
        head = struct.pack(
            "!HHIIBBHHH", from_port, to_port, self._next[to_client], acknowledged, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0
        )
        packet = self._ends.wrap(to_client, TCP, head + options + data, 16, claimed)
        return Packet(time_ns, packet, len(packet) + claimed, comment)


def datagram(time_ns: int, client: Address, server: Address, to_client: bool, data: bytes, claimed: int = 0, comment: str = "") -> Packet:
    """A UDP packet; ``claimed`` bytes of it were not recorded."""
    data, claimed = data[:DATAGRAM_MAX], min(claimed, DATAGRAM_MAX - len(data[:DATAGRAM_MAX]))
    ends = _Ends(client, server)
    _, _, from_port, to_port = ends.of(to_client)
    segment = struct.pack("!HHHH", from_port, to_port, 8 + len(data) + claimed, 0) + data
    packet = ends.wrap(to_client, UDP, segment, 6, claimed)
    return Packet(time_ns, packet, len(packet) + claimed, comment)
