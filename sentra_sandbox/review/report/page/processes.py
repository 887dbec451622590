"""The timeline (one drawing) and the process tree."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from sentra_sandbox.review.facts import ProcessFact
from sentra_sandbox.review.report.page.events import Anchors
from sentra_sandbox.review.report.page.markup import Room, code, esc, more, percent
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import command_text, duration_text, moment_text, visible

_LANE, _BAR = 34, 9
_PROCESSES_MAX = 16
_SLOTS = 400  # marks of one lane are put together into so many places
_DEPTH_MAX = 8
_ALIGNED = ("start", "middle", "middle", "middle", "end")


class _Drawing:
    def __init__(self, end_ns: int) -> None:
        self.end_ns = max(end_ns, 1)
        self.parts: list[str] = []
        self.lanes = 0

    def lane(self, label: str, marks: Iterable[str]) -> None:
        y = self.lanes * _LANE
        self.parts.append(f'<text x="0" y="{y + 14}">{esc(label)}</text><line class="lane" x1="0" x2="100%" y1="{y + 25}" y2="{y + 25}"/>')
        self.parts.extend(mark.replace("@Y", str(y + 21)) for mark in marks)
        self.lanes += 1

    def bar(self, start_ns: int, end_ns: int, title: str, style: str, anchor: str = "") -> str:
        x, width = percent(start_ns, self.end_ns), percent(max(end_ns - start_ns, 0), self.end_ns)
        shape = f'<rect x="{x}" y="@Y" width="{width}" height="{_BAR}" rx="2" class="{style}"><title>{esc(title)}</title></rect>'
        shape += f'<rect x="{x}" y="@Y" width="2" height="{_BAR}" class="{style}"/>'  # short ones are seen too
        return f'<a href="#{anchor}">{shape}</a>' if anchor else shape

    def mark(self, time_ns: int, title: str, style: str, anchor: str) -> str:
        x = percent(time_ns, self.end_ns)
        circle = f'<circle cx="{x}" cy="@Y" r="6" transform="translate(0 4)" class="{style}"><title>{esc(title)}</title></circle>'
        return f'<a href="#{anchor}">{circle}</a>'

    def svg(self) -> str:
        ticks = "".join(
            f'<text class="t2" x="{n * 25}%" y="{self.lanes * _LANE + 16}" text-anchor="{_ALIGNED[n]}">'
            f"{moment_text(self.end_ns * n // 4)}</text>"
            for n in range(5)
        )
        height = self.lanes * _LANE + 24
        return f'<svg height="{height}" role="img" aria-label="Timeline of the run">{"".join(self.parts)}{ticks}</svg>\n'


def timeline_section(shown: Shown, anchors: Anchors) -> str:
    """Findings, models, network, changes of files, and the processes that matter, over the time of the run."""
    facts = shown.facts
    drawing = _Drawing(_end_ns(shown))
    marks = [
        drawing.mark(
            finding.evidence[-1].time_ns, f"{finding.kind.id} {finding.kind.title}", f"k{finding.severity.value}", f"f{number + 1}"
        )
        for number, finding in reversed(list(enumerate(shown.findings[:200])))
        if finding.evidence
    ]
    if marks:
        drawing.lane("findings", marks)
    if shown.does.llm:
        calls = shown.does.llm[:_SLOTS]
        drawing.lane("LLM calls", [drawing.bar(call.began_ns, call.ended_ns, call.model, "bar2", f"l{call.exchange}") for call in calls])
    network = [(exchange.began_ns, exchange.last_ns) for exchange in facts.network.exchanges.values()]
    network += [(connection.opened_ns, connection.closed_ns or connection.last_ns) for connection in facts.network.connections.values()]
    if network:
        drawing.lane("network", _bars(drawing, network))
    changes = [
        (access.time_ns, access.time_ns)
        for access in facts.files
        if access.kind not in ("read", "stat", "list", "map", "exec") and not access.failed
    ]
    if changes:
        drawing.lane("changes of files", _bars(drawing, changes))
    for process in _important(shown):
        end = process.ended_ns if process.ended_ns is not None else drawing.end_ns
        title = visible(shown.masked(command_text(process.images[-1].argv, 120))) if process.images else "fork"
        drawing.lane(
            f"{shown.process(process.number)}  {title}"[:110], [drawing.bar(process.started_ns, end, title, "bar", f"p{process.number}")]
        )
    return drawing.svg()


def _bars(drawing: _Drawing, spans: list[tuple[int, int]]) -> list[str]:
    """Many spans as few bars: those that touch the same place of the drawing become one."""
    slot = max(drawing.end_ns // _SLOTS, 1)
    taken: set[int] = set()
    for start, end in spans:
        first, last = min(start // slot, _SLOTS), min(end // slot, _SLOTS)
        taken.update(range(first, last + 1))
    bars = []
    start = -1
    for number in range(_SLOTS + 2):
        if number in taken and start < 0:
            start = number
        elif number not in taken and start >= 0:
            bars.append(drawing.bar(start * slot, number * slot, "", "bar"))
            start = -1
    return bars


def _end_ns(shown: Shown) -> int:
    """The run's duration, or the last that is known of it."""
    facts = shown.facts
    known = [shown.run.duration_ns]
    known += [process.ended_ns or process.started_ns for process in facts.processes.values()]
    known += [item.time_ns for finding in shown.findings for item in finding.evidence]
    known += [connection.last_ns for connection in facts.network.connections.values()]
    return max(known)


def _important(shown: Shown) -> list[ProcessFact]:
    """Those of findings and their parents, then those that lasted longest; in order of start."""
    facts = shown.facts
    chosen: dict[int, ProcessFact] = {}
    for finding in shown.findings:
        for process in facts.lineage(finding.process):
            if len(chosen) < _PROCESSES_MAX:
                chosen[process.number] = process
    lasting = heapq.nlargest(_PROCESSES_MAX, facts.processes.values(), key=_lasted)
    for process in lasting[: max(_PROCESSES_MAX - len(chosen), 0)]:
        chosen[process.number] = process
    return sorted(chosen.values(), key=lambda process: process.started_ns)


def _lasted(process: ProcessFact) -> float:
    return float("inf") if process.ended_ns is None else process.ended_ns - process.started_ns


def processes_section(shown: Shown, anchors: Anchors, room: Room) -> str:
    """The tree, parents before children. Deep ones are not indented further, but say their parent."""
    order = _tree(shown)
    worst: dict[int, int] = {}
    for finding in shown.findings:
        if finding.process:
            worst[finding.process] = max(worst.get(finding.process, 0), finding.severity.value)
    items = []
    for depth, process in order:
        item = _item(shown, process, depth, worst.get(process.number))
        if not room.take(item):
            break
        anchors.processes.add(process.number)
        items.append(item)
    left = more(len(shown.facts.processes) - len(items), "processes", f"sentra-sandbox show {shown.run.id} --tree")
    return f'<ul class="tree">\n{"".join(items)}</ul>\n{left}'


def _tree(shown: Shown) -> list[tuple[int, ProcessFact]]:
    """(depth, process), each once even if parents go round in circles."""
    processes = shown.facts.processes
    children: dict[int, list[ProcessFact]] = {}
    for process in processes.values():
        children.setdefault(process.parent if process.parent in processes else 0, []).append(process)
    order: list[tuple[int, ProcessFact]] = []
    seen: set[int] = set()
    stack = [(0, process) for process in reversed(children.get(0, []))]
    while stack:
        depth, process = stack.pop()
        if process.number in seen:
            continue
        seen.add(process.number)
        order.append((depth, process))
        stack.extend((depth + 1, child) for child in reversed(children.get(process.number, [])))
    return order + [(0, process) for process in processes.values() if process.number not in seen]


def _item(shown: Shown, process: ProcessFact, depth: int, severity: int | None) -> str:
    indent = f' class="d{min(depth, _DEPTH_MAX)}"' if depth else ""
    last = process.images[-1] if process.images else None
    images = code(shown.masked(command_text(last.argv or (last.path,), 300))) if last else ""
    notes = []
    if len(process.images) > 1:
        before = (shown.masked(command_text(image.argv or (image.path,), 80)) for image in process.images[-4:-1])
        notes.append(f'<span class="a">was {" → ".join(map(code, before))}</span>')
    if severity is not None:
        notes.append(f'<span class="badge s{severity}">finding</span>')
    if any(image.fileless for image in process.images):
        notes.append('<span class="badge s3">no file</span>')
    if last and last.argv and last.path.rsplit("/", 1)[-1] != last.argv[0].rsplit("/", 1)[-1]:
        notes.append(f'<span class="a">is {code(shown.masked(last.path[:300]))}</span>')
    if depth > _DEPTH_MAX:
        notes.append(f'<span class="a">child of {esc(shown.process(process.parent))}, depth {depth}</span>')
    notes.append(f'<span class="a">{_ending(process)}</span>')
    return f'<li{indent} id="p{process.number}"><b>{process.pid}</b> {images or "<span class=a>fork</span>"} {" ".join(notes)}</li>\n'


def _ending(process: ProcessFact) -> str:
    """``at 0.184s for 50 ms, exited with 0``."""
    text = f"at {moment_text(process.started_ns)}"
    if process.ended_ns is not None:
        text += f" for {duration_text(process.ended_ns - process.started_ns)}"
    status = process.wait_status
    if status is None:
        return text
    return f"{text}, " + (f"killed by signal {status & 127}" if status & 127 else f"exited with {status >> 8 & 255}")
