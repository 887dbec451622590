"""Ring records to block contents: Python's side of ``csrc/record/pack_*.c``. Needs the native part.

Two passes: ``Scan`` says which records the next block takes and which of their bytes are large; the caller decides per
large piece whether a blob is to hold it (``references``); ``Scan.pack`` makes the contents. ``unpack_records`` is the
native inverse.
"""

from __future__ import annotations

import os

from sentra_sandbox.errors import RecordingError, TraceError
from sentra_sandbox.native import error_text, ffi, lib, new_error

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

THRESHOLD = 512
_MAX_BIGS = 4096


class Scan:
    """What one block can take from ``sources`` (private copies of ring bytes, one per ring), starting with
    ``next_seq``.

    ``events`` is 0 when there is nothing to take; ``gap`` tells that the next number is missing; ``damaged`` is the
    source whose next record (at ``damaged_at``) is malformed, or -1.
    """

    def __init__(
        self, sources: Sequence[bytes], next_seq: int, *, allow_gaps: bool, max_bytes: int, threshold: int = THRESHOLD
    ) -> None:
        self._kept = [ffi.from_buffer("unsigned char[]", source) for source in sources]
        self._sources = ffi.new(
            "struct sentra_pack_source[]",
            [(data, len(source)) for data, source in zip(self._kept, sources, strict=True)],
        )
        self._bigs = ffi.new("struct sentra_big_segment[]", _MAX_BIGS)
        self._scan = ffi.new("struct sentra_pack_scan *")
        self._threshold = threshold
        error = new_error()
        if lib.sentra_pack_scan(
            self._sources,
            len(sources),
            next_seq,
            allow_gaps,
            max_bytes,
            threshold,
            self._bigs,
            _MAX_BIGS,
            self._scan,
            error,
        ):
            raise _failed(error)
        self.events = int(self._scan.events)
        self.first_seq = int(self._scan.first_seq)
        self.last_seq = int(self._scan.last_seq)
        self.first_time_ns = int(self._scan.first_time_ns)
        self.last_time_ns = int(self._scan.last_time_ns)
        self.record_bytes = int(self._scan.raw_bytes)
        self.taken: list[int] = [int(self._scan.taken[index]) for index in range(len(sources))]
        self.gap = bool(self._scan.gap)
        self.gaps = int(self._scan.gaps)
        self.damaged = int(self._scan.damaged)
        self.damaged_at = int(self._scan.damaged_at)

    def large(self) -> list[Any]:
        """The bytes of each large segment, as buffers that live as long as this scan."""
        return [ffi.buffer(self._bigs[index].data, self._bigs[index].size) for index in range(self._scan.bigs)]

    def pack(self, references: Sequence[bytes | None]) -> bytes:
        """Block contents; ``references[i]`` is the SHA-256 of large segment i if it is to be a reference, None to keep
        it inline.
        """
        for index, digest in enumerate(references):
            self._bigs[index].reference = digest is not None
            if digest is not None:
                self._bigs[index].hash = digest
        error = new_error()
        room = 3 * self.record_bytes + 4096
        out = ffi.new("unsigned char[]", room)
        size = lib.sentra_pack(
            self._sources, len(self._sources), self._scan, self._threshold, self._bigs, out, room, error
        )
        if size < 0:
            raise _failed(error)
        return bytes(ffi.buffer(out, size))


def _failed(error: Any) -> RecordingError:
    step, detail, number = error_text(error)
    return RecordingError(f"The recorder could not {step} ({detail}): {os.strerror(number)}.")


def unpack_records(packed: bytes, blobs: Sequence[bytes], record_bytes: int) -> bytes:
    """The ring records of a block, natively. ``blobs``: contents of ``codec.packed_hashes(packed)``, in that order.

    Raises ``TraceError`` for contents that break the layout or need more than ``record_bytes``.
    """
    kept = [ffi.from_buffer("unsigned char[]", blob) for blob in blobs]
    table = ffi.new("struct sentra_pack_source[]", [(data, len(blob)) for data, blob in zip(kept, blobs, strict=True)])
    out = ffi.new("unsigned char[]", record_bytes or 1)
    error = new_error()
    size = lib.sentra_unpack(
        ffi.from_buffer("unsigned char[]", packed), len(packed), table, len(blobs), out, record_bytes, error
    )
    if size < 0:
        step, detail, _ = error_text(error)
        raise TraceError(f"The trace is damaged: could not {step} ({detail}).")
    return bytes(ffi.buffer(out, size))
