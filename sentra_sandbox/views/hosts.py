"""The hosts that a run talked to, or tried to. A pure function of the events.

A stream socket counts when it connects. A datagram socket counts when it sends: connecting one only chooses an
address, which the resolver does to every candidate when it sorts them (RFC 6724). Unix and netlink sockets are no
hosts. Same rule as in ``places``: nothing that is slow to load.
"""

from __future__ import annotations

from collections.abc import Iterator

from sentra_sandbox.trace.events import Event, SegmentKind
from sentra_sandbox.views.numbers import CONNECT, GETSOCKOPT, SENDMMSG, SENDMSG, SENDTO, SOCKET, WRITE, WRITEV
from sentra_sandbox.views.places import Places, register, signed32

AF_INET, AF_INET6 = 2, 10
SOCK_DGRAM, SOCK_TYPE_MASK = 2, 0xF
EINPROGRESS, ECONNREFUSED = 115, 111
SOL_SOCKET, SO_ERROR = 1, 4
MMSGHDR_BYTES, MSGHDR_BYTES = 64, 56


class HostUse:
    """One address and port: ``uses`` counts connects, and sends of datagrams; ``failed`` those of them that the
    kernel refused.
    """

    __slots__ = ("address", "failed", "uses")

    def __init__(self, address: str) -> None:
        self.address = address
        self.uses = 0
        self.failed = 0


class HostTable:
    """Follows a run's SYSCALL events in order; ``places`` must have been fed all events before.

    ``refused_ports`` are those of loopback where nothing listened, and nothing did later.
    """

    def __init__(self, places: Places) -> None:
        self.hosts: dict[str, HostUse] = {}
        self.refused_ports: dict[int, None] = {}
        self._places = places
        self._connecting: dict[tuple[int, int], int] = {}  # (process, descriptor) → port of loopback
        self._peer_of_datagram: dict[tuple[int, int], str] = {}  # (process, descriptor) → peer, "" before connect
        self._actions = {
            SOCKET: self._socket,
            CONNECT: self._connect,
            GETSOCKOPT: self._getsockopt,
            SENDTO: self._sendto,
            SENDMSG: self._send_messages,
            SENDMMSG: self._send_messages,
            WRITE: self._send,
            WRITEV: self._send,
        }

    def feed(self, event: Event) -> None:
        """Take the next system call of the run, if it was entered as 64-bit."""
        action = self._actions.get(event.nr)
        if action is not None:
            action(event)

    def _socket(self, event: Event) -> None:
        if event.result < 0:
            return
        key = (self._places.process(event.task), event.result)
        self._peer_of_datagram.pop(key, None)
        if register(event, 0) in (AF_INET, AF_INET6) and register(event, 1) & SOCK_TYPE_MASK == SOCK_DGRAM:
            self._peer_of_datagram[key] = ""

    def _datagram(self, event: Event) -> tuple[int, int] | None:
        """The key of the datagram socket that argument 0 is, opened by the process or by one that started it."""
        if not self._peer_of_datagram:
            return None
        fd = signed32(register(event, 0))
        return next(
            ((process, fd) for process in self._places.lineage(event.task) if (process, fd) in self._peer_of_datagram),
            None,
        )

    def _connect(self, event: Event) -> None:
        address = _address_argument(event, 1)
        key = self._datagram(event)
        if key is not None:
            self._peer_of_datagram[key] = address or ""
        elif address:
            self._use(address, event.result < 0 and event.result != -EINPROGRESS)
            if address.startswith(("127.", "[::1]:")):
                self._loopback(event, int(address.rpartition(":")[2]))

    def _loopback(self, event: Event, port: int) -> None:
        if event.result == -EINPROGRESS:
            self._connecting[self._places.process(event.task), signed32(register(event, 0))] = port
        else:
            self._ended(port, -event.result)

    def _getsockopt(self, event: Event) -> None:
        """How a connect that did not wait has ended."""
        if not self._connecting or (register(event, 1), register(event, 2)) != (SOL_SOCKET, SO_ERROR):
            return
        port = self._connecting.pop((self._places.process(event.task), signed32(register(event, 0))), None)
        error = next((s.data for s in event.segments if s.arg == 3 and s.kind == SegmentKind.OUT), b"")
        if port is not None and len(error) >= 4:
            self._ended(port, int.from_bytes(error[:4], "little"))

    def _ended(self, port: int, error: int) -> None:
        if error == ECONNREFUSED:
            self.refused_ports[port] = None
        elif error == 0:
            self.refused_ports.pop(port, None)

    def _sendto(self, event: Event) -> None:
        address = _address_argument(event, 4)
        if address:
            self._use(address, event.result < 0)
        else:
            self._send(event)

    def _send(self, event: Event) -> None:
        key = self._datagram(event)
        if key is not None and self._peer_of_datagram[key]:
            self._use(self._peer_of_datagram[key], event.result < 0)

    def _send_messages(self, event: Event) -> None:
        addresses = [address for name in message_names(event) if (address := host_address(name))]
        for address in addresses:
            self._use(address, event.result < 0)
        if not addresses:
            self._send(event)

    def _use(self, address: str, failed: bool) -> None:
        use = self.hosts.get(address)
        if use is None:
            use = self.hosts[address] = HostUse(address)
        use.uses += 1
        use.failed += failed


def _address_argument(event: Event, number: int) -> str | None:
    return next((host_address(s.data) for s in event.segments if s.arg == number and s.kind == SegmentKind.IN), None)


def message_names(event: Event) -> Iterator[bytes]:
    """The destination addresses in the msghdr structures of argument 1: a pointer to one is their first field."""
    by_address = {s.addr: s.data for s in event.segments if s.kind == SegmentKind.IN and s.arg == 1}
    headers = by_address.get(register(event, 1), b"")
    for start in range(0, len(headers) - MSGHDR_BYTES + 1, MMSGHDR_BYTES):
        pointer = int.from_bytes(headers[start : start + 8], "little")
        if pointer and pointer in by_address:
            yield by_address[pointer]


def host_address(data: bytes) -> str | None:
    """``192.0.2.1:80`` or ``[2001:db8::1]:80`` of a ``struct sockaddr``; None for other families and for bytes
    that are too short.
    """
    family = int.from_bytes(data[:2], "little")
    port = int.from_bytes(data[2:4], "big")
    if family == AF_INET and len(data) >= 8:
        return f"{'.'.join(map(str, data[4:8]))}:{port}"
    if family == AF_INET6 and len(data) >= 24:
        import socket

        return f"[{socket.inet_ntop(socket.AF_INET6, data[8:24])}]:{port}"
    return None
