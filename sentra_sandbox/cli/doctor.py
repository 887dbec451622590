"""``doctor``: what works on this machine, and the remedy for what does not."""

from __future__ import annotations

import shutil

import click

from sentra_sandbox.errors import HostError
from sentra_sandbox.trace.run import default_home

HELP = """Find out what works on this machine by doing it, and name the remedy for what does not.

The exit status is 0 if programs can be recorded here, 125 if not.

\b
Examples:
  sentra-sandbox doctor
  sentra-sandbox doctor --json | jq -r '.probes[] | select(.ok | not) | .remedy'
"""


@click.command("doctor", help=HELP, short_help="Find out what works on this machine.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object.")
def command(json_wanted: bool) -> int:
    from sentra_sandbox.sandbox.doctor import as_json, probe, render

    probes = probe(default_home())
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    click.echo(as_json(probes) if json_wanted else render(probes, width=width), nl=json_wanted)
    return HostError.exit_status if any(one.required and not one.ok for one in probes) else 0
