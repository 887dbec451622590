"""A run's exchanges and model calls as OpenTelemetry traces: OTLP in its JSON encoding, one ``TracesData`` object. Needs neither sandbox
nor native.

Attributes follow the semantic conventions of version ``CONVENTIONS``, those for HTTP and for generative AI (which are still in
development there). Spans: the run; in it a ``chat MODEL`` span for each call of a model, and in that (or in the run) the HTTP exchange;
``execute_tool NAME`` where it is proven that the program ran a tool: the model asked for it under an id, and a later request brought
a result under the same id. Its span reaches from that answer to that request, so it holds the tool's run, and no less. Ids follow from the
run's id: exporting twice gives the same spans. What models were told and said is in the attributes; secrets in URLs are masked unless
asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import IO, Any

from sentra_sandbox.export.moments import absolute, start_of
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.connections import Connection
from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.json_values import parse
from sentra_sandbox.views.llm import LlmCall, llm_call
from sentra_sandbox.views.llm_requests import ToolCall, Turn
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.secrets import mask_url

CONVENTIONS = "1.37.0"
_SCHEMA = f"https://opentelemetry.io/schemas/{CONVENTIONS}"
_INTERNAL, _CLIENT = 1, 3
_ERROR = 2
_PORTS = {"http": 80, "https": 443}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_SETTINGS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "choices": "gen_ai.request.choice.count",
    "stop_sequences": "gen_ai.request.stop_sequences",
}
_DOUBLES = frozenset({"temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty"})
Span = dict[str, Any]


def write_otlp(trace: Trace, file: IO[str], *, secrets: bool = False) -> int:
    """Write the whole run; how many spans it were. Raises ``TraceError``, ``OSError``."""
    meta = trace.meta
    resource: dict[str, object] = {
        "service.name": (meta.argv[0] if meta.argv else "?").rsplit("/", 1)[-1],
        "process.command_args": list(meta.argv) if secrets else [mask_url(word) for word in meta.argv],
        "sentra_sandbox.run.id": meta.id,
    }
    scope = {"name": "sentra-sandbox", "version": str(meta.versions.get("sentra-sandbox", ""))}
    head = {"resource": {"attributes": attributes(resource)}, "schemaUrl": _SCHEMA}
    scoped = {"scope": scope, "schemaUrl": _SCHEMA}
    file.write('{"resourceSpans": [' + json.dumps(head)[:-1] + ', "scopeSpans": [' + json.dumps(scoped)[:-1] + ', "spans": [')
    count = 0
    for span in _Spans(trace, secrets).all():
        file.write((",\n" if count else "\n") + json.dumps(span))
        count += 1
    file.write("\n]}]}]}\n")
    return count


def attributes(values: dict[str, object]) -> list[dict[str, object]]:
    """Key-value pairs as OTLP's JSON has them: integers are texts; what is None or "" is left out."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None and value != ""]


def _value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": _unicode(str(value))}


def _unicode(text: str) -> str:
    """Without half surrogates: protobuf's texts must be Unicode."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _Spans:
    """Makes the spans of one run."""

    def __init__(self, trace: Trace, secrets: bool) -> None:
        self._meta = trace.meta
        self._network = Network.of(trace)
        self._secrets = secrets
        self._start_ns = start_of(trace.meta.created)
        self._trace_id = self._id("trace", 0, 16)
        self._root = self._id("run", 0, 8)

    def all(self) -> Iterator[Span]:
        """The run first, then in order of time."""
        yield self._run()
        asked: dict[str, tuple[LlmCall, ToolCall]] = {}
        tools = 0
        for exchange in sorted(self._network.exchanges.values(), key=lambda exchange: exchange.began_ns):
            connection = self._network.connections[exchange.connection]
            call = llm_call(exchange)
            parent = self._root
            if call is not None:
                for before, tool in _answered(call, asked):
                    tools += 1
                    yield self._tool(tools, before, tool, call)
                asked.update({tool.id: (call, tool) for tool in call.tool_calls if tool.id})
                model = self._model(call, connection)
                parent = model["spanId"]
                yield model
            yield self._exchange(exchange, connection, parent)

    def _id(self, kind: str, number: int, size: int) -> str:
        return hashlib.sha256(f"{self._meta.id} {kind} {number}".encode()).digest()[:size].hex()

    def _span(self, kind: str, number: int, parent: str, name: str, role: int, times: tuple[int, int], found: dict[str, object]) -> Span:
        began, ended = times
        span: Span = {
            "traceId": self._trace_id,
            "spanId": self._root if kind == "run" else self._id(kind, number, 8),
            "name": _unicode(name),
            "kind": role,
            "startTimeUnixNano": str(absolute(self._start_ns, began)),
            "endTimeUnixNano": str(absolute(self._start_ns, max(began, ended))),
            "attributes": attributes(found),
            "status": {},
        }
        if parent:
            span["parentSpanId"] = parent
        if error := found.get("error.type"):
            span["status"] = {"code": _ERROR, "message": _unicode(str(error))}
        return span

    def _run(self) -> Span:
        meta = self._meta
        last = max([exchange.last_ns for exchange in self._network.exchanges.values()], default=0)
        found: dict[str, object] = {"process.exit.code": meta.exit_status, "sentra_sandbox.run.grade": meta.grade}
        return self._span("run", 0, "", f"run {meta.argv[0] if meta.argv else '?'}", _INTERNAL, (0, max(meta.duration_ns, last)), found)

    def _exchange(self, exchange: Exchange, connection: Connection, parent: str) -> Span:
        request, response = exchange.request, exchange.response
        method = request.method if request.method in _METHODS else "_OTHER"
        host, port = _server(exchange.authority, request.scheme)
        found: dict[str, object] = {
            "http.request.method": method,
            "http.request.method_original": request.method if method == "_OTHER" else None,
            "url.full": exchange.url if self._secrets else mask_url(exchange.url),
            "server.address": host,
            "server.port": port,
            "network.peer.address": connection.peer[0],
            "network.peer.port": connection.peer[1] or None,
            "network.protocol.name": "http",
            "network.protocol.version": request.version,
            "http.request.body.size": request.size,
            "http.response.body.size": response.size,
            "http.response.status_code": response.status or None,
            "thread.id": exchange.task or None,
            "error.type": _error_type(exchange),
        }
        times = exchange.began_ns, exchange.last_ns
        return self._span("exchange", exchange.number, parent, method if method != "_OTHER" else "HTTP", _CLIENT, times, found)

    def _model(self, call: LlmCall, connection: Connection) -> Span:
        usage = call.usage
        host, port = _server(call.server, "https" if connection.tls else "http")
        found: dict[str, object] = {
            "gen_ai.operation.name": call.operation,
            "gen_ai.provider.name": call.provider,
            "gen_ai.request.model": call.model,
            "gen_ai.response.model": call.answered_model,
            "gen_ai.response.id": call.id,
            "gen_ai.response.finish_reasons": [call.stop_reason] if call.stop_reason else None,
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "server.address": host,
            "server.port": port,
            "error.type": (call.error.type or str(call.error.status)) if call.error else None if call.complete else "incomplete",
        }
        for name, value in call.settings.items():
            found[_SETTINGS[name]] = float(value) if name in _DOUBLES and isinstance(value, int) else value
        system = [turn.text for turn in call.turns if turn.role == "system"]
        if system:
            found["gen_ai.system_instructions"] = json.dumps([{"type": "text", "content": text} for text in system])
        turns = [_turn(turn) for turn in call.turns if turn.role != "system"]
        if turns:
            found["gen_ai.input.messages"] = json.dumps(turns)
        if call.text or call.tool_calls or call.thinking:
            found["gen_ai.output.messages"] = json.dumps([_output(call)])
        times = call.began_ns, call.ended_ns
        return self._span("model", call.exchange, self._root, f"{call.operation} {call.model}".rstrip(), _CLIENT, times, found)

    def _tool(self, number: int, before: LlmCall, tool: ToolCall, after: LlmCall) -> Span:
        found: dict[str, object] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            "gen_ai.tool.call.id": tool.id,
            "gen_ai.tool.type": "function",
        }
        return self._span("tool", number, self._root, f"execute_tool {tool.name}", _INTERNAL, (before.ended_ns, after.began_ns), found)


def _answered(call: LlmCall, asked: dict[str, tuple[LlmCall, ToolCall]]) -> Iterator[tuple[LlmCall, ToolCall]]:
    """The tool calls of earlier answers whose results this request brings for the first time."""
    for turn in call.turns:
        for result in turn.tool_results:
            found = asked.pop(result.id, None)
            if found is not None:
                yield found


def _server(authority: str, scheme: str) -> tuple[str, int | None]:
    host, colon, port = authority.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) < 6:
        return host.strip("[]"), int(port)
    return authority.strip("[]"), _PORTS.get(scheme)


def _error_type(exchange: Exchange) -> str | None:
    if exchange.response.status >= 400:
        return str(exchange.response.status)
    if exchange.error:
        return "broken_off"
    return None if exchange.response.seen else "no_answer"


def _turn(turn: Turn) -> dict[str, object]:
    parts: list[dict[str, object]] = [{"type": "text", "content": turn.text}] if turn.text else []
    parts += map(_tool_call, turn.tool_calls)
    parts += [{"type": "tool_call_response", "id": result.id, "response": result.text} for result in turn.tool_results]
    parts += [{"type": other} for other in turn.other]
    return {"role": turn.role, "parts": parts}


def _tool_call(tool: ToolCall) -> dict[str, object]:
    arguments = parse(tool.arguments)
    return {"type": "tool_call", "id": tool.id, "name": tool.name, "arguments": tool.arguments if arguments is None else arguments}


def _output(call: LlmCall) -> dict[str, object]:
    parts: list[dict[str, object]] = [{"type": "reasoning", "content": call.thinking}] if call.thinking else []
    parts += [{"type": "text", "content": call.text}] if call.text else []
    parts += map(_tool_call, call.tool_calls)
    return {"role": "assistant", "parts": parts, "finish_reason": call.stop_reason}
