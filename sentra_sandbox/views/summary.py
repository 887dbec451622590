"""What a run did, in a few numbers and names: one pass over its events, which can be cut off by time.

``exec`` makes one after every run, so the rule of ``places`` holds here too: nothing that is slow to load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sentra_sandbox.trace.events import Event, EventFlag, EventType, SegmentKind
from sentra_sandbox.views.hosts import HostTable, HostUse
from sentra_sandbox.views.network_summary import FIRST, NetworkUse
from sentra_sandbox.views.numbers import CHANGING_CALLS, OPEN_CALLS
from sentra_sandbox.views.places import AT_FDCWD, Places, open_flags, register, signed32, text_argument

O_WRONLY, O_RDWR, O_TRUNC, O_TMPFILE = 1, 2, 0o1000, 0o20000000
NOT_FILES = ("/dev/", "/proc/", "/sys/")
# Plain ints: operators of enum.IntFlag make an object each time.
_REFUSED, _FOREIGN_ABI, _IN_FLIGHT = EventFlag.REFUSED.value, EventFlag.FOREIGN_ABI.value, EventFlag.IN_FLIGHT.value
_SYSCALL, _SIGNAL, _NOTE = EventType.SYSCALL.value, EventType.SIGNAL.value, EventType.NOTE.value
_LOOK_AT_CLOCK_EVERY = 256  # events


class Summary:
    """What was found so far.

    ``events`` looked at, the last of them ``last_seq``; ``cut``: there are more and the time was up (``network_cut``: also for those of
    the network). ``files`` were
    opened for writing, created, renamed or removed (devices and the kernel's own file systems are not among them), in
    the order of the first time. ``refused`` counts by (number of the call, entered as 32-bit). ``signals`` counts by
    number. ``notes`` are (seq, kind of note, text). ``network`` is what the broker saw of a run with its own network;
    ``refused_ports`` are those of the program's own loopback where nothing listened.
    """

    def __init__(self) -> None:
        self.events = 0
        self.last_seq = 0
        self.cut = self.network_cut = False
        self.processes = 0
        self.files: dict[str, None] = {}
        self.hosts: tuple[HostUse, ...] = ()
        self.refused: dict[tuple[int, bool], int] = {}
        self.signals: dict[int, int] = {}
        self.notes: list[tuple[int, int, str]] = []
        self.network = NetworkUse()
        self.refused_ports: tuple[int, ...] = ()


def summarise(
    events: Iterable[Event], *, budget_s: float | None = None, network_since: Callable[[int], Iterable[Event]] | None = None
) -> Summary:
    """Look at all ``events``, or at as many as there is time for; of the rest at those of the network, which ``network_since`` a seq
    finds (as long again): programs load for long before they talk to anybody.
    """
    summary = Summary()
    deadline = None if budget_s is None else time.monotonic() + budget_s
    places = Places()
    hosts = HostTable(places)
    for event in events:
        if deadline is not None and summary.events % _LOOK_AT_CLOCK_EVERY == 0 and time.monotonic() > deadline:
            summary.cut = True
            break
        summary.events += 1
        summary.last_seq = event.seq
        if event.type == _SYSCALL:
            _call(event, summary, places, hosts)
        elif event.type == _SIGNAL:
            summary.signals[event.nr] = summary.signals.get(event.nr, 0) + 1
        elif event.type == _NOTE:
            summary.notes.append((event.seq, event.nr, note_text(event)))
        elif event.type >= FIRST:
            summary.network.feed(event)
            continue
        places.feed(event)
    summary.processes = places.processes
    if summary.cut:
        summary.network_cut = network_since is None or not _rest_of_network(summary, network_since(summary.last_seq + 1), budget_s or 0.0)
    summary.network.finish()
    summary.refused_ports = tuple(hosts.refused_ports)
    summary.hosts = tuple(sorted(hosts.hosts.values(), key=lambda use: (-use.uses, use.address)))
    return summary


def _rest_of_network(summary: Summary, events: Iterable[Event], budget_s: float) -> bool:
    """Whether there was time for all."""
    deadline = time.monotonic() + budget_s
    for number, event in enumerate(events, 1):
        summary.network.feed(event)
        if number % _LOOK_AT_CLOCK_EVERY == 0 and time.monotonic() > deadline:
            return False
    return True


def _call(event: Event, summary: Summary, places: Places, hosts: HostTable) -> None:
    if event.flags & _REFUSED:
        key = (event.nr, bool(event.flags & _FOREIGN_ABI))
        summary.refused[key] = summary.refused.get(key, 0) + 1
        return
    if event.flags & (_FOREIGN_ABI | _IN_FLIGHT):
        return
    hosts.feed(event)
    if event.result < 0:
        return
    if event.nr in OPEN_CALLS:
        flags = open_flags(event)
        if flags & (O_WRONLY | O_RDWR | O_TRUNC) and not flags & O_TMPFILE:
            _changed(event, (OPEN_CALLS[event.nr],), summary, places)
    elif event.nr in CHANGING_CALLS:
        _changed(event, CHANGING_CALLS[event.nr], summary, places)


def _changed(event: Event, paths: tuple[tuple[int | None, int], ...], summary: Summary, places: Places) -> None:
    for directory, number in paths:
        text = text_argument(event, number)
        path = places.path(event.task, AT_FDCWD if directory is None else signed32(register(event, directory)), text)
        if path and not path.startswith(NOT_FILES):
            summary.files[path] = None


def note_text(event: Event) -> str:
    """The words of a NOTE event."""
    return next(
        (s.data.decode("utf-8", "replace") for s in event.segments if s.kind == SegmentKind.INFO and s.arg == 0), ""
    )
