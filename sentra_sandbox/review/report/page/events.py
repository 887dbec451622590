"""The events that findings name, decoded, at the end of the page; and ``Anchors``, which knows what in the page can be linked to."""

from __future__ import annotations

from sentra_sandbox.errors import SentraError
from sentra_sandbox.review.report.page.markup import Room, block, code, esc, link, more
from sentra_sandbox.review.report.places import accesses_of
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import moment_text
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.network_events import FIRST, from_event
from sentra_sandbox.views.lines import event_text, type_name

EVENTS_MAX = 1500
_PER_FINDING = 40
_STRING_MAX = 300
_BYTES_MAX = 3000


class Anchors:
    """What has a place in the page. Sections add what they show; links to anything else are plain text."""

    def __init__(self, shown: Shown) -> None:
        self.seqs: list[int] = []
        self.exchanges: set[int] = set()
        self.processes: set[int] = set()
        known: set[int] = set()
        for finding in shown.findings:
            for item in finding.evidence[:_PER_FINDING]:
                if item.seq not in known and len(known) < EVENTS_MAX:
                    known.add(item.seq)
        self.seqs = sorted(known)
        self._known = known

    def event(self, seq: int) -> str:
        return link(f"e{seq}", f"#{seq}") if seq in self._known else f"#{seq}"

    def exchange(self, number: int, markup: str) -> str:
        return link(f"x{number}", markup) if number in self.exchanges else markup

    def process(self, number: int, markup: str) -> str:
        return link(f"p{number}", markup) if number in self.processes else markup


def events_section(shown: Shown, anchors: Anchors, room: Room) -> str:
    """The appendix. An event that cannot be read is there with the reason."""
    uses: dict[int, list[int]] = {}
    for number, finding in enumerate(shown.findings):
        for item in finding.evidence[:_PER_FINDING]:
            uses.setdefault(item.seq, []).append(number + 1)
    files = accesses_of(shown.facts, anchors.seqs)
    parts = []
    for number, seq in enumerate(anchors.seqs):
        named = ", ".join(link(f"f{finding}", f"finding {finding}") for finding in dict.fromkeys(uses.get(seq, [])[:20]))
        path = files[seq].path if seq in files else ""
        part = f'<section class="event" id="e{seq}">{_event(shown, anchors, seq, path)}<p class="dim">Evidence of {named}.</p></section>\n'
        if not room.take(part):
            parts.append(more(len(anchors.seqs) - number, "events", f"sentra-sandbox show {shown.run.id}"))
            break
        parts.append(part)
    return "".join(parts)


def _event(shown: Shown, anchors: Anchors, seq: int, path: str) -> str:
    try:
        event = shown.facts.event(seq)
    except (KeyError, SentraError) as error:
        why = error.message if isinstance(error, SentraError) else "the trace has no such event by itself"
        return f'<p><b>#{seq}</b> <span class="dim">{esc(why)}</span></p>' + (f"<p>{code(shown.masked(path))}</p>" if path else "")
    number = shown.facts.process_of(event.task, seq) if event.task else 0
    who = (
        anchors.process(number, esc(shown.process(number))) if number else (f"task {event.task}" if event.task else "the network's broker")
    )
    took = f", took {event.duration_ns / 1e6:.3f} ms" if event.duration_ns >= 100_000 else ""
    head = f"<p><b>#{seq}</b> {type_name(event.type)} at {moment_text(event.time_ns)} by {who}{took}</p>"
    file = f'<p class="dim">of {code(shown.masked(path))}</p>' if path else ""
    return f"{head}{file}{block(shown.masked(event_text(event, max_string=_STRING_MAX)))}{_bytes(shown, event)}"


def _bytes(shown: Shown, event: Event) -> str:
    """What it moved, as text."""
    data = b""
    found = from_event(event) if event.type >= FIRST else None
    if found is not None:
        data = found.data
    else:
        try:
            data = shown.facts.bytes_of(event.seq)
        except (KeyError, SentraError):
            data = b""
    if not data:
        return ""
    text = shown.masked(text_of_bytes(data[:_BYTES_MAX]))
    return f"<details><summary>{len(data):,} bytes</summary>{block(text, _BYTES_MAX)}</details>"


def text_of_bytes(data: bytes) -> str:
    """UTF-8 where it is; other bytes come out as escapes."""
    return data.decode("utf-8", "surrogateescape")
