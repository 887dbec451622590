"""The click group: finds commands, each in a module of its own that is imported when it is used."""

from __future__ import annotations

from importlib import import_module

import click

from sentra_sandbox.cli.messages import fail

_MODULES = {
    "exec": "exec_command",
    "ls": "ls",
    "show": "show",
    "review": "review",
    "replay": "replay",
    "inspect": "inspect",
    "diff": "diff",
    "export": "export",
    "import": "import_",
    "rm": "rm",
    "gc": "gc",
    "seal": "seal",
    "verify-seal": "verify_seal",
    "doctor": "doctor",
}

HELP = """Run programs in a sandbox, record what they do, and look at it afterwards.

\b
Examples:
  sentra-sandbox exec -- python agent.py
  sentra-sandbox ls
  sentra-sandbox show last
  sentra-sandbox replay last

RUN arguments are a run's id, a unique beginning of it, its name, the path of its directory, or 'last'. Our own
messages go to stderr, each line beginning 'sentra-sandbox:'.
"""

USAGE_STATUS = 2  # a mistake on the command line, except for exec: there 2 could be the program's own
SANDBOX_FAILED = 125


class Commands(click.Group):
    """The commands in the order a person meets them, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command = import_module(f"sentra_sandbox.cli.{module}").command
        assert isinstance(command, click.Command)
        return command


def _version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"sentra-sandbox {version('sentra-sandbox')}")
        except PackageNotFoundError:
            click.echo("sentra-sandbox, from a source tree that is not installed")
        ctx.exit()


app = Commands(
    "sentra-sandbox",
    params=[
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
        )
    ],
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def run(arguments: list[str]) -> int:
    """Run a command line through click; usage mistakes become one line of ours. Other errors pass through to
    ``main``.
    """
    if not arguments:
        with app.make_context("sentra-sandbox", [], resilient_parsing=True) as context:
            click.echo(context.get_help(), err=True)
        return USAGE_STATUS
    try:
        # Not app.main(): that turns Ctrl-C and a closed pipe into exit statuses of its own.
        with app.make_context("sentra-sandbox", list(arguments)) as context:
            status = app.invoke(context)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        place = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "sentra-sandbox"
        fail(f"{error.format_message()} See '{place} --help'.")
        return SANDBOX_FAILED if arguments[:1] == ["exec"] else USAGE_STATUS
    except click.Abort:
        return 130
