"""Credential files that left with their letters replaced: rot13, XOR with one byte, any alphabet of one's own.

Such a cipher keeps where equal bytes stand. A file of a hundred bytes repeats its letters in a pattern that no other text has: when what
left, as it is or out of base64 or hex, has the same pattern, it is that file. Bounded: small files, the beginning of what left.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sentra_sandbox.review.content.channels import Stream, streams
from sentra_sandbox.review.content.hunt import belongs
from sentra_sandbox.review.content.search import Secret, Sighting, Sightings

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Facts

LEAST_BITS = 160.0  # of the pattern: what chance would have to bring about
_FILE = range(48, 16 << 10)
_SENT_MAX = 64 << 10
_OFFSETS, _RUNS, _FILES, _STREAMS = 512, 16, 50, 5000
_CHANNELS = frozenset({"http-body", "raw", "websocket"})
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{60,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){48,}")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """For each byte of a file where the same byte stood before, -1 if nowhere."""

    secret: Secret
    before: tuple[int, ...]

    def fits(self, data: bytes, at: int) -> bool:
        seen: set[int] = set()
        for number, before in enumerate(self.before):
            byte = data[at + number]
            if before < 0:
                if byte in seen:
                    return False
                seen.add(byte)
            elif byte != data[at + before]:
                return False
        return True


def substituted(facts: Facts, sightings: Sightings) -> list[Sighting]:
    """Sightings of whole files whose secrets were not seen as they are."""
    patterns = list(_patterns(facts, sightings))
    found: list[Sighting] = []
    if not patterns:
        return found
    for number, stream in enumerate(streams(facts)):
        if number > _STREAMS:
            break
        if stream.channel not in _CHANNELS or stream.joined or stream.known:
            continue
        seq, data = _beginning(stream)
        for coding, text in _readings(data):
            found += [
                _sighting(pattern, stream, seq, coding, at)
                for pattern in patterns
                if pattern.secret.source_seq < seq and not belongs(pattern.secret, stream.to) and (at := _find(pattern, text)) >= 0
            ]
    return found


def _patterns(facts: Facts, sightings: Sightings) -> Iterator[_Pattern]:
    seen = {sighting.secret.source_seq for sighting in sightings.found}
    for secret in sightings.secrets:
        if secret.source_seq in seen or secret.kind not in ("credential-file", "private-key", "token") or len(seen) > _FILES:
            continue
        seen.add(secret.source_seq)
        try:
            data = facts.bytes_of(secret.source_seq).strip()
        except KeyError:
            continue
        last: dict[int, int] = {}
        before = []
        for at, byte in enumerate(data[: _FILE.stop]):
            before.append(last.get(byte, -1))
            last[byte] = at
        if len(data) in _FILE and secret.value in data and (len(before) - len(last)) * math.log2(max(len(last), 2)) >= LEAST_BITS:
            yield _Pattern(secret, tuple(before))


def _beginning(stream: Stream) -> tuple[int, bytes]:
    data, last = bytearray(), stream.first_seq
    for seq, piece in stream.chunks():
        last = seq
        data += piece
        if len(data) >= _SENT_MAX:
            break
    return last, bytes(data[:_SENT_MAX])


def _readings(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", data
    for match in list(_HEX.finditer(data))[:_RUNS]:
        yield "hex", binascii.unhexlify(match.group())
    for match in list(_BASE64.finditer(data))[:_RUNS]:
        text = match.group().translate(_URL_SAFE)
        text = text[: -1 if len(text) % 4 == 1 else None]
        yield "base64", base64.b64decode(text + b"=" * (-len(text) % 4))


def _find(pattern: _Pattern, data: bytes) -> int:
    most = min(len(data) - len(pattern.before), _OFFSETS)
    return next((at for at in range(most + 1) if pattern.fits(data, at)), -1)


def _sighting(pattern: _Pattern, stream: Stream, seq: int, coding: str, at: int) -> Sighting:
    secret = pattern.secret
    name = f"{coding}>letters replaced" if coding else "letters replaced"
    return Sighting(
        secret,
        stream.channel,
        stream.to,
        name,
        (seq,),
        0 if coding else at,
        len(pattern.before),
        secret.bits,
        stream.process,
        stream.exchange,
        stream.connection,
        stream.port,
    )
