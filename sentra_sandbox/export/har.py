"""HTTP exchanges as HAR 1.2, which browsers' developer tools open. Needs neither sandbox nor native.

Written entry by entry, so a run with large bodies needs no more memory than its largest. Secrets in heads, cookies and URLs are masked
unless asked for; bodies are as recorded, without content codings. Fields that begin with ``_`` are Chrome's or ours. A request body that
is no text has ``_encoding``: HAR itself knows encodings of answers only.
"""

from __future__ import annotations

import base64
import json
from typing import IO, Any
from urllib.parse import unquote_plus

from sentra_sandbox.export.moments import absolute, iso, start_of
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.body_text import body_text
from sentra_sandbox.views.connections import Connection, DnsQuery
from sentra_sandbox.views.exchanges import Exchange, Headers, Message, Request, Response
from sentra_sandbox.views.llm import llm_call
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.network_json import llm_object, shown
from sentra_sandbox.views.secrets import MASK, mask_url

Object = dict[str, Any]

BODY_MAX = 8 << 20  # of a decoded body, marked where it is cut off: browsers load the file whole, and JSON may take six times as much
_MS = 1_000_000
_OPCODES = {"text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}


def write_har(trace: Trace, file: IO[str], *, secrets: bool = False) -> int:
    """Write all exchanges of the run; how many they were. Raises ``TraceError``, ``OSError``."""
    network = Network.of(trace)
    start_ns = start_of(trace.meta.created)
    masked = "" if secrets else " Secrets in headers, cookies and URLs are masked."
    log = {
        "version": "1.2",
        "creator": {"name": "sentra-sandbox", "version": str(trace.meta.versions.get("sentra-sandbox", ""))},
        "comment": f"Run {trace.meta.id}, recorded outside of the program.{masked}",
        "pages": [],
    }
    file.write(json.dumps({"log": log})[:-2] + ', "entries": [')
    exchanges = sorted(network.exchanges.values(), key=lambda exchange: exchange.began_ns)
    timings = _Timings(network)
    for index, exchange in enumerate(exchanges):
        file.write(",\n" if index else "\n")
        file.write(json.dumps(_entry(exchange, network.connections[exchange.connection], timings, start_ns, secrets)))
    file.write("\n]}}\n")
    return len(exchanges)


def _entry(exchange: Exchange, connection: Connection, timings: _Timings, start_ns: int, secrets: bool) -> Object:
    began_ns, times = timings.of(exchange, connection)
    entry: Object = {
        "startedDateTime": iso(start_ns, began_ns),
        "time": round(sum(value for name, value in times.items() if value > 0 and name != "ssl"), 6),
        "request": _request(exchange, secrets),
        "response": _response(exchange, secrets),
        "cache": {},
        "timings": times,
        "connection": str(connection.number),
        "_resourceType": _resource_type(exchange),
        "_exchange": exchange.number,
        "_task": exchange.task,
    }
    if connection.peer[0] or connection.server[0]:
        entry["serverIPAddress"] = connection.peer[0] or connection.server[0]
    if exchange.error or not exchange.response.seen:
        entry["_error"] = exchange.error or "no answer"
    if exchange.is_websocket:
        entry["_webSocketMessages"] = [
            {
                "type": "receive" if message.to_client else "send",
                "time": absolute(start_ns, message.time_ns) / 1e9,
                "opcode": _OPCODES.get(message.opcode, 2),
                "data": _websocket_data(message.opcode, message.data),
            }
            for message in exchange.messages
        ]
    call = llm_call(exchange)
    if call is not None:
        entry["_llm"] = llm_object(call, whole=False)
    return entry


class _Timings:
    """Milliseconds of each phase. Finding the name and connecting belong to the first exchange of a connection only."""

    def __init__(self, network: Network) -> None:
        self._queries: dict[str, list[DnsQuery]] = {}
        for query in network.dns:
            self._queries.setdefault(query.name.rstrip(".").lower(), []).append(query)
        self._seen: set[int] = set()
        self._asked: set[int] = set()

    def of(self, exchange: Exchange, connection: Connection) -> tuple[int, dict[str, float]]:
        """When the exchange began (with its preparations), and its phases."""
        request, response = exchange.request, exchange.response
        began = exchange.began_ns
        sent = max(request.ended_ns, request.time_ns, began)
        answered = max(response.time_ns, sent)
        ended = max(exchange.last_ns, answered)
        times = {"blocked": -1.0, "dns": -1.0, "connect": -1.0, "ssl": -1.0}
        start = began
        if connection.number not in self._seen and connection.seen:
            self._seen.add(connection.number)
            start = self._prepared(connection, began, times)
        times["send"], times["wait"], times["receive"] = _ms(sent - began), _ms(answered - sent), _ms(ended - answered)
        return start, times

    def _prepared(self, connection: Connection, began: int, times: dict[str, float]) -> int:
        """Fill in what came before the first request of a connection; when it began."""
        start = opened = min(connection.opened_ns, began)
        tls = connection.tls
        ready = min(max(connection.connected_ns, tls.time_ns if tls else 0, opened), began)
        times["connect"] = _ms(ready - opened)
        if tls:
            times["ssl"] = min(_ms(tls.duration_ns), times["connect"])
        blocked = began - ready
        query = self._query(connection, opened)
        if query is not None:
            start = min(query.began_ns, opened)
            times["dns"] = _ms(min(query.time_ns, opened) - start)
            blocked += opened - min(query.time_ns, opened)
        times["blocked"] = _ms(blocked)
        return start

    def _query(self, connection: Connection, opened: int) -> DnsQuery | None:
        """The newest query for the connection's name before it, if no other connection had it."""
        for query in reversed(self._queries.get(connection.name.lower(), [])):
            if query.time_ns <= opened and connection.server[0] in " ".join(query.answers):
                known = query.seq in self._asked
                self._asked.add(query.seq)
                return None if known else query
        return None


def _ms(duration_ns: int) -> float:
    return max(duration_ns, 0) / _MS


def _request(exchange: Exchange, secrets: bool) -> Object:
    request = exchange.request
    url = exchange.url if secrets else mask_url(exchange.url)
    found: Object = {
        "method": request.method,
        "url": url,
        "httpVersion": _version(request),
        "cookies": _cookies(request.header("cookie"), secrets),
        "headers": _headers(request.headers, secrets),
        "queryString": _pairs(url.partition("?")[2].partition("#")[0]),
        "headersSize": _head_size(request),
        "bodySize": request.size,
    }
    if request.size:
        found["postData"] = _post_data(request)
    return found


def _post_data(request: Request) -> Object:
    decoded = request.decoded(BODY_MAX)
    data = decoded.data
    text = body_text(request, data)
    found: Object = {"mimeType": request.header("content-type"), "text": text if text is not None else base64.b64encode(data).decode()}
    if text is None:
        found["_encoding"] = "base64"
    elif request.media_type == "application/x-www-form-urlencoded":
        found["params"] = _pairs(text)
    if decoded.note:
        found["comment"] = decoded.note
    return found


def _response(exchange: Exchange, secrets: bool) -> Object:
    response = exchange.response
    location = response.header("location")
    return {
        "status": response.status,
        "statusText": response.reason,
        "httpVersion": _version(response),
        "cookies": [cookie for name, value in response.headers if name.lower() == "set-cookie" for cookie in _set_cookie(value, secrets)],
        "headers": _headers(response.headers, secrets),
        "content": _content(response),
        "redirectURL": location if secrets else mask_url(location),
        "headersSize": _head_size(response),
        "bodySize": response.size if response.seen else -1,
    }


def _content(response: Response) -> Object:
    decoded = response.decoded(BODY_MAX)
    data = decoded.data
    found: Object = {"size": len(data), "mimeType": response.header("content-type") or "x-unknown"}
    if len(data) != response.size:
        found["compression"] = len(data) - response.size
    if data:
        text = body_text(response, data)
        found["text"] = text if text is not None else base64.b64encode(data).decode()
        if text is None:
            found["encoding"] = "base64"
    if decoded.note:
        found["comment"] = decoded.note
    return found


def _version(message: Message) -> str:
    return f"HTTP/{message.version}" if message.version else "HTTP/1.1"


def _head_size(message: Message) -> int:
    size = sum(piece.size for piece in message.head_pieces)
    return size or -1


def _headers(headers: Headers, secrets: bool) -> list[Object]:
    return [{"name": name, "value": value} for name, value in shown(headers, secrets)]


def _pairs(text: str) -> list[Object]:
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [{"name": unquote_plus(name), "value": unquote_plus(value)} for name, _, value in pairs]


def _cookies(header: str, secrets: bool) -> list[Object]:
    pairs = (part.strip().partition("=") for part in header.split(";") if part.strip())
    return [{"name": name, "value": value if secrets else MASK} for name, _, value in pairs]


def _set_cookie(header: str, secrets: bool) -> list[Object]:
    first, *attributes = (part.strip() for part in header.split(";"))
    name, _, value = first.partition("=")
    cookie: Object = {"name": name, "value": value if secrets else MASK}
    for attribute in attributes:
        key, _, content = attribute.partition("=")
        if key.lower() in ("path", "domain"):
            cookie[key.lower()] = content
        elif key.lower() in ("httponly", "secure"):
            cookie["httpOnly" if key.lower() == "httponly" else "secure"] = True
    return [cookie]


def _websocket_data(opcode: str, data: bytes) -> str:
    return data.decode("utf-8", "replace") if opcode == "text" else base64.b64encode(data).decode()


def _resource_type(exchange: Exchange) -> str:
    """As Chrome names them; what programs fetch is ``fetch`` unless its kind says more."""
    media = exchange.response.media_type
    if exchange.is_websocket:
        return "websocket"
    if media == "text/event-stream":
        return "eventsource"
    kinds = {"text/html": "document", "text/css": "stylesheet", "image": "image", "font": "font", "audio": "media", "video": "media"}
    return kinds.get(media) or kinds.get(media.split("/")[0]) or ("script" if media.endswith("javascript") else "fetch")
