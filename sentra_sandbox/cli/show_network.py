"""``show --net``: queries, connections and exchanges of a run over time, as a waterfall or as JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from sentra_sandbox.cli.durations import format_duration, format_size
from sentra_sandbox.cli.messages import printable
from sentra_sandbox.cli.terminal import Style, write_line
from sentra_sandbox.trace.events import EventType
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.connections import Connection, DnsQuery, Problem
from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.llm import LlmCall, llm_calls
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.network_json import network_objects
from sentra_sandbox.views.processes import ProcessTable
from sentra_sandbox.views.secrets import mask_url
from sentra_sandbox.views.spilled import rejoined

WIDTH_OF_A_PIPE = 160
NARROW = 120  # columns of a terminal below which some things are left out
BAR_MIN, WHAT_MIN = 8, 16


@dataclass(slots=True)
class Row:
    """``waited_ns``: until the first answer; ``colour`` of the state; ``more``: lines below it."""

    began_ns: int
    ended_ns: int
    task: int
    kind: str
    what: str
    state: str = ""
    sent: int | None = None
    received: int | None = None
    waited_ns: int = 0
    colour: str = ""
    more: list[str] = field(default_factory=list)


def show_network(trace: Trace, *, as_json: bool, secrets: bool) -> None:
    """All of the run's network."""
    network, processes = read(trace)
    calls = {call.exchange: call for call in llm_calls(list(network.exchanges.values()))}
    if as_json:
        for found in network_objects(network, calls, secrets=secrets):
            write_line(json.dumps(found))
        return
    rows = sorted(_rows(network, calls, secrets), key=lambda row: row.began_ns)
    if not rows:
        write_line("no network was used, or the run did not have its own (exec --net open)")
        return
    width = shutil.get_terminal_size((WIDTH_OF_A_PIPE, 24)).columns if sys.stdout.isatty() else WIDTH_OF_A_PIPE
    for line in waterfall(rows, processes, width, Style.for_stdout()):
        write_line(line)


def read(trace: Trace) -> tuple[Network, ProcessTable]:
    """The network and the processes, in one pass."""
    network = Network.unread(trace)
    processes = ProcessTable()
    for event in rejoined(trace.events()):
        if event.type in (EventType.TASK, EventType.EXEC, EventType.EXIT):
            processes.feed(event)
        else:
            network.feed(event)
    network.finish()
    return network, processes


def waterfall(rows: list[Row], processes: ProcessTable, width: int, style: Style) -> Iterator[str]:
    """The lines, as wide as ``width``; on a narrow terminal without what was sent and the names of programs."""
    start = min(row.began_ns for row in rows)
    span = max(max(row.ended_ns for row in rows) - start, 1)
    narrow = width < NARROW
    gap, task_width = (" ", 5) if narrow else ("  ", 14)
    fixed = sum((10, task_width, 5, 9, 9, 8)) + (0 if narrow else 9) + len(gap) * (7 if narrow else 8)
    room = max(width - fixed - 2, WHAT_MIN + BAR_MIN)
    longest = max(len(printable(row.what)) for row in rows)
    what_width = max(min(longest, room * 2 // 3), WHAT_MIN)
    bar_width = max(room - what_width, BAR_MIN)

    def line(when: str, task: str, kind: str, what: str, state: str, sent: str, received: str, took: str, drawn: str) -> str:
        sizes = (received,) if narrow else (sent, received)
        cells = (
            when,
            task[:task_width].ljust(task_width),
            kind.ljust(5),
            what.ljust(what_width),
            state,
            *(size.rjust(9) for size in sizes),
        )
        return gap.join((*cells, took.rjust(8), drawn)).rstrip()

    yield line("TIME".rjust(10), "TASK", "", "WHAT", "STATUS".ljust(9), "SENT", "RECEIVED", "TOOK", "")
    for row in rows:
        what = printable(row.what)
        state = printable(row.state)[:9].ljust(9)
        yield line(
            style(f"{row.began_ns / 1e9:10.4f}", "dim"),
            printable(_task(row.task, processes)),
            row.kind,
            what if len(what) <= what_width else what[: what_width - 3] + "...",
            style(state, row.colour) if row.colour else state,
            _size(row.sent),
            _size(row.received),
            format_duration(max(row.ended_ns - row.began_ns, 0)),
            f"|{bar(row, start, span, bar_width)}|",
        )
        for more in row.more:
            indent = " " * (10 + task_width + 5 + 3 * len(gap))
            yield style(f"{indent}{printable(more)}", "yellow" if row.colour == "red" else "dim")


def bar(row: Row, start: int, span: int, width: int) -> str:
    """``   ---===   ``: ``-`` until the first answer, ``=`` from then on; at least one character."""
    first = min(max(row.began_ns - start, 0) * width // span, width - 1)
    last = min(max(max(row.ended_ns - start, 0) * width // span, first), width - 1)
    turn = min(max(max(row.began_ns + row.waited_ns - start, 0) * width // span, first), last + 1)
    return " " * first + "-" * (turn - first) + "=" * (last + 1 - turn) + " " * (width - last - 1)


def _size(size: int | None) -> str:
    return "" if size is None else format_size(size)


def _task(task: int, processes: ProcessTable) -> str:
    process = processes.of(task)
    command = process.command[0].rsplit("/", 1)[-1] if process and process.command else ""
    return f"{task} {command}".strip() if task else "?"


def _rows(network: Network, calls: dict[int, LlmCall], secrets: bool) -> Iterator[Row]:
    yield from map(_dns_row, network.dns)
    for connection in network.connections.values():
        if connection.number:
            yield _connection_row(connection)
    for exchange in network.exchanges.values():
        yield _exchange_row(exchange, calls.get(exchange.number), secrets)
    for socket in network.refused_sockets:
        yield Row(socket.time_ns, socket.time_ns, socket.task, "unix", socket.what, "refused", colour="red", more=[_because(socket)])
    for problem in network.problems:
        yield Row(problem.time_ns, problem.time_ns, problem.task, "!", problem.what, "problem", colour="yellow", more=[_because(problem)])


def _because(problem: Problem) -> str:
    return f"{problem.detail}{f' ({problem.remedy})' if problem.remedy else ''}"


def _dns_row(query: DnsQuery) -> Row:
    row = Row(
        query.began_ns,
        query.time_ns,
        query.task,
        "dns",
        f"{query.name} {query.type}",
        query.rcode,
        colour="" if query.rcode == "NOERROR" else "yellow",
    )
    row.waited_ns = row.ended_ns - row.began_ns
    if not query.allowed:
        row.state, row.colour = "refused", "red"
        row.more.append(f"{query.reason or 'refused'} [{query.rule}]")
    elif query.answers:
        row.what += f" -> {', '.join(query.answers[:3])}{f' ({query.real[0]})' if query.real else ''}"
    return row


def _connection_row(connection: Connection) -> Row:
    tls = connection.tls
    secured = f" {tls.version or 'TLS'} {tls.alpn}{' (passed through)' if tls.mode == 'passthrough' else ''}".rstrip() if tls else ""
    row = Row(
        connection.opened_ns,
        connection.closed_ns or connection.last_ns,
        connection.task,
        connection.protocol or "?",
        connection.target + secured,
        connection.closed_how or "open",
        connection.sent,
        connection.received,
        max(connection.connected_ns - connection.opened_ns, 0),
    )
    if not connection.allowed:
        row.state, row.colour = "refused", "red"
        row.more.append(f"{connection.reason or 'refused'}{f'; to allow it: {connection.remedy}' if connection.remedy else ''}")
    elif connection.closed_how not in ("end", ""):
        row.colour = "yellow"
        if not (tls and tls.error):  # that says more
            row.more += [
                f"{connection.closed_how} by {connection.closed_by or '?'}{f': {connection.close_error}' if connection.close_error else ''}"
            ]
    if connection.upstream_error:
        row.colour = "red"
        row.more.append(f"not reached: {connection.upstream_error}")
    if tls and tls.error:
        row.colour = "red"
        row.more.append(f"TLS failed at the {tls.side or 'other side'}: {tls.error}{f'; {tls.remedy}' if tls.remedy else ''}")
    return row


def _exchange_row(exchange: Exchange, call: LlmCall | None, secrets: bool) -> Row:
    request, response = exchange.request, exchange.response
    url = exchange.url if secrets else mask_url(exchange.url)
    state = f"{response.status}" if response.status else "no answer"
    row = Row(
        exchange.began_ns,
        exchange.last_ns,
        exchange.task,
        f"#{exchange.number}",
        f"{request.method or '?'} {url}",
        state,
        request.size,
        response.size,
        max((response.time_ns or exchange.last_ns) - exchange.began_ns, 0),
        "red" if response.status >= 500 or exchange.error or not response.status else "yellow" if response.status >= 400 else "",
    )
    if exchange.messages:
        row.sent = sum(message.size for message in exchange.messages if not message.to_client)
        row.received = sum(message.size for message in exchange.messages if message.to_client)
        row.more.append(f"websocket: {len(exchange.messages)} messages")
    if response.source:
        row.more.append(f"answered by the {response.source}")
    if exchange.error:
        row.more.append(f"broke off: {exchange.error}")
    if call:
        row.more.append(llm_line(call))
    return row


def llm_line(call: LlmCall) -> str:
    """``gpt-4o: 11 -> 7 tokens, first after 150 ms, 48 tokens/s, calls weather``."""
    usage = call.usage
    parts = []
    if usage.input_tokens is not None or usage.output_tokens is not None:
        parts.append(" -> ".join("?" if count is None else f"{count:,}" for count in (usage.input_tokens, usage.output_tokens)) + " tokens")
    if call.streamed and call.first_token_after_ns is not None:
        parts.append(f"first after {format_duration(call.first_token_after_ns)}")
    if call.tokens_per_s:
        parts.append(f"{call.tokens_per_s:.0f} tokens/s")
    if call.tool_calls:
        parts.append(f"calls {', '.join(tool.name for tool in call.tool_calls)}")
    if call.error:
        parts.append(
            f"error {call.error.type or call.error.status}{f', retry after {call.error.retry_after} s' if call.error.retry_after else ''}"
        )
    elif not call.complete:
        parts.append("did not end")
    return f"{call.operation} {call.answered_model or call.model or '?'}: {', '.join(parts) or 'no usage said'}"
