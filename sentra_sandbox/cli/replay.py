"""``replay``: execute a recorded run again, and say whether it did the same. A thin shell over ``replay.session.replay``."""

from __future__ import annotations

import json

import click

from sentra_sandbox.cli.messages import printable, say
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.cli.terminal import write_line
from sentra_sandbox.errors import Divergence, UsageError
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.trace.run import INCOMPLETE, RECOVERED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sentra_sandbox.replay.session import ReplayResult

DIVERGED = Divergence.exit_status
NOWHERE = -1

HELP = """Execute RUN again from its recording alone.

The program's own instructions run, and get the recorded world: files, network, time, signals, the order of threads. Its
output and exit status are the recorded ones; waiting takes no time. It touches nothing outside: no file, no
network, no process.

What the program does is compared with the recording call by call. The first difference ends the replay with a report,
exit status 122; with --keep-going N up to N differences in what calls hand over are passed, and all are shown.

\b
Examples:
  sentra-sandbox replay last
  sentra-sandbox replay -q last | less
  sentra-sandbox replay --verify nightly
  sentra-sandbox replay --verify --json last | jq .divergence
"""


@click.command("replay", help=HELP, short_help="Execute a run again and compare.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing of our own but errors and the report of a difference.")
@click.option("--verify", is_flag=True, help="Only compare: no output of the program; exit status 0 if identical.")
@click.option("--keep-going", type=click.IntRange(0, 64), default=0, metavar="N", help="Pass up to N differences.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object: on stderr, with --verify on stdout.")
@click.argument("run", metavar="RUN")
def command(quiet: bool, verify: bool, keep_going: int, as_json: bool, run: str) -> int:
    with open_run(run) as trace:
        announce(trace, quiet=quiet)
        result = play(trace, discard=verify, keep_going=keep_going)
        if as_json:
            write_json(trace, result, to_stdout=verify)
        elif result.divergence is not None:
            say_divergence(trace, result)
        elif verify:
            from sentra_sandbox.cli.replay_report import verified_line

            write_line(verified_line(trace, result))
        elif not quiet:
            from sentra_sandbox.cli.replay_report import summary_line

            say(summary_line(trace, result))
        if result.divergence is not None:
            return DIVERGED
        return 0 if verify else result.exit_status


def announce(trace: Trace, *, quiet: bool) -> None:
    """What is to be known before: a run that did not end, is not exact, or comes from another processor.

    Raises ``UsageError`` while it is being recorded, ``HostError`` when this processor cannot execute it.
    """
    from sentra_sandbox.cli.replay_report import inexact
    from sentra_sandbox.replay.processor import check_processor

    if trace.live:
        raise UsageError(f"Run {trace.meta.id} is still being recorded.", "Wait until it has ended.")
    warning = check_processor(trace.meta.host.get("cpu"))
    if quiet:
        return
    if trace.meta.state in (INCOMPLETE, RECOVERED):
        say(f"the recording of run {trace.meta.id} was cut off; it is replayed up to its last event")
    seq, reason = inexact(trace.meta.grade)
    if seq is not None:
        say(printable(f"this run may not replay identically from event {seq:,} on: {reason}"))
    if warning:
        say(warning)


def play(trace: Trace, *, discard: bool, keep_going: int = 0) -> ReplayResult:
    """Replay with the program's output on ours, or nowhere."""
    from sentra_sandbox.replay.session import replay

    streams = (NOWHERE, NOWHERE) if discard else (1, 2)
    return replay(trace.path, stdout=streams[0], stderr=streams[1], keep_going=keep_going)


def say_divergence(trace: Trace, result: ReplayResult) -> None:
    """The report on stderr."""
    from sentra_sandbox.cli.replay_report import divergence_lines

    for line in divergence_lines(trace, result):
        say(printable(line))


def write_json(trace: Trace, result: ReplayResult, *, to_stdout: bool) -> None:
    """The result as one line of JSON."""
    from sentra_sandbox.cli.replay_report import result_object

    text = json.dumps(result_object(trace, result))
    if to_stdout:
        write_line(text)
    else:
        click.echo(text, err=True)
