"""One event as one line of text, in strace's manner, or as one object for JSON. Pure functions of an event and the
state so far.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from sentra_sandbox.syscalls.decode import call_name as name_of_number
from sentra_sandbox.syscalls.decode import format_call, format_exit, format_signal
from sentra_sandbox.syscalls.signals import signal_name
from sentra_sandbox.trace.events import Event, EventFlag, EventType, Note, SegmentKind
from sentra_sandbox.views.initial_stack import arguments_and_environment
from sentra_sandbox.views.places import register
from sentra_sandbox.views.processes import INFO_PATH, INFO_STACK, ProcessTable
from sentra_sandbox.views.summary import note_text

CLONE_VFORK = 0x4000
DescribeFd = Callable[[int], "str | None"]


def event_text(event: Event, describe_fd: DescribeFd | None = None, *, max_string: int = 32) -> str:
    """The event without its time and thread: ``openat(AT_FDCWD, "x", O_RDONLY) = 3``, ``+++ exited with 0 +++``, ..."""
    if event.type == EventType.SYSCALL:
        return format_call(
            event.nr,
            event.args,
            event.result,
            event.segments,
            flags=event.flags,
            max_string=max_string,
            describe_fd=describe_fd,
        )
    if event.type >= EventType.ENDPOINT:
        from sentra_sandbox.views.network_lines import network_text  # only runs with a network of their own need it

        return network_text(event)
    writer = _WRITERS.get(event.type)
    return writer(event) if writer else f"--- event of type {event.type} ---"


def wait_status_text(status: int) -> str:
    """``exited with 0``, ``killed by SIGSEGV (core dumped)``: a wait status in words."""
    return format_exit(status).strip("+ ")


def _signal(event: Event) -> str:
    info = next((s.data for s in event.segments if s.kind == SegmentKind.INFO and s.arg == 0), b"")
    return format_signal(event.nr, info, handled=len(event.args) > 1 and bool(register(event, 1)))


def _task(event: Event) -> str:
    parent, tgid, flags = (register(event, number) for number in range(3))
    if tgid != event.task:
        return f"+++ thread of {tgid}, started by {parent} +++"
    return f"+++ process started by {parent}{' (vfork)' if flags & CLONE_VFORK else ''} +++"


def _exec(event: Event) -> str:
    info = {s.arg: s for s in event.segments if s.kind == SegmentKind.INFO}
    path = info[INFO_PATH].data.decode("utf-8", "surrogateescape") if INFO_PATH in info else "?"
    argv: tuple[str, ...] = ()
    if INFO_STACK in info:
        argv, _ = arguments_and_environment(info[INFO_STACK].data, info[INFO_STACK].addr)
    return f"+++ became {path}: {quote_command(argv)} +++" if argv else f"+++ became {path} +++"


def quote_command(argv: tuple[str, ...], longest: int = 200) -> str:
    """A command line as one would type it, shortened in the middle of nothing: cut at ``longest`` with an ellipsis."""
    import shlex

    text = shlex.join(argv)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _exit(event: Event) -> str:
    last = len(event.args) > 1 and register(event, 1)
    return format_exit(register(event, 0)) if last else "+++ thread ended +++"


def _tsc(event: Event) -> str:
    return f"{'rdtscp' if event.nr else 'rdtsc'} = {event.result}"


def call_name(number: int, foreign_abi: bool = False) -> str:
    """The name of a call; of one entered as 32-bit or x32 only that and its number."""
    return f"32-bit call {number}" if foreign_abi else name_of_number(number)


def _info_text(event: Event) -> str:
    return next(
        (
            s.data.decode("utf-8", "surrogateescape")
            for s in event.segments
            if s.kind == SegmentKind.INFO and s.arg == 0
        ),
        "",
    )


def _file(event: Event) -> str:
    return f"--- file {event.nr}: {_info_text(event) or '?'}, {register(event, 2)} bytes ---"


def _note(event: Event) -> str:
    names = {Note.INEXACT: "inexact from here", Note.UNSEEN: "not seen", Note.LIMIT: "limit"}
    name = next((text for note, text in names.items() if note == event.nr), f"note {event.nr}")
    return f"--- {name}: {note_text(event)} ---"


def _memory(event: Event) -> str:
    return "--- kernel wrote " + ", ".join(f"{len(s.data)} bytes at {s.addr:#x}" for s in event.segments) + " ---"


def _stop(event: Event) -> str:
    return "--- continued ---" if event.nr == signal.SIGCONT else f"--- stopped by {signal_name(event.nr)} ---"


_WRITERS: dict[int, Callable[[Event], str]] = {
    EventType.SIGNAL: _signal,
    EventType.TASK: _task,
    EventType.EXEC: _exec,
    EventType.EXIT: _exit,
    EventType.TSC: _tsc,
    EventType.FILE: _file,
    EventType.DATA: lambda event: f"--- part of a buffer, offset {register(event, 1)} ---",
    EventType.SCHED: lambda event: f"--- turn taken away (reason {register(event, 0)}) ---",
    EventType.NOTE: _note,
    EventType.MEMORY: _memory,
    EventType.STOP: _stop,
}


def event_object(event: Event, text: str, processes: ProcessTable, paths: tuple[str, ...] = ()) -> dict[str, object]:
    """The event for JSON. Bytes of memory are not in it, only where and how much: they are what ``open_trace`` is
    for.
    """
    process = processes.of(event.task)
    whole: dict[str, object] = {
        "seq": event.seq,
        "time_ns": event.time_ns,
        "duration_ns": event.duration_ns,
        "type": type_name(event.type),
        "pid": process.pid if process else event.task,
        "tid": event.task,
        "text": text,
        "args": list(event.args),
        "flags": [flag.name.lower() for flag in EventFlag if event.flags & flag and flag.name],
        "memory": [
            {"kind": _segment_kind(s.kind), "arg": s.arg, "address": s.addr, "bytes": len(s.data)}
            for s in event.segments
        ],
    }
    if event.type == EventType.SYSCALL:
        whole |= {
            "call": call_name(event.nr, bool(event.flags & EventFlag.FOREIGN_ABI)),
            "nr": event.nr,
            "result": event.result,
            "paths": list(paths),
        }
    elif event.type == EventType.SIGNAL:
        whole["signal"] = signal_name(event.nr)
    elif event.type == EventType.EXIT:
        whole["wait_status"] = register(event, 0)
    elif event.type >= EventType.ENDPOINT:
        from sentra_sandbox.views.network_lines import network_fields

        whole |= network_fields(event)
    return whole


def type_name(number: int) -> str:
    """``syscall``, ``exec``, ``dns``, ...; the number for what this version does not know."""
    try:
        if number >= EventType.ENDPOINT:
            from sentra_sandbox.trace.network_events import NetworkType

            return NetworkType(number).name.lower()
        return EventType(number).name.lower()
    except ValueError:
        return str(number)


def _segment_kind(number: int) -> str:
    try:
        return SegmentKind(number).name.lower()
    except ValueError:
        return str(number)
