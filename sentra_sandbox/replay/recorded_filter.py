"""The seccomp program of a replay: the recording's own, which decides what stops, with ours behind it.

A trace may come from anybody. Where its program would let a call run, ours is asked: so nothing runs without a stop that would not in a
recording made here. A stop that the trace does not expect is a divergence.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

from sentra_sandbox.errors import TraceError
from sentra_sandbox.policy.cache import cached_filter
from sentra_sandbox.trace.reader import Trace

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
_RETURN, _RETURN_ACCUMULATOR, _JUMP = 0x06, 0x16, 0x05
_ALLOW = 0x7FFF0000
_MOST = 4096  # BPF_MAXINSNS
_PACKED_MOST = 1 << 20


def replay_filter(trace: Trace, cache_dir: Path) -> bytes:
    """The program for a replay of ``trace``, an array of ``struct sock_filter``. Raises ``TraceError`` if it has none that fits."""
    path = str(trace.path)
    try:
        unpacker = zlib.decompressobj()
        recorded = unpacker.decompress(base64.b64decode(trace.meta.options["filter"]), _PACKED_MOST)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise TraceError("The trace does not say under which filter it was recorded.", "It cannot be replayed.", path=path) from error
    ours = cached_filter(None, cache_dir, keep=False)  # a replay writes nothing
    try:
        return guarded(recorded, ours)
    except ValueError as error:
        raise TraceError(
            f"The filter in the trace is none that a recording makes: {error}.", "It cannot be replayed.", path=path
        ) from error


def guarded(recorded: bytes, ours: bytes) -> bytes:
    """``recorded`` with every "allow" replaced by a jump to ``ours``. Raises ``ValueError`` for a program that cannot be guarded."""
    size = _INSTRUCTION.size
    if not recorded or len(recorded) % size or len(recorded) + len(ours) > _MOST * size:
        raise ValueError("its length")
    steps = list(_INSTRUCTION.iter_unpack(recorded))
    for index, (code, _, _, value) in enumerate(steps):
        if code == _RETURN_ACCUMULATOR:
            raise ValueError("a result that is computed")
        if code == _RETURN and value >= _ALLOW:
            steps[index] = (_JUMP, 0, 0, len(steps) - index - 1)
    return b"".join(_INSTRUCTION.pack(*step) for step in steps) + ours
