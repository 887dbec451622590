"""What went wrong on an HTTP/2 connection. No logic."""

from __future__ import annotations

from h2.errors import ErrorCodes

from sentra_sandbox.network.exchange import OriginFailed


class Http2Failed(OriginFailed):
    """An exchange that the server broke off. ``code`` goes on to the client where its own response has begun. ``unprocessed``: the
    server says (or it is plain) that it has not acted on the request, so asking again on another connection is safe (RFC 9113, 8.7).
    """

    def __init__(self, reason: str, *, code: int = ErrorCodes.INTERNAL_ERROR, unprocessed: bool = False, status: int = 502) -> None:
        super().__init__(status, reason)
        self.code = code
        self.unprocessed = unprocessed


class WireBroken(ConnectionError):
    """The peer broke the protocol or a bound of ours; the whole connection ends. ``code`` is what the GOAWAY says."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


class StreamGone(Exception):
    """This stream takes no more: it was reset."""


class BadHead(ValueError):
    """A field list that must not go further; the message says which field and why."""


def code_name(code: int | None) -> str:
    """``CANCEL``, or the number where it has no name."""
    try:
        return ErrorCodes(code or 0).name
    except ValueError:
        return str(code)
