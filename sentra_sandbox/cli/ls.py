"""``ls``: the runs in the store."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import click

from sentra_sandbox.cli.click_types import DURATION
from sentra_sandbox.cli.durations import format_duration, format_size
from sentra_sandbox.cli.messages import say
from sentra_sandbox.cli.terminal import table_lines, write_line
from sentra_sandbox.trace.catalogue import Catalogue, CatalogueEntry
from sentra_sandbox.trace.run import STATES

HEADER = ("ID", "NAME", "WHEN", "DURATION", "EVENTS", "SIZE", "STATE", "EXIT", "GRADE", "COMMAND")
RIGHT = frozenset({3, 4, 5, 7})
DEFAULT_LIMIT = 50

HELP = """List recorded runs, newest first.

\b
Examples:
  sentra-sandbox ls
  sentra-sandbox ls --since 1d --command pytest
  sentra-sandbox ls --json -n 0 | jq -r 'select(.state != "sealed") | .id'
"""


@click.command("ls", help=HELP, short_help="List recorded runs.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="N",
    help="At most N runs; 0 for all.",
)
@click.option("--state", type=click.Choice(STATES), default=None, help="Only runs in this state.")
@click.option(
    "--since", "since_s", type=DURATION, default=None, help="Only runs that started within this time before now."
)
@click.option("--command", "text", default="", metavar="TEXT", help="Only runs whose command line contains TEXT.")
@click.option("--name", default="", metavar="NAME", help="Only runs with this name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(limit: int, state: str | None, since_s: float | None, text: str, name: str, as_json: bool) -> None:
    since = "" if since_s is None else utc_text(time.time() - since_s)
    with Catalogue() as catalogue:
        entries = catalogue.list(limit + 1 if limit else None, name=name, state=state or "", command=text, since=since)
    shown = entries[:limit] if limit else entries
    if as_json:
        for entry in shown:
            write_line(json.dumps(entry_object(entry)))
    elif shown:
        for line in table_lines(HEADER, [entry_row(entry) for entry in shown], RIGHT):
            write_line(line)
    else:
        say(
            "no recorded run"
            + (" matches" if text or state or since or name else " yet: sentra-sandbox exec -- COMMAND makes one")
        )
    if len(entries) > len(shown):
        say(f"there are more: -n 0 shows all, -n N the newest N (now {limit})")


def entry_row(entry: CatalogueEntry) -> tuple[str, ...]:
    """One line of the table."""
    return (
        entry.id,
        entry.name or "-",
        local_text(entry.created),
        format_duration(entry.duration_ns) if entry.duration_ns else "-",
        f"{entry.events:,}" if entry.events else "-",
        format_size(entry.size),
        "recording" if entry.live else entry.state,
        "-" if entry.exit_status is None else str(entry.exit_status),
        entry.grade.partition(":")[0] or "-",
        entry.command if len(entry.command) <= 80 else entry.command[:77] + "...",
    )


def entry_object(entry: CatalogueEntry) -> dict[str, object]:
    """A run for JSON."""
    return {
        "id": entry.id,
        "name": entry.name,
        "path": str(entry.path),
        "created": entry.created,
        "command": entry.command,
        "state": entry.state,
        "live": entry.live,
        "exit_status": entry.exit_status,
        "duration_ns": entry.duration_ns,
        "events": entry.events,
        "size_bytes": entry.size,
        "grade": entry.grade,
        "note": entry.note,
    }


def utc_text(seconds: float) -> str:
    """A time as the catalogue writes it, for comparison."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def local_text(created: str) -> str:
    """``2026-11-22 07:55:03`` in local time; what is no time comes out as it is."""
    try:
        return datetime.fromisoformat(created.replace("Z", "+00:00")).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return created
