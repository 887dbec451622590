"""The pure parts of HTTP/2: frames looked at before the library sees them, budgets, field lists."""

from __future__ import annotations

import random

import pytest
from http2_peer import frame

from sentra_sandbox.network.exchange import RequestHead, ResponseHead
from sentra_sandbox.network.http2.errors import BadHead, WireBroken
from sentra_sandbox.network.http2.frames import IDLE_FRAMES, Budget, FrameCutter, GoAway
from sentra_sandbox.network.http2.heads import read_request, read_response, request_fields, response_fields


@pytest.mark.parametrize("seed", range(30))
def test_goaway_is_cut_out_wherever_the_bytes_are_split(seed: int) -> None:
    chance = random.Random(seed)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    wanted, goaways, stream = preface, [], preface
    for _ in range(20):
        if chance.random() < 0.3:
            payload = chance.randbytes(8 + chance.choice([0, 5, 300]))
            stream += frame(7, 0, 0, payload)
            goaways.append(payload[8:])
        else:
            other = frame(chance.choice([0, 1, 4, 8]), 0, 1, chance.randbytes(chance.choice([0, 1, 9, 2000])))
            stream, wanted = stream + other, wanted + other
    cutter, seen, found, at = FrameCutter(24), b"", [], 0
    while at < len(stream):
        size = chance.choice([1, 2, 3, 8, 9, 10, 50, 5000])
        for part in cutter.feed(stream[at : at + size], 1.0):
            if isinstance(part, GoAway):
                found.append(part.debug)
            else:
                seen += part
        at += size
    assert seen == wanted and found == goaways


def test_idle_frames_are_counted_and_data_makes_them_good() -> None:
    cutter = FrameCutter(0)
    for _ in range(5):
        cutter.feed(frame(6, 0, 0, bytes(8)) * (IDLE_FRAMES - 1) + frame(0, 0, 1, b"x"), 1.0)
    with pytest.raises(WireBroken, match="carry nothing"):
        cutter.feed(frame(6, 0, 0, bytes(8)) * (IDLE_FRAMES + 1), 1.0)


def test_a_budget_fills_again_with_time() -> None:
    budget = Budget(2, 10)
    assert [budget.spend(100.0) for _ in range(3)] == [True, True, False]
    assert [budget.spend(100.25), budget.spend(100.25)] == [True, False]
    assert [budget.spend(200.0) for _ in range(3)] == [True, True, False]


PSEUDO = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/")]


def test_heads_of_requests() -> None:
    head = read_request([*PSEUDO, (b"host", b"a.test:8443"), (b"content-length", b"3"), (b"content-length", b"3")], b"https", 1, False)
    assert (head.authority, head.headers, head.length) == (b"a.test:8443", [(b"content-length", b"3")], 3)
    for bad in (
        [(b"content-length", b"3"), (b"content-length", b"4")],
        [(b"content-length", b"+3")],
        [(b"", b"x")],
        [(b":status", b"200")],
    ):
        with pytest.raises(BadHead):
            read_request([*PSEUDO, (b":authority", b"a.test"), *bad] if bad[0][0] != b":status" else [*PSEUDO, *bad], b"https", 1, False)
    for authority in (b"a.test/x", b"user@a.test", b"a.test\x00", b"a b"):
        with pytest.raises(BadHead):
            read_request([*PSEUDO, (b":authority", authority)], b"https", 1, False)


def test_heads_that_do_not_fit() -> None:
    with pytest.raises(BadHead):
        response_fields(ResponseHead(101, b"", [], "1.1"))
    with pytest.raises(BadHead):
        response_fields(ResponseHead(200, b"", [(b"x y", b"1")], "1.1"))
    with pytest.raises(BadHead):
        request_fields(RequestHead(b"GET", b"http", b"a", b"no-path", [], "1.1"))
    assert read_response([(b":status", b"200"), (b"content-length", b"7")], False).length == 7
    fields = request_fields(RequestHead(b"OPTIONS", b"http", b"", b"http://a.test", [(b"Host", b"a.test")], "1.1"))
    assert fields == [(b":method", b"OPTIONS"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"*")]
