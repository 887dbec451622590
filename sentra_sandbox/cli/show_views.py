"""``show --tree``, ``show --files`` and ``show --summary``: what the views found, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from sentra_sandbox.cli.durations import format_count, format_duration, format_size
from sentra_sandbox.cli.exec_report import findings
from sentra_sandbox.cli.messages import printable
from sentra_sandbox.cli.terminal import Style, table_lines, write_line
from sentra_sandbox.syscalls.signals import signal_name
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.files import FileUse, file_uses
from sentra_sandbox.views.lines import call_name, quote_command, wait_status_text
from sentra_sandbox.views.network_summary import NetworkUse, Refusal
from sentra_sandbox.views.processes import Process, process_tree, walk
from sentra_sandbox.views.spilled import rejoined
from sentra_sandbox.views.summary import Summary, summarise


def show_tree(trace: Trace, *, as_json: bool) -> None:
    """The processes, children indented below their parents: pid, command line, how it ended, how long it ran."""
    style = Style.for_stdout()
    for depth, process in walk(process_tree(rejoined(trace.events())).roots):
        if as_json:
            write_line(json.dumps(process_object(process)))
            continue
        ending, colour = process_ending(process)
        command = printable(quote_command(process.command)) if process.command else "?"
        if not process.images and process.parent:
            command = f"({command})"  # forked, never became another program
        lasted = f", {format_duration(process.ended_ns - process.started_ns)}" if process.ended_ns is not None else ""
        write_line(f"{'  ' * depth}{style(str(process.pid), 'dim')} {command}  {style(f'[{ending}{lasted}]', colour)}")


def process_ending(process: Process) -> tuple[str, str]:
    """How a process ended in words, and the colour for that."""
    if process.wait_status is None:
        return "still running when the recording ended", "yellow"
    return wait_status_text(process.wait_status), "dim" if process.wait_status == 0 else "red"


def process_object(process: Process) -> dict[str, object]:
    """A process for JSON."""
    return {
        "pid": process.pid,
        "parent": process.parent.pid if process.parent else None,
        "command": list(process.command),
        "images": [
            {"seq": i.seq, "time_ns": i.time_ns, "path": i.path, "argv": list(i.argv), "cwd": i.cwd}
            for i in process.images
        ],
        "started_ns": process.started_ns,
        "ended_ns": process.ended_ns,
        "wait_status": process.wait_status,
        "threads": process.threads,
        "events": process.events,
    }


def show_files(trace: Trace, *, as_json: bool) -> None:
    """The files, those that were changed first."""
    uses = sorted(file_uses(rejoined(trace.events())), key=lambda use: (not use.written, use.path))
    if as_json:
        for use in uses:
            write_line(json.dumps(file_object(use)))
        return
    rows = [
        (
            "write" if use.written else "read",
            format_size(use.read_bytes) if use.read_bytes else "-",
            format_size(use.written_bytes) if use.written_bytes else "-",
            _changes(use) or "-",
            use.path,
        )
        for use in uses
    ]
    for line in table_lines(("USE", "READ", "WRITTEN", "CHANGES", "PATH"), rows, right=frozenset({1, 2})):
        write_line(line)


def _changes(use: FileUse) -> str:
    mapped = ["mapped"] if use.mapped and "mapped for writing" not in use.changes else []
    return ", ".join((*use.changes, *mapped))


def file_object(use: FileUse) -> dict[str, object]:
    """A file for JSON."""
    return {
        "path": use.path,
        "written": use.written,
        "opens": use.opens,
        "read_bytes": use.read_bytes,
        "written_bytes": use.written_bytes,
        "mapped": use.mapped,
        "changes": list(use.changes),
    }


def show_summary(trace: Trace, *, as_json: bool) -> None:
    """Counts, what was written, who was contacted, what was refused, and why the run is not exact if it is not."""
    summary = summarise(trace.events())
    meta = trace.meta
    if as_json:
        write_line(json.dumps(summary_object(trace, summary)))
        return
    figures = (
        meta.state,
        format_count(summary.processes, "process", "processes"),
        format_count(summary.events, "event"),
        format_duration(meta.duration_ns),
    )
    lines = [
        f"command: {quote_command(meta.argv)}",
        f"run {meta.id}{f' ({meta.name})' if meta.name else ''}: {', '.join(figures)}",
        *findings(summary, shown=None, net=str(meta.options.get("net", "host"))),
        f"grade: {meta.grade or 'not known: the run did not end'}; network: {meta.options.get('net', 'not known')}",
        *(f"event {seq}: {text}" for seq, _, text in summary.notes),
        *([f"note: {meta.note}"] if meta.note else []),
    ]
    for line in lines:
        write_line(printable(line))


def summary_object(trace: Trace, summary: Summary) -> dict[str, object]:
    """The summary for JSON."""
    meta = trace.meta
    return {
        "id": meta.id,
        "name": meta.name,
        "command": list(meta.argv),
        "state": meta.state,
        "exit_status": meta.exit_status,
        "duration_ns": meta.duration_ns,
        "grade": meta.grade,
        "net": meta.options.get("net"),
        "events": summary.events,
        "processes": summary.processes,
        "files_written": list(summary.files),
        "hosts": [{"address": use.address, "uses": use.uses, "failed": use.failed} for use in summary.hosts],
        "network": network_object(summary.network, summary.refused_ports),
        "refused": {call_name(*key): count for key, count in summary.refused.items()},
        "signals": {signal_name(number): count for number, count in summary.signals.items()},
        "notes": [{"seq": seq, "kind": kind, "text": text} for seq, kind, text in summary.notes],
    }


def network_object(use: NetworkUse, refused_ports: tuple[int, ...]) -> dict[str, object]:
    """What the broker saw, for JSON."""

    def refusals(found: Iterable[Refusal]) -> list[dict[str, object]]:
        return [{"target": r.target, "reason": r.reason, "remedy": r.remedy, "count": r.count} for r in found]

    names = ("name", "connections", "failed", "requests", "sent", "received")
    return {
        "hosts": [{name: getattr(host, name) for name in names} for host in use.hosts.values()],
        "refused": refusals(use.refused.values()),
        "refused_local_ports": list(refused_ports),
        "certificate_refused": refusals(use.certificates.values()),
        "problems": use.problems,
    }


VIEWS: dict[str, Callable[..., None]] = {"tree": show_tree, "files": show_files, "summary": show_summary}
