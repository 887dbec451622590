"""The summary that ``exec`` and ``show --summary`` print: counts, what was written, who was contacted, what was
refused, how exact.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from sentra_sandbox.cli.durations import format_count, format_duration, format_size
from sentra_sandbox.errors import SentraError
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.numbers import RSEQ
from sentra_sandbox.views.summary import Summary, summarise

TYPE_CHECKING = False  # loading typing for it takes longer than the summary
if TYPE_CHECKING:
    from sentra_sandbox.record.options import RecordOptions, RunResult

NAMES_SHOWN = 3
LAST_EVENTS = 2000  # among which the broker's own last one is
BUDGET_S = 0.25  # after a run nobody wants to wait; `show --summary` takes what it needs
NETWORKS = {
    "host": "host (this machine's network: not a wall)",
    "none": "none (loopback only)",
    "open": "open (its own; public hosts are allowed)",
}
NOT_OWN_NETWORK = ("host", "none")  # there the hosts are those of the calls, by address


def report(result: RunResult, options: RecordOptions) -> str:
    """What ``exec`` says at the end."""
    figures = (
        format_count(result.processes, "process", "processes"),
        format_count(result.events, "event"),
        format_duration(result.duration_ns),
        format_size(result.size_bytes),
    )
    lines = [
        f"run {result.run_id}: {', '.join(figures)}",
        *_what_it_did(result, options.net),
        f"grade: {result.grade}; network: {NETWORKS.get(options.net, options.net)}",
    ]
    if options.net.startswith("recorded:"):
        lines.append(recorded_world(result))
    if result.timed_out:
        assert options.timeout_s is not None
        lines.append(
            f"ended by --timeout after {format_duration(int(options.timeout_s * 1e9))}; the exit status is 124"
        )
    elif os.WIFSIGNALED(result.wait_status):
        name = _signal_name(os.WTERMSIG(result.wait_status))
        lines.append(f"the program was ended by signal {name}; the exit status is {result.exit_status}")
    if result.note:
        lines.append(f"note: {result.note}")
    lines.append(f"next: sentra-sandbox show {'last' if options.output is None else quoted(str(result.path))}")
    return "\n".join(lines)


def recorded_world(result: RunResult) -> str:
    """What became of the recording that answered: the broker's last event says it."""
    from sentra_sandbox.trace.network_events import NetworkType, from_event

    try:
        with Trace(result.path) as trace:
            last = [event for event in trace.events(max(result.events - LAST_EVENTS, 0)) if event.type == NetworkType.WORLD]
    except SentraError as error:
        return f"recorded world: its end could not be read back: {error}"
    world = from_event(last[-1]) if last else None
    if world is None:
        return "recorded world: no request was made"
    counted = (world.fields.get(name) for name in ("answered", "missed", "unused", "recorded"))
    answered, missed, unused, recorded = (count if isinstance(count, int) else 0 for count in counted)
    line = f"recorded world: {format_count(answered, 'request')} answered"
    if missed:
        line += f", {missed:,} not in the recording ('sentra-sandbox show {result.run_id} --net' says how they differ)"
    return line + f"; {unused:,} of {format_count(recorded, 'recorded exchange')} left unused"


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)


def _what_it_did(result: RunResult, net: str) -> list[str]:
    """The lines from the events, as far as the time allows. A run that cannot be read back must not hide its exit
    status.
    """
    try:
        with Trace(result.path) as trace:
            summary = summarise(trace.events(), budget_s=BUDGET_S, network_since=trace.network_events)
    except SentraError as error:
        return [f"the run could not be read back: {error}"]
    lines = findings(summary, net=net)
    if summary.cut:
        whole = net not in NOT_OWN_NETWORK and not summary.network_cut
        looked_at = "files and calls of the first" if whole else "the first"
        lines.append(f"({looked_at} {summary.last_seq:,} events; 'sentra-sandbox show {result.run_id} --summary' looks at all)")
    return lines


def findings(summary: Summary, shown: int | None = NAMES_SHOWN, net: str = "host") -> list[str]:
    """The lines about what a run did; one that would be empty says ``none``, so that nobody wonders whether it was
    looked at. What a network of the run's own refused has lines only where there is something.
    """
    if net in NOT_OWN_NETWORK:
        hosts, network = [_host(use.address, use.uses, use.failed) for use in summary.hosts], []
    else:
        hosts, network = named_hosts(summary), network_refusals(summary, shown)
    return [
        f"files written: {some(summary.files, shown)}",
        f"hosts contacted: {some(hosts, shown)}",
        *network,
        f"refused calls: {some(refused_calls(summary), shown)}",
    ]


def named_hosts(summary: Summary) -> list[str]:
    """``api.example.com (3 requests, 1.2 KiB sent, 38 KiB received)``, most bytes first."""
    hosts = sorted(summary.network.hosts.values(), key=lambda host: (-host.sent - host.received, host.name))
    found = []
    for host in hosts:
        if host.failed >= host.connections:
            found.append(f"{host.name} (failed)")
            continue
        requests = [format_count(host.requests, "request")] if host.requests else []
        traffic = [f"{format_size(host.sent)} sent", f"{format_size(host.received)} received"]
        found.append(f"{host.name} ({', '.join((*requests, *traffic))})")
    return found


def network_refusals(summary: Summary, shown: int | None = NAMES_SHOWN) -> list[str]:
    """What the run's own network refused, with what would allow it; whose clients refused our certificate; problems."""
    use = summary.network
    refused = [f"{r.target} ({r.remedy or r.reason or 'by policy'})" for r in use.refused.values()]
    local = (f"localhost:{port}" for port in summary.refused_ports)
    refused += [f"{target} (--allow-net {target})" for target in local if target not in use.refused]
    certificates = [f"{r.target} ({r.remedy or r.reason})" for r in use.certificates.values()]
    problems = [f"{what} ({count})" if count > 1 else what for what, count in use.problems.items()]
    titled = (("refused hosts", refused), ("our certificate refused by clients of", certificates), ("network problems", problems))
    return [_shortened(f"{title}: {some(names, shown)}", shown) for title, names in titled if names]


def _shortened(line: str, shown: int | None, longest: int = 400) -> str:
    return line if shown is None or len(line) <= longest else f"{line[: longest - 3]}..."


def refused_calls(summary: Summary) -> list[str]:
    """``io_uring_setup (2)``, most frequent first. ``rseq`` is left out: each libc tries it at each start and does
    without.
    """
    counts = {key: count for key, count in summary.refused.items() if key != (RSEQ, False)}
    if not counts:
        return []
    from sentra_sandbox.views.lines import call_name  # the table, only when it is needed

    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [
        f"{call_name(number, foreign)} ({count})" if count > 1 else call_name(number, foreign)
        for (number, foreign), count in ordered
    ]


def some(names: Iterable[str], shown: int | None) -> str:
    """``a, b, c and 4 more``; all of them if ``shown`` is None; ``none``."""
    everything = list(names)
    if not everything:
        return "none"
    more = 0 if shown is None else len(everything) - shown
    if more <= 1:  # "and 1 more" takes the room of the name
        return ", ".join(everything)
    return f"{', '.join(everything[:shown])} and {more:,} more"


def quoted(word: str) -> str:
    """``word`` so that a shell reads it back."""
    import shlex

    return shlex.quote(word)


def _host(address: str, uses: int, failed: int) -> str:
    if failed == uses:
        return f"{address} (failed)"
    return address if uses == 1 else f"{address} ({format_count(uses, 'time')})"
