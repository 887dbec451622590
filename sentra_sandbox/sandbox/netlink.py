"""Spells netlink messages: links, addresses and routes (rtnetlink(7)), tables, chains and rules of nf_tables.

Pure: numbers in, bytes out; pid 1 of the sandbox sends them (csrc/sandbox/network.c). Only what ``own_network`` uses.
Written out here, because a library for it takes longer to load than the whole sandbox takes to build. Numbers in
headers are in the machine's order (x86-64: little), those inside nf_tables attributes in the network's.
"""

from __future__ import annotations

from sentra_sandbox.dataclass import dataclass

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
AF_INET = 2
AF_INET6 = 10
IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6 = 1, 6, 17, 58

_REQUEST, _ACK, _EXCLUSIVE, _CREATE, _APPEND = 0x1, 0x4, 0x200, 0x400, 0x800
_NEW = _REQUEST | _ACK | _CREATE

# rtnetlink
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_LOOPBACK = 1  # the index of lo, the first device of every network namespace
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 0x02
_RTA_OIF, _RTA_PREFSRC = 4, 7
_TABLE_LOCAL, _PROTO_STATIC, _SCOPE_HOST, _TYPE_LOCAL = 255, 4, 254, 2

# nf_tables
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_PREROUTING = 0
_BASE_NETWORK, _BASE_TRANSPORT = 1, 2
_META_L4PROTO = 16
_EQUAL, _NOT_EQUAL = 0, 1
DROP, ACCEPT = 0, 1


@dataclass(frozen=True, slots=True)
class Message:
    """One message without its number in the batch; ``name`` says what it does, for a person."""

    name: str
    kind: int
    flags: int
    body: bytes


def batch(messages: list[Message]) -> bytes:
    """The messages one after the other, numbered from 1: their numbers come back in the kernel's answers."""
    return b"".join(
        _u32(16 + len(one.body)) + _u16(one.kind) + _u16(one.flags) + _u32(number) + _u32(0) + one.body
        for number, one in enumerate(messages, 1)
    )


def transaction(messages: list[Message]) -> list[Message]:
    """Messages of nf_tables that take effect together or not at all."""
    return [
        Message("begin", _BATCH_BEGIN, _REQUEST, _nf_header(0, _SUBSYSTEM)),
        *messages,
        Message("commit", _BATCH_END, _REQUEST, _nf_header(0, _SUBSYSTEM)),
    ]


# ---- links, addresses, routes


def loopback_up() -> Message:
    """``ip link set lo up``."""
    body = bytes(4) + _u32(_LOOPBACK) + _u32(_IFF_UP) + _u32(_IFF_UP)
    return Message("bring lo up", _RTM_NEWLINK, _REQUEST | _ACK, body)


def own_address(family: int, address: bytes, shown: str) -> Message:
    """``ip address add ADDRESS dev lo``, the one address and no network around it. Usable at once: nobody else could have it."""
    head = bytes((family, 8 * len(address), _IFA_F_NODAD if family == AF_INET6 else 0, 0)) + _u32(_LOOPBACK)
    body = head + _attribute(_IFA_LOCAL, address) + _attribute(_IFA_ADDRESS, address)
    return Message(f"give lo the address {shown}", _RTM_NEWADDR, _NEW | _EXCLUSIVE, body)


def all_local(family: int, source: bytes, shown: str) -> Message:
    """``ip route add local default dev lo src SOURCE``: every address without a better route is one of this machine."""
    head = bytes((family, 0, 0, 0, _TABLE_LOCAL, _PROTO_STATIC, _SCOPE_HOST if family == AF_INET else 0, _TYPE_LOCAL)) + _u32(0)
    body = head + _attribute(_RTA_OIF, _u32(_LOOPBACK)) + _attribute(_RTA_PREFSRC, source)
    return Message(f"make every {_name(family)} address local, seen from {shown}", _RTM_NEWROUTE, _NEW | _EXCLUSIVE, body)


# ---- nf_tables


def table(family: int, name: str) -> Message:
    """``nft add table FAMILY NAME``."""
    return Message(f"add {_name(family)} table {name}", *_nf(_NEW_TABLE, _EXCLUSIVE, family, _attribute(1, _text(name))))


def prerouting_chain(family: int, table_name: str, name: str, priority: int) -> Message:
    """``nft add chain FAMILY TABLE NAME { type filter hook prerouting priority PRIORITY; policy accept; }``."""
    hook = _attribute(1, _be32(_PREROUTING)) + _attribute(2, _be32(priority & 0xFFFFFFFF))
    body = _attribute(1, _text(table_name)) + _attribute(3, _text(name)) + _nested(4, hook) + _attribute(5, _be32(ACCEPT))
    body += _attribute(7, _text("filter"))
    return Message(f"add {_name(family)} chain {name}", *_nf(_NEW_CHAIN, _EXCLUSIVE, family, body))


def rule(family: int, table_name: str, chain: str, shown: str, *expressions: bytes) -> Message:
    """``nft add rule FAMILY TABLE CHAIN EXPRESSIONS``: each expression must hold for the next to be looked at."""
    body = _attribute(1, _text(table_name)) + _attribute(2, _text(chain)) + _nested(4, b"".join(expressions))
    return Message(f"{_name(family)} rule: {shown}", *_nf(_NEW_RULE, _APPEND, family, body))


def protocol_is(number: int) -> bytes:
    """``meta l4proto NUMBER``."""
    return _protocol() + _compare(_EQUAL, bytes((number,)))


def protocol_is_not(*numbers: int) -> bytes:
    """``meta l4proto != { NUMBERS }``."""
    return _protocol() + b"".join(_compare(_NOT_EQUAL, bytes((number,))) for number in numbers)


def destination_starts(family: int, start: bytes) -> bytes:
    """The destination address begins with these bytes (all of it, or a network of whole bytes)."""
    return _load(_BASE_NETWORK, 16 if family == AF_INET else 24, len(start)) + _compare(_EQUAL, start)


def transport_bytes(offset: int, value: bytes) -> bytes:
    """These bytes at this place behind the IP header (ICMP: type at 0; UDP: destination port at 2)."""
    return _load(_BASE_TRANSPORT, offset, len(value)) + _compare(_EQUAL, value)


def to_listener(family: int, address: bytes, port: int) -> bytes:
    """``tproxy to ADDRESS:PORT``: deliver to the connected socket the packet is for, else to the transparent listener there, else go on."""
    registers = _expression("immediate", _attribute(1, _be32(1)) + _nested(2, _attribute(1, address)))
    registers += _expression("immediate", _attribute(1, _be32(2)) + _nested(2, _attribute(1, port.to_bytes(2, "big"))))
    return registers + _expression("tproxy", _attribute(1, _be32(family)) + _attribute(2, _be32(1)) + _attribute(3, _be32(2)))


def verdict(code: int) -> bytes:
    """``accept`` or ``drop``."""
    return _expression("immediate", _attribute(1, _be32(0)) + _nested(2, _nested(2, _attribute(1, _be32(code)))))


def _protocol() -> bytes:
    return _expression("meta", _attribute(1, _be32(1)) + _attribute(2, _be32(_META_L4PROTO)))


def _load(base: int, offset: int, length: int) -> bytes:
    numbers = (1, base, offset, length)
    return _expression("payload", b"".join(_attribute(kind, _be32(number)) for kind, number in enumerate(numbers, 1)))


def _compare(how: int, value: bytes) -> bytes:
    return _expression("cmp", _attribute(1, _be32(1)) + _attribute(2, _be32(how)) + _nested(3, _attribute(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return _nested(1, _attribute(1, _text(name)) + _nested(2, data))


def _nf(message: int, flag: int, family: int, attributes: bytes) -> tuple[int, int, bytes]:
    return _SUBSYSTEM << 8 | message, _NEW | flag, _nf_header(family, 0) + attributes


def _nf_header(family: int, resource: int) -> bytes:
    return bytes((family, 0)) + resource.to_bytes(2, "big")


# ---- attributes


def _attribute(kind: int, value: bytes) -> bytes:
    return _u16(4 + len(value)) + _u16(kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, attributes: bytes) -> bytes:
    return _attribute(kind | 0x8000, attributes)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "little")


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _be32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _name(family: int) -> str:
    return "IPv4" if family == AF_INET else "IPv6"
