"""The sandbox's own network, as set-up operations: what ``--net open`` does inside the new network namespace, as data.

Pure. How it works: there is only ``lo``, and a route that makes *every* address one of this machine. So any connection
arrives here, at an address nobody has a socket on; before the kernel looks for one, TPROXY hands it to our listener,
whose accepted socket keeps the address that was meant as its own. Nothing has a way out: there is no other device.
Packets of connections that exist are recognised by TPROXY itself, so marks and routing rules are not needed.

Exempt, and therefore just as on any machine: 127.0.0.0/8, ::1 and the own addresses (programs inside talk to each other
there). UDP to port 443 is left to the kernel, which answers that nobody listens: QUIC clients fall back to TCP at once.
Echo requests to other addresses are dropped: the kernel would answer for the whole world.

The own addresses are from the ranges kept for documentation (RFC 5737, RFC 3849), and so is the listener's: no real host
has such an address, so none becomes unreachable by ours, and private ranges stay free for what a policy opens
(10.0.0.0/8:5432). They are of global scope, so getaddrinfo's AI_ADDRCONFIG and the order of RFC 6724 see an ordinary machine
with both kinds of addresses. The listener has an address and a port (1) of its own rather than a wildcard, so that no
port is taken from the program.

Where nf_tables has no TPROXY, listeners on wildcard addresses see the same original addresses, but only at the ports
they are on. Those for DNS, HTTP and TLS are made here, others when a connection asks (``network.sockets.SocketMaker``);
such a port is then taken inside.
"""

from __future__ import annotations

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import UsageError
from sentra_sandbox.sandbox import netlink
from sentra_sandbox.sandbox.netlink import (
    ACCEPT,
    AF_INET,
    AF_INET6,
    DROP,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    Message,
)
from sentra_sandbox.sandbox.setup_op import SetupKind, SetupOp

OWN_V4, OWN_V6 = "192.0.2.1", "2001:db8::1"
LISTENER_V4, LISTENER_V6, LISTENER_PORT = "192.0.2.2", "2001:db8::2", 1
MAX_LOCAL_PORTS = 100  # all listeners fit into one message (SCM_MAX_FD is 253)
FALLBACK_PORTS = (80, 443)

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

_V4, _V6 = bytes((192, 0, 2)), b"\x20\x01\x0d\xb8" + bytes(11)
_TABLE, _CHAIN = "sentra", "to_broker"
_PRIORITY = -150  # NF_IP_PRI_MANGLE, as the kernel's documentation of TPROXY has it
_LOOPBACK_V6 = bytes(15) + b"\x01"
_LOOPBACK = (bytes((127, 0, 0, 1)), _LOOPBACK_V6)
_ANY = (bytes(4), bytes(16))


class NetworkFlag:
    """enum sentra_network_flag: what an operation provides if it succeeds, and what a listener needs, else it is left out."""

    IPV6 = 1
    TPROXY = 2
    TPROXY_V6 = 4
    NO_TPROXY = 8


class ListenerKind:
    """enum sentra_listener_kind."""

    TCP = 1
    UDP = 2
    DNS_TCP = 3
    DNS_UDP = 4
    LOCAL_TCP = 5


@dataclass(frozen=True, slots=True)
class Listener:
    """``struct sentra_listener``: a socket that pid 1 makes inside and hands out."""

    kind: int  # of ListenerKind
    family: int
    address: bytes
    port: int
    needs: int = 0  # of NetworkFlag

    def encode(self) -> bytes:
        """The struct's bytes."""
        head = bytes((self.kind, self.family, self.needs, 0)) + self.port.to_bytes(4, "little")
        return head + self.address + bytes(16 - len(self.address))

    def __str__(self) -> str:
        """For a person."""
        if self.family == AF_INET:
            address = ".".join(map(str, self.address))
        else:
            groups = [f"{self.address[at] << 8 | self.address[at + 1]:x}" for at in range(0, 16, 2)]
            address = f"[{':'.join(groups)}]"
        when = " without TPROXY" if self.needs & NetworkFlag.NO_TPROXY else ""
        kind = "UDP" if self.kind in (ListenerKind.UDP, ListenerKind.DNS_UDP) else "TCP"
        return f"{kind} {address}:{self.port}{when}"


def network_ops(local_ports: Sequence[int] = (), tproxy: bool = True) -> list[SetupOp]:
    """Build the network and hand its listeners out. ``local_ports``: ports of the host's loopback that are open to the program.

    ``tproxy=False`` leaves TPROXY out, as on a kernel without it.
    """
    ops = [
        _netlink_op("set up the sandbox's network", netlink.NETLINK_ROUTE, [netlink.loopback_up(), *_addresses(AF_INET)]),
        _netlink_op("set up the sandbox's network (IPv6)", netlink.NETLINK_ROUTE, _addresses(AF_INET6), NetworkFlag.IPV6),
    ]
    if tproxy:
        for family, flags in ((AF_INET, NetworkFlag.TPROXY), (AF_INET6, NetworkFlag.TPROXY_V6)):
            rules = netlink.transaction(_rules(family))
            ops.append(_netlink_op("send connections to the broker", netlink.NETLINK_NETFILTER, rules, flags))
    made = listeners(local_ports)
    data = b"".join(one.encode() for one in made)
    shown = "\n".join(map(str, made))
    return [*ops, SetupOp(SetupKind.LISTENERS, value=len(made), a="open the listeners and hand them out", b=shown, data=data)]


def listeners(local_ports: Sequence[int]) -> list[Listener]:
    """All that listens for the broker inside."""
    wrong = [port for port in local_ports if not 0 < port < 65536]
    if wrong or len(local_ports) > MAX_LOCAL_PORTS:
        shown = f"port {wrong[0]} does not exist" if wrong else f"{len(local_ports)} ports of localhost are too many"
        raise UsageError(f"The sandbox's network cannot be built: {shown}.", f"Name up to {MAX_LOCAL_PORTS} ports from 1 to 65535.")
    made = []
    for kind in (ListenerKind.TCP, ListenerKind.UDP):
        made.append(Listener(kind, AF_INET, _V4 + b"\x02", LISTENER_PORT, NetworkFlag.TPROXY))
        made.append(Listener(kind, AF_INET6, _V6 + b"\x02", LISTENER_PORT, NetworkFlag.TPROXY_V6 | NetworkFlag.IPV6))
    for port in FALLBACK_PORTS:
        made += _pair(ListenerKind.TCP, _ANY, port, NetworkFlag.NO_TPROXY)
    for kind in (ListenerKind.DNS_TCP, ListenerKind.DNS_UDP):
        made += _pair(kind, _LOOPBACK, 53, NetworkFlag.TPROXY)
        made.append(Listener(kind, AF_INET, bytes((127, 0, 0, 53)), 53, NetworkFlag.TPROXY))
        made += _pair(kind, _ANY, 53, NetworkFlag.NO_TPROXY)
    for port in dict.fromkeys(local_ports):
        if port != 53:  # already ours
            made += _pair(ListenerKind.LOCAL_TCP, _LOOPBACK, port, 0)
    return made


def _pair(kind: int, addresses: tuple[bytes, bytes], port: int, needs: int) -> list[Listener]:
    v4, v6 = addresses
    return [Listener(kind, AF_INET, v4, port, needs), Listener(kind, AF_INET6, v6, port, needs | NetworkFlag.IPV6)]


def _addresses(family: int) -> list[Message]:
    own, shown = (_V4 + b"\x01", OWN_V4) if family == AF_INET else (_V6 + b"\x01", OWN_V6)
    return [netlink.own_address(family, own, shown), netlink.all_local(family, own, shown)]


def _rules(family: int) -> list[Message]:
    """Two tables, so that a kernel without IPv6 refuses only what it does not have."""
    if family == AF_INET:
        loopback, own, listener, icmp, echo = b"\x7f", _V4 + b"\x01", _V4 + b"\x02", IPPROTO_ICMP, 8
    else:
        loopback, own, listener, icmp, echo = _LOOPBACK_V6, _V6 + b"\x01", _V6 + b"\x02", IPPROTO_ICMPV6, 128

    def rule(shown: str, *expressions: bytes) -> Message:
        return netlink.rule(family, _TABLE, _CHAIN, shown, *expressions)

    accept = netlink.verdict(ACCEPT)
    return [
        netlink.table(family, _TABLE),
        netlink.prerouting_chain(family, _TABLE, _CHAIN, _PRIORITY),
        rule("loopback stays inside", netlink.destination_starts(family, loopback), accept),
        rule("the own address stays inside", netlink.destination_starts(family, own), accept),
        rule(
            "echo requests are dropped",
            netlink.protocol_is(icmp),
            netlink.transport_bytes(0, bytes((echo,))),
            netlink.verdict(DROP),
        ),
        rule("other protocols stay inside", netlink.protocol_is_not(IPPROTO_TCP, IPPROTO_UDP), accept),
        rule(
            "QUIC is refused",
            netlink.protocol_is(IPPROTO_UDP),
            netlink.transport_bytes(2, (443).to_bytes(2, "big")),
            accept,
        ),
        rule("TCP and UDP go to the listeners", netlink.to_listener(family, listener, LISTENER_PORT)),
    ]


def _netlink_op(step: str, protocol: int, messages: list[Message], flags: int = 0) -> SetupOp:
    names = "\n".join(one.name for one in messages)
    return SetupOp(SetupKind.NETLINK, flags=flags, value=protocol, a=step, b=names, data=netlink.batch(messages))
