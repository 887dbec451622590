"""The inner loops of the content search, which are C: many needles at once in large buffers, and taking text codings off them.

The only module of the review that loads the extension. Knows nothing of secrets, runs or hosts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sentra_sandbox.native import ffi, lib, new_error, raise_setup

__all__ = ["CODINGS", "MAGICS", "Decoding", "Hit", "Matcher", "decoded", "histogram", "magics"]

Buffer = bytes | bytearray | memoryview
CODINGS = {"base64": 1, "base32": 2, "hex": 3, "url": 4, "escapes": 5, "quoted-printable": 6}
MAGICS = {1: "gzip", 2: "zlib", 3: "zstd", 4: "zip", 5: "bzip2", 6: "xz"}
_HITS_AT_ONCE = 4096
_MAGICS_AT_ONCE = 4096
_SPANS_PER_BYTE = 1 / 24  # no run is shorter


@dataclass(frozen=True, slots=True)
class Hit:
    """``size`` bytes of needle number ``needle`` from ``needle_at`` on stand at ``at`` of the buffer."""

    at: int
    needle: int
    needle_at: int
    size: int


class Matcher:
    """Finds pieces of needles (bytes of at least eight; shorter ones are never found). ``least``: from how many bytes on a piece counts."""

    def __init__(self, needles: Sequence[bytes], least: Sequence[int]) -> None:
        error = new_error()
        sizes, leasts = [len(needle) for needle in needles], list(least)
        self._native = lib.sentra_needles_new(b"".join(needles), sizes, leasts, len(sizes), error)
        if self._native == ffi.NULL:
            raise_setup(error)
        self._native = ffi.gc(self._native, lib.sentra_needles_free)
        self._hits = ffi.new("struct sentra_needle_hit[]", _HITS_AT_ONCE)
        self._done = ffi.new("uint64_t *")

    @property
    def grams(self) -> int:
        """How many groups of eight bytes are looked for."""
        return int(lib.sentra_needles_grams(self._native))

    def find(self, data: Buffer) -> Iterator[Hit]:
        """The pieces in ``data``, roughly in order. Pieces may come twice where there are very many."""
        whole = ffi.from_buffer(data)
        start = 0
        while start < len(whole):
            count = lib.sentra_needles_find(self._native, whole + start, len(whole) - start, self._hits, _HITS_AT_ONCE, self._done)
            found = [self._hits[i] for i in range(count)]
            hits = [Hit(start + hit.at, hit.needle, hit.needle_at, hit.bytes) for hit in found]
            start += self._done[0]
            yield from hits


@dataclass(frozen=True, slots=True)
class Decoding:
    """``data``: decoded runs, apart by four zeros. ``spans``: (where from, how many bytes, where in ``data``, how many bytes)."""

    data: bytes
    spans: Any
    count: int

    def origin(self, at: int) -> tuple[int, int, int, int]:
        """The span that the byte at ``at`` belongs to."""
        low, high = 0, self.count - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.spans[middle].at <= at else (low, middle - 1)
        span = self.spans[low]
        return int(span.start), int(span.start_bytes), int(span.at), int(span.bytes)


def decoded(coding: str, data: Buffer, skip: int = 0) -> Decoding | None:
    """All runs of a coding (a key of ``CODINGS``) in ``data``, decoded; ``skip`` for other alignments. None if there are none."""
    source = ffi.from_buffer(data)
    size = len(source)
    out = bytearray(size + size // 64 + 16)
    spans = ffi.new("struct sentra_coding_span[]", int(size * _SPANS_PER_BYTE) + 2)
    count = ffi.new("uint64_t *")
    used = lib.sentra_coding_decode(CODINGS[coding], skip, source, size, ffi.from_buffer(out), spans, len(spans), count)
    return Decoding(bytes(memoryview(out)[:used]), spans, count[0]) if count[0] else None


def magics(data: Buffer) -> Iterator[tuple[int, str]]:
    """Where compressed data may begin, and which."""
    source = ffi.from_buffer(data)
    found, done = ffi.new("uint64_t[]", _MAGICS_AT_ONCE), ffi.new("uint64_t *")
    start = 0
    while start < len(source):
        count = lib.sentra_coding_magics(source + start, len(source) - start, found, _MAGICS_AT_ONCE, done)
        places = [(start + (found[i] >> 8), MAGICS[found[i] & 0xFF]) for i in range(count)]
        start += done[0]
        yield from places


def histogram(data: Buffer) -> list[int]:
    """How often each byte occurs."""
    counts = ffi.new("uint64_t[256]")
    source = ffi.from_buffer(data)
    lib.sentra_coding_histogram(source, len(source), counts)
    return [int(count) for count in counts]
