"""One HTTP/2 connection on a ``Stream``: what the front and the origin share.

Rules. Nothing here knows of exchanges. Writes are collected and go out once an iteration of the loop (``flush_soon``), so that a head
and the body that is there already travel together. ``send_body`` waits for the peer's window and, every ``DRAIN_BYTES``, for the
stream. Reading never waits for our data to go out, which could lock up a peer that writes before it reads; it waits only when the peer
makes us answer (SETTINGS, PING) and does not take the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, RemoteSettingsChanged, WindowUpdated
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from sentra_sandbox.network.exchange import Headers
from sentra_sandbox.network.http2.errors import StreamGone, WireBroken
from sentra_sandbox.network.http2.frames import PREFACE_BYTES, FrameCutter, GoAway
from sentra_sandbox.network.stream import Stream, StreamReset

DRAIN_BYTES = 64 * 1024
_READ_BYTES = 128 * 1024
_FULL_STREAMS = 16  # so many streams may stand still with full windows before they hold up the others of their connection


class Wire:
    """``window``: what the peer may send on one stream before it is taken. ``header_bytes``: the longest field list."""

    def __init__(self, stream: Stream, *, client: bool, window: int, header_bytes: int) -> None:
        self.stream = stream
        self.error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._cutter = FrameCutter(0 if client else PREFACE_BYTES)
        self._rooms: dict[int, asyncio.Event] = {}
        self._draining = asyncio.Lock()
        self._flush_planned = False
        self._undrained = 0
        self._answered = 0
        config = H2Configuration(
            client_side=client,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = H2Connection(config)
        values = {
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
        }
        if client:
            values[SettingCodes.ENABLE_PUSH] = 0
        self.h2.local_settings = Settings(client=client, initial_values=values)
        self.h2.decoder.max_header_list_size = header_bytes
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(_FULL_STREAMS * window - 65535)

    # ---- reading

    async def receive(self) -> list[Event | GoAway] | None:
        """What the peer did next; ``None`` at its end. Raises ``WireBroken`` (a GOAWAY is queued) and ``StreamReset``."""
        if self._answered > DRAIN_BYTES:
            await self.drain()
            self._answered = 0
        data = await self.stream.read(_READ_BYTES)
        if not data:
            return None
        events: list[Event | GoAway] = []
        try:
            for part in self._cutter.feed(data, time.monotonic()):
                if isinstance(part, GoAway):
                    events.append(part)
                else:
                    events.extend(self.h2.receive_data(part))
        except WireBroken as broken:
            self.say_goodbye(broken.code, str(broken))
            raise
        except H2Error as error:  # h2 has queued a GOAWAY
            raise WireBroken(str(error) or type(error).__name__, getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR)) from error
        except Exception as error:  # the libraries let a few other errors through on garbage: hpack's, IndexError, UnicodeError
            self.say_goodbye(ErrorCodes.PROTOCOL_ERROR, "")
            raise WireBroken(f"what came cannot be understood ({type(error).__name__}: {error})", ErrorCodes.PROTOCOL_ERROR) from error
        for event in events:
            self._make_room(event)
        self._answered += self._take()
        return events

    def _make_room(self, event: Event | GoAway) -> None:
        if isinstance(event, WindowUpdated) and event.stream_id:
            room = self._rooms.get(event.stream_id)
            if room is not None:
                room.set()
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            for room in self._rooms.values():
                room.set()

    def taken(self, size: int, stream_id: int) -> None:
        """So much of what came on a stream has gone on: the peer may send as much again."""
        if size and self.error is None:
            with contextlib.suppress(H2Error):
                self.h2.acknowledge_received_data(size, stream_id)
            self.flush_soon()

    # ---- writing

    def send_headers(self, stream_id: int, fields: Headers, *, end: bool) -> None:
        """Raises ``StreamGone``."""
        try:
            self.h2.send_headers(stream_id, fields, end_stream=end)
        except H2Error as error:
            raise StreamGone(str(error)) from error
        self.flush_soon()

    async def send_body(self, stream_id: int, data: bytes) -> None:
        """As the peer's windows allow. Raises ``StreamGone``, ``StreamReset``."""
        at, size = 0, len(data)
        while at < size:
            try:
                room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                if room > 0:
                    piece = data[at : at + room]
                    self.h2.send_data(stream_id, piece)
            except H2Error as error:
                raise StreamGone(str(error)) from error
            if room <= 0:
                await self._room(stream_id)
                continue
            at += len(piece)
            self._undrained += len(piece)
            if self._undrained >= DRAIN_BYTES:
                self._undrained = 0
                await self.drain()
        self._cutter.idle.restore()
        self.flush_soon()

    def end(self, stream_id: int) -> None:
        """The last of our side of a stream. Raises ``StreamGone``."""
        try:
            self.h2.end_stream(stream_id)
        except H2Error as error:
            raise StreamGone(str(error)) from error
        self.flush_soon()

    def reset(self, stream_id: int, code: int) -> None:
        """Break a stream off; no effect on one that is over."""
        with contextlib.suppress(H2Error):
            self.h2.reset_stream(stream_id, code)
        self.flush_soon()

    def say_goodbye(self, code: int, reason: str) -> None:
        """Queue a GOAWAY; nothing can be sent after it."""
        with contextlib.suppress(H2Error):
            self.h2.close_connection(code, reason.encode()[:200] or None)
        self.flush_soon()

    async def _room(self, stream_id: int) -> None:
        room = self._rooms.get(stream_id)
        if room is None:
            room = self._rooms[stream_id] = asyncio.Event()
        room.clear()
        self.flush()
        if self.error is not None:
            raise StreamReset(str(self.error))
        await room.wait()
        if self.error is not None:
            raise StreamReset(str(self.error))

    def forget(self, stream_id: int) -> None:
        """The stream is over: whoever waits for room looks again (and finds it gone)."""
        room = self._rooms.pop(stream_id, None)
        if room is not None:
            room.set()

    def fail(self, error: Exception) -> None:
        """The connection is over; everybody who waits learns why."""
        self.error = self.error or error
        for room in self._rooms.values():
            room.set()

    def flush_soon(self) -> None:
        """Once more has been queued in this iteration of the loop."""
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self._planned_flush)

    def _planned_flush(self) -> None:
        self._flush_planned = False
        self.flush()

    def flush(self) -> None:
        """Hand what is queued to the stream."""
        self._take()

    def _take(self) -> int:
        data = self.h2.data_to_send()
        if data:
            self.stream.write(data)
        return len(data)

    async def drain(self) -> None:
        """Wait until the peer takes what we write. Raises ``StreamReset``."""
        self.flush()
        async with self._draining:
            await self.stream.drain()
