"""``show --http N``: one exchange as a person reads it: heads, bodies, a model's conversation, the times of what was streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

from sentra_sandbox.cli.durations import format_duration, format_size
from sentra_sandbox.cli.messages import printable
from sentra_sandbox.cli.show_network import llm_line, read
from sentra_sandbox.cli.terminal import Style, write_line
from sentra_sandbox.errors import UsageError
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.body_text import binary_summary, body_text, indented
from sentra_sandbox.views.connections import Connection
from sentra_sandbox.views.endpoints import address_text
from sentra_sandbox.views.exchanges import Exchange, Message
from sentra_sandbox.views.llm import LlmCall, llm_call
from sentra_sandbox.views.llm_requests import ToolCall, Turn
from sentra_sandbox.views.network_json import connection_object, exchange_object, shown
from sentra_sandbox.views.secrets import mask_url

TEXT_MAX = 256 * 1024  # characters of one body
EVENTS_MAX = 200  # server-sent events, WebSocket messages


def show_exchange(trace: Trace, number: int, *, as_json: bool, secrets: bool) -> None:
    """Exchange ``number``. Raises ``UsageError`` if there is none."""
    network, _ = read(trace)
    exchange = network.exchanges.get(number)
    if exchange is None:
        count = len(network.exchanges)
        there = f"It has {count}; 'show --net' lists them." if count else "No HTTP exchange was recorded in it."
        raise UsageError(f"Run {trace.meta.id} has no HTTP exchange {number}.", there)
    connection = network.connections[exchange.connection]
    call = llm_call(exchange)
    if as_json:
        whole = exchange_object(exchange, call, secrets=secrets, bodies=True)
        write_line(json.dumps({**whole, "connection": connection_object(connection)}))
        return
    for line in exchange_lines(exchange, connection, call, Style.for_stdout(), secrets=secrets):
        write_line(line)


def exchange_lines(exchange: Exchange, connection: Connection, call: LlmCall | None, style: Style, *, secrets: bool) -> Iterator[str]:
    """All lines, safe for a terminal."""
    request, response = exchange.request, exchange.response
    tls = connection.tls
    where = f"{connection.target} at {address_text(connection.peer)}" if connection.peer[0] else connection.target
    secured = f", {tls.version or 'TLS'} {tls.alpn}".rstrip() if tls else ""
    yield style(
        printable(f"exchange {exchange.number} of connection {connection.number}, task {exchange.task or '?'}: {where}{secured}"), "dim"
    )
    yield style(_times(exchange), "dim")
    yield ""
    target = request.target if secrets else mask_url(request.target)
    yield style(printable(f"{request.method or '?'} {target} HTTP/{request.version or '?'}"), "bold")
    if request.authority and not request.header("host"):  # HTTP/2 has it beside the headers
        yield f"{style(':authority', 'cyan')}: {printable(request.authority)}"
    yield from _headers(request, style, secrets)
    yield ""
    if call:
        yield from conversation_lines(call, style)
    else:
        yield from _body(request)
    for head in exchange.informational:
        yield style(printable(f"HTTP/{head.version} {head.status} {head.reason}"), "dim")
        yield from _headers(head, style, secrets)
        yield ""
    if not response.seen:
        yield style("no answer", "red")
    else:
        colour = "red" if response.status >= 400 else "green"
        source = f"  (answered by the {response.source})" if response.source else ""
        yield style(printable(f"HTTP/{response.version or '?'} {response.status} {response.reason}{source}"), colour)
        yield from _headers(response, style, secrets)
        yield ""
    if call:
        yield from answer_lines(call, style)
    if response.media_type == "text/event-stream":
        yield from _event_lines(exchange, style, short=call is not None)
    elif not call or not (call.text or call.tool_calls or call.thinking):
        yield from _body(response)
    for message in (request, response):
        if message.error:
            yield style(printable(f"broke off: {message.error}"), "red")
    yield from _message_lines(exchange, style)


def _times(exchange: Exchange) -> str:
    request, response = exchange.request, exchange.response
    began = exchange.began_ns
    parts = [f"began at {began / 1e9:.4f} s"]
    if request.ended_ns:
        parts.append(f"request sent after {format_duration(max(request.ended_ns - began, 0))}")
    if response.time_ns:
        parts.append(f"answered after {format_duration(max(response.time_ns - began, 0))}")
    if response.ended_ns:
        parts.append(f"ended after {format_duration(max(response.ended_ns - began, 0))}")
    return ", ".join(parts)


def _headers(message: Message, style: Style, secrets: bool) -> Iterator[str]:
    for name, value in shown(message.headers, secrets):
        yield f"{style(printable(name), 'cyan')}: {printable(value)}"
    for name, value in shown(message.trailers, secrets):
        yield f"{style(printable(name), 'cyan')}: {printable(value)}  (trailer)"


def _text_lines(text: str, indent: str = "") -> Iterator[str]:
    """The lines of a text, as far as it is shown."""
    for line in text[:TEXT_MAX].split("\n"):
        yield indent + printable(line.rstrip("\r"), keep="\t")
    if len(text) > TEXT_MAX:
        yield f"{indent}... and {len(text) - TEXT_MAX:,} more characters (--json has them)"


def _body(message: Message) -> Iterator[str]:
    if not message.size:
        return
    decoded = message.decoded()
    data = decoded.data
    text = body_text(message, data)
    yield from _text_lines(indented(text)) if text is not None else (binary_summary(data),)
    if decoded.note:
        yield printable(f"[{decoded.note}]")
    yield ""


def conversation_lines(call: LlmCall, style: Style) -> Iterator[str]:
    """What the program told the model."""
    settings = ", ".join(f"{name} {value}" for name, value in call.settings.items())
    streamed = "streamed" if call.streamed else "in one piece"
    yield style(
        printable(f"{call.operation} with {call.model or '?'} ({call.provider}, {streamed}{f'; {settings}' if settings else ''})"), "bold"
    )
    if call.tools:
        yield printable(f"tools offered: {', '.join(tool.name for tool in call.tools)}")
    for turn in call.turns:
        yield from _turn_lines(turn, style)
    yield ""


def _turn_lines(turn: Turn, style: Style) -> Iterator[str]:
    yield style(printable(f"[{turn.role}]"), "blue") + f" {len(turn.text):,} characters"
    if turn.text:
        yield from _text_lines(turn.text, "  ")
    for result in turn.tool_results:
        yield printable(f"  result of {result.id or 'a tool'}:")
        yield from _text_lines(indented(result.text), "    ")
    yield from _call_lines(turn.tool_calls)
    for other in turn.other:
        yield printable(f"  ({other})")


def _call_lines(calls: tuple[ToolCall, ...]) -> Iterator[str]:
    for tool in calls:
        yield printable(f"  calls {tool.name or '?'}{f' ({tool.id})' if tool.id else ''}:")
        yield from _text_lines(indented(tool.arguments), "    ")


def answer_lines(call: LlmCall, style: Style) -> Iterator[str]:
    """What the model answered."""
    if call.thinking:
        yield style("[thinking]", "blue")
        yield from _text_lines(call.thinking, "  ")
    if call.text or call.tool_calls:
        yield style("[answer]", "blue") + (f" the first of {call.choices}" if call.choices > 1 else "")
    if call.text:
        yield from _text_lines(call.text, "  ")
    yield from _call_lines(call.tool_calls)
    if call.error:
        yield style(printable(f"error {call.error.status or 'in the stream'} {call.error.type}: {call.error.message}"), "red")
    details = [f"{name.replace('_', ' ')} {count:,}" for name, count in call.usage.as_dict().items()]
    yield printable(llm_line(call))
    yield printable(", ".join([*details, *([f"stopped: {call.stop_reason}"] if call.stop_reason else [])]))
    yield ""


def _event_lines(exchange: Exchange, style: Style, *, short: bool) -> Iterator[str]:
    """A stream's events with their times; ``short``: only what matters of the times."""
    events = exchange.server_sent_events()
    began = exchange.began_ns
    if events:
        gaps = [after.time_ns - before.time_ns for before, after in pairwise(events)]
        longest = f", longest gap {format_duration(max(gaps))}" if gaps else ""
        first, last = (format_duration(max(event.time_ns - began, 0)) for event in (events[0], events[-1]))
        yield style(f"{len(events):,} events, first after {first}, last after {last}{longest}", "dim")
    if short:
        return
    for event in events[:EVENTS_MAX]:
        name = "" if event.event == "message" else f"{event.event}: "
        cut = "" if event.complete else "  (cut off)"
        yield f"{style(f'{(event.time_ns - began) / 1e6:+10.1f} ms', 'dim')}  {printable((name + event.data)[:2000])}{cut}"
    if len(events) > EVENTS_MAX:
        yield f"... and {len(events) - EVENTS_MAX:,} more events (--json has them)"


def _message_lines(exchange: Exchange, style: Style) -> Iterator[str]:
    for message in exchange.messages[:EVENTS_MAX]:
        data = message.data[:4096] if message.size <= TEXT_MAX else b""
        try:
            text = data.decode("utf-8") if message.opcode == "text" else binary_summary(data) if data else ""
        except UnicodeDecodeError:
            text = binary_summary(data)
        arrow = "<-" if message.to_client else "->"
        code = f" {message.code}" if message.code is not None else ""
        when = style(f"{(message.time_ns - exchange.began_ns) / 1e6:+10.1f} ms", "dim")
        yield f"{when}  {arrow} {printable(message.opcode or '?')}{code} {format_size(message.size)}  {printable(text[:2000])}".rstrip()
    if len(exchange.messages) > EVENTS_MAX:
        yield f"... and {len(exchange.messages) - EVENTS_MAX:,} more messages (--json has them)"
