"""The broker's journal: what it writes into an arena reads back as the events that were meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentra_sandbox.errors import RecordingError
from sentra_sandbox.network.journal import MAX_FIELDS, ArenaJournal
from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.codec import parse_record
from sentra_sandbox.trace.network_events import MAX_BYTES, Flag, NetworkEvent, NetworkType, from_event


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    made = Arena.create(tmp_path / "arena", rings=2)
    yield made
    made.close()
    made.free()


def written(arena: Arena) -> list[NetworkEvent]:
    data, at, events = arena.peek(1), 0, []
    while at < len(data):
        event, at = parse_record(data, at)
        seen = from_event(event)
        assert seen is not None
        events.append(seen)
    return events


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        (None, b""),
        ({"a": "ä\udc80", "n": [1, None, ["x", "y"]]}, b""),
        (None, b"x"),
        ({"b": True}, bytes(range(256)) * 3 + b"1234567"),
        ({"b": "12345678"}, b"12345678"),
        (None, b"z" * MAX_BYTES),
    ],
)
def test_an_event_comes_back(arena: Arena, fields: dict[str, Any] | None, data: bytes) -> None:
    journal = ArenaJournal(arena)
    journal.write(NetworkType.BODY, fields, data, connection=3, exchange=1 << 40, direction=1, flags=2, duration_ns=77)
    (event,) = written(arena)
    assert (event.type, event.fields, event.data, event.size) == (NetworkType.BODY, fields or {}, data, len(data))
    assert (event.connection, event.exchange, event.direction, event.flags, event.duration_ns) == (3, 1 << 40, 1, 2, 77)
    assert event.seq == 1 and event.time_ns > 0


def test_a_size_without_bytes(arena: Arena) -> None:
    ArenaJournal(arena).write(NetworkType.DATA, size=12345, flags=Flag.NO_BYTES)
    assert [(event.size, event.data) for event in written(arena)] == [(12345, b"")]


def test_long_bytes_go_in_several_events(arena: Arena) -> None:
    data = b"0123456789" * 20000
    ArenaJournal(arena).write(NetworkType.MESSAGE, {"opcode": "text"}, data, flags=Flag.FINAL)
    events = written(arena)
    assert b"".join(event.data for event in events) == data
    assert [event.flags for event in events] == [0] * (len(events) - 1) + [Flag.FINAL]
    assert [event.fields for event in events] == [{"opcode": "text"}] + [{}] * (len(events) - 1)


def test_long_fields_are_shortened_and_say_so(arena: Arena) -> None:
    headers = [[f"x-{number}", "ÿ" * 100] for number in range(2500)]
    ArenaJournal(arena).write(NetworkType.REQUEST, {"method": "GET", "path": "/" * 200_000, "headers": headers}, b"raw")
    (event,) = written(arena)
    assert event.fields["method"] == "GET" and event.fields["cut"] > MAX_FIELDS and event.data == b"raw"
    kept = event.fields["headers"]
    assert kept and kept == headers[: len(kept)] and set(event.fields["path"]) == {"/"}


def test_a_closed_arena_is_an_error(arena: Arena) -> None:
    journal = ArenaJournal(arena)
    arena.close()
    with pytest.raises(RecordingError):
        for _ in range(100):
            journal.write(NetworkType.BODY, None, b"x" * MAX_BYTES)
