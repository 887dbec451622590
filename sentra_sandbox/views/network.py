"""The network of a recorded run as one model: DNS queries, connections, HTTP exchanges, what was refused. Pure functions of events.

Events may be missing, doubled, in any order and hold anything: what contradicts itself becomes text in ``problems``, never an exception,
and nothing is believed about sizes but what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sentra_sandbox.trace.events import Event, SegmentKind
from sentra_sandbox.trace.network_events import FIRST, Direction, Flag, NetworkEvent, NetworkType, from_event
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.connections import Connection, DnsQuery, Problem, Tls, Transfer, TrustShown
from sentra_sandbox.views.endpoints import EndpointTable, address
from sentra_sandbox.views.event_fields import headers, number, text, texts
from sentra_sandbox.views.exchanges import KEEP_BYTES, Exchange, Fetch, Keep, Message, Piece, Request, Response, WebSocketMessage

_NEAR = 4096  # events that are read over rather than looked up
_PROBLEMS_MAX = 1000
_CONTROL = ("ping", "pong", "close")


class Network:
    """``connections`` and ``exchanges`` by number, in the order in which they began; the others in order of events.

    Make it with ``of`` (a trace) or ``from_events``; or ``feed`` it all events and ``finish``.
    """

    def __init__(self, fetch: Fetch | None = None, keep_bytes: int = KEEP_BYTES) -> None:
        self.connections: dict[int, Connection] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.dns: list[DnsQuery] = []
        self.refused_sockets: list[Problem] = []
        self.trust: list[TrustShown] = []
        self.problems: list[Problem] = []
        self._keep = Keep(fetch, keep_bytes)
        self._endpoints = EndpointTable()
        self._last: dict[tuple[int, int], Message | WebSocketMessage] = {}
        self._feeders: dict[int, Callable[[NetworkEvent], None]] = {
            NetworkType.ENDPOINT: self._endpoint,
            NetworkType.UNIX_REFUSED: self._unix_refused,
            NetworkType.TRUST: self._trust,
            NetworkType.DNS: self._dns,
            NetworkType.OPEN: self._open,
            NetworkType.UPSTREAM: self._upstream,
            NetworkType.TLS: self._tls,
            NetworkType.DATA: self._data,
            NetworkType.DATAGRAM: self._data,
            NetworkType.CLOSE: self._close,
            NetworkType.REQUEST: self._request,
            NetworkType.RESPONSE: self._response,
            NetworkType.BODY: self._body,
            NetworkType.END: self._end,
            NetworkType.MESSAGE: self._message,
            NetworkType.PROBLEM: self._problem,
        }

    @classmethod
    def of(cls, trace: Trace, keep_bytes: int = KEEP_BYTES) -> Network:
        """The network of a run; the trace must stay open while bodies are read."""
        network = cls.unread(trace, keep_bytes)
        network.feed_all(trace.events())
        return network

    @classmethod
    def unread(cls, trace: Trace, keep_bytes: int = KEEP_BYTES) -> Network:
        """To be fed the events of the trace by a caller who looks at them too."""
        return cls(lambda seqs: fetch(trace, seqs), keep_bytes)

    @classmethod
    def from_events(cls, events: Iterable[Event]) -> Network:
        """Of events in memory; all their bytes are kept."""
        network = cls()
        network.feed_all(events)
        return network

    def feed_all(self, events: Iterable[Event]) -> None:
        """Take all events of a run, in order."""
        for event in events:
            if event.type >= FIRST:
                self.feed(event)
        self.finish()

    def feed(self, event: Event) -> None:
        """Take the next event; others than those of the network are ignored."""
        found = from_event(event)
        feeder = self._feeders.get(event.type)
        if found is not None and feeder is not None:
            feeder(found)

    # ---- of tasks

    def _endpoint(self, event: NetworkEvent) -> None:
        local, remote = address(event.fields.get("local")), address(event.fields.get("remote"))
        self._endpoints.add(text(event, "protocol"), local, remote, event.task)

    def _unix_refused(self, event: NetworkEvent) -> None:
        self.refused_sockets.append(_as_problem(event, text(event, "path"), text(event, "reason")))

    def _trust(self, event: NetworkEvent) -> None:
        self.trust.append(TrustShown(event.time_ns, event.task, text(event, "path"), text(event, "shown")))

    # ---- of connections

    def _dns(self, event: NetworkEvent) -> None:
        query = DnsQuery(
            seq=event.seq,
            time_ns=event.time_ns,
            began_ns=max(event.time_ns - event.duration_ns, 0),
            task=0,
            client=address(event.fields.get("client")),
            server=address(event.fields.get("server")),
            transport=text(event, "transport") or "udp",
            name=text(event, "name"),
            type=text(event, "type"),
            rcode=text(event, "rcode"),
            answers=texts(event, "answers"),
            real=texts(event, "real"),
            allowed=event.fields.get("allowed") is not False,
            rule=text(event, "rule"),
            reason=text(event, "reason"),
        )
        self._endpoints.tie(query, query.transport, query.client, query.server)
        self.dns.append(query)

    def _connection(self, event: NetworkEvent) -> Connection:
        connection = self.connections.get(event.connection)
        if connection is None:
            connection = Connection(event.connection, self._keep, opened_ns=event.time_ns, seq=event.seq)
            self.connections[event.connection] = connection
        connection.last_ns = max(connection.last_ns, event.time_ns)
        return connection

    def _open(self, event: NetworkEvent) -> None:
        connection = self._connection(event)
        if connection.seen:
            return self._contradiction(event, f"connection {event.connection} was opened twice")
        connection.seen = True
        connection.opened_ns = event.time_ns
        connection.protocol = text(event, "protocol")
        connection.client = address(event.fields.get("client"))
        connection.server = address(event.fields.get("server"))
        connection.allowed = event.fields.get("allowed") is not False
        for name in ("name", "rule", "reason", "remedy"):
            setattr(connection, name, text(event, name))
        self._endpoints.tie(connection, connection.protocol, connection.client, connection.server)

    def _upstream(self, event: NetworkEvent) -> None:
        connection = self._connection(event)
        connection.connect_began_ns = max(event.time_ns - event.duration_ns, 0)
        connection.upstream_error = text(event, "error")
        if not connection.upstream_error:
            connection.connected_ns = event.time_ns
            connection.peer = address(event.fields.get("peer"))
            connection.local = address(event.fields.get("local"))

    def _tls(self, event: NetworkEvent) -> None:
        """There may be several: one for each side, one for a failure. Later ones add to what is known."""
        connection = self._connection(event)
        tls = connection.tls = connection.tls or Tls()
        for name in ("mode", "sni", "alpn", "version", "cipher", "error", "side", "remedy"):
            if value := text(event, name):
                setattr(tls, name, value)
        tls.offered = texts(event, "offered") or tls.offered
        certificate = event.fields.get("certificate")
        if isinstance(certificate, dict):
            tls.certificate = certificate
        tls.time_ns = event.time_ns
        tls.duration_ns = max(tls.duration_ns, event.duration_ns)

    def _data(self, event: NetworkEvent) -> None:
        connection = self._connection(event)
        size = 0 if event.flags & Flag.NO_BYTES else len(event.data)
        piece = self._keep.piece(event.seq, event.time_ns, event.size if event.flags & Flag.NO_BYTES else size, event.data)
        connection.transfers.append(Transfer(piece, event.direction == Direction.TO_CLIENT, event.type == NetworkType.DATAGRAM))
        if not connection.closed_ns:
            _count(connection, event)

    def _close(self, event: NetworkEvent) -> None:
        connection = self._connection(event)
        if connection.closed_ns:
            return self._contradiction(event, f"connection {event.connection} was closed twice")
        connection.closed_ns = event.time_ns
        connection.closed_by, connection.closed_how = text(event, "by"), text(event, "how")
        connection.close_error = text(event, "error")
        connection.sent = number(event, "sent") if "sent" in event.fields else connection.sent
        connection.received = number(event, "received") if "received" in event.fields else connection.received

    # ---- of exchanges

    def _exchange(self, event: NetworkEvent) -> Exchange:
        exchange = self.exchanges.get(event.exchange)
        connection = self._connection(event)
        if exchange is None:
            exchange = Exchange(event.exchange, event.connection, Request(self._keep), Response(self._keep))
            self.exchanges[event.exchange] = exchange
            connection.exchanges.append(event.exchange)
        elif exchange.connection != event.connection:
            self._contradiction(event, f"exchange {event.exchange} is of connections {exchange.connection} and {event.connection}")
        return exchange

    def _request(self, event: NetworkEvent) -> None:
        request = self._exchange(event).request
        if self._goes_on(event, request):
            return
        if request.seen:
            return self._contradiction(event, f"exchange {event.exchange} has two requests")
        self._head(event, request)
        request.method, request.scheme = text(event, "method"), text(event, "scheme")
        request.authority, request.target = text(event, "authority"), text(event, "path")
        request.stream = number(event, "stream")

    def _response(self, event: NetworkEvent) -> None:
        exchange = self._exchange(event)
        response = exchange.response
        if self._goes_on(event, response):
            return
        if event.fields.get("informational") is True:
            response = Response(self._keep)
            exchange.informational.append(response)
        elif response.seen:
            return self._contradiction(event, f"exchange {event.exchange} has two responses")
        self._head(event, response)
        response.status, response.reason = number(event, "status"), text(event, "reason")
        response.source = text(event, "from")

    def _goes_on(self, event: NetworkEvent, message: Message) -> bool:
        """A long head comes in several events, of which only the first has fields."""
        last = self._last.get((event.exchange, event.direction))
        if event.fields or not event.data or not isinstance(last, Message) or type(last) is not type(message):
            return False
        last.head_pieces.append(self._piece(event))
        return True

    def _head(self, event: NetworkEvent, message: Message) -> None:
        message.seen = True
        message.seq, message.time_ns = event.seq, event.time_ns
        message.version = text(event, "version")
        message.headers = headers(event.fields.get("headers"))
        if event.data:
            message.head_pieces.append(self._piece(event))
        self._last[event.exchange, event.direction] = message

    def _piece(self, event: NetworkEvent) -> Piece:
        return self._keep.piece(event.seq, event.time_ns, len(event.data), event.data)

    def _body(self, event: NetworkEvent) -> None:
        exchange = self._exchange(event)
        message: Message = exchange.response if event.direction == Direction.TO_CLIENT else exchange.request
        if not event.data:  # of a body that ends at once
            return
        message.pieces.append(self._piece(event))
        message.size += len(event.data)
        _count(self.connections[event.connection], event)

    def _end(self, event: NetworkEvent) -> None:
        exchange = self._exchange(event)
        message: Message = exchange.response if event.direction == Direction.TO_CLIENT else exchange.request
        message.ended_ns = event.time_ns
        message.trailers = headers(event.fields.get("trailers"))
        message.error = message.error or text(event, "error")
        if event.size != message.size and not message.error:
            self._contradiction(event, f"a body of {event.size} bytes, of which {message.size} were recorded")

    def _message(self, event: NetworkEvent) -> None:
        exchange = self._exchange(event)
        key = (event.exchange, event.direction)
        last = self._last.get(key)
        opcode = text(event, "opcode")
        _count(self.connections[event.connection], event)
        if isinstance(last, WebSocketMessage) and (not opcode or (not last.complete and opcode in (last.opcode, "continuation"))):
            last.pieces.append(self._piece(event))
            last.complete = last.complete or bool(event.flags & Flag.FINAL)
            return
        code = event.fields.get("code")
        message = WebSocketMessage(self._keep, event.time_ns, event.direction == Direction.TO_CLIENT, opcode)
        message.code = code if isinstance(code, int) else None
        message.complete = bool(event.flags & Flag.FINAL)
        message.pieces.append(self._piece(event))
        exchange.messages.append(message)
        if opcode not in _CONTROL:  # those may stand between the pieces of a message
            self._last[key] = message

    def _problem(self, event: NetworkEvent) -> None:
        self._add_problem(_as_problem(event, text(event, "what"), text(event, "detail")))

    def _contradiction(self, event: NetworkEvent, detail: str) -> None:
        self._add_problem(_as_problem(event, "the trace contradicts itself", detail))

    def _add_problem(self, problem: Problem) -> None:
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(problem)

    def finish(self) -> None:
        """After the last event: exchanges learn what is known of their connections. ``feed_all`` does it."""
        for exchange in self.exchanges.values():
            connection = self.connections[exchange.connection]
            exchange.task, exchange.server = connection.task, connection.server
            exchange.host = connection.host if connection.server[1] in (80, 443, 0) else connection.target


def fetch(trace: Trace, seqs: Iterable[int]) -> Iterator[bytes]:
    """The bytes of network events by their numbers, which rise."""
    events: Iterator[Event] = iter(())
    at = -_NEAR
    for seq in seqs:
        if not 0 <= seq - at <= _NEAR:
            events = trace.events(seq)
        for event in events:
            at = event.seq + 1
            if event.seq >= seq:
                break
        else:
            return
        yield next((s.data for s in event.segments if s.kind == SegmentKind.INFO and s.arg == 1), b"") if event.seq == seq else b""


def _count(connection: Connection, event: NetworkEvent) -> None:
    """Bytes that passed, until the end of the connection says how many it were."""
    if connection.closed_ns:
        return
    if event.direction == Direction.TO_CLIENT:
        connection.received += event.size
    else:
        connection.sent += event.size


def _as_problem(event: NetworkEvent, what: str, detail: str) -> Problem:
    return Problem(event.seq, event.time_ns, event.connection, event.exchange, event.task, what, detail, text(event, "remedy"))
