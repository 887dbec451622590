"""Reads a TLS ClientHello without answering it: whom the client means, and what it offers (RFC 8446 section 4.1.2, RFC 6066, RFC 7301).

Rules: everything here is hostile; no byte is consumed (they are given back to the stream); memory is bounded by ``MAX_HELLO``. What is no
well-formed hello is ``None``, and the connection's bytes are then carried as they are: the server is who should refuse them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sentra_sandbox.network.stream import Stream

MAX_HELLO = 64 * 1024  # 0.3 to 2 KB in practice, 4 KB with post-quantum keys; OpenSSL refuses more than 128 KB
MAX_RECORD = 16384
MAX_RECORDS = 64
HANDSHAKE = 22
CLIENT_HELLO = 1

SERVER_NAME = 0
ALPN = 16
SUPPORTED_VERSIONS = 43
ENCRYPTED_CLIENT_HELLO = 0xFE0D

VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}

_HOST = re.compile(rb"[A-Za-z0-9_.-]{1,253}")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """``server_name``: in lower case, "" if there is none or none that a host can have. ``alpn``: offered protocols in order (Latin-1).
    ``versions``: offered, known ones, oldest first, as ``ssl`` names them. ``ech``: an encrypted hello is inside (or grease that looks
    like one); its ``server_name`` may then be a front's.
    """

    server_name: str = ""
    alpn: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    ech: bool = False


class _Malformed(ValueError):
    pass


async def read_client_hello(stream: Stream) -> ClientHello | None:
    """The hello that the stream begins with, or ``None`` if it begins with something else. All bytes are given back, also when this is
    cancelled or fails. Waits until the hello is complete; the caller sets the time limit. Raises ``StreamReset``.
    """
    taken = bytearray()
    try:
        while True:
            try:
                hello = parse_client_hello(bytes(taken))
            except _Malformed:
                return None
            if hello is not None:
                return hello
            data = await stream.read()
            if not data:
                return None
            taken += data
    finally:
        if taken:
            stream.unread(bytes(taken))


def parse_client_hello(data: bytes) -> ClientHello | None:
    """The hello at the beginning of ``data``; ``None`` if more bytes are needed. Raises ``ValueError`` if it cannot become one."""
    message = _message(data)
    return None if message is None else _hello(message)


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records; ``None`` if it is not complete."""
    parts = bytearray()
    at = 0
    for _ in range(MAX_RECORDS):
        head = data[at : at + 5]
        if head and (head[0] != HANDSHAKE or head[1:2] not in (b"", b"\x03")):
            raise _Malformed("no TLS handshake record")
        if len(head) < 5:
            return None
        length = int.from_bytes(head[3:5], "big")
        if not 0 < length <= MAX_RECORD:
            raise _Malformed("length of a record")
        parts += data[at + 5 : at + 5 + length]
        at += 5 + length
        if parts and parts[0] != CLIENT_HELLO:
            raise _Malformed("no client hello")
        if len(parts) >= 4:
            size = int.from_bytes(parts[1:4], "big")
            if size > MAX_HELLO:
                raise _Malformed("too long")
            if len(parts) >= 4 + size:
                return bytes(parts[4 : 4 + size])
        if at >= len(data):
            return None
    raise _Malformed("too many records")


class _Reader:
    """Vectors of a TLS structure, each checked against what is left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise _Malformed("a field is longer than what it stands in")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def more(self) -> bool:
        return self._at < len(self._data)


def _hello(message: bytes) -> ClientHello:
    reader = _Reader(message)
    legacy = reader.number(2)
    reader.take(32)  # random
    reader.vector(1)  # session
    if len(reader.vector(2)) < 2:  # cipher suites
        raise _Malformed("no cipher suites")
    reader.vector(1)  # compression
    found: dict[int, bytes] = {}
    if reader.more():
        extensions = _Reader(reader.vector(2))
        while extensions.more():
            kind = extensions.number(2)
            body = extensions.vector(2)
            if kind in found:
                raise _Malformed("an extension comes twice")
            found[kind] = body
    if reader.more():
        raise _Malformed("bytes after the extensions")
    return ClientHello(
        server_name=_server_name(found[SERVER_NAME]) if SERVER_NAME in found else "",
        alpn=_protocols(found[ALPN]) if ALPN in found else (),
        versions=_versions(legacy, found.get(SUPPORTED_VERSIONS)),
        ech=ENCRYPTED_CLIENT_HELLO in found,
    )


def _server_name(body: bytes) -> str:
    names = _Reader(_Reader(body).vector(2))
    while names.more():
        kind = names.number(1)
        name = names.vector(2)
        if kind == 0:
            return name.rstrip(b".").decode("ascii").lower() if _HOST.fullmatch(name) else ""
    return ""


def _protocols(body: bytes) -> tuple[str, ...]:
    protocols = _Reader(_Reader(body).vector(2))
    found = []
    while protocols.more():
        name = protocols.vector(1)
        if not name:
            raise _Malformed("an empty protocol")
        if not _is_grease(name):
            found.append(name.decode("latin-1"))
    return tuple(found)


def _versions(legacy: int, body: bytes | None) -> tuple[str, ...]:
    if body is None:  # before 1.3 a client offers everything up to one version
        return tuple(name for number, name in VERSIONS.items() if 0x0301 <= number <= min(legacy, 0x0303))
    offered = _Reader(body).vector(1)
    numbers = {int.from_bytes(offered[at : at + 2], "big") for at in range(0, len(offered), 2)}
    return tuple(name for number, name in VERSIONS.items() if number in numbers)


def _is_grease(name: bytes) -> bool:
    """RFC 8701: values that clients offer to see whether servers bear them."""
    return len(name) == 2 and name[0] == name[1] and name[0] & 0x0F == 0x0A
