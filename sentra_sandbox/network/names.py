"""One synthetic address per family for each name, so that the name behind a connection is known without guessing.

The addresses come from the two benchmarking networks (RFC 2544, RFC 5180), which nothing real uses: 198.18.0.0/15 without its first
and last 256 addresses (the sandbox's own address is there) and without last bytes 0 and 255, which some programs take for networks and
broadcasts; and in 2001:2:0:1::/64 the same number behind the IPv6 prefix. A name's place follows from its hash, so every run gives it the
same address, unless a name that came earlier in the run has the place; then it is the next free one. A name keeps its address for the
whole run and no address ever gets a second name.
"""

from __future__ import annotations

from hashlib import blake2b

from sentra_sandbox.network import addresses

FIRST_BLOCK = 0xC6120100 >> 8  # 198.18.1.0
BLOCKS = 510  # up to 198.19.254.255
PER_BLOCK = 254  # last bytes 1 to 254
PLACES = BLOCKS * PER_BLOCK
PREFIX6 = 0x2001_0002_0000_0001 << 64
MAX_NAMES = PLACES // 2  # fuller, the search for a free place would grow long, and no program needs so many


class NamesExhausted(Exception):
    """All places for names are taken: the program asked for more names than a run may have. Answer SERVFAIL and say so."""


class NameTable:
    """Names (canonical: see ``patterns.canonical``) and their synthetic addresses."""

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = min(limit, PLACES)
        self._place_of: dict[str, int] = {}
        self._name_at: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._place_of)

    def addresses(self, name: str) -> tuple[str, str]:
        """The IPv4 and the IPv6 address of a name, given to it if it has none. Raises ``NamesExhausted``."""
        place = self._place_of.get(name)
        if place is None:
            place = self._take(name)
        number = _number(place)
        return addresses.spell((4, number)), addresses.spell((6, PREFIX6 | number))

    def name_of(self, address: str) -> str:
        """The name that has this address, in any spelling; "" if none."""
        parsed = addresses.parse(address)
        if parsed is None:
            return ""
        version, value = parsed
        if version == 6:
            if value >> 32 != PREFIX6 >> 32:
                return ""
            value &= 0xFFFFFFFF
        block, last = (value >> 8) - FIRST_BLOCK, (value & 255) - 1
        if not (0 <= block < BLOCKS and 0 <= last < PER_BLOCK):
            return ""
        return self._name_at.get(block * PER_BLOCK + last, "")

    def _take(self, name: str) -> int:
        if len(self._place_of) >= self._limit:
            raise NamesExhausted(f"the program asked for more than {self._limit} names")
        digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, person=b"sentra-names").digest()
        place = int.from_bytes(digest, "big") % PLACES
        while place in self._name_at:
            place = (place + 1) % PLACES
        self._place_of[name] = place
        self._name_at[place] = name
        return place


def _number(place: int) -> int:
    block, last = divmod(place, PER_BLOCK)
    return (FIRST_BLOCK + block) << 8 | (last + 1)
