"""``Stream``: two directions of bytes, plain or through TLS. All that the HTTP parts know of a connection.

Rules: one reader and one writer at a time for a stream; ``write`` never blocks, ``drain`` is the back-pressure; a reset by the
other side raises ``StreamReset`` from ``read`` and ``drain``; after ``abort`` everything raises it.
"""

from __future__ import annotations

from typing import Protocol


class StreamReset(ConnectionError):
    """The other side reset the connection, or it was aborted here, or a time-out ended it."""


class Stream(Protocol):
    """Bytes both ways."""

    async def read(self, limit: int = 65536) -> bytes:
        """The next bytes, at most ``limit``; ``b""`` at the end (FIN or close_notify). Raises ``StreamReset``."""
        ...

    def unread(self, data: bytes) -> None:
        """Give bytes back: the next ``read`` returns them first."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes. No effect after the other side is gone (``drain`` raises then)."""
        ...

    async def drain(self) -> None:
        """Wait until little enough is queued. Raises ``StreamReset``."""
        ...

    def write_eof(self) -> None:
        """No more bytes from us; the other direction stays open."""
        ...

    def abort(self) -> None:
        """End both directions at once, with a reset where the protocol has one."""
        ...

    async def close(self) -> None:
        """Send what is queued, end both directions, free everything. Never raises."""
        ...
