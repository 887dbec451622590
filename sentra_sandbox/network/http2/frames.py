"""A look at frame headers before the h2 library sees them. Pure.

Two reasons. GOAWAY: h2 refuses every frame after one, but a graceful GOAWAY lets the streams under way finish (RFC 9113, 6.8); so it is
taken out of the bytes here. Floods: frames that cost us work and carry nothing (PING, SETTINGS, PRIORITY, empty DATA, unknown types,
window updates out of proportion; CVE-2019-9512 to 9518, and resets, CVE-2023-44487) are counted here, whatever the library does with
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from h2.errors import ErrorCodes

from sentra_sandbox.network.http2.errors import WireBroken

PREFACE_BYTES = 24
_HEADER_BYTES = 9
_DATA, _HEADERS, _RESET, _GOAWAY, _CONTINUATION = 0, 1, 3, 7, 9
_END_STREAM = 1
MAX_GOAWAY_BYTES = 16 * 1024
MAX_FRAME_BYTES = 16 * 1024  # what a peer may send that was not told of more (RFC 9113, 4.2)

IDLE_FRAMES, IDLE_PER_S = 2000, 200
RESETS, RESETS_PER_S = 1000, 100


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer takes no new streams; those up to ``last_stream`` may still be answered."""

    last_stream: int
    code: int
    debug: bytes


class Budget:
    """``burst`` at once and ``per_s`` in the long run. ``restore`` fills it again: something useful has happened."""

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, burst: int, per_s: int) -> None:
        self._burst = self._left = float(burst)
        self._per_s = per_s
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Take one; False: there is none."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s) - 1
        self._at = now
        return self._left >= 0

    def restore(self) -> None:
        """Everything is there again."""
        self._left = self._burst


class FrameCutter:
    """Walks along the frames of one direction. ``preface``: bytes before the first frame, 24 from a client."""

    def __init__(self, preface: int) -> None:
        self._pass = preface  # bytes to let through before the next frame header
        self._held = b""  # an incomplete frame header, or an incomplete GOAWAY
        self.idle = Budget(IDLE_FRAMES, IDLE_PER_S)
        self.resets = Budget(RESETS, RESETS_PER_S)

    def feed(self, data: bytes, now: float) -> list[bytes | GoAway]:
        """The bytes for the library, without GOAWAY frames, which stand between them as objects. Raises ``WireBroken``."""
        if self._held:
            data = self._held + data
            self._held = b""
        found: list[bytes | GoAway] = []
        start, at, end = 0, self._pass, len(data)
        while at + _HEADER_BYTES <= end:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > MAX_FRAME_BYTES:  # the library looks only once it has all of it, up to 16 MiB
                raise WireBroken(f"a frame of {length} bytes", ErrorCodes.FRAME_SIZE_ERROR)
            kind = data[at + 3]
            after = at + _HEADER_BYTES + length
            if kind == _GOAWAY and 8 <= length <= MAX_GOAWAY_BYTES:
                if after > end:
                    break
                if at > start:
                    found.append(data[start:at])
                found.append(_goaway(data[at + _HEADER_BYTES : after]))
                start = after
            self._count(kind, length, data[at + 4], now)
            at = after
        if at < end:  # part of a frame header, or of a GOAWAY
            self._held = data[at:]
            self._pass = 0
            end = at
        else:
            self._pass = at - end
        if end > start:
            found.append(data[start:end] if start or end < len(data) else data)
        return found

    def _count(self, kind: int, length: int, flags: int, now: float) -> None:
        if kind in (_HEADERS, _CONTINUATION):
            return  # the library bounds both
        if kind == _DATA and length:
            self.idle.restore()
            return
        if kind == _DATA and flags & _END_STREAM:
            return
        budget = self.resets if kind == _RESET else self.idle
        if not budget.spend(now):
            what = "resets of streams" if kind == _RESET else "frames that carry nothing"
            raise WireBroken(f"too many {what}", ErrorCodes.ENHANCE_YOUR_CALM)


def _goaway(payload: bytes) -> GoAway:
    return GoAway(int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big"), payload[8:])
