"""Which event ``inspect`` stops at, and what the recording knows of that moment: commands, descriptors. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sentra_sandbox.errors import UsageError
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.trace.events import Event, EventType
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.lines import event_text
from sentra_sandbox.views.places import register
from sentra_sandbox.views.processes import ProcessTable
from sentra_sandbox.views.selection import Selection, calls_named, event_paths
from sentra_sandbox.views.spilled import rejoined

STANDARD_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}
STRING_MAX = 64


@dataclass(frozen=True, slots=True)
class Moment:
    """Just before ``event``. ``descriptors`` are by task, as they were then."""

    seq: int
    total: int
    event: Event
    text: str
    descriptors: dict[int, dict[int, str]]
    processes: ProcessTable

    @property
    def actor(self) -> int:
        """The task that makes the event happen: of a new task its parent."""
        return register(self.event, 0) if self.event.type == EventType.TASK else self.event.task

    def command(self, task: int) -> tuple[str, ...]:
        """The command line of the task's process then."""
        process = self.processes.of(task)
        return process.command if process else ()


def find_moment(trace: Trace, since: int, syscalls: str, path: str, task: int | None) -> Moment:
    """The first event from number ``since`` on; with calls or a path, the first that is such a call on such a path,
    by ``task`` if that is given. Raises ``UsageError`` when there is none.
    """
    searching = bool(syscalls or path)
    selection = Selection(
        pids=frozenset({task} if task is not None else ()),
        calls=calls_named((syscalls,), ()) if syscalls else None,
        path=path,
    )
    descriptors, processes = DescriptorTable(STANDARD_STREAMS), ProcessTable()
    for event in rejoined(trace.events()):
        if event.seq >= since:
            paths = event_paths(event, descriptors) if path else ()
            if not searching or selection.wants(event, processes, paths):
                then = descriptors.open_descriptors()
                text = event_text(event, descriptors.annotate(event), max_string=STRING_MAX)
                return Moment(event.seq, trace.meta.counts.get("events", 0), event, text, then, processes)
        processes.feed(event)
        descriptors.apply(event)
    what = "no such call from" if searching else "no"
    raise UsageError(
        f"Run {trace.meta.id} has {what} event {since}{' on' if searching else ''}.",
        "'sentra-sandbox show --json' lists its events with their numbers.",
    )
