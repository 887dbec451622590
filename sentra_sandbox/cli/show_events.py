"""``show RUN``: the events as lines or as JSON, following a running recording if asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from sentra_sandbox.cli.messages import printable
from sentra_sandbox.cli.terminal import Style, write_line
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.trace.events import Event, EventFlag, EventType
from sentra_sandbox.views.lines import event_object, event_text
from sentra_sandbox.views.processes import ProcessTable
from sentra_sandbox.views.selection import Selection, event_paths
from sentra_sandbox.views.spilled import rejoined

STANDARD_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}
NOTICEABLE_NS = 100_000  # a call that took longer shows how long


def show_events(
    events: Iterable[Event], selection: Selection, *, as_json: bool, limit: int, max_string: int, live: bool
) -> None:
    """Write the selected ``events`` to stdout. All of them are looked at, since descriptors and processes are
    followed.
    """
    processes, descriptors = ProcessTable(), DescriptorTable(STANDARD_STREAMS)
    style = Style.for_stdout()
    shown = 0
    for event in rejoined(events):
        processes.feed(event)
        paths = event_paths(event, descriptors) if as_json or selection.path else ()
        if selection.wants(event, processes, paths):
            text = event_text(event, descriptors.annotate(event), max_string=max_string)
            if as_json:
                write_line(json.dumps(event_object(event, text, processes, paths)))
            else:
                write_line(event_line(event, text, style))
            if live:
                sys.stdout.flush()
            shown += 1
            if shown == limit:
                return
        else:
            descriptors.apply(event)


def event_line(event: Event, text: str, style: Style) -> str:
    """``    0.012345     7  openat(...) = 3  <1.234 ms>``."""
    colour = ""
    if event.type == EventType.SYSCALL:
        colour = "red" if event.flags & EventFlag.REFUSED else ""
    elif event.type == EventType.NOTE:
        colour = "yellow"
    else:
        colour = "cyan"
    body = printable(text)
    took = f"  <{event.duration_ns / 1e6:.3f} ms>" if event.duration_ns >= NOTICEABLE_NS else ""
    when = style(f"{event.time_ns / 1e9:12.6f}", "dim")
    return f"{when} {event.task:5}  {style(body, colour) if colour else body}{style(took, 'dim')}"
