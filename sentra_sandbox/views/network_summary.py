"""Who a run with its own network talked to, by name: for the summary. One pass, few events are read further than their numbers.

``exec`` makes one after every run, so the rule of ``places`` holds here too: nothing that is slow to load before an event needs it.
"""

from __future__ import annotations

from sentra_sandbox.trace.events import Event

TYPE_CHECKING = False  # loading typing takes 4 ms
if TYPE_CHECKING:
    from sentra_sandbox.trace.network_events import NetworkEvent

FIRST = 64
# The numbers of trace.network_events.NetworkType, which a test compares: loading it takes longer than a small summary.
_UNIX_REFUSED, _DNS, _OPEN, _UPSTREAM, _TLS, _DATA, _CLOSE = 65, 70, 72, 73, 74, 75, 76
_REQUEST, _BODY, _MESSAGE, _DATAGRAM, _PROBLEM = 77, 79, 81, 82, 83
_PARSED = frozenset({_UNIX_REFUSED, _DNS, _OPEN, _UPSTREAM, _TLS, _CLOSE, _PROBLEM})
_COUNTED = frozenset({_DATA, _BODY, _MESSAGE, _DATAGRAM})
_USUAL_PORTS = (80, 443)
_KEPT_MAX = 10_000  # different refusals, problems


class NamedHost:
    """One name (or address) and port: ``failed`` counts connections that did not get through."""

    __slots__ = ("connections", "failed", "name", "received", "requests", "sent")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = self.failed = self.requests = self.sent = self.received = 0


class Refusal:
    """Something that was refused, ``count`` times; ``remedy`` would allow it ("" if nothing would)."""

    __slots__ = ("count", "reason", "remedy", "target")

    def __init__(self, target: str, reason: str, remedy: str) -> None:
        self.target, self.reason, self.remedy = target, reason, remedy
        self.count = 0


class NetworkUse:
    """What was found so far. ``certificates`` are the hosts whose clients refused the run's certificate, with the remedy."""

    def __init__(self) -> None:
        self.hosts: dict[str, NamedHost] = {}
        self.refused: dict[str, Refusal] = {}
        self.certificates: dict[str, Refusal] = {}
        self.problems: dict[str, int] = {}
        self._left: list[NetworkEvent] = []  # clients that only left: refusals unless their host worked for others
        self._of_connection: dict[int, NamedHost] = {}
        self._counts: dict[int, list[int]] = {}  # connection → bytes sent, received

    def feed(self, event: Event) -> None:
        """Take the next event of type 64 and up."""
        kind = event.type
        if kind in _COUNTED:
            if len(event.args) > 4:
                self._counts.setdefault(event.args[0], [0, 0])[event.args[2] & 1] += event.args[4]
        elif kind == _REQUEST:
            host = self._of_connection.get(event.args[0]) if event.args else None
            if host is not None:
                host.requests += 1
        elif kind in _PARSED:
            from sentra_sandbox.trace.network_events import from_event

            found = from_event(event)
            if found is not None:
                self._parsed(kind, found)

    def finish(self) -> None:
        """Connections that were not closed count what passed. Clients open connections that they find no use for, so one that only left
        refused nothing where others asked.
        """
        for event in self._left:
            known = self._of_connection.get(event.connection)
            if known is None or not known.requests:
                self._certificate_refused(event)
        self._left.clear()
        for connection, (sent, received) in self._counts.items():
            host = self._of_connection.get(connection)
            if host is not None:
                host.sent += sent
                host.received += received
        self._counts.clear()

    def _parsed(self, kind: int, event: NetworkEvent) -> None:
        if kind == _OPEN:
            self._open(event)
        elif kind == _CLOSE:
            self._close(event)
        elif kind == _UPSTREAM:
            host = self._of_connection.get(event.connection)
            if host is not None and _text(event, "error"):
                host.failed += 1
        elif kind == _TLS:
            self._tls(event)
        elif kind == _DNS:
            if event.fields.get("allowed") is False:
                self._refuse(self.refused, _text(event, "name"), _text(event, "reason"), _text(event, "remedy"))
        elif kind == _UNIX_REFUSED:
            self._refuse(self.refused, _text(event, "path"), _text(event, "reason"), _text(event, "remedy"))
        elif kind == _PROBLEM:
            self._problem(_text(event, "what") or "?")

    def _tls(self, event: NetworkEvent) -> None:
        refused = _text(event, "refused")
        if refused == "likely" and len(self._left) < _KEPT_MAX:
            self._left.append(event)
        elif refused:
            self._certificate_refused(event)
        elif _text(event, "side") == "client" and _text(event, "remedy"):
            self._problem(f"{_text(event, 'error')} ({_text(event, 'remedy')})")

    def _certificate_refused(self, event: NetworkEvent) -> None:
        known = self._of_connection.get(event.connection)
        name = _text(event, "sni") or (known.name if known else "?")
        self._refuse(self.certificates, name, _text(event, "error"), _text(event, "remedy"))

    def _problem(self, what: str) -> None:
        if what in self.problems or len(self.problems) < _KEPT_MAX:
            self.problems[what] = self.problems.get(what, 0) + 1

    def _open(self, event: NetworkEvent) -> None:
        server = event.fields.get("server")
        address, port = server if isinstance(server, list) and len(server) == 2 else ("?", 0)
        name = _text(event, "name") or (address if isinstance(address, str) else "?")
        if event.fields.get("allowed") is False:
            return self._refuse(self.refused, _with_port(name, port), _text(event, "reason"), _text(event, "remedy"))
        name = name if port in _USUAL_PORTS else _with_port(name, port)
        host = self.hosts.setdefault(name, NamedHost(name))
        host.connections += 1
        self._of_connection[event.connection] = host

    def _close(self, event: NetworkEvent) -> None:
        counted = self._counts.pop(event.connection, [0, 0])
        host = self._of_connection.get(event.connection)
        if host is None:
            return
        sent, received = event.fields.get("sent"), event.fields.get("received")
        host.sent += sent if isinstance(sent, int) and sent >= 0 else counted[0]
        host.received += received if isinstance(received, int) and received >= 0 else counted[1]

    def _refuse(self, where: dict[str, Refusal], target: str, reason: str, remedy: str) -> None:
        target = target or "?"
        if target in where or len(where) < _KEPT_MAX:
            where.setdefault(target, Refusal(target, reason, remedy)).count += 1


def _text(event: NetworkEvent, name: str) -> str:
    value = event.fields.get(name)
    return value if isinstance(value, str) else ""


def _with_port(name: str, port: object) -> str:
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
