"""What ``replay`` and ``exec --verify`` say: the report of a divergence, the lines at the end, all of it as data.

Pure functions of the trace and of how the replay ended. Every text from the trace is cut and made printable: a trace may be anything.
"""

from __future__ import annotations

from dataclasses import asdict

from sentra_sandbox.cli.durations import format_count, format_duration
from sentra_sandbox.errors import SentraError
from sentra_sandbox.replay.session import ReplayReport, ReplayResult
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.trace.events import Event, EventType
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.lines import call_name, event_text, quote_command
from sentra_sandbox.views.processes import ProcessTable
from sentra_sandbox.views.spilled import rejoined

LINE_MAX = 400
FRAMES_SHOWN = 12
STRING_MAX = 64
EVENTS_FOLLOWED = 2_000_000  # so that the report of a long run does not take long itself
STANDARD_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}

_WHAT = {
    "call": "another call was made",
    "argument": "an argument differs",
    "bytes": "the bytes that the program hands over differ",
    "result": "a call that replay executes had another result",
    "stop": "the program stopped for another reason",
    "task": "a task is not there, or is in another state",
    "end": "one of them ended, the other did not",
    "hang": "the program did not come to its next call",
    "trace": "the trace contradicts itself, or lacks something",
    "unsupported": "replay does not support this yet",
}
_DAMAGED = "The run may be damaged; record it again, or restore it from a copy."


class Expected:
    """What the recording has at the event of a divergence: its text, its task's program, and the run's grade."""

    def __init__(self, text: str, event: Event | None, command: tuple[str, ...]) -> None:
        self.text = text
        self.event = event
        self.command = command


def expected_event(trace: Trace, seq: int) -> Expected:
    """The recorded event ``seq``, decoded, its descriptors followed from the run's start if that is not too far."""
    descriptors, processes = DescriptorTable(STANDARD_STREAMS), ProcessTable()
    since = 0 if seq <= EVENTS_FOLLOWED else seq
    try:
        for event in rejoined(trace.events(since)):
            if event.seq >= seq:
                if event.seq > seq:
                    break
                text = event_text(event, descriptors.annotate(event), max_string=STRING_MAX)
                process = processes.of(event.task)
                return Expected(text, event, process.command if process else ())
            processes.feed(event)
            descriptors.apply(event)
    except SentraError as error:
        return Expected(f"(cannot be read: {error})", None, ())
    return Expected("(the recording has no such event)", None, ())


def divergence_lines(trace: Trace, result: ReplayResult) -> list[str]:
    """The report: where, what the recording expected, what came, and what to make of it, and the stacks."""
    report = result.divergence
    assert report is not None
    expected = expected_event(trace, report.seq)
    total = trace.meta.counts.get("events", 0)
    where = f"event {report.seq:,} of {total:,}" if total else f"event {report.seq:,}"
    command = f" ({quote_command(expected.command)})" if expected.command else ""
    lines = [
        f"replay diverged: run {trace.meta.id}, {where}, task {report.task}{command}",
        f"  kind:     {report.kind}: {_WHAT.get(report.kind, 'a difference')}",
        f"  expected: {expected.text}",
        *(f"  actual:   {text}" for text in [_actual(report, expected)] if text),
        *(f"  where:    {text}" for text in [_where(report)] if text),
        f"  detail:   {report.text}",
        f"  hint:     {hint(trace, report)}",
        *_stack("python", report.python_stack),
        *_stack("native", report.native_stack),
        *(f"  then:     event {other.seq:,}, task {other.task}: {other.text}" for other in result.more),
    ]
    return [line if len(line) <= LINE_MAX else line[: LINE_MAX - 3] + "..." for line in lines]


def _stack(kind: str, frames: tuple[object, ...]) -> list[str]:
    """The innermost frames of the diverging task."""
    if not frames:
        return []
    more = [f"    ... and {len(frames) - FRAMES_SHOWN} more"] if len(frames) > FRAMES_SHOWN else []
    return [f"  {kind} stack, innermost first:", *(f"    {frame}" for frame in frames[:FRAMES_SHOWN]), *more]


def _actual(report: ReplayReport, expected: Expected) -> str:
    """What came instead, as far as it can be said in the terms of a call."""
    if report.kind == "call":
        return f"{call_name(report.actual_nr)}(...)"
    return ""


def _where(report: ReplayReport) -> str:
    """The argument and the byte."""
    if report.argument < 0:
        return ""
    values = f"recorded {report.expected:#x}, now {report.actual:#x}"
    if report.kind == "bytes":
        return f"argument {report.argument + 1}, byte {report.offset:,}: {values}"
    return f"argument {report.argument + 1}: {values}"


def hint(trace: Trace, report: ReplayReport) -> str:
    """What a person may make of it."""
    seq, reason = inexact(trace.meta.grade)
    if seq is not None and seq <= report.seq:
        return f"the run is not exact from event {seq:,} on: {reason}"
    if lacking := content_not_kept(trace, report.seq):
        return f"the recording lacks the content of {lacking}: its recorder was killed before it could keep it"
    if report.kind == "trace":
        return _DAMAGED
    if report.kind == "hang":
        return "the program computes far longer than it did; if this machine is very slow or busy, try again"
    if report.kind == "unsupported":
        return "please report it with the line 'expected'"
    if holes := trace.meta.counts.get("holes", 0):
        return f"{format_count(holes, 'event')} of the recording {'is' if holes == 1 else 'are'} missing: its recorder failed"
    return (
        "something that the trace does not hold reached the program: hardware randomness (rdrand), another processor, "
        "memory that it shares with a program outside; or it is a mistake in sentra-sandbox: please report it"
    )


def content_not_kept(trace: Trace, seq: int) -> str:
    """The first file that was mapped or executed up to event ``seq`` and whose content the run does not have, or ``""``."""
    if seq > EVENTS_FOLLOWED:
        return ""
    try:
        kept = trace.files()
        for event in trace.events():
            if event.seq > seq:
                break
            if event.type == EventType.FILE and event.nr not in kept:
                return event_text(event)
    except SentraError:
        pass  # the replay itself says what is damaged
    return ""


def inexact(grade: str) -> tuple[int | None, str]:
    """``(seq, reason)`` of a grade ``inexact from seq N: reason``; ``(None, "")`` of any other."""
    if not grade.startswith("inexact"):
        return None, ""
    place, _, reason = grade.partition(": ")
    number = place.rpartition(" ")[2]
    return (int(number) if number.isdecimal() else 0), reason or "it does not say why"


def speed_up(trace: Trace, result: ReplayResult) -> float:
    """How many times faster than recorded; 0 when the recording's duration is not known."""
    return trace.meta.duration_ns / result.duration_ns if result.duration_ns > 0 else 0.0


def _speed_text(trace: Trace, result: ReplayResult) -> str:
    factor = speed_up(trace, result)
    if factor <= 0:
        return ""
    if factor < 1:
        return f"{1 / factor:.1f} times slower than recorded"
    return f"{factor:,.0f} times faster than recorded" if factor >= 10 else f"{factor:.1f} times faster than recorded"


def verified_line(trace: Trace, result: ReplayResult) -> str:
    """``identical: 1,234 events in 0.12 s (31 times faster than recorded)``."""
    speed = _speed_text(trace, result)
    took = f"{result.duration_ns / 1e9:.2f} s"
    return f"identical: {format_count(result.events, 'event')} in {took}" + (f" ({speed})" if speed else "")


def summary_line(trace: Trace, result: ReplayResult) -> str:
    """What an ordinary replay says at its end."""
    speed = _speed_text(trace, result)
    took = format_duration(result.duration_ns)
    return f"replayed run {result.run_id}: {format_count(result.events, 'event')} in {took}" + (f", {speed}" if speed else "")


def result_object(trace: Trace, result: ReplayResult) -> dict[str, object]:
    """The result for JSON. ``divergence`` is null when everything was as recorded."""
    return {
        "run": result.run_id,
        "identical": result.divergence is None,
        "events": result.events,
        "recorded_events": trace.meta.counts.get("events", 0),
        "last_seq": result.last_seq,
        "exit_status": result.exit_status if result.divergence is None else None,
        "recorded_exit_status": trace.meta.exit_status,
        "duration_ns": result.duration_ns,
        "recorded_duration_ns": trace.meta.duration_ns,
        "speed_up": round(speed_up(trace, result), 3),
        "grade": trace.meta.grade,
        "state": trace.meta.state,
        "divergence": _divergence_object(trace, result.divergence) if result.divergence else None,
        "more": [_divergence_object(trace, other) for other in result.more],
    }


def _divergence_object(trace: Trace, report: ReplayReport) -> dict[str, object]:
    expected = expected_event(trace, report.seq)
    event = expected.event
    is_call = event is not None and event.type == EventType.SYSCALL
    differs = report.argument >= 0
    return {
        **asdict(report),
        "native_stack": [{**asdict(frame), "address": hex(frame.address)} for frame in report.native_stack],
        "what": _WHAT.get(report.kind, "a difference"),
        "expected_event": expected.text[:LINE_MAX],
        "expected_call": call_name(event.nr) if event is not None and is_call else None,
        "actual_call": call_name(report.actual_nr) if report.kind == "call" else None,
        "argument": report.argument if differs else None,
        "offset": report.offset if report.kind == "bytes" and differs else None,
        "command": list(expected.command),
        "hint": hint(trace, report),
    }
