"""A run that says something else than the program does: the first difference is found, reported, and ends the replay with status 122."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from edited_runs import edited, find_call, replaced, with_data
from replaying import record, run_directory
from running import Product

from sentra_sandbox.syscalls.table import call_named
from sentra_sandbox.trace.events import Event, EventType, SegmentKind

DIVERGED = 122
PREFIX = b"sentra-sandbox: "
SCRIPT = "import os, sys\nfor line in open('data'):\n    os.write(1, line.upper().encode())\nos.write(2, b'done')\nsys.exit(3)\n"


def number(name: str) -> int:
    row = call_named(name)
    assert row is not None
    return row.number


@pytest.fixture
def original(product: Product) -> Path:
    """A run of a program that prints what it read."""
    (product.work / "data").write_text("one\ntwo\nthree\n")
    record(product, "original", sys.executable, "-c", SCRIPT)
    return run_directory(product, "original")


def report(product: Product, run: Path) -> dict[str, object]:
    """The report as data; the text has the same in a few lines that are all ours."""
    finished = product("replay", "-q", str(run))
    assert finished.status == DIVERGED, finished
    lines = [line for line in finished.stderr.removeprefix(b"done").splitlines()]
    assert 4 <= len(lines) <= 40 and all(line.startswith(PREFIX) and len(line) < 500 for line in lines), lines
    as_data = product("replay", "--verify", "--json", str(run))
    assert as_data.status == DIVERGED
    assert as_data.stderr == b"" or b"may not replay" in as_data.stderr
    found = json.loads(as_data.stdout)
    assert found["identical"] is False
    divergence = found["divergence"]
    assert isinstance(divergence, dict)
    text = finished.stderr.decode()
    assert run.name in text and f"event {divergence['seq']:,}" in text and str(divergence["expected_event"])[:60] in text
    return divergence


def test_unchanged_copy_is_identical(product: Product, original: Path) -> None:
    """What the tests here do to a run is not what makes it differ."""
    finished = product("replay", "-q", str(edited(original, lambda events: events)))
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"ONE\nTWO\nTHREE\n", b"done")


def test_world_that_says_something_else(product: Product, original: Path) -> None:
    """The recorded content of the file is another: the program prints it, and that is not what it printed."""

    def change(events: list[Event]) -> list[Event]:
        index = find_call(events, number("read"), b"one\ntwo\n")
        return replaced(events, index, segments=with_data(events[index], b"two", b"owt"))

    found = report(product, edited(original, change))
    assert (found["kind"], found["expected_call"], found["argument"], found["offset"]) == ("bytes", "write", 1, 0)
    assert (found["expected"], found["actual"]) == (ord("T"), ord("O"))
    assert '"TWO\\n"' in str(found["expected_event"])


def test_output_before_the_difference_is_printed(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        index = find_call(events, number("write"), b"THREE")
        return replaced(events, index, segments=with_data(events[index], b"THREE", b"FOUR!"))

    run = edited(original, change)
    assert product("replay", str(run)).stdout == b"ONE\nTWO\n"
    assert report(product, run)["kind"] == "bytes"


def test_keep_going_shows_each_difference(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        for old, new in ((b"TWO", b"2!?"), (b"THREE", b"FOUR!")):
            index = find_call(events, number("write"), old)
            events = replaced(events, index, segments=with_data(events[index], old, new))
        return events

    run = edited(original, change)
    for most, differences in ((0, 1), (1, 2), (5, 2)):
        finished = product("replay", "--verify", "--json", "--keep-going", str(most), str(run))
        found = json.loads(finished.stdout)
        kinds = [found["divergence"]["kind"], *(other["kind"] for other in found["more"])]
        assert finished.status == 122 and kinds == ["bytes"] * differences
    passed = product("replay", "--keep-going", "5", str(run))
    assert passed.stdout == b"ONE\n2!?\nFOUR!\n"  # the recording's bytes come out
    assert b"then:     event" in passed.stderr


def test_another_argument(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        index = find_call(events, number("write"), b"TWO")
        return replaced(events, index, args=(7, *events[index].args[1:]))

    found = report(product, edited(original, change))
    assert (found["kind"], found["argument"], found["expected"], found["actual"]) == ("argument", 0, 7, 1)


def test_another_call(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        return replaced(events, find_call(events, number("write"), b"TWO"), nr=number("getuid"))

    found = report(product, edited(original, change))
    assert (found["kind"], found["expected_call"], found["actual_call"]) == ("call", "getuid", "write")


def test_a_call_that_is_not_recorded(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        index = find_call(events, number("write"), b"TWO")
        return events[:index] + events[index + 1 :]

    assert report(product, edited(original, change))["kind"] in ("argument", "bytes")


def test_another_path(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        index = next(
            index
            for index, event in enumerate(events)
            if event.nr == number("openat") and any(s.kind == SegmentKind.IN and s.data == b"data" for s in event.segments)
        )
        return replaced(events, index, segments=with_data(events[index], b"data", b"dato"))

    found = report(product, edited(original, change))
    assert (found["kind"], found["expected_call"]) == ("bytes", "openat")


def test_a_trace_that_ends_too_early(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        return events[: find_call(events, number("write"), b"TWO")]

    found = report(product, edited(original, change))
    assert found["kind"] == "end"


def test_another_exit_status(product: Product, original: Path) -> None:
    found = report(product, edited(original, lambda events: events, exit_status=4))
    assert (found["kind"], found["expected"], found["actual"]) == ("end", 4, 3)


def test_an_exit_that_did_not_happen(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        end = next(event for event in events if event.type == EventType.EXIT)
        index = find_call(events, number("write"), b"TWO")
        return [*events[:index], dataclasses.replace(end, task=events[index].task), *events[index:]]

    assert report(product, edited(original, change))["kind"] in ("stop", "end")


def test_inexact_runs_say_so_first(product: Product, original: Path) -> None:
    grade = "inexact from seq 30: it shared memory with a program outside"
    run = edited(original, lambda events: events, grade=grade)
    finished = product("replay", str(run))
    assert finished.status == 3 and finished.stdout == b"ONE\nTWO\nTHREE\n"
    first = finished.stderr.splitlines()[0]
    assert first.startswith(PREFIX) and b"from event 30 on: it shared memory with a program outside" in first


def test_hint_of_an_inexact_run(product: Product, original: Path) -> None:
    def change(events: list[Event]) -> list[Event]:
        index = find_call(events, number("write"), b"TWO")
        return replaced(events, index, segments=with_data(events[index], b"TWO", b"OWT"))

    found = report(product, edited(original, change, grade="inexact from seq 30: reasons"))
    assert "reasons" in str(found["hint"])


def test_another_processor(product: Product, original: Path) -> None:
    """A feature that no processor has all of is named; another model alone is only said."""
    host = json.loads((original / "run.json").read_text())["host"]
    assert host["kernel"] and host["cpu"]["leaves"]["1.0"]
    more = {**host["cpu"], "leaves": {**host["cpu"]["leaves"], "7.0": ["00000000", "ffffffff", "00000000", "00000000"]}}
    finished = product("replay", str(edited(original, lambda events: events, host={**host, "cpu": more})))
    assert finished.status == 125 and b"avx512er" in finished.stderr and finished.stdout == b""
    other = {**host["cpu"], "model": host["cpu"]["model"] + 1}
    finished = product("replay", str(edited(original, lambda events: events, host={**host, "cpu": other})))
    assert finished.status == 3 and b"another processor" in finished.stderr
