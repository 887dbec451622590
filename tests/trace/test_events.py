"""The enums of ``events.py`` and the offsets of ``arena_image.py`` agree with the C headers."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from sentra_sandbox.trace import arena_image, codec, events, format

CSRC = Path(__file__).resolve().parents[2] / "csrc" / "record"


@pytest.mark.parametrize(
    ("enum", "prefix"),
    [
        (events.EventType, "SENTRA_EVENT_"),
        (events.EventFlag, "SENTRA_FLAG_"),
        (events.Note, "SENTRA_NOTE_"),
        (events.SegmentKind, "SENTRA_SEGMENT_"),
        (events.SegmentFlag, "SENTRA_SEGMENT_"),
    ],
)
def test_enums_are_those_of_the_header(enum: type[IntEnum], prefix: str) -> None:
    names = {
        "EventType": "sentra_event_type",
        "EventFlag": "sentra_event_flags",
        "Note": "sentra_note",
        "SegmentKind": "sentra_segment_kind",
        "SegmentFlag": "sentra_segment_flags",
    }
    header = (CSRC / "event.h").read_text()
    body = re.search(rf"enum {names[enum.__name__]} \{{(.*?)\}};", header, re.S)
    assert body is not None
    in_c = {name.removeprefix(prefix): int(value) for name, value in re.findall(r"(SENTRA_\w+) = (\d+)", body[1])}
    assert in_c == {member.name: int(member.value) for member in enum}


def test_constants_are_those_of_the_headers() -> None:
    text = "".join((CSRC / name).read_text() for name in ("event.h", "ring.h", "pack.h"))

    def constant(name: str) -> int:
        found = re.search(rf"#define {name} \(?(0x)?([0-9a-f]+)u?l*(?: \* (\d+)u)?", text)
        assert found is not None, name
        return int(found[2], 16 if found[1] else 10) * int(found[3] or 1)

    assert constant("SENTRA_RECORD_MAX") == codec.RECORD_MAX
    assert constant("SENTRA_PACK_VERSION") == codec.PACK_VERSION
    assert constant("SENTRA_BLOCK_EVENTS_MAX") == codec.BLOCK_EVENTS_MAX
    assert constant("SENTRA_ARENA_MAGIC") == arena_image._MAGIC
    assert constant("SENTRA_ARENA_VERSION") == arena_image._VERSION
    assert constant("SENTRA_IN_FLIGHT_SLOTS") == arena_image._SLOTS
    assert constant("SENTRA_ARENA_SLOTS_OFFSET") == arena_image._SLOTS_AT
    assert f"sizeof(struct sentra_arena_control) == {arena_image._CONTROL_SIZE}" in text
    assert f"sizeof(struct sentra_ring) == {arena_image._RING_SIZE}" in text
    assert codec.RECORD_HEAD.size == 64 and codec.SEGMENT_HEAD.size == 16
    assert format.BLOCK_HEADER_SIZE == 152 and format.EVENTS_HEADER_SIZE == 32
