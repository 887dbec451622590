"""Sockets inside the sandbox's network, held outside of it: the listeners that its pid 1 made, and further ones on demand.

    Listeners.receive(fd)         what pid 1 sent before the program started; fd is the other end of the plan's ``network_fd``
    original_destination(sock)    where the program meant to connect, of an accepted connection
    receive_datagram(sock)        a datagram, from whom, and where it was meant to go
    SocketMaker.start(listener)   sockets with any address as their own: answers to datagrams come from where those went

All sockets are non-blocking and close-on-exec. No decision and no event is made here.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from sentra_sandbox.errors import SetupError
from sentra_sandbox.native import ffi, lib, new_error, raise_setup

Address = tuple[str, int]

TPROXY = int(lib.SENTRA_NETWORK_TPROXY)
IPV6 = int(lib.SENTRA_NETWORK_IPV6)
_HEAD = struct.Struct("=IiII")  # struct sentra_handout
_LISTENER = struct.Struct("=BBBBI16s")  # struct sentra_listener
_REQUEST = struct.Struct("=BBxxII16s16s")  # struct sentra_socket_request
_MAX_FDS = 253  # SCM_MAX_FD
_IP_ORIGDSTADDR, _IPV6_ORIGDSTADDR = 20, 74
_MAX_DATAGRAM = 65535


@dataclass(slots=True)
class Listeners:
    """Listening sockets by what they are for.

    ``tproxy``: connections to any port arrive at ``tcp`` and ``udp``; if not, only those to ports that have a listener
    (see ``SocketMaker.tcp_listener``), and ``tproxy_errno`` says why (0: it was not asked for).
    """

    tcp: list[socket.socket] = field(default_factory=list)
    udp: list[socket.socket] = field(default_factory=list)
    dns_tcp: list[socket.socket] = field(default_factory=list)
    dns_udp: list[socket.socket] = field(default_factory=list)
    local_tcp: list[socket.socket] = field(default_factory=list)
    tproxy: bool = True
    ipv6: bool = True
    tproxy_errno: int = 0

    @classmethod
    def receive(cls, fd: int) -> Listeners:
        """The one message of pid 1 on ``fd`` (a SOCK_SEQPACKET unix socket, which stays the caller's).

        Waits if ``fd`` blocks. ``SetupError`` if the sandbox ended before it sent anything, or the message is not whole.
        """
        made = cls()
        with socket.socket(fileno=os.dup(fd)) as channel:
            data, fds, flags, _ = socket.recv_fds(channel, 65536, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)
        received = [_adopt(one) for one in fds]
        try:
            made._fill(data, received, bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)))
        except SetupError:
            for one in received:
                one.close()
            raise
        return made

    def _fill(self, data: bytes, received: list[socket.socket], cut_off: bool) -> None:
        if not data:
            raise SetupError("The sandbox ended before its network was ready.", step="receive the listeners")
        if cut_off or len(data) < _HEAD.size:
            raise SetupError("The sandbox's listeners did not arrive whole.", step="receive the listeners")
        have, self.tproxy_errno, count, _ = _HEAD.unpack_from(data)
        if count != len(received) or len(data) != _HEAD.size + count * _LISTENER.size:
            raise SetupError("The sandbox's listeners did not arrive whole.", step="receive the listeners")
        self.tproxy, self.ipv6 = bool(have & TPROXY), bool(have & IPV6)
        lists = {
            lib.SENTRA_LISTENER_TCP: self.tcp,
            lib.SENTRA_LISTENER_UDP: self.udp,
            lib.SENTRA_LISTENER_DNS_TCP: self.dns_tcp,
            lib.SENTRA_LISTENER_DNS_UDP: self.dns_udp,
            lib.SENTRA_LISTENER_LOCAL_TCP: self.local_tcp,
        }
        for one, (kind, *_) in zip(received, _LISTENER.iter_unpack(data[_HEAD.size :]), strict=True):
            lists[kind].append(one)

    def all(self) -> list[socket.socket]:
        """Every listener, for a poll: the first that is readable means that the program uses the network."""
        return [*self.tcp, *self.udp, *self.dns_tcp, *self.dns_udp, *self.local_tcp]

    def send(self, fd: int) -> None:
        """Hand all of them on to another process, whose ``receive`` reads them from the other end of ``fd``."""
        kinds = {"tcp": 1, "udp": 2, "dns_tcp": 3, "dns_udp": 4, "local_tcp": 5}
        rows = [(kind, one) for name, kind in kinds.items() for one in getattr(self, name)]
        have = self.tproxy * TPROXY | self.ipv6 * IPV6
        data = _HEAD.pack(have, self.tproxy_errno, len(rows), 0)
        data += b"".join(_LISTENER.pack(kind, one.family, 0, 0, one.getsockname()[1], bytes(16)) for kind, one in rows)
        with socket.socket(fileno=os.dup(fd)) as channel:
            socket.send_fds(channel, [data], [one.fileno() for _, one in rows])

    def close(self) -> None:
        """Close them here. The program's connections are refused once nobody holds them any more."""
        for one in self.all():
            one.close()


class SocketMaker:
    """Makes sockets inside the sandbox's network. A call takes some 30 microseconds and blocks for them."""

    def __init__(self, control_fd: int, pid: int = 0) -> None:
        """``control_fd`` (now owned) leads to the maker's process; ``pid``, if not 0, is our child to be reaped."""
        self._control = socket.socket(fileno=control_fd)
        self.pid = pid
        self._reaped = False

    @classmethod
    def start(cls, inside: socket.socket) -> SocketMaker:
        """Fork the process that makes them, into the network of ``inside`` (any socket of the sandbox).

        Call it early, before secrets are in memory: the process starts as a copy of this one. ``SetupError`` names what
        the kernel refused.
        """
        pid, error = ffi.new("int32_t *"), new_error()
        control = lib.sentra_socket_maker(inside.fileno(), pid, error)
        if control < 0:
            raise_setup(error, "The network namespace of a run is entered by the user who started it.")
        return cls(control, int(pid[0]))

    def udp(self, local: Address, remote: Address | None = None) -> socket.socket:
        """A UDP socket with the address ``local`` (any address, any port), connected to ``remote``.

        From then on datagrams of ``remote`` to ``local`` arrive here and no longer at the listener. ``OSError``:
        EADDRINUSE where a socket of the program is bound to that port on all addresses.
        """
        return self._make(lib.SENTRA_LISTENER_UDP, local, remote)

    def tcp_listener(self, address: str, port: int) -> socket.socket:
        """A listening socket; ``0.0.0.0`` and ``::`` catch every address at that port. ``OSError``: EADDRINUSE."""
        return self._make(lib.SENTRA_LISTENER_TCP, (address, port), None)

    def udp_listener(self, address: str, port: int) -> socket.socket:
        """A UDP socket for ``receive_datagram``; ``0.0.0.0`` and ``::`` catch every address at that port."""
        return self._make(lib.SENTRA_LISTENER_UDP, (address, port), None)

    def raw_sender(self, family: int) -> socket.socket:
        """A socket that sends whole IP packets into the sandbox and receives nothing; see ``ReplySender``."""
        return self._make(lib.SENTRA_SENDER_RAW, ("0.0.0.0" if family == socket.AF_INET else "::", 0), None)

    def port_listeners(self, protocol: str, port: int) -> list[socket.socket]:
        """Listeners for connections (``tcp``) or datagrams (``udp``) to this port of any address, where there is no TPROXY.

        One for IPv4, one for IPv6 if the sandbox has it. ``OSError``: EADDRINUSE where a socket of the program has that port.
        """
        make = self.tcp_listener if protocol == "tcp" else self.udp_listener
        made = [make("0.0.0.0", port)]
        try:
            made.append(make("::", port))
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                made[0].close()
                raise
        return made

    def fileno(self) -> int:
        """The control socket: readable means that the maker has ended."""
        return self._control.fileno()

    def close(self) -> None:
        """End the maker's process. Sockets that it made live on."""
        self._control.close()
        if self.pid and not self._reaped:
            self._reaped = True
            os.waitpid(self.pid, 0)

    def _make(self, kind: int, local: Address, remote: Address | None) -> socket.socket:
        family, packed = _packed(local[0])
        peer = bytes(16)
        if remote:
            peer_family, peer = _packed(remote[0])
            if peer_family != family:
                raise ValueError(f"{local[0]} and {remote[0]} are not of one family")
        ports = (local[1], remote[1] if remote else 0)
        if not all(0 <= port <= 65535 for port in ports):
            raise ValueError(f"no such port: {ports}")
        self._control.send(_REQUEST.pack(kind, family, *ports, packed, peer))
        data, fds, _, _ = socket.recv_fds(self._control, 16, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise ConnectionError("the maker of sockets inside the sandbox has ended")
        number = int.from_bytes(data, "little", signed=True)
        if number or not fds:
            raise OSError(number, f"{os.strerror(number)}: {local[0]} port {local[1]}")
        return _adopt(fds[0])


class ReplySender:
    """Answers datagrams without a socket of their own: where the program itself is bound to that port (``udp``: EADDRINUSE), or to refuse.

    Later datagrams of the pair go on arriving at the listener.
    """

    def __init__(self, maker: SocketMaker) -> None:
        """``maker`` must live until the first answer of each family was sent."""
        self._maker = maker
        self._senders: dict[int, socket.socket] = {}

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        """One datagram from ``source`` (where the program's went) to ``destination`` (the program). ``OSError``: EMSGSIZE, EAGAIN."""
        if len(data) > _MAX_DATAGRAM - 28:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        addresses = _bare(source[0]) + _bare(destination[0])
        self._send(destination[0], _ip_packet(socket.IPPROTO_UDP, addresses, _udp(addresses, source[1], destination[1], data)))

    def refuse(self, source: Address, destination: Address) -> None:
        """Tell the program at ``destination`` that nobody listens at ``source``: its next call on a connected socket gets ECONNREFUSED.

        ICMP port unreachable (RFC 792, 4443), as a host would send it about a datagram without data.
        """
        here, there = _bare(destination[0]), _bare(source[0])
        about = _ip_packet(socket.IPPROTO_UDP, here + there, _udp(here + there, destination[1], source[1], b""), checked=True)
        if len(here) == 4:
            body, protocol = struct.pack(">BBHI", 3, 3, _checksum(struct.pack(">BB6x", 3, 3) + about), 0) + about, socket.IPPROTO_ICMP
        else:
            start, protocol = struct.pack(">BB6x", 1, 4), socket.IPPROTO_ICMPV6
            total = _checksum(there + here + struct.pack(">II", len(start + about), protocol) + start + about)
            body = struct.pack(">BBHI", 1, 4, total, 0) + about
        self._send(destination[0], _ip_packet(protocol, there + here, body))

    def _send(self, address: str, packet: bytes) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if family not in self._senders:
            self._senders[family] = self._maker.raw_sender(family)
        self._senders[family].sendto(packet, (address, 0))

    def close(self) -> None:
        """Close the sockets."""
        for one in self._senders.values():
            one.close()


def _ip_packet(protocol: int, addresses: bytes, payload: bytes, checked: bool = False) -> bytes:
    """An IP header (RFC 791, 8200) before the payload. The kernel fills in an IPv4 header's checksum, but not that of one inside."""
    if len(addresses) == 32:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + addresses + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + addresses
    if checked:
        head = head[:10] + struct.pack(">H", _checksum(head)) + head[12:]
    return head + payload


def _udp(addresses: bytes, source_port: int, destination_port: int, data: bytes) -> bytes:
    """A UDP header (RFC 768) before the data."""
    length = 8 + len(data)
    header = struct.pack(">HHH", source_port, destination_port, length)
    total = _checksum(addresses + struct.pack(">II", length, socket.IPPROTO_UDP) + header + b"\0\0" + data)
    return header + struct.pack(">H", total or 0xFFFF) + data


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): a number is congruent to the sum of its digits, here of 16 bits, modulo 65535."""
    return 0xFFFF - int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF & 0xFFFF


def original_destination(connection: socket.socket) -> Address:
    """Where the program meant to connect: an accepted connection has that address as its own."""
    name = connection.getsockname()
    return name[0], name[1]


def receive_datagram(listener: socket.socket) -> tuple[bytes, Address, Address] | None:
    """``(data, client, original destination)`` of the next datagram at a UDP listener; None when none is waiting."""
    try:
        data, ancillary, _, client = listener.recvmsg(_MAX_DATAGRAM, 128)
    except (BlockingIOError, InterruptedError):
        return None
    except ConnectionRefusedError:  # a datagram that we sent before found nobody; this says nothing of the next one
        return None
    local = listener.getsockname()
    meant = (local[0], local[1])
    for level, kind, value in ancillary:
        decode = _ORIGINAL.get((level, kind))
        if decode:
            meant = decode(value)
    return data, (client[0], client[1]), meant


def _original_v4(value: bytes) -> Address:
    return socket.inet_ntop(socket.AF_INET, value[4:8]), int.from_bytes(value[2:4], "big")


def _original_v6(value: bytes) -> Address:
    return socket.inet_ntop(socket.AF_INET6, value[8:24]), int.from_bytes(value[2:4], "big")


_ORIGINAL: dict[tuple[int, int], Callable[[bytes], Address]] = {
    (socket.IPPROTO_IP, _IP_ORIGDSTADDR): _original_v4,
    (socket.IPPROTO_IPV6, _IPV6_ORIGDSTADDR): _original_v6,
}


def _adopt(fd: int) -> socket.socket:
    """The socket object of a descriptor; it asks the kernel for family, type and protocol."""
    made = socket.socket(fileno=fd)
    made.setblocking(False)
    return made


def _bare(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _packed(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    return family, packed + bytes(16 - len(packed))
