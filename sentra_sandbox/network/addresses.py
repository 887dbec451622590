"""Internet addresses as numbers: every spelling that a connecting program may use, and the kind of network each belongs to.

Pure, and loads no standard module: patterns are checked before every recorded program starts. An address is ``(4, number)`` or
``(6, number)``; an IPv4-mapped IPv6 address *is* its IPv4 address here, as it is for the kernel that connects to it. Sources: the IANA
special-purpose address registries (RFC 6890, 8190), RFC 4291, 6052, 3056, 4380, 5214, 8215, 9637; the clouds' documentation for
metadata services.
"""

from __future__ import annotations

from sentra_sandbox.dataclass import dataclass

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from typing import TypeAlias

    Address: TypeAlias = tuple[int, int]

BITS = {4: 32, 6: 128}
MAPPED = 0xFFFF  # the upper 96 bits of ::ffff:a.b.c.d


@dataclass(frozen=True, slots=True)
class Kind:
    """What an address is, in words after "is" (``a private address``). ``by_name``: naming a host exactly also opens such an address,
    because names of such addresses are usual (a company's own DNS). For the others no honest name exists, so the address must be named.
    """

    what: str
    public: bool = False
    by_name: bool = False


PUBLIC = Kind("a public address", public=True)
LOOPBACK = Kind("the host's own loopback")
METADATA = Kind("a cloud metadata service, which hands out credentials")
LINK_LOCAL = Kind("a link-local address")
PRIVATE = Kind("a private address", by_name=True)
SHARED = Kind("a provider's shared address (CGNAT)", by_name=True)
UNSPECIFIED = Kind("the unspecified address, which means the host itself")
MULTICAST = Kind("a multicast address")
BROADCAST = Kind("the broadcast address")
BENCHMARK = Kind("a benchmarking address, which the sandbox uses for names")
RESERVED = Kind("a reserved address")

# The first row that holds the address says what it is.
_TABLE: dict[int, tuple[tuple[str, Kind], ...]] = {
    4: (
        ("169.254.169.254/32", METADATA),  # AWS, Azure, Google, Oracle, DigitalOcean, OpenStack
        ("169.254.170.2/32", METADATA),  # AWS ECS tasks
        ("169.254.170.23/32", METADATA),  # AWS EKS pod identity
        ("169.254.0.23/32", METADATA),  # Tencent
        ("100.100.100.200/32", METADATA),  # Alibaba
        ("168.63.129.16/32", METADATA),  # Azure wire server, in public space
        ("192.0.0.192/32", METADATA),  # Oracle
        ("0.0.0.0/8", UNSPECIFIED),
        ("10.0.0.0/8", PRIVATE),
        ("100.64.0.0/10", SHARED),
        ("127.0.0.0/8", LOOPBACK),
        ("169.254.0.0/16", LINK_LOCAL),
        ("172.16.0.0/12", PRIVATE),
        ("192.0.0.0/24", RESERVED),
        ("192.0.2.0/24", RESERVED),
        ("192.88.99.0/24", RESERVED),
        ("192.168.0.0/16", PRIVATE),
        ("198.18.0.0/15", BENCHMARK),
        ("198.51.100.0/24", RESERVED),
        ("203.0.113.0/24", RESERVED),
        ("224.0.0.0/4", MULTICAST),
        ("255.255.255.255/32", BROADCAST),
        ("240.0.0.0/4", RESERVED),
        ("0.0.0.0/0", PUBLIC),
    ),
    6: (
        ("fd00:ec2::/32", METADATA),  # AWS: metadata, DNS, time
        ("fd20:ce::254/128", METADATA),  # Google
        ("fd00:42::42/128", METADATA),  # Scaleway
        ("fd00:c1::a9fe:a9fe/128", METADATA),  # Oracle
        ("fe80::a9fe:a9fe/128", METADATA),  # OpenStack
        ("::/128", UNSPECIFIED),
        ("::1/128", LOOPBACK),
        ("64:ff9b::/96", PUBLIC),  # NAT64: what is embedded decides
        ("64:ff9b:1::/48", PRIVATE),  # NAT64 of a network of its own (RFC 8215)
        ("2001::/32", PUBLIC),  # Teredo: what is embedded decides
        ("2001:2::/48", BENCHMARK),
        ("2001:10::/28", RESERVED),
        ("2001:20::/28", RESERVED),
        ("2001:3::/32", PUBLIC),  # AMT relays (RFC 7450)
        ("2001:4:112::/48", PUBLIC),  # AS112 (RFC 7535)
        ("2001::/23", RESERVED),  # for protocols
        ("2001:db8::/32", RESERVED),
        ("3fff::/20", RESERVED),
        ("2000::/3", PUBLIC),
        ("fc00::/7", PRIVATE),
        ("fe80::/10", LINK_LOCAL),
        ("fec0::/10", PRIVATE),
        ("ff00::/8", MULTICAST),
        ("::/96", PUBLIC),  # IPv4-compatible (RFC 4291): what is embedded decides
        ("::/0", RESERVED),
    ),
}


def parse(text: str) -> Address | None:
    """An address in the standard spelling, in brackets or not, a zone (``%eth0``) cut off; ``None`` for anything else."""
    if ":" in text:
        return _parse6(text)
    parts = text.split(".")
    if len(parts) != 4:
        return None
    value = 0
    for part in parts:
        if not (part.isascii() and part.isdigit()) or len(part) > 3 or (part[0] == "0" and part != "0") or int(part) > 255:
            return None
        value = value << 8 | int(part)
    return 4, value


def parse_any(text: str) -> Address | None:
    """Also the spellings that ``inet_aton`` takes: ``127.1``, ``2130706433``, ``0x7f.0.0.1``, ``0177.0.0.1``."""
    return parse(text) or _parse_aton(text)


def _parse6(text: str) -> Address | None:
    from _socket import AF_INET6, inet_pton

    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        value = int.from_bytes(inet_pton(AF_INET6, text.partition("%")[0]), "big")
    except (OSError, ValueError):
        return None
    return (4, value & 0xFFFFFFFF) if value >> 32 == MAPPED else (6, value)


def _parse_aton(text: str) -> Address | None:
    parts = text.split(".")
    if len(parts) > 4:
        return None
    numbers = [_number(part) for part in parts]
    last = numbers.pop()
    if last is None or last >= 1 << 8 * (4 - len(numbers)):
        return None
    value = 0
    for number in numbers:
        if number is None or number > 255:
            return None
        value = value << 8 | number
    return 4, value << 8 * (4 - len(numbers)) | last


def _number(text: str) -> int | None:
    """A number as C spells it: decimal, 0octal, 0xhex."""
    if not text.isascii() or not text.isalnum() or len(text) > 40:
        return None
    try:
        if text[:2] in ("0x", "0X"):
            return int(text[2:] or "0", 16)
        return int(text, 8 if text[0] == "0" else 10)
    except ValueError:
        return None


def parse_network(text: str) -> tuple[Address, int] | None:
    """``10.0.0.0/8`` → the address and the number of bits that count; ``None`` if it is none. Host bits are not looked at."""
    base, slash, length = text.partition("/")
    address = parse(base)
    if address is None:
        return None
    bits = BITS[address[0]]
    if not slash:
        return address, bits
    if not (length.isascii() and length.isdigit()) or len(length) > 3:
        return None
    prefix = int(length)
    if address[0] == 4 and ":" in base:
        prefix -= 96  # ::ffff:10.0.0.0/104 is 10.0.0.0/8
    return (address, prefix) if 0 <= prefix <= bits else None


def spell(address: Address) -> str:
    """The usual spelling."""
    from _socket import AF_INET6, inet_ntop

    version, value = address
    if version == 4:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    return inet_ntop(AF_INET6, value.to_bytes(16, "big"))


def with_port(address: Address, port: int | None) -> str:
    """As in ``--allow-net``: ``10.1.2.3:5432``, ``[fd00::1]:80``, ``fd00::1``."""
    text = spell(address)
    if port is None:
        return text
    return f"[{text}]:{port}" if address[0] == 6 else f"{text}:{port}"


def embedded(address: Address) -> tuple[Address, ...]:
    """IPv4 addresses that packets to this IPv6 address end at, or pass through as a tunnel: NAT64, 6to4, Teredo, ISATAP,
    IPv4-compatible."""
    version, value = address
    if version == 4:
        return ()
    low = value & 0xFFFFFFFF
    if value >> 32 == 0x64FF9B << 64:
        return ((4, low),)
    if value >> 112 == 0x2002:
        return ((4, value >> 80 & 0xFFFFFFFF),)
    if value >> 96 == 0x20010000:
        return ((4, value >> 64 & 0xFFFFFFFF), (4, low ^ 0xFFFFFFFF))
    if value >> 32 & 0xFCFFFFFF == 0x00005EFE or (value >> 32 == 0 and value > 1):
        return ((4, low),)
    return ()


def translated(address: Address) -> Address | None:
    """The IPv4 address that NAT64's well-known prefix (RFC 6052) makes of it: the same service by another route."""
    version, value = address
    return (4, value & 0xFFFFFFFF) if version == 6 and value >> 32 == 0x64FF9B << 64 else None


def kind_of(address: Address) -> Kind:
    """What the address is; for one that embeds IPv4 addresses, what the least public of them is."""
    found = _own_kind(address)
    if found.public:
        for inner in embedded(address):
            kind = _own_kind(inner)
            if not kind.public:
                return Kind(f"{kind.what} ({spell(inner)}) in IPv6 clothes")
    return found


def _own_kind(address: Address) -> Kind:
    version, value = address
    for shift, prefix, kind in _COMPILED[version]:
        if value >> shift == prefix:
            return kind
    raise AssertionError("the last row holds everything")


def _compile(version: int) -> tuple[tuple[int, int, Kind], ...]:
    rows = []
    for text, kind in _TABLE[version]:
        base, _, length = text.partition("/")
        # Not parse(): it would take ::/96 rows for what they embed.
        value = int.from_bytes(_pack6(base), "big") if version == 6 else (parse(base) or (4, 0))[1]
        shift = BITS[version] - int(length)
        rows.append((shift, value >> shift, kind))
    return tuple(rows)


def _pack6(text: str) -> bytes:
    from _socket import AF_INET6, inet_pton

    return inet_pton(AF_INET6, text)


_COMPILED = {version: _compile(version) for version in (4, 6)}
