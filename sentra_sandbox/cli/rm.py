"""``rm``: delete runs."""

from __future__ import annotations

import time

import click

from sentra_sandbox.cli.click_types import DURATION
from sentra_sandbox.cli.durations import format_count, format_size
from sentra_sandbox.cli.ls import utc_text
from sentra_sandbox.cli.messages import PREFIX, say
from sentra_sandbox.errors import UsageError
from sentra_sandbox.trace.catalogue import Catalogue, CatalogueEntry

HELP = """Delete runs.

What they share with other runs stays; 'sentra-sandbox gc' deletes what nobody needs any more. A run that is still being
recorded is not deleted.

\b
Examples:
  sentra-sandbox rm last
  sentra-sandbox rm 20261122-0755 nightly
  sentra-sandbox rm --older-than 30d -y
"""


@click.command("rm", help=HELP, short_help="Delete runs.")
@click.option(
    "--older-than",
    "older_s",
    type=DURATION,
    default=None,
    help="All runs of the store that started longer ago than this.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
def command(older_s: float | None, yes: bool, runs: tuple[str, ...]) -> None:
    if not runs and older_s is None:
        raise UsageError("Say which runs to delete.", "Name them, or use --older-than.")
    with Catalogue() as catalogue:
        chosen = choose(catalogue, runs, older_s)
        if not chosen:
            say("no run is that old")
            return
        if not yes and not confirmed(chosen):
            say("nothing deleted")
            return
        for entry in chosen:
            catalogue.delete(entry)
    deleted = f"{format_count(len(chosen), 'run')}, {format_size(sum(entry.size for entry in chosen))}"
    say(f"deleted {deleted}; 'sentra-sandbox gc' frees what they shared with no other run")


def choose(catalogue: Catalogue, runs: tuple[str, ...], older_s: float | None) -> list[CatalogueEntry]:
    """The runs that are meant, each once. All names are looked up before anything is deleted."""
    entries = {entry.id: entry for entry in map(catalogue.entry, runs)}
    if older_s is not None:
        limit = utc_text(time.time() - older_s)
        entries.update({entry.id: entry for entry in catalogue.list() if entry.created < limit and not entry.live})
    return list(entries.values())


def confirmed(chosen: list[CatalogueEntry]) -> bool:
    """Ask on the terminal. Raises ``UsageError`` where there is none to ask on."""
    import sys

    if not sys.stdin.isatty():
        raise UsageError("Deleting runs wants to be confirmed, and there is no terminal to ask on.", "Add -y.")
    for entry in chosen[:10]:
        say(f"{entry.id}  {entry.name or '-'}  {entry.command[:60]}")
    if len(chosen) > 10:
        say(f"and {len(chosen) - 10} more")
    return click.confirm(f"{PREFIX}delete {format_count(len(chosen), 'run')}?", err=True)
