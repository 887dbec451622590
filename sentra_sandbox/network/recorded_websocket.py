"""A recorded WebSocket: the server's messages in their order, each client message where it stood, if it is the recorded one.

Pings are answered and not compared. What the client sends otherwise than recorded ends it with close code 1008 and a note in the run.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import deque
from collections.abc import Callable

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from sentra_sandbox.network.exchange import Headers, RequestHead
from sentra_sandbox.network.match_body import body_differences, body_key, read_body
from sentra_sandbox.network.match_rules import MatchRules
from sentra_sandbox.network.stream import StreamReset
from sentra_sandbox.views.exchanges import Exchange, WebSocketMessage

MAX_MESSAGE = 64 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_POLICY, _TOO_BIG, _BAD = 1008, 1009, 1002


def switching_headers(request: RequestHead, recorded: Headers) -> Headers:
    """Those of the 101 response to this client's key; without extensions, which change the bytes of messages."""
    key = next((value for name, value in request.headers if name.lower() == b"sec-websocket-key"), b"")
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    own = (b"sec-websocket-accept", b"sec-websocket-extensions", b"upgrade")
    kept = [(name, value) for name, value in recorded if name.lower() not in own]
    return [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", accept), *kept]


class RecordedWebSocket:
    """The server's side of the connection, a ``Stream``: what is written to it comes from the client."""

    def __init__(self, exchange: Exchange, rules: MatchRules, note_miss: Callable[[str], None]) -> None:
        self._url = exchange.url
        self._rules = rules
        self._note_miss = note_miss
        self._script = deque(each for each in exchange.messages if each.opcode in ("text", "binary", "close"))
        self._frames = FrameProtocol(False, [])
        self._came: deque[tuple[str, bytes]] = deque()
        self._part = bytearray()
        self._out = bytearray()
        self._over = self._aborted = False
        self._news = asyncio.Event()
        self._last_ns = exchange.response.time_ns

    async def read(self, limit: int = 65536) -> bytes:
        """See ``Stream``."""
        while not self._out and not self._over and not self._aborted:
            await self._step()
        if self._aborted:
            raise StreamReset("aborted")
        data = bytes(self._out[:limit])
        del self._out[:limit]
        return data

    async def _step(self) -> None:
        """The next of what was recorded."""
        if not self._script or not self._script[0].to_client:
            if self._came and self._script:
                self._compare(self._script.popleft(), *self._came.popleft())
            elif self._came:
                self._deviates("The client sends a message after the last recorded one.")
            else:
                self._news.clear()
                await self._news.wait()
            return
        message = self._script.popleft()
        if self._rules.timing == "recorded":
            await asyncio.sleep(max(message.time_ns - self._last_ns, 0) / 1e9)
        self._last_ns = message.time_ns
        if message.opcode == "close":
            self._close(message.code or 1000, message.data.decode("utf-8", "replace"))
        else:
            data = message.data
            self._out += self._frames.send_data(data.decode("utf-8", "replace") if message.opcode == "text" else data, True)

    def _compare(self, recorded: WebSocketMessage, opcode: str, data: bytes) -> None:
        self._last_ns = recorded.time_ns
        ours, theirs = read_body("", data), read_body("", recorded.data)
        ignored = self._rules.ignored
        if recorded.opcode == opcode and (opcode == "close" or body_key(ours, ignored) == body_key(theirs, ignored)):
            if opcode == "close":
                self._close(1000, "")
            return
        if recorded.opcode != opcode:
            self._deviates(f"The client sends {opcode}, the recorded one sent {recorded.opcode}.")
        else:
            self._deviates(
                "\n  ".join(["A message of the client differs from the recorded one:", *body_differences(ours, theirs, ignored)[:20]])
            )

    def _deviates(self, reason: str) -> None:
        self._note_miss(f"WebSocket {self._url}: {reason}")
        self._close(_POLICY, "sentra-sandbox: not as recorded")

    def _close(self, code: int, reason: str) -> None:
        if not self._over:
            self._over = True
            self._out += self._frames.close(code, reason[:100])
        self._news.set()

    # ---- from the client

    def write(self, data: bytes) -> None:
        """See ``Stream``."""
        if self._over:
            return
        try:
            self._frames.receive_bytes(data)
            for frame in self._frames.received_frames():
                payload = frame.payload
                if frame.opcode is Opcode.CLOSE:
                    self._came.append(("close", b""))
                    break
                if frame.opcode is Opcode.PING:
                    self._out += self._frames.pong(bytes(payload))  # type: ignore[arg-type]
                elif not frame.opcode.iscontrol():
                    self._part += payload.encode() if isinstance(payload, str) else bytes(payload)  # type: ignore[arg-type]
                    if len(self._part) > MAX_MESSAGE:
                        self._close(_TOO_BIG, "sentra-sandbox: too long")
                        return
                    if frame.message_finished:
                        self._came.append((frame.opcode.name.lower(), bytes(self._part)))
                        self._part.clear()
        except (ParseFailed, UnicodeError) as error:
            self._close(_BAD, str(error))
        self._news.set()

    async def drain(self) -> None:
        """See ``Stream``."""
        if self._aborted:
            raise StreamReset("aborted")

    def unread(self, data: bytes) -> None:
        """See ``Stream``."""
        self._out[:0] = data

    def write_eof(self) -> None:
        """See ``Stream``."""
        self._over = True
        self._news.set()

    def abort(self) -> None:
        """See ``Stream``."""
        self._aborted = True
        self._news.set()

    async def close(self) -> None:
        """See ``Stream``."""
        self.write_eof()
