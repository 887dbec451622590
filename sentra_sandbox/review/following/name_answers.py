"""Which name an address has, from DNS answers that the program itself received (a run with the host's network). RFC 1035, 4.1."""

from __future__ import annotations

import ipaddress

from sentra_sandbox.trace.events import Event, SegmentKind

NAMES_MAX = 65536
_RECORDS_MAX = 64
_A, _AAAA = 1, 28


class NameAnswers:
    """``names``: address → the name that was asked for."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def feed(self, event: Event) -> None:
        """Something was received from port 53."""
        if len(self.names) >= NAMES_MAX:
            return
        for segment in event.segments:
            if segment.kind == SegmentKind.OUT and len(segment.data) >= 12:
                for start in (0, 2):  # over TCP a length comes first
                    found = _answers(segment.data[start:])
                    if found is not None:
                        name, addresses = found
                        for address in addresses:
                            self.names.setdefault(address, name)
                        break


def _answers(data: bytes) -> tuple[str, list[str]] | None:
    """The name of the question and the addresses of the answer; None if it is no answer."""
    if len(data) < 17 or not data[2] & 0x80 or int.from_bytes(data[4:6], "big") != 1:
        return None
    labels = []
    at = 12
    while at < len(data) and data[at] and data[at] < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace"))
        at += 1 + data[at]
    at += 5
    addresses = []
    for _ in range(min(int.from_bytes(data[6:8], "big"), _RECORDS_MAX)):
        while at < len(data) and data[at] and data[at] < 64:
            at += 1 + data[at]
        at += 2 if at < len(data) and data[at] >= 192 else 1
        kind, size = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 8 : at + 10], "big")
        value = data[at + 10 : at + 10 + size]
        at += 10 + size
        if (kind, len(value)) in ((_A, 4), (_AAAA, 16)):
            addresses.append(str(ipaddress.ip_address(value)))
    return ".".join(labels), addresses
