"""Packing and both ways of unpacking: lossless, equal to each other, and unharmed by any input."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import time
from collections.abc import Sequence

import pytest
from recordings import made_up_events

from sentra_sandbox.errors import TraceError
from sentra_sandbox.trace import codec
from sentra_sandbox.trace.events import Event, Segment
from sentra_sandbox.trace.pack import Scan, unpack_records


def numbered(events: Sequence[Event], first: int = 1, step: int = 1) -> list[Event]:
    return [dataclasses.replace(event, seq=first + index * step) for index, event in enumerate(events)]


def records(events: Sequence[Event]) -> bytes:
    return b"".join(codec.build_record(event) for event in events)


def pack(raw: bytes, first: int, *, blobs: bool, gaps: bool = False) -> tuple[bytes, dict[bytes, bytes]]:
    """The content of one block that holds all of ``raw``, and the blobs it refers to."""
    scan = Scan([raw], first, allow_gaps=gaps, max_bytes=len(raw))
    assert scan.record_bytes == len(raw)
    store = {hashlib.sha256(data).digest(): bytes(data) for data in scan.large()}
    packed = scan.pack([hashlib.sha256(data).digest() if blobs else None for data in scan.large()])
    return packed, store if blobs else {}


@pytest.mark.parametrize("blobs", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_packing_loses_nothing(seed: int, blobs: bool) -> None:
    events = numbered(made_up_events(50 * 4**seed if seed < 4 else seed, seed), first=10**seed)
    raw = records(events)
    packed, store = pack(raw, 10**seed, blobs=blobs)
    assert codec.unpack(packed, lambda wanted: [store[digest] for digest in wanted]) == events
    assert unpack_records(packed, [store[digest] for digest in codec.packed_hashes(packed)], len(raw)) == raw
    assert set(codec.packed_hashes(packed)) == set(store)


def test_sequence_numbers_may_have_holes() -> None:
    events = numbered(made_up_events(100), first=5, step=3)
    events[50:] = numbered(events[50:], first=2**40)
    raw = records(events)
    packed, _ = pack(raw, 5, blobs=False, gaps=True)
    assert codec.unpack(packed, lambda _: ()) == events
    assert unpack_records(packed, [], len(raw)) == raw


def test_rings_are_merged_by_number_up_to_the_first_hole() -> None:
    events = numbered(made_up_events(300))
    rings = [[event for event in events if event.seq % 4 == ring and event.seq != 200] for ring in range(4)]
    scan = Scan([records(ring) for ring in rings], 1, allow_gaps=False, max_bytes=1 << 20)
    assert (scan.events, scan.first_seq, scan.last_seq, scan.gap) == (199, 1, 199, True)
    packed = scan.pack([None] * len(scan.large()))
    assert codec.unpack(packed, lambda _: ()) == events[:199]
    beyond = Scan([records(ring) for ring in rings], 1, allow_gaps=True, max_bytes=1 << 20)
    assert (beyond.events, beyond.last_seq, beyond.gaps) == (299, 300, 1)


@pytest.mark.parametrize("at", [0, 4, 8, 56, 57, 58, 63, 64 + 32 + 8])
def test_a_malformed_record_stops_the_scan(at: int) -> None:
    events = numbered(made_up_events(16))
    good, bad = records(events[:8]), bytearray(records(events[8:]))
    bad[at] ^= 0xFF
    scan = Scan([good + bytes(bad)], 1, allow_gaps=False, max_bytes=1 << 20)
    if at == 4:  # the type of an event is not the recorder's business
        assert scan.events == 16
    else:
        assert scan.events == 8 and (scan.damaged == 0 or scan.gap)
        assert scan.taken == [len(good)]


def test_records_cut_anywhere_are_refused_by_the_parser() -> None:
    record = codec.build_record(numbered(made_up_events(2, seed=3))[1])
    for end in range(len(record)):
        with pytest.raises(codec.CodecError):
            codec.parse_record(record[:end])


def _outcome(packed: bytes, store: dict[bytes, bytes], room: int) -> tuple[list[Event] | None, bytes | None]:
    """What Python and C make of it; None for a refusal. Anything but a refusal or data fails the test by itself."""
    try:
        python: list[Event] | None = codec.unpack(packed, lambda wanted: [store.get(digest, b"") for digest in wanted])
    except codec.CodecError:
        python = None
    try:
        blobs = [store.get(digest, b"") for digest in codec.packed_hashes(packed)]
        native: bytes | None = unpack_records(packed, blobs, room)
    except (codec.CodecError, TraceError):
        native = None
    return python, native


def test_damaged_content_is_data_or_an_error_and_both_readers_agree() -> None:
    rng = random.Random(7)
    events = numbered(made_up_events(120, seed=9))
    raw = records(events)
    packed, store = pack(raw, 1, blobs=True)
    accepted = refused = 0
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and accepted + refused < 1500:
        damaged = bytearray(packed)
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(min(len(damaged), 2000))
            damaged[place] = rng.choice((damaged[place] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 255))
        if rng.random() < 0.1:
            del damaged[rng.randrange(len(damaged)) :]
        python, native = _outcome(bytes(damaged), store, 4 * len(raw))
        if native is not None:
            assert python is not None
            assert records(python) == native
            accepted += 1
        else:
            refused += 1
    assert accepted > 50 and refused > 50


def test_a_tiny_block_cannot_claim_a_huge_one() -> None:
    events = numbered([Event(0, 1, 0, 1, 5, 0, 39, 7, (), ())] * 65536)
    raw = records(events)
    packed, _ = pack(raw, 1, blobs=False)
    assert len(packed) < 100  # all columns are constant
    assert len(codec.unpack(packed, lambda _: ())) == 65536
    with pytest.raises(TraceError):
        unpack_records(packed, [], 1000)
    many = Event(0, 1, 0, 1, 5, 0, 39, 7, (1,) * 255, tuple(Segment(0, 2, 0, 0, b"") for _ in range(255)))
    large = bytearray(pack(records(numbered([many, many])), 1, blobs=False)[0])
    assert large[1] == 2
    large[1:2] = b"\xff\xff\x03"  # 65,535 events of 255 arguments and segments each
    with pytest.raises(codec.CodecError):
        codec.unpack(bytes(large), lambda _: ())
    with pytest.raises(TraceError):
        unpack_records(bytes(large), [], 1 << 20)


def test_python_unpacks_fast_enough() -> None:
    """The goal is 150,000 events a second; the machine that runs this may be busy, so a third of it fails the test."""
    buffer = 0x7F0000001000
    shapes = [
        Event(0, 1, 0, 5, 0, 900, 257, 3, (2**64 - 100, buffer, 0, 0), (Segment(buffer, 1, 1, 1, b"/tmp/some/file"),)),
        Event(0, 1, 0, 5, 0, 700, 0, 100, (3, buffer, 4096), (Segment(buffer, 2, 1, 0, bytes(100)),)),
        Event(0, 1, 0, 5, 0, 300, 3, 0, (3,), ()),
    ]
    events = [dataclasses.replace(shapes[i % 3], seq=i + 1, time_ns=i * 9001 + i % 97) for i in range(6000)]
    packed, _ = pack(records(events), 1, blobs=False)
    best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        codec.unpack(packed, lambda _: ())
        best = min(best, time.perf_counter() - start)
    assert len(events) / best > 50_000
