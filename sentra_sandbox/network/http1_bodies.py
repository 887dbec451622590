"""Bodies of HTTP/1 messages, taken out of an inlet piece by piece as they come.

A piece is ``(data, wire)``: ``data`` what the body is, ``wire`` the bytes that carried it, chunk headers included, checked. Forwarding
``wire`` keeps the
sender's chunks, extensions and trailers; forwarding ``data`` needs framing of one's own. Either may be empty: the end of a chunk comes
without data. At
the end ``done`` is set. Everything is bounded: a line of a chunk by ``MAX_LINE``, trailers by ``MAX_TRAILERS``.
"""

from __future__ import annotations

import re

from sentra_sandbox.network.exchange import Headers
from sentra_sandbox.network.http1_heads import BadMessage, Framing, parse_trailers
from sentra_sandbox.network.inlet import READ_AHEAD, Inlet

MAX_LINE = 8 * 1024
MAX_TRAILERS = 64 * 1024

Piece = tuple[bytes, bytes]

_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,15})(;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_padded_line = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?")  # servers are known to pad
_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)


class CutShort(Exception):
    """The connection ended before the body did."""


class Body:
    """What the three kinds have in common. Raises ``BadMessage``, ``CutShort`` and ``StreamReset``."""

    __slots__ = ("done", "inlet", "trailers")

    def __init__(self, inlet: Inlet) -> None:
        self.inlet = inlet
        self.done = False
        self.trailers: Headers = []

    def take(self) -> Piece | None:
        """The next piece if it is there already; None: wait with ``next``."""
        raise NotImplementedError

    async def next(self) -> Piece:
        """The next piece; ``(b"", b"")`` once it is done."""
        while not self.done:
            piece = self.take()
            if piece is not None:
                return piece
            if not await self.inlet.more():
                return self._at_end()
        return b"", b""

    def _at_end(self) -> Piece:
        raise CutShort


class LengthBody(Body):
    """As many bytes as Content-Length said."""

    __slots__ = ("left",)

    def __init__(self, inlet: Inlet, length: int) -> None:
        super().__init__(inlet)
        self.left = length
        self.done = not length

    def take(self) -> Piece | None:
        if not self.inlet.buffer:
            return None
        data = self.inlet.take(min(self.left, READ_AHEAD))
        self.left -= len(data)
        self.done = not self.left
        return data, data


class EndlessBody(Body):
    """All that comes until the connection ends."""

    __slots__ = ()

    def take(self) -> Piece | None:
        if not self.inlet.buffer:
            return None
        data = self.inlet.take(READ_AHEAD)
        return data, data

    def _at_end(self) -> Piece:
        self.done = True
        return b"", b""


class ChunkedBody(Body):
    """Chunks. ``padded`` allows spaces after a chunk's size, which servers are known to send."""

    __slots__ = ("_left", "_line", "_state")

    def __init__(self, inlet: Inlet, padded: bool = False) -> None:
        super().__init__(inlet)
        self._state = _SIZE
        self._left = 0
        self._line = _padded_line if padded else _chunk_line

    def take(self) -> Piece | None:
        buffer = self.inlet.buffer
        parts: list[bytes | bytearray] = []
        at = 0
        while at < len(buffer) and at < READ_AHEAD:
            if self._state == _DATA:
                piece = buffer[at : at + min(self._left, READ_AHEAD)]
                parts.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
                continue
            start = at
            at = self._structure(buffer, at)
            if at == start or self.done:
                break
        if not at:
            return None
        return b"".join(parts), self.inlet.take(at)

    def _structure(self, buffer: bytearray, at: int) -> int:
        """Everything but data, from ``at`` on: where it ends, or ``at`` itself if more must come first."""
        if self._state == _DATA_END:
            if not b"\r\n".startswith(buffer[at : at + 2]):
                raise BadMessage("a chunk that is longer than its size")
            if len(buffer) - at < 2:
                return at
            self._state = _SIZE
            return at + 2
        if self._state == _SIZE:
            return self._size(buffer, at)
        return self._trailers(buffer, at)

    def _size(self, buffer: bytearray, at: int) -> int:
        end = buffer.find(b"\r\n", at, at + MAX_LINE)
        if end < 0:
            # whatever is wrong already is refused now, not when the line ends
            line = buffer[at : at + MAX_LINE].removesuffix(b"\r")
            if len(line) >= MAX_LINE - 1 or (line and not self._line.fullmatch(line)):
                raise BadMessage("a malformed chunk size")
            return at
        match = self._line.fullmatch(buffer, at, end)
        if match is None:
            raise BadMessage("a malformed chunk size")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS
        return end + 2

    def _trailers(self, buffer: bytearray, at: int) -> int:
        if buffer.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        end = buffer.find(b"\r\n\r\n", at, at + MAX_TRAILERS)
        if end < 0:
            if len(buffer) - at >= MAX_TRAILERS:
                raise BadMessage("trailers without end", 431)
            return at
        self.trailers = parse_trailers(bytes(buffer[at : end + 2]))
        self.done = True
        return end + 4


def body_of(framing: Framing, inlet: Inlet, *, padded: bool = False) -> Body:
    """The body that follows a head of this framing."""
    if framing.chunked:
        return ChunkedBody(inlet, padded)
    if framing.length is None:
        return EndlessBody(inlet)
    return LengthBody(inlet, framing.length)
