from __future__ import annotations

import json

import pytest
from events_by_hand import AT_FDCWD, Script

from sentra_sandbox.errors import UsageError
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.trace.events import Event, EventFlag, EventType, Note, Segment, SegmentFlag, SegmentKind
from sentra_sandbox.views.lines import event_object, event_text, quote_command, type_name
from sentra_sandbox.views.processes import ProcessTable
from sentra_sandbox.views.selection import Selection, calls_named, event_paths
from sentra_sandbox.views.spilled import KEEP_BYTES, rejoined


def test_each_type_has_a_line() -> None:
    s = Script()
    info = (Segment(0, SegmentKind.INFO, 0, 0, b"/lib/x"),)
    lines = {
        "openat(AT_FDCWD</w>, ": s.call(2, "openat", AT_FDCWD, "a", 0, 0, result=3),
        "--- SIGSEGV": s.event(EventType.SIGNAL, 2, nr=11, args=(0x1234, 0)),
        "process started by 2": s.started(3, parent=2),
        "thread of 2, started by 3": s.started(4, parent=3, tgid=2),
        "became /bin/ls: ls '-l x'": s.became(2, "/bin/ls", "ls", "-l x"),
        "exited with 3": s.ended(2, 0x300),
        "killed by SIGKILL": s.ended(2, 9),
        "thread ended": s.ended(4, 0, last=False),
        "rdtscp = 99": s.event(EventType.TSC, 2, nr=1, result=99, args=(0, 0)),
        "file 5: /lib/x, 77 bytes": s.event(EventType.FILE, 2, nr=5, args=(1, 2, 77, 0), segments=info),
        "offset 64": s.event(EventType.DATA, 2, nr=1, args=(0x1000, 64, 1)),
        "turn taken away": s.event(EventType.SCHED, 2, args=(1, 0)),
        "not seen: /lib/x": s.event(EventType.NOTE, 2, nr=Note.UNSEEN, segments=info),
        "note 9: /lib/x": s.event(EventType.NOTE, 2, nr=9, segments=info),
        "wrote 4 bytes at 0x10": s.event(
            EventType.MEMORY, 2, segments=(Segment(16, SegmentKind.OUT, 0, 0, bytes(4)),)
        ),
        "stopped by SIGTSTP": s.event(EventType.STOP, 2, nr=20),
        "continued": s.event(EventType.STOP, 2, nr=18),
        "event of type 69": s.event(69, 2),  # type: ignore[arg-type]
    }  # fmt: skip
    for part, event in lines.items():
        assert part in event_text(event, lambda fd: "/w" if fd == -100 else None), part


@pytest.mark.parametrize("kind", [*EventType, 13, 65, 9999])
def test_hostile_events_have_a_line_too(kind: int) -> None:
    """No arguments, no segments, absurd numbers: text, never an exception."""
    for args in ((), (2**64 - 1,) * 6):
        event = Event(1, kind, 0xFFFF & ~EventFlag.FOREIGN_ABI, -5, 0, 0, 2**32 - 1, -(2**63), args, ())
        assert event_text(event)
        json.dumps(event_object(event, "x", ProcessTable()))


def test_object_for_json() -> None:
    s = Script()
    processes = ProcessTable()
    events = [
        s.became(2, "/x", "x"),
        s.started(3, parent=2, tgid=2),
        s.call(3, "unlink", "/a", flags=EventFlag.BLOCKED),
    ]
    for event in events:
        processes.feed(event)
    found = event_object(events[-1], "text", processes, ("/a",))
    assert (found["pid"], found["tid"], found["call"], found["type"]) == (2, 3, "unlink", "syscall")
    assert (found["flags"], found["paths"], found["result"]) == (["blocked"], ["/a"], 0)
    assert found["memory"] == [{"kind": "in", "arg": 0, "address": 0x10000, "bytes": 2}]
    assert event_object(s.ended(2, 256), "t", processes)["wait_status"] == 256


def test_names() -> None:
    assert [type_name(1), type_name(64), type_name(99), type_name(40)] == ["syscall", "endpoint", "99", "40"]
    assert quote_command(("a", "b c", "x" * 500)).startswith("a 'b c' xxx")
    assert len(quote_command(("x" * 500,))) == 200


def choose(selection: Selection, events: list[Event]) -> list[int]:
    processes, descriptors = ProcessTable(), DescriptorTable()
    chosen = []
    for event in events:
        processes.feed(event)
        if selection.wants(event, processes, event_paths(event, descriptors)):
            chosen.append(event.seq)
        descriptors.apply(event)
    return chosen


def test_selection() -> None:
    s = Script()
    events = [
        s.became(2, "/x", "x", cwd="/w"),  # 1
        s.started(3, parent=2, tgid=2),  # 2
        s.call(3, "openat", AT_FDCWD, "sub/f", 0, 0, result=5),  # 3
        s.call(2, "read", 5, 0x1000, 10, result=10),  # 4
        s.started(9, parent=2),  # 5
        s.call(9, "socket", 2, 1, 0, result=3),  # 6
        s.event(EventType.TSC, 9, args=(0, 0)),  # 7
        s.call(9, "read", 5, 0x1000, 10, flags=EventFlag.FOREIGN_ABI),  # 8
    ]
    assert choose(Selection(), events) == [1, 2, 3, 4, 5, 6, 8]
    assert choose(Selection(types=frozenset({EventType.TSC})), events) == [7]
    assert choose(Selection(pids=frozenset({2})), events) == [1, 2, 3, 4]
    assert choose(Selection(pids=frozenset({3})), events) == [2, 3]
    assert choose(Selection(path="/w/sub/f"), events) == [3, 4]
    assert choose(Selection(path="sub"), events) == [3, 4]
    assert choose(Selection(path="/w/*/f"), events) == [3, 4]
    assert choose(Selection(path="/w"), events[:1]) == []
    assert choose(Selection(calls=calls_named(("read,socket",), ())), events) == [4, 6]
    assert choose(Selection(calls=calls_named((), ("network",))), events) == [6]
    assert choose(Selection(calls=calls_named(("read",), ("network",))), events) == []
    assert choose(Selection(since_ns=4000, until_ns=5000), events) == [4, 5]


def test_unknown_names_are_errors() -> None:
    assert calls_named((), ()) is None
    with pytest.raises(UsageError, match="opnat"):
        calls_named(("read,opnat",), ())
    with pytest.raises(UsageError, match="network"):
        calls_named((), ("net",))


def test_spilled_buffers_come_back() -> None:
    s = Script()
    body = bytes(range(256)) * 32

    def part(task: int, offset: int, size: int) -> Event:
        data = body[offset : offset + size]
        return s.event(
            EventType.DATA,
            task,
            nr=1,
            args=(0x5000, offset, SegmentKind.IN),
            segments=(Segment(0x5000 + offset, SegmentKind.IN, 1, 0, data),),
        )

    def call(task: int) -> Event:
        spilled = Segment(0x5000, SegmentKind.IN, 1, SegmentFlag.SPILLED, len(body).to_bytes(8, "little"))
        return s.event(
            EventType.SYSCALL, task, nr=1, args=(1, 0x5000, len(body)), segments=(spilled,), result=len(body)
        )

    events = [part(2, 0, 3000), part(3, 0, 100), part(2, 3000, 3000), call(2), call(3), call(4)]
    *_, whole, short, lost = list(rejoined(events))
    assert whole.segments[0].data == body[:KEEP_BYTES]
    assert whole.segments[0].flags == SegmentFlag.TRUNCATED
    assert short.segments[0].data == body[:100]
    assert lost.segments[0].flags == SegmentFlag.SPILLED
    assert 'write(1, "\\0\\1\\2' in event_text(whole)
