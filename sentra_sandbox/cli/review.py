"""``review``: what a run's agent did, and whether anything of it is wrong. A thin shell over ``review.review`` and ``review.report``."""

from __future__ import annotations

import os
import shutil
import sys

import click

from sentra_sandbox.cli.messages import say
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sentra_sandbox.review.baseline import Baseline
    from sentra_sandbox.review.review import Review
    from sentra_sandbox.trace.reader import Trace

CANARY_MIN, CANARY_MAX = 8, 1 << 20
SEVERITIES = ("info", "low", "medium", "high", "critical")

HELP = """Say what the program of RUN did, and whether anything of it is wrong, with proof from the trace.

Secrets that the run read are looked for in everything that left, through encodings and compression; detectors and rules look at files,
programs, network, prompts and tool calls. The verdict is "findings", "no findings" or "incomplete" (nothing found, and something could not
be looked at). Secrets are masked in every report.

\b
Exit status: 0 no finding of the severity of --fail-on or above, 1 findings, 2 a mistake or an error, 3 incomplete.

\b
Examples:
  sentra-sandbox review last
  sentra-sandbox review last --html review.html
  sentra-sandbox review last --json | jq '.findings[].title'
  sentra-sandbox review nightly --sarif review.sarif --markdown review.md --fail-on high
  sentra-sandbox review last --canary tracking=@canary.txt --rules falco_rules.yaml
  sentra-sandbox review last --save-baseline agent.baseline
  sentra-sandbox review last --baseline agent.baseline --suppress accepted.yaml
"""


@click.command("review", help=HELP, short_help="Review what a run did: findings with proof.")
@click.option("--json", "as_json", is_flag=True, help="The whole review as JSON on stdout.")
@click.option("--html", "html", default="", metavar="FILE", help="Write the review as one HTML file.")
@click.option("--sarif", "sarif", default="", metavar="FILE", help="Write the findings as SARIF 2.1.0.")
@click.option("--markdown", "markdown", default="", metavar="FILE", help="Write a summary for a pull request.")
@click.option("--ocsf", "ocsf", default="", metavar="FILE", help="Write the findings as OCSF events, one JSON object a line.")
@click.option("--rules", multiple=True, metavar="FILE", help="Also apply the rules of this file in Falco's form (repeatable).")
@click.option("--own-rules/--no-own-rules", default=True, help="Apply the rules that come with sentra-sandbox (default: yes).")
@click.option("--baseline", default="", metavar="RUN|FILE", help="Also report what that run, or saved baseline, does not have.")
@click.option("--save-baseline", default="", metavar="FILE", help="Write what the run did as a baseline; with --baseline: both together.")
@click.option("--suppress", default="", metavar="FILE", help="Findings that are accepted, with reason and expiry (YAML).")
@click.option(
    "--fail-on", type=click.Choice(SEVERITIES), default="medium", show_default=True, help="Severity from which on the exit status is 1."
)
@click.option("--canary", "canaries", multiple=True, metavar="NAME=VALUE|@FILE", help="A text that must not leave (repeatable).")
@click.option("--show-secrets", is_flag=True, help="Do not mask secrets.")
@click.option("--where/--no-where", default=True, help="Replay to name the source lines of the worst findings (default: yes).")
@click.option("-v", "--verbose", is_flag=True, help="All findings and all details, however long.")
@click.argument("run", metavar="RUN")
def command(
    run: str,
    as_json: bool,
    html: str,
    sarif: str,
    markdown: str,
    ocsf: str,
    rules: tuple[str, ...],
    own_rules: bool,
    baseline: str,
    save_baseline: str,
    suppress: str,
    fail_on: str,
    canaries: tuple[str, ...],
    show_secrets: bool,
    where: bool,
    verbose: bool,
) -> int:
    from sentra_sandbox.review.findings import Severity
    from sentra_sandbox.review.review import ReviewOptions, exit_status, review

    files = {"html": html, "sarif": sarif, "markdown": markdown, "ocsf": ocsf}
    wanted = {name: path for name, path in files.items() if path}
    if len(set(wanted.values())) < len(wanted):
        raise UsageError("Two reports cannot go into the same file.")
    with open_run(run) as trace:
        options = ReviewOptions(
            rules=rules,
            own_rules=own_rules,
            canaries=tuple(map(_canary, canaries)),
            suppressions=suppress,
            baseline=_baseline(baseline) if baseline else None,
            fail_on=Severity[fail_on.upper()],
        )
        result = review(trace, options)
        if where:
            _where(trace, result)
        if save_baseline:
            _save_baseline(save_baseline, result, options.baseline)
        for name, path in wanted.items():
            _write(path, _renderer(name)(result, show_secrets=show_secrets))
        _show(result, as_json=as_json, show_secrets=show_secrets, verbose=verbose)
        for path in wanted.values():
            say(f"wrote {path}")
        return exit_status(result)


def _canary(text: str) -> tuple[str, bytes]:
    """``NAME=VALUE`` or ``NAME=@FILE``. Raises ``UsageError``."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise UsageError(f"'{name}' is no canary.", "Write NAME=VALUE, or NAME=@FILE.")
    data = os.fsencode(value)
    if value.startswith("@"):
        try:
            with open(value[1:], "rb") as file:
                data = file.read(CANARY_MAX + 1).strip()
        except OSError as error:
            raise UsageError(f"The canary's file {value[1:]} cannot be read: {error.strerror}.") from error
    if not CANARY_MIN <= len(data) <= CANARY_MAX:
        raise UsageError(f"The canary '{name}' has {len(data)} bytes; it must have {CANARY_MIN} to {CANARY_MAX}.")
    return name, data


def _baseline(ref: str) -> Baseline:
    """A saved baseline, or that of a run. Raises ``UsageError``."""
    from sentra_sandbox.review.baseline import baseline_of, read_baseline
    from sentra_sandbox.review.facts import collect

    if os.path.isfile(ref):
        return read_baseline(ref)
    with open_run(ref) as trace:
        return baseline_of(collect(trace))


def _save_baseline(path: str, result: Review, before: Baseline | None) -> None:
    from sentra_sandbox.review.baseline import baseline_of, united

    now = baseline_of(result.facts)
    _write(path, (united(now, before) if before is not None else now).to_json())
    say(f"wrote {path}")


def _renderer(name: str) -> Callable[..., str]:
    from importlib import import_module

    render: Callable[..., str] = import_module(f"sentra_sandbox.review.report.{name}").render
    return render


def _write(path: str, text: str) -> None:
    """A report may name files and hosts of the run: it is for the user alone, as the run is."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}.") from error


def _show(result: Review, *, as_json: bool, show_secrets: bool, verbose: bool) -> None:
    if as_json:
        from sentra_sandbox.review.report import json_report

        text = json_report.render(result, show_secrets=show_secrets)
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    from sentra_sandbox.cli.terminal import Style
    from sentra_sandbox.review.report import terminal

    size = shutil.get_terminal_size((100, 40))
    on_terminal = sys.stdout.isatty()
    text = terminal.render(
        result,
        width=size.columns,
        height=size.lines if on_terminal else 40,
        colour=Style.for_stdout().enabled,
        verbose=verbose,
        show_secrets=show_secrets,
    )
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _where(trace: Trace, result: Review) -> None:
    """Fill in the source lines of the worst findings, where a replay can tell them."""
    from sentra_sandbox.cli.review_where import find_where

    result.where, note = find_where(trace, result)
    if note:
        result.notes.append(note)
