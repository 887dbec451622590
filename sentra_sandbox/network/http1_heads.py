"""Heads of HTTP/1 messages: read strictly, so that nobody behind us can read them in another way. No I/O here.

What RFC 9112 lets a recipient repair is refused here (bare CR or LF, folded lines, a space before a colon, both lengths, ...): a head is
forwarded
byte for byte as it came, and may have one meaning only. Patterns have no nested repetition that could go back over a line more than once:
a hostile head
costs time in proportion to its size.
"""

from __future__ import annotations

import re

from sentra_sandbox.network.exchange import Headers, RequestHead, ResponseHead

MAX_HEAD = 256 * 1024
MAX_LENGTH_DIGITS = 18

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*"
_FIELD = rb"(" + _TOKEN + rb"):(" + _VALUE + rb")\r\n"
_FIELDS = rb"((?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*)"
_REQUEST_LINE = rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]+) HTTP/1\.([01])\r\n"
_STATUS_LINE = rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _VALUE + rb"))?\r\n"

_field = re.compile(_FIELD)
_fields = re.compile(_FIELDS)
_request = re.compile(_REQUEST_LINE + _FIELDS + rb"\r\n")
_response = re.compile(_STATUS_LINE + _FIELDS + rb"\r\n")
request_line = re.compile(_REQUEST_LINE)
status_line = re.compile(_STATUS_LINE)
_token = re.compile(_TOKEN)
_value = re.compile(_VALUE)
_target = re.compile(rb"[^\x00-\x20\x7f]+")
_bare_line_feed = re.compile(rb"(?<!\r)\n")
_bare_return = re.compile(rb"\r(?!\n)")
_folded = re.compile(rb"\r\n[ \t]")
_spaced_colon = re.compile(rb"\r\n" + _TOKEN + rb"[ \t]+:")

_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection", b"host", b"upgrade", b"keep-alive"))
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"))
_NOT_IN_TRAILERS = frozenset((b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade", b"trailer"))


class BadMessage(Exception):
    """Not HTTP/1, or with more than one meaning. ``status`` is for a client that sent it (400, 431)."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class Framing:
    """How a message ends and what comes after. ``length``: bytes of the body, None if ``chunked`` or until the connection's end.
    ``keep``: the sender would use the connection again. ``upgrade``: protocol that it names, lower case, b"" for none.
    """

    __slots__ = ("chunked", "keep", "length", "upgrade")

    def __init__(self, length: int | None, chunked: bool, keep: bool, upgrade: bytes) -> None:
        self.length = length
        self.chunked = chunked
        self.keep = keep
        self.upgrade = upgrade


def parse_request(raw: bytes, scheme: str) -> tuple[RequestHead, Framing]:
    """The head that ``raw`` is, to the empty line. Raises ``BadMessage``."""
    match = _request.fullmatch(raw)
    if match is None:
        raise BadMessage(_why_not(raw, request_line, "request line"))
    method, target, minor, block = match.groups()
    version = "1.1" if minor == b"1" else "1.0"
    headers = _pairs(block)
    found = _framing_fields(headers)
    hosts = found.get(b"host", ())
    if len(hosts) > 1:
        raise BadMessage("more than one Host")
    framing = _framing(found, version)
    if framing.length is None and not framing.chunked:
        framing.length = 0  # a request without either has no body
    head = RequestHead(
        method,
        scheme.encode(),
        _authority(method, target, hosts),
        target,
        headers,
        version,
        raw,
        framing.length,
    )
    return head, framing


def parse_response(raw: bytes, method: bytes) -> tuple[ResponseHead, Framing]:
    """The head of an answer to a request of that method. Raises ``BadMessage``."""
    match = _response.fullmatch(raw)
    if match is None:
        raise BadMessage(_why_not(raw, status_line, "status line"))
    minor, code, reason, block = match.groups()
    version = "1.1" if minor == b"1" else "1.0"
    headers = _pairs(block)
    framing = _framing(_framing_fields(headers), version)
    status = int(code)
    if bodiless(method, status):
        framing.length, framing.chunked = 0, False
    return ResponseHead(status, reason or b"", headers, version, raw, framing.length), framing


def framing_of(head: RequestHead | ResponseHead) -> Framing:
    """The framing that headers state, whoever made them. Raises ``BadMessage``."""
    return _framing(_framing_fields(head.headers), head.version if head.version != "2" else "1.1")


def parse_trailers(block: bytes) -> Headers:
    """Field lines after the last chunk. Raises ``BadMessage``."""
    if not _fields.fullmatch(block):
        raise BadMessage("malformed trailers")
    trailers = _pairs(block)
    for name, _ in trailers:
        if name.lower() in _NOT_IN_TRAILERS:
            raise BadMessage(f"{name.decode('latin-1')} among the trailers")
    return trailers


def bodiless(method: bytes, status: int) -> bool:
    """Whether an answer has no body, whatever its headers say (RFC 9112, 6.3)."""
    return status < 200 or status in (204, 304) or method == b"HEAD" or (method == b"CONNECT" and status < 300)


def check_part(data: bytes | bytearray, line: re.Pattern[bytes], start: int) -> None:
    """What has come of a head so far, ``start`` bytes of it seen before: raises ``BadMessage`` as soon as it can be none, so that nobody
    waits for its end.
    """
    if _bare_line_feed.search(data, max(start - 1, 0)):
        raise BadMessage("a line that ends without CR")
    if len(data) > MAX_HEAD:
        raise BadMessage(f"a head of more than {MAX_HEAD} bytes", 431)
    if b"\r\n" in data and not line.match(data):
        raise BadMessage("malformed first line")


def build_request(head: RequestHead) -> bytes:
    """A head for a request that came in another way (HTTP/2, a test). Raises ``BadMessage`` for what HTTP/1 cannot hold."""
    if not _token.fullmatch(head.method) or not _target.fullmatch(head.target):
        raise BadMessage("a method or target that HTTP/1 cannot hold")
    headers: Headers = []
    cookies: list[bytes] = []
    lengths = hosts = 0
    for name, value in head.headers:
        key = name.lower()
        if key == b"cookie":
            cookies.append(value)
        elif key not in _HOP_BY_HOP:
            lengths += key == b"content-length"
            hosts += key == b"host"
            headers.append((name, value))
    if cookies:  # HTTP/2 may split it (RFC 9113, 8.2.3)
        headers.append((b"cookie", b"; ".join(cookies)))
    if not hosts:
        headers.insert(0, (b"host", head.authority))
    if head.length is None:
        headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    elif head.length and not lengths:
        headers.append((b"content-length", b"%d" % head.length))
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (head.method, head.target, build_fields(headers))


def build_response(head: ResponseHead, method: bytes, version: str) -> tuple[bytes, Framing]:
    """A head for an answer that has none in HTTP/1 form, for a client of that version. Raises ``BadMessage``."""
    if not 100 <= head.status <= 999 or not _value.fullmatch(head.reason):
        raise BadMessage("a status that HTTP/1 cannot hold")
    keep_hop = head.status == 101 or head.version != "2"
    headers = [pair for pair in head.headers if keep_hop or pair[0].lower() not in _HOP_BY_HOP]
    framing = _framing(_framing_fields(headers), "1.1")
    if framing.chunked and version == "1.0":
        headers = [pair for pair in headers if pair[0].lower() != b"transfer-encoding"]
        framing.chunked = False
    if bodiless(method, head.status):
        framing.length, framing.chunked = 0, False
    elif framing.length is None and not framing.chunked:
        if head.length is not None:
            framing.length = head.length
            headers.append((b"content-length", b"%d" % head.length))
        elif version == "1.1":
            framing.chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        else:
            framing.keep = False
    raw = b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason or reason_of(head.status), build_fields(headers))
    return raw, framing


def build_fields(headers: Headers) -> bytes:
    """Field lines. Raises ``BadMessage`` for names and values that would end a line or a head."""
    for name, value in headers:
        if not _token.fullmatch(name) or not _value.fullmatch(value):
            raise BadMessage(f"a header that HTTP/1 cannot hold: {name[:80]!r}")
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def reason_of(status: int) -> bytes:
    """The usual phrase."""
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def header(headers: Headers, name: bytes) -> bytes:
    """The first value under that lower-case name, or b""."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return b""


def _pairs(block: bytes) -> Headers:
    return [(name, value.strip(b" \t")) for name, value in _field.findall(block)]


def _framing_fields(headers: Headers) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        key = name.lower()
        if key in _FRAMING:
            found.setdefault(key, []).append(value)
    return found


def _framing(found: dict[bytes, list[bytes]], version: str) -> Framing:
    length: int | None = None
    chunked = False
    lengths = found.get(b"content-length")
    codings = found.get(b"transfer-encoding")
    if lengths:
        if codings:
            raise BadMessage("both Content-Length and Transfer-Encoding")
        length = _length(lengths)
    elif codings:
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadMessage("a Transfer-Encoding other than chunked")
        if version == "1.0":
            raise BadMessage("Transfer-Encoding in HTTP/1.0")
        chunked = True
    keep = version == "1.1"
    upgrade = b""
    options = found.get(b"connection")
    if options:
        words = {word.strip().lower() for value in options for word in value.split(b",")}
        keep = (keep or b"keep-alive" in words) and b"close" not in words
        if b"upgrade" in words and b"upgrade" in found:
            upgrade = found[b"upgrade"][0].lower()
    return Framing(length, chunked, keep, upgrade)


def _length(values: list[bytes]) -> int:
    first = values[0]
    if any(value != first for value in values):
        raise BadMessage("several Content-Lengths that differ")
    if not first.isdigit() or len(first) > MAX_LENGTH_DIGITS:
        raise BadMessage("a Content-Length that is not a number")
    return int(first)


def _authority(method: bytes, target: bytes, hosts: list[bytes] | tuple[()]) -> bytes:
    if method == b"CONNECT":
        return target
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.isalpha():  # absolute form: it beats Host (RFC 9112, 3.2.2)
        return rest.partition(b"/")[0].partition(b"?")[0].rpartition(b"@")[2]
    return hosts[0] if hosts else b""


def _why_not(raw: bytes, line: re.Pattern[bytes], name: str) -> str:
    """In words, why a head does not match its pattern."""
    if not line.match(raw):
        return f"malformed {name}"
    if b"\0" in raw:
        return "a NUL byte in the head"
    for pattern, what in (
        (_bare_line_feed, "a line that ends without CR"),
        (_bare_return, "a CR that ends no line"),
        (_folded, "a folded header line"),
        (_spaced_colon, "a space before a colon"),
    ):
        if pattern.search(raw):
            return what
    return "a malformed header line"
