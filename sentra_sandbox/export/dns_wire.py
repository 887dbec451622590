"""DNS messages (RFC 1035) made again from what the broker noted of a query: question, code and the answers that are addresses or names."""

from __future__ import annotations

import ipaddress
import struct

from sentra_sandbox.views.connections import DnsQuery

_TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "SVCB": 64, "HTTPS": 65, "ANY": 255}
_CODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
_ANSWERS_MAX = 32


def question(query: DnsQuery) -> bytes:
    """The query."""
    return struct.pack("!HHHHHH", query.seq & 0xFFFF, 0x0100, 1, 0, 0, 0) + _question(query)


def answer(query: DnsQuery) -> bytes:
    """The answer, with as many of the records as can be read."""
    records = [record for text in query.answers[:_ANSWERS_MAX] if (record := _record(query.type.upper(), text))]
    head = struct.pack("!HHHHHH", query.seq & 0xFFFF, 0x8180 | _CODES.get(query.rcode, 2), 1, len(records), 0, 0)
    return head + _question(query) + b"".join(records)


def _question(query: DnsQuery) -> bytes:
    kind = query.type.upper()
    number = (
        int(kind[4:]) if kind.startswith("TYPE") and kind[4:].isascii() and kind[4:].isdigit() and len(kind) < 10 else _TYPES.get(kind, 0)
    )
    return _name(query.name) + struct.pack("!HH", number & 0xFFFF, 1)


def _name(name: str) -> bytes:
    labels = [label.encode("utf-8", "replace")[:63] for label in name.rstrip(".").split(".") if label]
    wire = b"".join(bytes((len(label),)) + label for label in labels)
    return (wire if len(wire) < 255 else b"") + b"\0"


def _record(asked: str, text: str) -> bytes:
    """An address, or a name (``other.``, ``CNAME other.``); the owner is the question's name. Other records are left out."""
    words = text.split()
    if not words:
        return b""
    kind = words[-2].upper() if len(words) > 1 else asked
    try:
        address = ipaddress.ip_address(words[-1])
    except ValueError:
        if kind not in ("CNAME", "PTR", "NS"):
            return b""
        number, data = _TYPES[kind], _name(words[-1])
    else:
        number, data = (1 if address.version == 4 else 28), address.packed
    return b"\xc0\x0c" + struct.pack("!HHIH", number, 1, 1, len(data)) + data
