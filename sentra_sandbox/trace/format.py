"""The files of a run on disk: ``events`` (header and blocks) and ``index``; the hash chain and the Merkle root.

Pure: bytes in, bytes out, no files opened here. Layouts are given above their structs, docs/TRACE_FORMAT.md says the
same in prose. All integers little-endian. A block is self-contained: its header has the hash of the block before (the
chain) and of itself.
"""

from __future__ import annotations

import struct
from itertools import pairwise

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import TraceError
from sentra_sandbox.trace.digest import sha256

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT_VERSION = 1
ZERO_HASH = bytes(32)

# events file: magic, version, reserved (0), start of the run: CLOCK_MONOTONIC and CLOCK_REALTIME in ns.
EVENTS_MAGIC = b"SENTRAEV"
_EVENTS_HEADER = struct.Struct("<8sIIQQ")
EVENTS_HEADER_SIZE = _EVENTS_HEADER.size

# block: magic, version, flags, first and last seq, events, bytes of the records in the ring, bytes unpacked (before
# zstd), bytes of the zstd frame that follows, time of first and last event, bytes ever consumed from each ring once
# this block is written, hash of the previous block (zero for the first), hash of this one (over the header up to here,
# then the frame).
BLOCK_MAGIC = b"SBLK"
_BLOCK_HEADER = struct.Struct("<4sHHQQIIIIQQ4Q32s")
BLOCK_HEADER_SIZE = _BLOCK_HEADER.size + 32
BLOCK_RECOVERED = 1  # made by recovery after a crash: what had not been sealed, calls in flight, a note

CONTENT_BYTES_MAX = 32 * 1024 * 1024
RECORD_BYTES_MAX = 8 * 1024 * 1024

# index file: magic, version, entries; per block first seq, offset in events; then SHA-256 of everything before.
INDEX_MAGIC = b"SENTRAIX"
_INDEX_HEADER = struct.Struct("<8sII")
_INDEX_ENTRY = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class EventsHeader:
    """Start of the ``events`` file."""

    start_monotonic_ns: int
    start_realtime_ns: int

    def pack(self) -> bytes:
        return _EVENTS_HEADER.pack(EVENTS_MAGIC, FORMAT_VERSION, 0, self.start_monotonic_ns, self.start_realtime_ns)

    @classmethod
    def unpack(cls, data: bytes, path: str) -> EventsHeader:
        """Raises ``TraceError`` when this is no events file of this version."""
        if len(data) < EVENTS_HEADER_SIZE or data[:8] != EVENTS_MAGIC:
            raise TraceError(f"{path} is not an event file of a recorded run.", path=path, offset=0)
        _, version, reserved, monotonic, realtime = _EVENTS_HEADER.unpack_from(data)
        if version != FORMAT_VERSION or reserved:
            raise TraceError(
                f"{path} has format version {version}; this program reads version {FORMAT_VERSION}.",
                "Use the version of sentra-sandbox that recorded it.", path=path, offset=8,
            )  # fmt: skip
        return cls(monotonic, realtime)


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What is known of a block without unpacking it."""

    flags: int
    first_seq: int
    last_seq: int
    events: int
    record_bytes: int
    content_bytes: int
    frame_bytes: int
    first_time_ns: int
    last_time_ns: int
    positions: tuple[int, int, int, int]
    previous: bytes
    digest: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole block in the file."""
        return BLOCK_HEADER_SIZE + self.frame_bytes


def _header_bytes(header: BlockHeader) -> bytes:
    return _BLOCK_HEADER.pack(
        BLOCK_MAGIC, FORMAT_VERSION, header.flags, header.first_seq, header.last_seq, header.events,
        header.record_bytes, header.content_bytes, header.frame_bytes, header.first_time_ns, header.last_time_ns,
        *header.positions, header.previous,
    )  # fmt: skip


def block_digest(header: BlockHeader, frame: bytes) -> bytes:
    """The hash that identifies a block and that the next one repeats."""
    return sha256(_header_bytes(header) + frame).digest()


def pack_block(header: BlockHeader, frame: bytes) -> tuple[bytes, bytes]:
    """The block's header with its digest filled in (``header.digest`` is ignored), and that digest."""
    digest = block_digest(header, frame)
    return _header_bytes(header) + digest, digest


def unpack_block_header(data: bytes, path: str, offset: int) -> BlockHeader:
    """Parse and check everything that can be checked without the frame. Raises ``TraceError``."""

    def damaged(what: str) -> TraceError:
        return TraceError(
            f"The trace is damaged: {what} in {path} at byte {offset}.",
            "Restore the file from a copy.",
            path=path,
            offset=offset,
        )

    magic, version, flags, first, last, events, records, content, frame, first_ns, last_ns, *rest = (
        _BLOCK_HEADER.unpack_from(data)
    )
    if magic != BLOCK_MAGIC:
        raise damaged("no block where one should begin")
    if version != FORMAT_VERSION or flags & ~BLOCK_RECOVERED:
        raise damaged(f"a block of unknown version {version} or flags {flags:#x}")
    if not events or not first or last < first or last - first + 1 < events:
        raise damaged("a block with impossible sequence numbers")
    if (
        not frame
        or not 0 < content <= CONTENT_BYTES_MAX
        or not 0 < records <= RECORD_BYTES_MAX
        or frame > content + 65536
    ):
        raise damaged("a block with impossible sizes")
    return BlockHeader(
        flags, first, last, events, records, content, frame, first_ns, last_ns, tuple(rest[:4]), rest[4],
        data[_BLOCK_HEADER.size : BLOCK_HEADER_SIZE],
    )  # fmt: skip


def pack_index(entries: Sequence[tuple[int, int]]) -> bytes:
    """The index file for blocks given as (first seq, offset)."""
    body = _INDEX_HEADER.pack(INDEX_MAGIC, FORMAT_VERSION, len(entries)) + b"".join(
        _INDEX_ENTRY.pack(*entry) for entry in entries
    )
    return body + sha256(body).digest()


def unpack_index(data: bytes, path: str) -> list[tuple[int, int]]:
    """(first seq, offset) of every block. Raises ``TraceError``; the caller can rebuild the index from the blocks."""
    body, digest = data[:-32], data[-32:]
    if len(data) < _INDEX_HEADER.size + 32 or sha256(body).digest() != digest:
        raise TraceError(f"{path} is damaged.", "It can be rebuilt from the blocks.", path=path, offset=0)
    magic, version, count = _INDEX_HEADER.unpack_from(body)
    if magic != INDEX_MAGIC or version != FORMAT_VERSION or len(body) != _INDEX_HEADER.size + count * _INDEX_ENTRY.size:
        raise TraceError(f"{path} is not an index of this version.", path=path, offset=0)
    entries = [entry for entry in _INDEX_ENTRY.iter_unpack(body[_INDEX_HEADER.size :])]
    if any(second[0] <= first[0] or second[1] <= first[1] for first, second in pairwise(entries)):
        raise TraceError(f"{path} is not in order.", path=path, offset=0)
    return entries


class MerkleTree:
    """RFC 6962 tree hash over leaves that arrive one after another; keeps only one hash per level."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []  # (leaves below, hash), sizes falling

    def add(self, leaf: bytes) -> None:
        """Append a leaf (here: a block's digest)."""
        size, node = 1, sha256(b"\0" + leaf).digest()
        while self._peaks and self._peaks[-1][0] == size:
            _, left = self._peaks.pop()
            node = sha256(b"\1" + left + node).digest()
            size *= 2
        self._peaks.append((size, node))

    def root(self) -> bytes:
        """The tree's hash as of now; of the empty tree SHA-256 of nothing."""
        if not self._peaks:
            return sha256(b"").digest()
        node = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            node = sha256(b"\1" + left + node).digest()
        return node
