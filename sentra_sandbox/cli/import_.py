"""``import``: bring the run of a bundle into the store."""

from __future__ import annotations

from pathlib import Path

import click

from sentra_sandbox.cli.durations import format_count, format_size
from sentra_sandbox.cli.messages import say
from sentra_sandbox.cli.terminal import write_line

HELP = """Bring the run of a bundle, made by 'export --bundle', into the store, and print its id.

\b
Examples:
  sentra-sandbox import agent.sbundle
"""


@click.command("import", help=HELP, short_help="Bring an exported run into the store.")
@click.argument("file", metavar="FILE")
def command(file: str) -> None:
    from sentra_sandbox.export.bundle import import_bundle

    brought = import_bundle(Path(file))
    write_line(brought.run_id)
    pieces = f"{format_count(brought.blobs, 'piece')} of data, {format_count(brought.files, 'file')}"
    say(f"imported {pieces}, {format_size(brought.content_bytes)}; next: sentra-sandbox replay {brought.run_id}")
