"""Which heads are HTTP/1 with one meaning, and what they mean."""

from __future__ import annotations

import random
import time

import pytest

from sentra_sandbox.network.exchange import RequestHead, ResponseHead
from sentra_sandbox.network.http1_heads import (
    BadMessage,
    build_request,
    build_response,
    check_part,
    parse_request,
    parse_response,
    parse_trailers,
    request_line,
)

H = b"Host: a\r\n"

# head (without the empty line) → length, keep, upgrade
GOOD_REQUESTS = [
    (b"GET / HTTP/1.1\r\n" + H, 0, True, b""),
    (b"GET / HTTP/1.1\r\n", 0, True, b""),  # the server's to refuse
    (b"GET / HTTP/1.0\r\n", 0, False, b""),
    (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", 0, True, b""),
    (b"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n", 0, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: close\r\n", 0, False, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: x, CLOSE ,y\r\n", 0, False, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: x\r\nConnection: close\r\n", 0, False, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: keep-alive, close\r\n", 0, False, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n", 0, True, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 10\r\n", 10, True, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"content-length:\t10 \t\r\n", 10, True, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0010\r\n", 10, True, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nContent-Length: 5\r\n", 5, True, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 999999999999999999\r\n", 999999999999999999, True, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n", None, True, b""),
    (b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding:  Chunked \r\n", None, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n", 0, True, b"websocket"),
    (b"GET / HTTP/1.1\r\n" + H + b"Upgrade: websocket\r\n", 0, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: upgrade\r\n", 0, True, b""),
    (b"GET http://b/x HTTP/1.1\r\n" + H, 0, True, b""),
    (b"OPTIONS * HTTP/1.1\r\n" + H, 0, True, b""),
    (b"CONNECT a:443 HTTP/1.1\r\n" + H, 0, True, b""),
    (b"M-SEARCH * HTTP/1.1\r\n" + H, 0, True, b""),
    (b"get /\xc3\xa9 HTTP/1.1\r\n" + H, 0, True, b""),
    (b"GET /?q=\"<>{}|\\^` HTTP/1.1\r\n" + H, 0, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"X:\r\n", 0, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"X: \xff\xfe \t y\r\n", 0, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"!#$%&'*+-.^_`|~09aZ: y\r\n", 0, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"X: a:b: c\r\n", 0, True, b""),
    (b"GET / HTTP/1.1\r\n" + H + b"Content-Length-X: 5\r\nX-Transfer-Encoding: gzip\r\n", 0, True, b""),
]

BAD_REQUESTS = [
    b"GET /\r\n",
    b"GET\r\n",
    b"\r\n",
    b"GET / HTTP/1.1 \r\n" + H,
    b"GET  / HTTP/1.1\r\n" + H,
    b"GET /  HTTP/1.1\r\n" + H,
    b" GET / HTTP/1.1\r\n" + H,
    b"GET\t/ HTTP/1.1\r\n" + H,
    b"GET /a b HTTP/1.1\r\n" + H,
    b"GET /\x01 HTTP/1.1\r\n" + H,
    b"GET /\x7f HTTP/1.1\r\n" + H,
    b"GET /\x00 HTTP/1.1\r\n" + H,
    b"GET /\r HTTP/1.1\r\n" + H,
    b"G\xc3T / HTTP/1.1\r\n" + H,
    b"G(T / HTTP/1.1\r\n" + H,
    b"GET / HTTP/2.0\r\n" + H,
    b"GET / HTTP/1.2\r\n" + H,
    b"GET / HTTP/1.10\r\n" + H,
    b"GET / http/1.1\r\n" + H,
    b"GET / HTTP/0.9\r\n" + H,
    b"GET / HTTP/1.1\n" + H,
    b"GET / HTTP/1.1\r\nHost: a\n",
    b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n",
    b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\r\n",
    b"GET / HTTP/1.1\r\nHost: a\x00\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n",
    b"GET / HTTP/1.1\r\nHost\t: a\r\n",
    b"GET / HTTP/1.1\r\n Host: a\r\n",
    b"GET / HTTP/1.1\r\nX: a\r\n b\r\n",
    b"GET / HTTP/1.1\r\nX: a\r\n\tb\r\n",
    b"GET / HTTP/1.1\r\nX: a\r\n \r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n",
    b"GET / HTTP/1.1\r\n: empty\r\n",
    b"GET / HTTP/1.1\r\nX y: a\r\n",
    b"GET / HTTP/1.1\r\nX\xe9: a\r\n",
    b"GET / HTTP/1.1\r\nX\x00: a\r\n",
    b"GET / HTTP/1.1\r\nX: a\x0bb\r\n",
    b"GET / HTTP/1.1\r\nX: a\x1b\r\n",
    b"GET / HTTP/1.1\r\nX: a\x7f\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nContent-Length: 05\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5, 5\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5,6\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: +5\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: -5\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5_0\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0x5\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5.0\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: \xb2\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length:\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1 2\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1234567890123456789\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip, chunked\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, chunked\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: identity\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: xchunked\r\n",
    b"POST / HTTP/1.1\r\n" + H + b'Transfer-Encoding: "chunked"\r\n',
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked;x\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding:\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding:\x0bchunked\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding : chunked\r\n",
    b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding\x00: chunked\r\n",
    b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n",
]

GOOD_RESPONSES = [
    (b"HTTP/1.1 200 OK\r\n", b"GET", None, True),
    (b"HTTP/1.1 200 \r\n", b"GET", None, True),
    (b"HTTP/1.1 200\r\n", b"GET", None, True),
    (b"HTTP/1.1 999 \xe9 x\r\n", b"GET", None, True),
    (b"HTTP/1.0 200 OK\r\n", b"GET", None, False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", b"GET", 7, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", b"HEAD", 0, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"HEAD", 0, True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n", b"GET", 0, True),
    (b"HTTP/1.1 204 No Content\r\n", b"GET", 0, True),
    (b"HTTP/1.1 100 Continue\r\n", b"POST", 0, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", b"CONNECT", 0, True),
    (b"HTTP/1.1 403 No\r\nContent-Length: 7\r\nConnection: close\r\n", b"CONNECT", 7, False),
]

BAD_RESPONSES = [
    b"HTTP/1.1 20 OK\r\n",
    b"HTTP/1.1 2000 OK\r\n",
    b"HTTP/1.1 099 OK\r\n",
    b"HTTP/1.1  200 OK\r\n",
    b"HTTP/2 200 OK\r\n",
    b"HTTP/1.1 200 O\x00K\r\n",
    b"ICY 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n",
    b"HTTP/1.1 200 OK\r\nX : a\r\n",
    b"HTTP/1.1 200 OK\nX: a\r\n",
]


@pytest.mark.parametrize(("raw", "length", "keep", "upgrade"), GOOD_REQUESTS)
def test_good_requests(raw: bytes, length: int | None, keep: bool, upgrade: bytes) -> None:
    head, framing = parse_request(raw + b"\r\n", "http")
    assert (head.length, framing.keep, framing.upgrade) == (length, keep, upgrade)
    assert framing.chunked == (length is None)
    assert head.raw == raw + b"\r\n"
    check_part(raw, request_line, 0)


@pytest.mark.parametrize("raw", BAD_REQUESTS)
def test_bad_requests(raw: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_request(raw + b"\r\n", "http")
    assert caught.value.status == 400 and caught.value.detail


@pytest.mark.parametrize(("raw", "method", "length", "keep"), GOOD_RESPONSES)
def test_good_responses(raw: bytes, method: bytes, length: int | None, keep: bool) -> None:
    head, framing = parse_response(raw + b"\r\n", method)
    assert (head.length, framing.keep, framing.chunked) == (length, keep, False)


@pytest.mark.parametrize("raw", BAD_RESPONSES)
def test_bad_responses(raw: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_response(raw + b"\r\n", b"GET")


def test_what_a_head_says() -> None:
    head, _ = parse_request(b"POST http://u@b:8/x?y HTTP/1.1\r\nhOST: a \r\nX:  1\t\r\nX: 2\r\n\r\n", "https")
    assert (head.method, head.target, head.authority, head.scheme, head.version) == (b"POST", b"http://u@b:8/x?y", b"b:8", b"https", "1.1")
    assert head.headers == [(b"hOST", b"a"), (b"X", b"1"), (b"X", b"2")]
    assert parse_request(b"GET /a://b HTTP/1.1\r\nHost: h\r\n\r\n", "http")[0].authority == b"h"
    assert parse_request(b"CONNECT t:1 HTTP/1.1\r\nHost: h\r\n\r\n", "http")[0].authority == b"t:1"


@pytest.mark.parametrize("detail", ["Content-Length and Transfer", "folded", "space before a colon", "NUL", "without CR", "ends no line", "request line"])
def test_reasons_are_named(detail: str) -> None:
    details = []
    for raw in BAD_REQUESTS:
        with pytest.raises(BadMessage) as caught:
            parse_request(raw + b"\r\n", "http")
        details.append(caught.value.detail)
    assert any(detail in each for each in details)


@pytest.mark.parametrize("part", [b"GET /\r\n", b"GET / HTTP/1.1\nHost", b"GET / HTTP/1.1\r\nHost: a\n", b"\x16\x03\x01\r\n", b"\n"])
def test_what_can_be_no_head_is_refused_before_its_end(part: bytes) -> None:
    with pytest.raises(BadMessage):
        check_part(part, request_line, 0)
    with pytest.raises(BadMessage):
        for end in range(1, len(part) + 1):  # byte by byte
            check_part(part[:end], request_line, end - 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nX:" + b" " * 200_000 + b"\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 60_000 + b"b\r\n\r\n",
        b"GET " + b"/" * 200_000 + b"\r\n\r\n",
        b"G" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: " + b"," * 200_000 + b"\r\nno\r\n\r\n",
    ],
)
def test_hostile_heads_cost_linear_time(raw: bytes) -> None:
    before = time.process_time()
    with pytest.raises(BadMessage):
        parse_request(raw, "http")
    assert time.process_time() - before < 0.5


def test_trailers() -> None:
    assert parse_trailers(b"X: 1\r\nY:2\r\n") == [(b"X", b"1"), (b"Y", b"2")]
    for bad in (b"X 1\r\n", b"Content-Length: 1\r\n", b"transfer-encoding: chunked\r\n", b"Host: a\r\n", b" X: 1\r\n"):
        with pytest.raises(BadMessage):
            parse_trailers(bad)


def request(**changes: object) -> RequestHead:
    fields: dict[str, object] = {
        "method": b"GET", "scheme": b"https", "authority": b"h", "target": b"/", "headers": [], "version": "2", "length": 0,
    }  # fmt: skip
    return RequestHead(**{**fields, **changes})  # type: ignore[arg-type]


def test_requests_of_other_protocols() -> None:
    headers = [(b"accept", b"*/*"), (b"cookie", b"a=1"), (b"te", b"trailers"), (b"cookie", b"b=2")]
    assert build_request(request(headers=headers)) == b"GET / HTTP/1.1\r\nhost: h\r\naccept: */*\r\ncookie: a=1; b=2\r\n\r\n"
    assert b"\r\ntransfer-encoding: chunked\r\n" in build_request(request(length=None))
    assert b"\r\ncontent-length: 5\r\n" in build_request(request(length=5))


@pytest.mark.parametrize(
    "change",
    [
        {"headers": [(b"x", b"a\r\nGET /evil HTTP/1.1")]},
        {"headers": [(b"x\r\ny", b"a")]},
        {"headers": [(b"x y", b"a")]},
        {"headers": [(b"x", b"a\x00")]},
        {"headers": [(b"cookie", b"a\nb")]},
        {"target": b"/ HTTP/1.1\r\nX: y"},
        {"target": b""},
        {"method": b"GET /"},
        {"authority": b"h\r\nX: y"},
    ],
)
def test_no_head_can_be_split_by_another_protocol(change: dict[str, object]) -> None:
    with pytest.raises(BadMessage):
        build_request(request(**change))


def test_answers_of_other_protocols() -> None:
    head = ResponseHead(200, b"", [(b"x", b"y")], "2")
    assert build_response(head, b"GET", "1.1")[0] == b"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
    raw, framing = build_response(head, b"GET", "1.0")
    assert raw == b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n" and not framing.keep and framing.length is None
    head = ResponseHead(204, b"", [], "2", length=0)
    assert build_response(head, b"GET", "1.1")[0] == b"HTTP/1.1 204 No Content\r\n\r\n"
    with pytest.raises(BadMessage):
        build_response(ResponseHead(200, b"a\r\nb", [], "2"), b"GET", "1.1")
    with pytest.raises(BadMessage):
        build_response(ResponseHead(200, b"", [(b"x", b"a\r\nb: c")], "2"), b"GET", "1.1")


def test_mutated_heads_raise_nothing_else() -> None:
    chance = random.Random(7)
    seeds = [raw + b"\r\n" for raw, *_ in GOOD_REQUESTS] + [raw + b"\r\n" for raw in BAD_REQUESTS]
    for _ in range(3000):
        raw = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.choice(b"\r\n\0 \t:,;09aZ\xff")
        for parse in (lambda raw: parse_request(raw, "http"), lambda raw: parse_response(raw, b"GET")):
            try:
                _, framing = parse(bytes(raw))
            except BadMessage:
                continue
            assert b"\n" not in bytes(raw).replace(b"\r\n", b"")
            assert framing.length is None or framing.length >= 0
