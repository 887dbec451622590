"""``gc``: delete blobs that no run refers to."""

from __future__ import annotations

import click

from sentra_sandbox.cli.durations import format_count, format_size
from sentra_sandbox.cli.messages import say
from sentra_sandbox.errors import UsageError
from sentra_sandbox.trace.blobs import GRACE_S, BlobStore
from sentra_sandbox.trace.catalogue import Catalogue

HELP = """Delete stored content that no run needs any more.

What was stored or used within the last hour stays, since a recording may be about to refer to it; --now deletes that too, and works
only while nothing is being recorded.

\b
Examples:
  sentra-sandbox gc --dry-run
  sentra-sandbox gc
  sentra-sandbox gc --now
"""


@click.command("gc", help=HELP, short_help="Delete stored content that no run needs.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--now", is_flag=True, help="Also what was used within the last hour.")
def command(dry_run: bool, now: bool) -> None:
    with Catalogue() as catalogue:
        if now and any(entry.live for entry in catalogue.list()):
            raise UsageError("A recording is going on, which may be about to use what is stored.", "Wait for its end, or leave out --now.")
        store = BlobStore(catalogue.home / "blobs")
        try:
            collected = store.gc(catalogue.paths(), dry_run=dry_run, grace_s=-1 if now else GRACE_S)
        finally:
            store.close()
    pieces, files = format_count(collected.blobs, "piece"), format_count(collected.files, "file")
    say(f"{'would free' if dry_run else 'freed'} {format_size(collected.bytes)}: {pieces} of data and {files}")
