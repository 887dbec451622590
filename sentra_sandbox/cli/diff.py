"""``diff``: where two runs first differ in what they did. A thin shell over ``views.compare``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from sentra_sandbox.cli.messages import printable
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.cli.terminal import write_line
from sentra_sandbox.errors import SentraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sentra_sandbox.views.compare import Behaviour, Difference

SAME, DIFFERENT, TROUBLE = 0, 1, 2
SHOWN = 20

HELP = """Show where two runs first differ in what they did.

Compared are their processes (commands, exit statuses), the files that they opened and changed, the hosts that they
contacted, and what they wrote to standard output and error. Left out is what varies from run to run: process ids,
addresses, times, temporary names. Exit status: 0 the same, 1 different, 2 trouble.

\b
Examples:
  sentra-sandbox diff nightly last
  sentra-sandbox diff --json nightly last | jq .differences
"""


@click.command("diff", help=HELP, short_help="Show where two runs first differ.")
@click.option("--strict", is_flag=True, help="Leave nothing out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("left", metavar="RUN")
@click.argument("right", metavar="RUN")
def command(strict: bool, as_json: bool, left: str, right: str) -> int:
    from sentra_sandbox.views.compare import differences

    try:
        names, behaviours = zip(*(_read(run) for run in (left, right)), strict=True)
    except SentraError as error:
        error.exit_status = TROUBLE
        raise
    found = differences(*behaviours, strict=strict)
    if as_json:
        result = {
            "left": names[0],
            "right": names[1],
            "same": not found,
            "differences": [asdict(item) for item in found],
        }
        write_line(json.dumps(result))
    else:
        for line in _lines(found):
            write_line(printable(line))
    return DIFFERENT if found else SAME


def _read(ref: str) -> tuple[str, Behaviour]:
    from sentra_sandbox.views.compare import behaviour

    with open_run(ref) as trace:
        return trace.meta.id, behaviour(trace.events())


def _lines(found: list[Difference]) -> list[str]:
    """The first difference, then the others in short."""
    lines = []
    for item in found[:SHOWN]:
        lines.append(f"{item.kind}: {item.what}")
        lines.append(f"  - {item.left.rstrip()}{_place(item.left_seq)}")
        lines.append(f"  + {item.right.rstrip()}{_place(item.right_seq)}")
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more; --json shows them")
    return lines


def _place(seq: int) -> str:
    return f"  [event {seq:,}]" if seq else ""
