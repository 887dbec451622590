"""``export``: take a run out of the store."""

from __future__ import annotations

from pathlib import Path

import click

from sentra_sandbox.cli.durations import format_count, format_size
from sentra_sandbox.cli.messages import printable, say
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.errors import UsageError

HELP = """Write RUN with all that it needs into one file, to be imported elsewhere.

The file holds everything that the program read and sent, secrets too; it is readable by you alone.

\b
Examples:
  sentra-sandbox export --bundle agent.sbundle last
"""


@click.command("export", help=HELP, short_help="Write a run with all that it needs into one file.")
@click.option(
    "--bundle", "bundle", required=True, metavar="FILE", help="The file to write; one that exists is replaced."
)
@click.argument("run", metavar="RUN")
def command(bundle: str, run: str) -> None:
    from sentra_sandbox.export.bundle import export_bundle

    target = Path(bundle)
    if target.is_dir():
        raise UsageError(f"{bundle} is a directory.", "Name the file to write.")
    with open_run(run) as trace:
        written = export_bundle(trace, target)
    pieces = f"{format_count(written.blobs, 'piece')} of data, {format_count(written.files, 'file')}"
    size = f"{format_size(written.content_bytes)}, packed {format_size(target.stat().st_size)}"
    say(printable(f"wrote run {written.run_id} to {bundle}: {pieces}; {size}"))
