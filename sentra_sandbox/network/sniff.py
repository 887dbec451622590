"""What a client's first bytes are: TLS, HTTP/1, HTTP/2, or something else. Pure.

A wrong guess towards HTTP would spoil a foreign protocol, so HTTP/1 needs a known method, a target that looks like one, and, once
the line is complete, its version.
"""

from __future__ import annotations

import re
from typing import Literal

Protocol = Literal["tls", "http1", "http2", "opaque"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FIRST_LINE_MAX = 16 * 1024
_METHODS = (
    b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE",
    b"PROPFIND", b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE", b"LOCK", b"UNLOCK", b"REPORT", b"SEARCH", b"MKCALENDAR", b"PURGE", b"QUERY",
)  # fmt: skip
_TARGET = re.compile(rb"(/|\*|[a-zA-Z][a-zA-Z0-9+.-]*://|[^\s/]+:[0-9])")
_VERSION = re.compile(rb" HTTP/1\.[0-9]$")


def sniff(data: bytes) -> Protocol | None:
    """The protocol of a connection whose client sent ``data`` first; ``None``: more bytes are needed to tell."""
    if data[:1] == b"\x16":
        if len(data) < 3:
            return None if b"\x16\x03".startswith(data) else "opaque"
        return "tls" if data[1] == 3 and data[2] <= 4 else "opaque"
    if PREFACE.startswith(data[: len(PREFACE)]):
        return "http2" if len(data) >= len(PREFACE) else None
    return _http1(data)


def _http1(data: bytes) -> Protocol | None:
    line, end, _ = data[:FIRST_LINE_MAX].lstrip(b"\r\n").partition(b"\n")  # empty lines before a request are to be ignored (RFC 9112, 2.2)
    method, space, target = line.partition(b" ")
    if not space:
        return None if not end and any(each.startswith(method) for each in _METHODS) else "opaque"
    if method not in _METHODS:
        return "opaque"
    if not end:
        if len(target) >= FIRST_LINE_MAX - 16 or _TARGET.match(target):
            return "http1" if len(data) >= FIRST_LINE_MAX else None
        return None if len(target) < 256 and b" " not in target else "opaque"
    return "http1" if _TARGET.match(target) and _VERSION.search(line.rstrip(b"\r")) else "opaque"
