"""Looks for needles in a buffer and in what it decodes to: text codings, compressed data at any offset, chained up to four deep.

Everything is hostile: a few bytes may stand for gigabytes. Work is bounded by a ``Budget`` for each thing that left; what was not
looked at is said. Nothing here knows of secrets: needles are found by number.
"""

from __future__ import annotations

import bz2
import lzma
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sentra_sandbox.review.matcher import CODINGS, Decoding, Hit, Matcher, decoded, magics

DEPTH_MAX = 4
WINDOW = 8 << 20  # bytes out of a decompressor that are looked at together
WINDOW_BYTES = 32 << 20  # of what left that are looked at together
_OVERLAP = 8 << 10
_SMALL = 256 << 10  # buffers that more is tried on
_SKIPS = {"base64": 4, "base32": 8, "hex": 2}
_SPANS_TRIED = 8  # runs at whose beginning data without a magic number is tried
_HEX_APART = re.compile(rb"(?:(?:\\x|0x|%)?[0-9A-Fa-f]{2}[\s,:;\-]{1,2}|\\x[0-9A-Fa-f]{2}){8,}(?:0x)?[0-9A-Fa-f]{0,2}")
_NUMBERS = re.compile(rb"(?:\d{1,3}[\s,;]{1,2}){8,}\d{0,3}")

Locate = Callable[[int, int], tuple[int, int]]
"""(offset, size) in a decoded buffer → (offset, size) of what it was made of in the thing itself."""
Emit = Callable[[tuple[str, ...], Hit, int, int], None]
"""(codings that were taken off, hit, offset in the thing itself, size there)"""


@dataclass(slots=True)
class Budget:
    """What may still be spent: bytes decoded, buffers looked at, and a time (of ``time.monotonic``) when to stop in any case."""

    bytes: int
    buffers: int
    deadline: float
    spent: bool = False

    def take(self, size: int) -> bool:
        """Whether one more buffer of ``size`` bytes may be looked at."""
        self.bytes -= size
        self.buffers -= 1
        if self.bytes < 0 or self.buffers < 0 or time.monotonic() > self.deadline:
            self.spent = True
        return not self.spent


def budget_for(size: int, deadline: float) -> Budget:
    """Generous for what programs send, small against bombs: 64 MiB and eight times the size."""
    return Budget((64 << 20) + 8 * size, 20_000 + size // 256, deadline)


class Explorer:
    """Finds needles through codings. ``cut_off``: something compressed in the latest buffer went on at its end."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self.cut_off = False

    def explore(self, data: bytes, budget: Budget, emit: Emit, path: tuple[str, ...] = ()) -> None:
        """Look into ``data``, from which the codings of ``path`` were taken off already."""
        self.cut_off = False
        _Look(self, self._matcher, budget, emit).look(data, path, lambda at, size: (at, size), (0,))


@dataclass(slots=True)
class _Look:
    explorer: Explorer
    matcher: Matcher
    budget: Budget
    emit: Emit

    def look(self, data: bytes, path: tuple[str, ...], locate: Locate, starts: tuple[int, ...] = ()) -> None:
        for hit in self.matcher.find(data):
            self.emit(path, hit, *locate(hit.at, hit.size))
        if len(path) >= DEPTH_MAX or len(data) < 8:
            return
        self._texts(data, path, locate)
        self._compressed(data, path, locate)
        for start in starts:
            self._bare(data, start, path, locate)
        if len(data) <= _SMALL and len(path) < 3 and "reversed" not in path:
            self._small(data, path, locate)
        self._utf16(data, path, locate)
        if "reversed" not in path and (len(data) <= _SMALL or data[-3:] == b"\x08\x8b\x1f" or data[-4:] == b"\xfd\x2f\xb5\x28"):
            end = len(data)
            self._child(data[::-1], (*path, "reversed"), lambda at, size: locate(max(end - at - size, 0), size), (0,))

    def _child(self, data: bytes, path: tuple[str, ...], locate: Locate, starts: tuple[int, ...] = ()) -> None:
        if len(data) >= 8 and self.budget.take(len(data)):
            self.look(data, path, locate, starts)

    def _texts(self, data: bytes, path: tuple[str, ...], locate: Locate) -> None:
        for coding in CODINGS:
            for skip in range(_SKIPS.get(coding, 1)):
                found = decoded(coding, data, skip)
                if found is None:
                    break
                starts = tuple(int(found.spans[i].at) for i in range(min(found.count, _SPANS_TRIED))) if coding in _SKIPS else ()
                self._child(found.data, (*path, coding), _through(found, locate), starts)

    def _compressed(self, data: bytes, path: tuple[str, ...], locate: Locate) -> None:
        end = 0
        for at, kind in magics(data):
            if at < end:
                continue  # inside something that was unpacked to its end
            if not self.budget.take(64):
                return
            opened = _opened(data, at, kind)
            if opened is None:
                continue
            decoder, start = opened
            used = self._unpack(data, start, decoder, (*path, kind), locate)
            if used:
                end = start + used

    def _bare(self, data: bytes, start: int, path: tuple[str, ...], locate: Locate) -> None:
        """Deflate and brotli have no magic number: tried where something begins that is no text, believed when they come to their end."""
        if all(9 <= c < 127 for c in data[start : start + 16]):
            return
        if data[start] & 6 != 6 and self.budget.take(64):
            self._unpack(data, start, zlib.decompressobj(-15), (*path, "deflate"), locate, whole=True)
        if data[start] & 0x3F != 0x11 and self.budget.take(64) and (brotli := _Brotli.made()):
            self._unpack(data, start, brotli, (*path, "br"), locate, whole=True)

    def _unpack(self, data: bytes, start: int, decoder: Any, path: tuple[str, ...], locate: Locate, whole: bool = False) -> int:
        """Look at what a decoder gives, window by window. Returns how many bytes it took if it came to its end. ``whole``: only what
        comes to its end at all is looked at.
        """
        waiting = memoryview(data)[start:]
        window = bytearray()
        fed = given = 0

        def origin(_at: int, _size: int) -> tuple[int, int]:
            return locate(start, max(fed, 1))

        while not decoder.eof and not self.budget.spent:
            piece = waiting[fed : fed + (256 << 10)]
            try:
                out, left = _step(decoder, piece, WINDOW - len(window))
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, _Damaged):
                break
            fed += len(piece) - left
            given += len(out)
            window += out
            if len(window) >= WINDOW:
                self._child(bytes(window), path, origin)
                del window[:-_OVERLAP]
            elif not out and (fed >= len(waiting) or left == len(piece)):
                break
        self.explorer.cut_off |= not whole and given > 1 << 20 and not decoder.eof and fed >= len(waiting)
        if whole and not (decoder.eof and 8 < given >= fed - 8):
            return 0
        if len(window) >= 8:
            self._child(bytes(window), path, origin, (0,))
        return fed if decoder.eof else 0

    def _small(self, data: bytes, path: tuple[str, ...], locate: Locate) -> None:
        for pattern, name in ((_HEX_APART, "hex"), (_NUMBERS, "numbers")):
            for match in pattern.finditer(data):
                text = match.group()
                out = _hex_apart(text) if name == "hex" else bytes(n for n in map(int, re.findall(rb"\d+", text)) if n < 256)
                self._child(out, (*path, name), partial(_all_of, locate, match.start(), len(text)))

    def _utf16(self, data: bytes, path: tuple[str, ...], locate: Locate) -> None:
        zeros = data.count(0)
        if "utf-16" not in path and len(data) * 0.3 <= zeros <= len(data) * 0.6:
            odd = data[1::2].count(0) > zeros // 2
            self._child(data[0 if odd else 1 :: 2], (*path, "utf-16"), lambda at, size: locate(at * 2, size * 2))


def _hex_apart(text: bytes) -> bytes:
    digits = re.sub(rb"\\x|0x|[^0-9A-Fa-f]", b"", text).decode()
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


def _all_of(locate: Locate, start: int, size: int, _at: int, _size: int) -> tuple[int, int]:
    return locate(start, size)


def _through(found: Decoding, locate: Locate) -> Locate:
    def origin(at: int, size: int) -> tuple[int, int]:
        start, start_bytes, span_at, span_bytes = found.origin(at)
        ratio = start_bytes / max(span_bytes, 1)
        return locate(start + int((at - span_at) * ratio), min(int(size * ratio) + 1, start_bytes))

    return origin


class _Damaged(Exception):
    """A decoder of another module gave up."""


class _Brotli:
    """As ``zlib.decompressobj``, over the module brotli. A few bytes at a time: older modules have no bound for what comes out."""

    def __init__(self, module: Any) -> None:
        self._decoder = module.Decompressor()
        self._error = module.error

    @classmethod
    def made(cls) -> _Brotli | None:
        try:
            brotli = __import__("brotli")
        except ImportError:
            return None
        return cls(brotli)

    @property
    def eof(self) -> bool:
        try:
            return bool(self._decoder.is_finished())
        except self._error:  # it has given up
            return False

    def step(self, piece: bytes) -> tuple[bytes, int]:
        out = bytearray()
        used = 0
        few = 1 if len(piece) <= 4096 else 16  # what follows the end of the data is an error to some modules
        while used < len(piece) and len(out) < 1 << 20 and not self.eof:
            try:
                out += self._decoder.process(bytes(piece[used : used + few]))
            except self._error as error:
                raise _Damaged(str(error)) from None
            used += few
            if used > 4096 and len(out) < used // 8:  # no brotli: it makes less of more
                raise _Damaged("makes nothing of it")
        return bytes(out), max(len(piece) - used, 0)


class _Zstd:
    """As ``zlib.decompressobj``, with bounded output."""

    def __init__(self, data: memoryview) -> None:
        import zstandard

        self.eof = False
        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(data)

    def step(self, piece: bytes) -> tuple[bytes, int]:
        try:
            out = self._reader.read(1 << 20)
        except self._error as error:
            raise _Damaged(str(error)) from None
        self.eof = not out
        return out, 0 if self.eof else len(piece)


def _step(decoder: Any, piece: Any, room: int) -> tuple[bytes, int]:
    """(bytes out, bytes of ``piece`` that are left)"""
    if isinstance(decoder, (_Brotli, _Zstd)):
        return decoder.step(piece)
    if isinstance(decoder, (bz2.BZ2Decompressor, lzma.LZMADecompressor)):
        hungry = decoder.needs_input
        out = decoder.decompress(piece if hungry else b"", max(room, 1))
        return out, len(decoder.unused_data) if decoder.eof else 0 if hungry else len(piece)
    out = decoder.decompress(piece, max(room, 1))
    return out, len(decoder.unused_data) if decoder.eof else len(decoder.unconsumed_tail)


def _opened(data: bytes, at: int, kind: str) -> tuple[Any, int] | None:
    """A decoder, and where what it takes begins."""
    if kind in ("gzip", "zlib"):
        return zlib.decompressobj(31 if kind == "gzip" else 15), at
    if kind == "zstd":
        return _Zstd(memoryview(data)[at:]), at
    if kind == "bzip2":
        return bz2.BZ2Decompressor(), at
    if kind == "xz":
        return lzma.LZMADecompressor(memlimit=64 << 20), at
    method = int.from_bytes(data[at + 8 : at + 10], "little")
    start = at + 30 + int.from_bytes(data[at + 26 : at + 28], "little") + int.from_bytes(data[at + 28 : at + 30], "little")
    if data[at + 6] & 1 or start >= len(data):
        return None  # encrypted, or cut off
    return {8: (zlib.decompressobj(-15), start), 12: (bz2.BZ2Decompressor(), start)}.get(method)


def unpacked_beginning(data: bytes) -> bytes:
    """Some of what ``data`` decompresses to when something compressed begins in its first kilobytes; else nothing."""
    for at, kind in magics(data[:4096]):
        if opened := _opened(data, at, kind):
            try:
                out, _ = _step(opened[0], memoryview(data)[opened[1] :][: 256 << 10], 256 << 10)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, _Damaged):
                continue
            if len(out) >= 16:
                return out
    return b""


def windows(chunks: Iterator[tuple[int, bytes]], size: int = WINDOW_BYTES) -> Iterator[tuple[int, bytes, list[tuple[int, int]]]]:
    """Joins chunks (event, bytes) into buffers of about ``size`` that overlap a little: (offset in the whole, bytes, [(offset, event)])."""
    buffer, base, marks, fresh = bytearray(), 0, [], False
    for seq, data in chunks:
        view = memoryview(data)
        while view:
            marks.append((base + len(buffer), seq))
            room = size - len(buffer)
            buffer += view[:room]
            view = view[room:]
            fresh = True
            if len(buffer) >= size:
                yield base, bytes(buffer), marks
                keep = len(buffer) - _OVERLAP
                marks = [mark for mark in marks if mark[0] >= base + keep] or marks[-1:]
                base += keep
                del buffer[:keep]
                fresh = False
    if fresh:
        yield base, bytes(buffer), marks
