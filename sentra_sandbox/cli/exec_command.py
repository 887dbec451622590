"""The click command of ``exec``, made from ``exec_options.EXEC_OPTIONS``: loaded for help, for mistakes and for
rarer forms.
"""

from __future__ import annotations

import click

from sentra_sandbox.cli.click_types import DURATION
from sentra_sandbox.cli.exec import execute
from sentra_sandbox.cli.exec_options import EXEC_OPTIONS, ExecOption

HELP = """Run CMD in a sandbox and record it.

Everything that CMD and its children ask of the kernel goes into a run, which 'ls' lists and 'show' prints. CMD's own
input, output, terminal and exit status are as without us (128+n if signal n ended it). Other statuses: 122
--verify found a difference, 124 our --timeout ended it, 125 the sandbox failed, 126 CMD cannot be executed, 127 CMD was not found.

\b
Examples:
  sentra-sandbox exec -- python agent.py
  sentra-sandbox exec --name nightly --timeout 10m -- npm test
  sentra-sandbox exec --net none -C /tmp -e DEBUG=1 -- ./tool --flag
  sentra-sandbox exec --allow-net localhost:11434 --map api.openai.com=127.0.0.1:8443 -- python agent.py
"""


def _click_option(option: ExecOption) -> click.Option:
    flags = [*option.flags, option.name]
    if option.kind == "flag":
        return click.Option(flags, is_flag=True, help=option.help)
    kind = {"choice": click.Choice(option.choices), "duration": DURATION}.get(option.kind, click.STRING)
    return click.Option(
        flags,
        type=kind,
        metavar=option.metavar or None,
        multiple=option.kind == "texts",
        default=option.default if option.kind != "texts" else None,
        show_default=option.default is not None and option.kind != "texts",
        help=option.help,
    )


def _run(**values: object) -> int:
    return execute(values)


command = click.Command(
    "exec",
    params=[
        *map(_click_option, EXEC_OPTIONS),
        click.Argument(["command"], nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]..."),
    ],
    callback=_run,
    help=HELP,
    short_help="Run a program in a sandbox and record it.",
    context_settings={"allow_interspersed_args": False},
)
