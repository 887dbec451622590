"""The network of a run as objects for JSON. Pure; secrets are masked unless asked for. Keys are only ever added."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from sentra_sandbox.views.body_text import body_text
from sentra_sandbox.views.connections import Connection, DnsQuery, Problem
from sentra_sandbox.views.exchanges import Exchange, Headers, Message
from sentra_sandbox.views.llm import LlmCall
from sentra_sandbox.views.llm_requests import ToolCall
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.secrets import mask_headers, mask_url

Object = dict[str, Any]


def network_objects(network: Network, calls: dict[int, LlmCall], *, secrets: bool = False) -> Iterator[Object]:
    """One object for each query, connection, exchange, refused socket and problem, in the order in which they began."""
    timed: list[tuple[int, Object]] = [(query.began_ns, dns_object(query)) for query in network.dns]
    timed += [(connection.opened_ns, connection_object(connection)) for connection in network.connections.values() if connection.number]
    for exchange in network.exchanges.values():
        timed.append((exchange.began_ns, exchange_object(exchange, calls.get(exchange.number), secrets=secrets)))
    timed += [(socket.time_ns, {"kind": "refused_socket", **_problem(socket)}) for socket in network.refused_sockets]
    timed += [(problem.time_ns, {"kind": "problem", **_problem(problem)}) for problem in network.problems]
    yield from (found for _, found in sorted(timed, key=lambda pair: pair[0]))


def dns_object(query: DnsQuery) -> Object:
    """A query."""
    names = ("seq", "began_ns", "time_ns", "task", "client", "server", "transport", "name", "type", "rcode", "answers", "real")
    return {"kind": "dns", **{name: getattr(query, name) for name in (*names, "allowed", "rule", "reason")}}


def connection_object(connection: Connection) -> Object:
    """A connection, without its bytes."""
    names = (
        *("number", "protocol", "client", "server", "name", "allowed", "rule", "reason", "remedy", "task", "opened_ns", "peer"),
        *("upstream_error", "connect_began_ns", "connected_ns", "closed_ns", "closed_by", "closed_how", "close_error", "sent", "received"),
    )
    tls = connection.tls
    details = {name: getattr(tls, name) for name in tls.__dataclass_fields__} if tls else None
    return {"kind": "connection", **{name: getattr(connection, name) for name in names}, "tls": details, "exchanges": connection.exchanges}


def exchange_object(exchange: Exchange, call: LlmCall | None = None, *, secrets: bool = False, bodies: bool = False) -> Object:
    """An exchange; with ``bodies`` also their text (or base64), messages and server-sent events."""
    request, response = exchange.request, exchange.response
    found: Object = {
        "kind": "exchange",
        "number": exchange.number,
        "connection": exchange.connection,
        "task": exchange.task,
        "url": exchange.url if secrets else mask_url(exchange.url),
        "began_ns": exchange.began_ns,
        "ended_ns": exchange.last_ns,
        "request": {"method": request.method, **_message(request, secrets=secrets, bodies=bodies)},
        "response": {
            "status": response.status,
            "reason": response.reason,
            "source": response.source or "server",
            **_message(response, secrets=secrets, bodies=bodies),
        },
        "error": exchange.error,
        "messages": len(exchange.messages),
        "llm": llm_object(call, whole=bodies) if call else None,
    }
    if bodies:
        found["informational"] = [{"status": head.status, "headers": shown(head.headers, secrets)} for head in exchange.informational]
        found["messages"] = [
            {"time_ns": m.time_ns, "to_client": m.to_client, "opcode": m.opcode, "size": m.size, **_data(m.data)} for m in exchange.messages
        ]
        found["server_sent_events"] = [
            {"time_ns": event.time_ns, "event": event.event, "id": event.id, "data": event.data} for event in exchange.server_sent_events()
        ]
    return found


def shown(headers: Headers, secrets: bool) -> Headers:
    """The headers as they may be shown."""
    return headers if secrets else mask_headers(headers)


def _message(message: Message, *, secrets: bool, bodies: bool) -> Object:
    found: Object = {
        "time_ns": message.time_ns,
        "ended_ns": message.ended_ns,
        "version": message.version,
        "headers": shown(message.headers, secrets),
        "trailers": shown(message.trailers, secrets),
        "size": message.size,
        "media_type": message.media_type,
    }
    if bodies:
        decoded = message.decoded()
        data = decoded.data
        text = body_text(message, data)
        found["body"] = {**({"text": text} if text is not None else _base64(data)), "note": decoded.note}
        found["chunks"] = [{"time_ns": piece.time_ns, "size": piece.size, "seq": piece.seq} for piece in message.pieces]
    return found


def _base64(data: bytes) -> Object:
    return {"base64": base64.b64encode(data).decode()}


def _data(data: bytes) -> Object:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return _base64(data)


def _problem(problem: Problem) -> Object:
    names = ("seq", "time_ns", "connection", "exchange", "task", "what", "detail", "remedy")
    return {name: getattr(problem, name) for name in names}


def llm_object(call: LlmCall, *, whole: bool) -> Object:
    """A call of a model; ``whole``: with the conversation."""
    error = call.error
    found: Object = {
        "api": call.api,
        "provider": call.provider,
        "operation": call.operation,
        "model": call.model,
        "answered_model": call.answered_model,
        "streamed": call.streamed,
        "complete": call.complete,
        "usage": call.usage.as_dict(),
        "stop_reason": call.stop_reason,
        "first_token_after_ns": call.first_token_after_ns,
        "tokens_per_s": call.tokens_per_s,
        "tool_calls": [_call(tool) for tool in call.tool_calls],
        "error": {"status": error.status, "type": error.type, "message": error.message, "retry_after": error.retry_after}
        if error
        else None,
    }
    if whole:
        found["settings"] = call.settings
        found["tools"] = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in call.tools]
        found["messages"] = [
            {
                "role": turn.role,
                "text": turn.text,
                "tool_calls": [_call(tool) for tool in turn.tool_calls],
                "tool_results": [{"id": result.id, "text": result.text} for result in turn.tool_results],
                "other": list(turn.other),
            }
            for turn in call.turns
        ]
        found["text"] = call.text
        found["thinking"] = call.thinking
    return found


def _call(tool: ToolCall) -> Object:
    return {"id": tool.id, "name": tool.name, "arguments": tool.arguments}
