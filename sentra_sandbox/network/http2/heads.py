"""Field lists of HTTP/2 ↔ heads of an exchange, with what RFC 9113 says about crossing versions. Pure.

Rules. What comes in is checked here, not by the library: one malformed request is refused alone, and nothing that could split or smuggle a
request reaches an HTTP/1 origin: names are tokens in lower case, values hold no control characters, connection-specific fields
are refused, ``content-length`` is one number, ``host`` says the same as ``:authority`` and is left out, ``cookie`` is joined (8.2.3).
What goes out loses the fields that belong to an HTTP/1 connection, and what ``Connection`` names (8.2.2).
"""

from __future__ import annotations

import re

from sentra_sandbox.network.exchange import Headers, RequestHead, ResponseHead
from sentra_sandbox.network.http2.errors import BadHead

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_PATH = re.compile(rb"/[\x21-\x7e\x80-\xff]*|\*").fullmatch
_AUTHORITY = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*").fullmatch
_DIGITS = re.compile(rb"[0-9]{1,18}").fullmatch
_STATUS = re.compile(rb"[1-9][0-9]{2}").fullmatch
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")

_CONNECTION_SPECIFIC = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_NOT_FORWARDED = _CONNECTION_SPECIFIC | {b"host", b"http2-settings"}


def read_request(fields: Headers, scheme: bytes, stream: int, ended: bool) -> RequestHead:
    """A request's head from its fields. ``scheme`` is the connection's own. Raises ``BadHead``."""
    pseudo, headers = _split(fields, (b":method", b":scheme", b":authority", b":path", b":protocol"))
    method, authority, path = pseudo.get(b":method", b""), pseudo.get(b":authority", b""), pseudo.get(b":path", b"")
    if not _TOKEN(method):
        raise BadHead(f"the method {method!r} is none")
    if method == b"CONNECT":
        if b":protocol" not in pseudo and (path or b":scheme" in pseudo):
            raise BadHead("CONNECT with a path or scheme")
        path = path or authority
    elif b":protocol" in pseudo:
        raise BadHead(":protocol belongs to CONNECT")
    elif not _PATH(path) or (path == b"*" and method != b"OPTIONS"):
        raise BadHead(f"the path {path[:200]!r} is none")
    headers, host = _without_host(headers)
    if authority and host and authority.lower() != host.lower():
        raise BadHead(f":authority is {authority[:200]!r}, but host is {host[:200]!r}")
    authority = authority or host
    if not _AUTHORITY(authority):
        raise BadHead(f"the authority {authority[:200]!r} is none")
    headers, length = _checked_length(_joined_cookies(headers))
    return RequestHead(method, scheme, authority, path, headers, "2", length=0 if ended else length, stream=stream)


def read_response(fields: Headers, ended: bool) -> ResponseHead:
    """A response's head from its fields. Raises ``BadHead``."""
    pseudo, headers = _split(fields, (b":status",))
    status = pseudo.get(b":status", b"")
    if not _STATUS(status) or status == b"101":
        raise BadHead(f"the status {status[:20]!r} is none")
    headers, length = _checked_length(headers)
    return ResponseHead(int(status), b"", headers, "2", length=0 if ended else length)


def read_trailers(fields: Headers) -> Headers:
    """Trailers, checked. Raises ``BadHead``."""
    return _split(fields, ())[1]


def request_fields(head: RequestHead) -> Headers:
    """The field list of a request of any version. Raises ``BadHead``."""
    authority = head.authority or next((value for name, value in head.headers if name.lower() == b"host"), b"")
    fields = [(b":method", head.method), (b":scheme", head.scheme), (b":authority", authority), (b":path", _path(head))]
    if not authority:
        del fields[2]
    return fields + _forwarded(head.headers, request=True)


def response_fields(head: ResponseHead) -> Headers:
    """The field list of a response of any version. Raises ``BadHead``."""
    if not 100 <= head.status <= 999 or head.status == 101:
        raise BadHead(f"status {head.status} does not exist in HTTP/2")
    return [(b":status", b"%d" % head.status), *_forwarded(head.headers, request=False)]


def trailer_fields(trailers: Headers) -> Headers:
    """The field list of trailers of any version. Raises ``BadHead``."""
    return _forwarded(trailers, request=False)


def _split(fields: Headers, known: tuple[bytes, ...]) -> tuple[dict[bytes, bytes], Headers]:
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    for name, value in fields:
        if _CONTROL(value):
            raise BadHead(f"the value of {name[:100]!r} has control characters")
        if name[:1] == b":":
            if headers or name not in known or name in pseudo:
                raise BadHead(f"{name[:100]!r} is not allowed here")
            pseudo[name] = value
            continue
        if not _NAME(name):
            raise BadHead(f"{name[:100]!r} is no field name")
        if name in _CONNECTION_SPECIFIC:
            raise BadHead(f"{name.decode()} does not exist in HTTP/2")
        value = value.strip(b" \t")
        if name == b"te" and value.lower() != b"trailers":
            raise BadHead("te other than trailers")
        headers.append((bytes(name), value))
    return pseudo, headers


def _without_host(headers: Headers) -> tuple[Headers, bytes]:
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        raise BadHead("several host fields")
    if not hosts:
        return headers, b""
    return [header for header in headers if header[0] != b"host"], hosts[0]


def _joined_cookies(headers: Headers) -> Headers:
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    joined: Headers = []
    for name, value in headers:
        if name != b"cookie":
            joined.append((name, value))
        elif cookies:
            joined.append((name, b"; ".join(cookies)))
            cookies = []
    return joined


def _checked_length(headers: Headers) -> tuple[Headers, int | None]:
    lengths = [value for name, value in headers if name == b"content-length"]
    if not lengths:
        return headers, None
    if not _DIGITS(lengths[0]) or any(value != lengths[0] for value in lengths):
        raise BadHead(f"content-length {b', '.join(lengths)[:100]!r}")
    if len(lengths) > 1:
        headers = [header for header in headers if header[0] != b"content-length"] + [(b"content-length", lengths[0])]
    return headers, int(lengths[0])


def _path(head: RequestHead) -> bytes:
    path = head.target
    absolute = _ABSOLUTE.match(path)
    if absolute:  # as a client sends it to a proxy
        path = path[absolute.end() :].partition(b"#")[0]
        if path[:1] != b"/":
            path = b"*" if head.method == b"OPTIONS" and not path else b"/" + path
    if not _PATH(path):
        raise BadHead(f"the path {path[:200]!r} is none")
    return path


def _forwarded(headers: Headers, *, request: bool) -> Headers:
    lowered = [(name.lower(), value.strip(b" \t")) for name, value in headers]
    dropped = _NOT_FORWARDED if request else _CONNECTION_SPECIFIC
    for name, value in lowered:
        if name == b"connection":
            dropped = dropped | {token.strip().lower() for token in value.split(b",")}
    fields: Headers = []
    for name, value in lowered:
        if name == b"te" and b"trailers" in value.lower():
            value = b"trailers"  # also where Connection names it: it is the one that has a meaning in HTTP/2
        elif name in dropped or name == b"te":
            continue
        if not _NAME(name) or _CONTROL(value):
            raise BadHead(f"{name[:100]!r} cannot go on as a field of HTTP/2")
        fields.append((name, value))
    return fields
