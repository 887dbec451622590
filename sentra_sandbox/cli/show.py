"""``show``: what a run did, as events or as one of the views."""

from __future__ import annotations

import click

from sentra_sandbox.cli.click_types import DURATION
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.errors import UsageError
from sentra_sandbox.syscalls.table_format import CLASSES
from sentra_sandbox.trace.events import EventType
from sentra_sandbox.trace.network_events import NetworkType

TYPES = {kind.name.lower(): kind.value for kind in (*EventType, *NetworkType)}
NS_PER_S = 1_000_000_000

HELP = """Show the events of RUN, decoded, one a line, or one of the views.

A line has the seconds since the start, the thread id, the call with arguments and result, and how long it took if
that was more than 0.1 ms. Events that only a replay needs (tsc, file, data, memory) are shown when asked for with
--type.

\b
Examples:
  sentra-sandbox show last
  sentra-sandbox show last --class network
  sentra-sandbox show nightly --path '*/.ssh/*'
  sentra-sandbox show last --tree
  sentra-sandbox show last --net
  sentra-sandbox show last --http 3
  sentra-sandbox show last --syscall openat,connect --json | jq -r .text
"""


@click.command("show", help=HELP, short_help="Show what a run did.")
@click.option("--pid", "pids", type=int, multiple=True, metavar="N", help="Only this process or thread (repeatable).")
@click.option(
    "--syscall", "syscalls", multiple=True, metavar="NAMES", help="Only these calls: openat,read (repeatable)."
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice(CLASSES),
    metavar="CLASS",
    help=f"Only calls of this class: {', '.join(CLASSES)} (repeatable).",
)
@click.option(
    "--path",
    default="",
    metavar="TEXT",
    help="Only calls on a path that contains TEXT, or matches it if it has * ? or [.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(list(TYPES)),
    metavar="TYPE",
    help=f"Only events of this type: {', '.join(TYPES)} (repeatable).",
)
@click.option("--since", "since_s", type=DURATION, default=None, help="Leave out what was before this time of the run.")
@click.option("--until", "until_s", type=DURATION, default=None, help="Leave out what was after this time of the run.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=None, metavar="N", help="At most N events.")
@click.option(
    "-s",
    "--strings",
    "max_string",
    type=click.IntRange(min=0),
    default=32,
    show_default=True,
    metavar="N",
    help="At most N bytes of a string.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("-f", "--follow", is_flag=True, help="Of a running recording: go on until it ends.")
@click.option("--tree", "view", flag_value="tree", help="Show the processes instead.")
@click.option("--files", "view", flag_value="files", help="Show the files that were read and written instead.")
@click.option("--summary", "view", flag_value="summary", help="Show the summary that exec prints at the end instead.")
@click.option("--net", "view", flag_value="net", help="Show DNS queries, connections and HTTP exchanges over time instead.")
@click.option(
    "--http", "exchange", type=click.IntRange(min=0), default=None, metavar="N", help="Show HTTP exchange N (see --net) instead."
)
@click.option("--show-secrets", is_flag=True, help="With --net and --http: do not mask keys, tokens and cookies in heads and URLs.")
@click.argument("run", metavar="RUN")
def command(
    run: str,
    pids: tuple[int, ...],
    syscalls: tuple[str, ...],
    classes: tuple[str, ...],
    path: str,
    types: tuple[str, ...],
    since_s: float | None,
    until_s: float | None,
    limit: int | None,
    max_string: int,
    as_json: bool,
    follow: bool,
    view: str | None,
    exchange: int | None,
    show_secrets: bool,
) -> None:
    if exchange is not None and view:
        raise UsageError(f"--http and --{view} are different views.", "Leave out one of them.")
    view = "http" if exchange is not None else view
    if show_secrets and view not in ("net", "http"):
        raise UsageError("--show-secrets goes with --net and --http.", "The other views show the calls as they are.")
    filtered = bool(pids or syscalls or classes or path or types or since_s or until_s or limit)
    if view and (filtered or follow):
        raise UsageError(
            f"--{view} is about the whole run; filters and --follow go with the list of events.",
            "Leave out one of them.",
        )
    with open_run(run) as trace:
        if exchange is not None:
            from sentra_sandbox.cli.show_exchange import show_exchange

            show_exchange(trace, exchange, as_json=as_json, secrets=show_secrets)
            return
        if view == "net":
            from sentra_sandbox.cli.show_network import show_network

            show_network(trace, as_json=as_json, secrets=show_secrets)
            return
        if view:
            from sentra_sandbox.cli.show_views import VIEWS

            VIEWS[view](trace, as_json=as_json)
            return
        from sentra_sandbox.cli.show_events import show_events
        from sentra_sandbox.views.selection import Selection, calls_named

        selection = Selection(
            pids=frozenset(pids),
            calls=calls_named(syscalls, classes),
            types=frozenset(TYPES[name] for name in types),
            path=path,
            network="network" in classes and not syscalls,
            since_ns=int((since_s or 0) * NS_PER_S),
            until_ns=None if until_s is None else int(until_s * NS_PER_S),
        )
        events = trace.follow() if follow else trace.events()
        show_events(events, selection, as_json=as_json, limit=limit or 0, max_string=max_string, live=follow)
