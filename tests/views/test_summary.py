from __future__ import annotations

import itertools

import pytest
from events_by_hand import AT_FDCWD, O_CREAT, O_RDWR, O_TRUNC, O_WRONLY, Script, ipv4
from network_by_hand import Broker

from sentra_sandbox.syscalls.table import call_named
from sentra_sandbox.trace.events import Event, EventFlag, EventType, Note, Segment, SegmentKind
from sentra_sandbox.views import numbers
from sentra_sandbox.views.files import file_uses
from sentra_sandbox.views.processes import process_tree, walk
from sentra_sandbox.views.spilled import rejoined
from sentra_sandbox.views.summary import Summary, summarise

O_DIRECTORY = 0o200000


def test_numbers_are_those_of_the_table() -> None:
    named = {name: value for name, value in vars(numbers).items() if name.isupper() and isinstance(value, int)}
    assert len(named) >= 14
    for name, number in named.items():
        row = call_named(name.lower())
        assert row is not None and row.number == number, name


@pytest.mark.parametrize("number", [*numbers.OPEN_CALLS, *numbers.CHANGING_CALLS])
def test_arguments_are_those_of_the_table(number: int) -> None:
    from sentra_sandbox.syscalls.table import call

    row = call(number)
    assert row is not None
    pairs = numbers.CHANGING_CALLS.get(number) or (numbers.OPEN_CALLS[number],)
    for directory, path in pairs:
        assert row.args[path].kind == "path"
        assert directory is None or row.args[directory].kind == "dirfd"


def test_a_run_with_a_bit_of_everything() -> None:
    s = Script()
    summary = summarise([
        s.became(2, "/bin/sh", "sh", cwd="/home/me"),
        s.call(2, "rseq", 1, 32, 0, 0, result=-38, flags=EventFlag.REFUSED),
        s.call(2, "openat", AT_FDCWD, "/etc/passwd", 0, 0, result=3),
        s.call(2, "openat", AT_FDCWD, "out.txt", O_WRONLY | O_CREAT | O_TRUNC, 0o644, result=3),
        s.call(2, "openat", AT_FDCWD, "/nope/out", O_WRONLY | O_CREAT, 0o644, result=-2),
        s.call(2, "openat", AT_FDCWD, "/dev/null", O_RDWR, 0, result=4),
        s.started(3, parent=2),
        s.call(3, "chdir", "../you"),
        s.call(3, "rename", "a", "/tmp/b"),
        s.call(3, "connect", 5, ipv4("10.0.0.1", 80), 16),
        s.call(3, "io_uring_setup", 8, 0, result=-38, flags=EventFlag.REFUSED),
        s.call(3, "io_uring_setup", 8, 0, result=-38, flags=EventFlag.REFUSED),
        s.event(EventType.SIGNAL, 2, nr=17, args=(0, 1)),
        s.event(EventType.NOTE, 2, nr=Note.INEXACT, segments=(Segment(0, SegmentKind.INFO, 0, 0, b"because"),)),
        s.ended(3, 0),
        s.ended(2, 0),
    ])  # fmt: skip
    uring, rseq = call_named("io_uring_setup"), call_named("rseq")
    assert uring and rseq
    assert list(summary.files) == ["/home/me/out.txt", "/home/you/a", "/tmp/b"]
    assert [(use.address, use.uses) for use in summary.hosts] == [("10.0.0.1:80", 1)]
    assert summary.refused == {(rseq.number, False): 1, (uring.number, False): 2}
    assert summary.processes == 2
    assert summary.signals == {17: 1}
    assert summary.notes == [(14, Note.INEXACT, "because")]
    assert (summary.events, summary.last_seq, summary.cut) == (16, 16, False)


def files_of(*events: object) -> list[str]:
    return list(summarise(events).files)  # type: ignore[arg-type]


def test_paths_relative_to_a_directory_descriptor_also_a_parents() -> None:
    s = Script()
    assert files_of(
        s.became(2, "/x", "x", cwd="/w"),
        s.call(2, "openat", AT_FDCWD, "sub", O_DIRECTORY, 0, result=7),
        s.started(3, parent=2),
        s.call(3, "unlinkat", 7, "gone", 0),
        s.call(3, "fchdir", 7),
        s.call(3, "mkdir", "new", 0o755),
        s.call(2, "mkdir", "here", 0o755),
    ) == ["/w/sub/gone", "/w/sub/new", "/w/here"]


def test_threads_share_their_processes_directory() -> None:
    s = Script()
    assert files_of(
        s.became(2, "/x", "x", cwd="/w"),
        s.started(3, parent=2, tgid=2),
        s.call(3, "chdir", "/other"),
        s.call(2, "mkdir", "d", 0),
    ) == ["/other/d"]


def test_calls_that_entered_as_32_bit_are_not_taken_for_64_bit_ones() -> None:
    s = Script()
    event = s.call(2, "rename", "a", "b", flags=EventFlag.FOREIGN_ABI)
    assert files_of(s.became(2, "/x", "x"), event) == []


def test_openat2_and_a_name_that_is_no_utf8() -> None:
    s = Script()
    how = (O_WRONLY | O_CREAT).to_bytes(8, "little") + bytes(16)
    event = s.call(2, "openat2", AT_FDCWD, b"/a\xff", how, 24, result=3)
    assert files_of(s.became(2, "/x", "x"), event) == ["/a\udcff"]


def test_the_budget_cuts_a_long_run() -> None:
    s = Script()
    events = [s.call(2, "getpid", result=2) for _ in range(20_000)]
    summary: Summary = summarise(events, budget_s=0.0)
    assert summary.cut and summary.last_seq == summary.events < 20_000
    assert summary.network_cut
    assert not summarise(events, budget_s=60.0).cut


def test_the_network_of_a_long_run_is_looked_at_to_its_end() -> None:
    s = Script()
    events = [s.call(2, "getpid", result=2) for _ in range(1_000)]
    b = Broker()
    b.exchange(b.open(name="late.example.com"))
    asked: list[int] = []

    def network_since(seq: int) -> list[Event]:
        asked.append(seq)
        return b.events

    summary = summarise(events, budget_s=0.0, network_since=network_since)
    assert summary.cut and not summary.network_cut and asked == [summary.last_seq + 1]
    assert [host.requests for host in summary.network.hosts.values()] == [1]


@pytest.mark.parametrize("kind", [*EventType, 13, 99])
@pytest.mark.parametrize(
    "nr", [*numbers.OPEN_CALLS, *numbers.CHANGING_CALLS, 9, 41, 42, 44, 46, 77, 80, 81, 307, 2**32 - 1]
)
def test_hostile_events_break_nothing(kind: int, nr: int) -> None:
    """No arguments, or absurd ones with memory that does not fit: every view goes on."""
    odd = tuple(Segment(2**64 - 1, kind, arg, 0xFF, b"\xff" * 70) for arg in range(7) for kind in range(5))
    events = [
        Event(seq, kind, 0, task, 2**64 - 1, 0, nr, result, args, segments)
        for seq, (task, result, args, segments) in enumerate(
            itertools.product((-1, 2**31 - 1), (0, 2**63 - 1), ((), (2**64 - 1,) * 6), ((), odd))
        )
    ]
    assert summarise(events).events == len(events)
    file_uses(rejoined(events))
    walk(process_tree(rejoined(events)).roots)
