"""Taking content codings (``Content-Encoding``) off a body, piece by piece, so that each decoded byte keeps its time.

Bodies are hostile: what comes out is bounded (a few bytes can stand for gigabytes), and what cannot be decoded says why instead of
failing. Decoders never get more output room than a step's worth at once, so memory is bounded too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

DECODED_MAX = 64 << 20  # bytes out of one body
_STEP = 256 * 1024  # bytes out of a decoder at once
_WINDOW_MAX = 8 << 20  # of zstd: RFC 9659
_CODINGS_MAX = 4  # RFC 9110 sets no limit; nobody stacks more in earnest
_MEMBERS_MAX = 100_000  # of gzip, frames of zstd: empty ones cost time and give nothing

Chunk = tuple[int, bytes]
"""(time in nanoseconds, bytes)"""


@dataclass(frozen=True, slots=True)
class Decoded:
    """``chunks`` in order; ``note`` says why they are not the whole or not decoded ("" if all went well); ``cut``: the bound was hit."""

    chunks: tuple[Chunk, ...]
    note: str = ""
    cut: bool = False

    @property
    def data(self) -> bytes:
        """All of it."""
        return b"".join(data for _, data in self.chunks)


class _Undecodable(Exception):
    """Damaged, or no decoder here."""


class _Flow:
    """Chunks on their way through the decoders, with the time of the newest one that was taken."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self.time_ns = 0

    def read(self, _size: int = -1) -> bytes:
        """The next chunk, of any size (zstandard asks for one so); ``b""`` at the end."""
        for time_ns, data in self._chunks:
            self.time_ns = time_ns
            if data:
                return data
        return b""


def codings_of(header: str) -> list[str]:
    """The codings of a ``Content-Encoding`` value in the order they were applied; ``identity`` is left out."""
    names = [name.strip().lower() for name in header.split(",")]
    return [name for name in names if name and name != "identity"]


def decode(chunks: Iterable[Chunk], header: str, limit: int = DECODED_MAX) -> Decoded:
    """The chunks without the codings that ``header`` names. Never raises: an unknown coding leaves the bytes as they are, a damaged
    body what came before the damage, and ``note`` says so.
    """
    codings = codings_of(header)
    if len(codings) > _CODINGS_MAX:
        return _bounded(chunks, limit, f"not decoded: {len(codings)} content codings")
    unknown = [name for name in codings if name not in _DECODERS]
    if unknown:
        return _bounded(chunks, limit, f"not decoded: unknown content coding {unknown[0][:40]!r}")
    if {"br"} & set(codings) and _brotli() is None:
        return _bounded(chunks, limit, "not decoded: br needs the module 'brotli' (pip install brotli)")
    for name in reversed(codings):
        chunks = _DECODERS[name](_Flow(chunks))
    return _bounded(chunks, limit, "")


def _bounded(chunks: Iterable[Chunk], limit: int, note: str) -> Decoded:
    kept: list[Chunk] = []
    room = limit
    try:
        for time_ns, data in chunks:
            if len(data) > room:
                kept.append((time_ns, data[:room]))
                return Decoded(tuple(kept), f"cut off after {limit} bytes: the body decodes to more", True)
            room -= len(data)
            kept.append((time_ns, data))
    except _Undecodable as error:
        return Decoded(tuple(kept), str(error))
    return Decoded(tuple(kept), note)


def _zlib(flow: _Flow, window_bits: int, what: str, first: bytes = b"", members: int = 1) -> Iterator[Chunk]:
    """Of one or several members (gzip files may be joined); what stands behind the last one is padding."""
    for _ in range(members):
        decoder = zlib.decompressobj(window_bits)
        data = first
        while not decoder.eof:
            data = data or flow.read()
            if not data:
                raise _Undecodable(f"the {what} data ends too early")
            try:
                out = decoder.decompress(data, _STEP)
            except zlib.error as error:
                raise _Undecodable(f"the {what} data is damaged: {error}") from None
            data = decoder.unconsumed_tail
            if out:
                yield flow.time_ns, out
        first = decoder.unused_data.lstrip(b"\0") or flow.read()
        if not first:
            return


def _gzip(flow: _Flow) -> Iterator[Chunk]:
    first = flow.read()
    if first:  # nothing at all is an empty body, as servers send it with 304 or to HEAD
        yield from _zlib(flow, 31, "gzip", first, _MEMBERS_MAX)


def _deflate(flow: _Flow) -> Iterator[Chunk]:
    """RFC 9110 means zlib; some servers send bare deflate, and clients take both."""
    first = flow.read()
    if not first:
        return
    wrapped = first[0] & 0xF == 8 and (len(first) < 2 or int.from_bytes(first[:2], "big") % 31 == 0)
    yield from _zlib(flow, 15 if wrapped else -15, "deflate", first)


def _zstd(flow: _Flow) -> Iterator[Chunk]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX)
    try:
        with decompressor.stream_reader(flow, read_across_frames=True) as reader:  # type: ignore[arg-type]
            while out := reader.read1(_STEP):
                yield flow.time_ns, out
    except zstandard.ZstdError as error:
        raise _Undecodable(f"the zstd data is damaged: {error}") from None


def _brotli() -> Any:
    for name in ("brotli", "brotlicffi"):
        try:
            return __import__(name)
        except ImportError:
            continue
    return None


def _br(flow: _Flow) -> Iterator[Chunk]:
    module = _brotli()
    decoder = module.Decompressor()
    while data := flow.read():
        # Older modules take no bound for the output of a step: a few bytes at a time bound it.
        for start in range(0, len(data), 16):
            try:
                out = decoder.process(data[start : start + 16])
            except module.error as error:
                raise _Undecodable(f"the br data is damaged: {error}") from None
            if out:
                yield flow.time_ns, out
    if not decoder.is_finished():
        raise _Undecodable("the br data ends too early")


_DECODERS: dict[str, Callable[[_Flow], Iterator[Chunk]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
    "br": _br,
}
