"""Where bytes that left went: from an event's number to the host, the connection and the exchange it belongs to. Pure."""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from dataclasses import dataclass

from sentra_sandbox.review.detectors.derived import once
from sentra_sandbox.review.facts import Facts, Flow
from sentra_sandbox.views.connections import Connection
from sentra_sandbox.views.exchanges import Exchange

_MAGIC = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"%PDF", b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf", b"Rar!",
    b"OggS", b"ID3", b"fLaC", b"\x00\x00\x00\x18ftyp", b"\x00\x00\x00\x1cftyp", b"\x00\x00\x00\x20ftyp", b"\x1aE\xdf\xa3", b"\x7fELF",
    b"wOF2", b"PACK", b"PAR1",
    b"\x93NUMPY", b"SQLite format 3", b"II*\x00", b"MM\x00*", b"BM", b"\x00asm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Destination:
    """``connection`` and ``exchange`` are None where the broker saw none."""

    host: str
    port: int
    connection: Connection | None = None
    exchange: Exchange | None = None


def destination(facts: Facts, seq: int) -> Destination | None:
    """Where the bytes of an event went, None if it sent none."""
    return once(facts, "destinations", _destinations).get(seq)


def _destinations(facts: Facts) -> dict[int, Destination]:
    found: dict[int, Destination] = {}
    for transfer in facts.transfers:
        if transfer.outgoing:
            place = Destination(transfer.host or transfer.address, transfer.port, facts.network.connections.get(transfer.connection))
            found.update(dict.fromkeys(transfer.seqs, place))
    for connection in facts.network.connections.values():
        place = Destination(connection.host, connection.server[1], connection)
        found.update({transfer.piece.seq: place for transfer in connection.transfers if not transfer.to_client})
    for exchange in facts.network.exchanges.values():
        place = Destination(exchange.host, exchange.server[1], facts.network.connections.get(exchange.connection), exchange)
        pieces = [*exchange.request.pieces, *exchange.request.head_pieces]
        found.update({seq: place for seq in (exchange.request.seq, *(piece.seq for piece in pieces)) if seq})
        found.update({piece.seq: place for message in exchange.messages if not message.to_client for piece in message.pieces})
    return found


CHANNELS = frozenset({"pipe", "file", "socket"})
"""Kinds of flows that carry a stream of bytes; the others hand over what a process has when it begins."""


def way(
    facts: Facts,
    source: int,
    target: int,
    since: int,
    until: int,
    kinds: frozenset[str] | None = None,
    around: frozenset[int] = frozenset(),
) -> list[Flow]:
    """Flows that lead from a process to another between two events, in order of time; [] if none do. The shortest way.

    ``kinds``: only by these, and only those that carried bytes. ``around``: processes that it must not lead through.
    """
    if source == target:
        return []
    leaving: dict[int, list[Flow]] = once(facts, "flows by source", _by_source)
    reached: dict[int, tuple[int, Flow | None]] = {source: (since, None)}
    queue = [source]
    for process in queue:
        if process == target or (process in around and process != source):
            continue
        after = reached[process][0]
        for flow in leaving.get(process, ()):
            if kinds is not None and (flow.kind not in kinds or not flow.size):
                continue
            if flow.target not in reached and flow.last_seq >= after and flow.first_seq <= until:
                reached[flow.target] = (max(after, flow.first_seq), flow)
                queue.append(flow.target)
    hops: list[Flow] = []
    while target in reached and (flow := reached[target][1]) is not None:  # type: ignore[assignment]
        hops.append(flow)
        target = flow.source
    return hops[::-1]


def may_be_piped(facts: Facts, target: int) -> bool:
    """Whether anything but its own ancestors handed bytes to a process: a shell in a pipeline, not one that an agent drives."""
    sources = once(facts, "writers to", _writers).get(target, frozenset())
    return bool(sources - ancestors(facts, target))


def ancestors(facts: Facts, process: int) -> frozenset[int]:
    return frozenset(fact.number for fact in facts.lineage(process)) - {process}


def _writers(facts: Facts) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = {}
    for flow in facts.flows:
        if flow.kind in CHANNELS and flow.size:
            found.setdefault(flow.target, set()).add(flow.source)
    return {target: frozenset(sources) for target, sources in found.items()}


def _by_source(facts: Facts) -> dict[int, list[Flow]]:
    found: dict[int, list[Flow]] = {}
    for flow in sorted(facts.flows, key=lambda flow: flow.first_seq):
        found.setdefault(flow.source, []).append(flow)
    return found


def entropy(data: bytes) -> float:
    """Bits per byte."""
    size = len(data)
    return -sum(count / size * math.log2(count / size) for count in Counter(data).values()) if size else 0.0


def is_opaque(data: bytes) -> bool:
    """Bytes that look encrypted: as random as their number allows, of no known format; base64 and hex are taken off first."""
    data = _uncoded(data[: 1 << 16])
    if len(data) < 48 or data.startswith(_MAGIC) or data[4:8] == b"ftyp" or data[257:262] == b"ustar":
        return False
    unprintable = sum(byte < 9 or 13 < byte < 32 or byte > 126 for byte in data) / len(data)
    # n random bytes do not show all 256 values: what n of them show at best is about log2(n), less what falls together.
    expected = math.log2(min(len(data), 256)) - (0.6 if len(data) < 512 else 0.45)
    return unprintable > 0.4 and entropy(data) >= expected


def _uncoded(data: bytes) -> bytes:
    text = data.strip()
    if len(text) < 64:
        return data
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        pass
    try:
        return base64.b64decode(text.replace(b"\n", b"").replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return data
