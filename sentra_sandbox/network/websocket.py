"""What passes over a WebSocket: frames of both directions become MESSAGE events; the bytes themselves are forwarded by others, untouched.

The frames are read by wsproto. Memory is bounded: a message is noted in pieces of at most ``MAX_BYTES``, a compressed one is inflated a
little at a time and to
``MAX_INFLATED`` at most. What is not WebSocket ends the observing of that direction with a PROBLEM event; its bytes are noted as they are
from there on.
"""

from __future__ import annotations

import zlib
from typing import Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

from sentra_sandbox.network.exchange import ExchangeLog
from sentra_sandbox.network.splice import Observer
from sentra_sandbox.trace.network_events import MAX_BYTES, Direction, NetworkType

MAX_INFLATED = 16 * 1024 * 1024
_FEED = 4096  # so much at a time: what inflates a thousandfold stays small
_NAMES = {Opcode.TEXT: "text", Opcode.BINARY: "binary", Opcode.PING: "ping", Opcode.PONG: "pong", Opcode.CLOSE: "close"}


class WebSocketObserver:
    """An ``Observer``. ``extensions``: what the server agreed to; ``opaque`` notes what cannot be read."""

    def __init__(self, log: ExchangeLog, extensions: bytes, opaque: Observer) -> None:
        self._log = log
        self._opaque = opaque
        offered = extensions.decode("latin-1").lower()
        self._sides = (
            _Side(log, Direction.TO_SERVER, _inflaters(offered, "client_no_context_takeover")),
            _Side(log, Direction.TO_CLIENT, _inflaters(offered, "server_no_context_takeover")),
        )

    def __call__(self, direction: Direction, data: bytes) -> None:
        side = self._sides[direction]
        if side.over:
            self._opaque(direction, data)
            return
        try:
            side.feed(data)
        except (ParseFailed, UnicodeError) as error:
            side.over = True
            fields = {"what": "WebSocket not understood", "detail": f"{error}; its bytes are kept as they are from here on."}
            self._log.journal.write(
                NetworkType.PROBLEM,
                fields,
                connection=self._log.connection,
                exchange=self._log.number,
                direction=direction,
            )
            self._opaque(direction, data)


class _Side:
    """The frames of one direction."""

    def __init__(self, log: ExchangeLog, direction: Direction, extensions: list[Extension]) -> None:
        self._log = log
        self._direction = direction
        # who receives: the client gets unmasked frames, the server masked ones
        self._frames = FrameProtocol(direction == Direction.TO_CLIENT, extensions)
        self._waiting = bytearray()
        self.over = False

    def feed(self, data: bytes) -> None:
        for start in range(0, len(data), _FEED):
            self._frames.receive_bytes(data[start : start + _FEED])
            for frame in self._frames.received_frames():
                self._note(frame)
                if frame.opcode is Opcode.CLOSE:
                    self.over = True  # wsproto takes nothing after it, and nothing may come
                    return

    def _note(self, frame: Frame) -> None:
        payload = frame.payload
        name = _NAMES[frame.opcode]
        if isinstance(payload, tuple):
            code, reason = payload
            kept = None if code == CloseReason.NO_STATUS_RCVD else int(code)
            self._log.message(self._direction, name, reason.encode(), code=kept)
        elif frame.opcode.iscontrol():
            assert isinstance(payload, (bytes, bytearray))
            self._log.message(self._direction, name, bytes(payload))
        else:
            self._piece(name, payload.encode() if isinstance(payload, str) else payload, frame.message_finished)

    def _piece(self, name: str, data: bytes, final: bool) -> None:
        waiting = self._waiting
        waiting += data
        while len(waiting) > MAX_BYTES or final:
            piece = bytes(waiting[:MAX_BYTES])
            del waiting[:MAX_BYTES]
            last = final and not waiting
            self._log.message(self._direction, name, piece, final=last)
            if last:
                break


class _Inflate(Extension):
    """permessage-deflate (RFC 7692), receiving only, with a bound."""

    name = "permessage-deflate"

    def __init__(self, fresh: bool) -> None:
        self._fresh = fresh  # every message begins with an empty window
        self._inflater: Any = zlib.decompressobj(-zlib.MAX_WBITS)
        self._compressed = self._control = False
        self._size = 0

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False  # we negotiate nothing

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._control = opcode.iscontrol()
        if rsv.rsv1 and (self._control or opcode is Opcode.CONTINUATION):
            return CloseReason.PROTOCOL_ERROR
        if not self._control and opcode is not Opcode.CONTINUATION:
            self._compressed = rsv.rsv1
            self._size = 0
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        return data if self._control or not self._compressed else self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        if self._control or not fin or not self._compressed:
            return None
        data = self._inflate(b"\x00\x00\xff\xff")
        if self._fresh:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        return data

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        room = MAX_INFLATED - self._size
        try:
            inflated: bytes = self._inflater.decompress(data, room + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._size += len(inflated)
        return inflated if len(inflated) <= room else CloseReason.MESSAGE_TOO_BIG


def _inflaters(agreed: str, fresh: str) -> list[Extension]:
    if "permessage-deflate" not in agreed:
        return []
    return [_Inflate(fresh in agreed)]
