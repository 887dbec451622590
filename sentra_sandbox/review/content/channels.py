"""Everything that left a run, as streams of bytes with the events that they came from.

A stream is read when it is searched, not before. Bytes that were cut up are put together again: packets of a connection, labels of DNS
queries, and small values that were sent one after the other to the same host (``joined``: several readings of the same requests, of
which any may make sense).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote_to_bytes

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Facts, Transfer
    from sentra_sandbox.views.exchanges import Exchange, WebSocketMessage

Chunks = Iterator[tuple[int, bytes]]
_TOOLS = (
    "curl wget nc ncat netcat socat telnet ftp sftp scp ssh rsync http https httpie xh aria2c lynx w3m tftp websocat nmap swaks",
    "dig nslookup host drill ping openssl git gh aws gsutil gcloud az rclone sendmail mail mutt",
)
NETWORK_TOOLS = frozenset(" ".join(_TOOLS).split())
_JOIN_BYTES = 8192  # a value longer than this is found by itself
_JOIN_MAX = 1 << 20
_BODY_JOIN = 16 << 10
_LOOPBACK = re.compile(r"127\.|::1$|localhost$|::ffff:127\.")
_TWO_PART = re.compile(r"\.(?:co|com|org|net|gov|ac|edu)\.[a-z]{2}$")


@dataclass(slots=True)
class Stream:
    """``codings``: what was taken off already, outermost first. ``first_seq``: before it nothing of this left. ``authority``: the host
    that a request names, if it names one. ``known``: its kind of content is known, so that it is not opaque.
    """

    channel: str
    to: str
    process: int
    first_seq: int
    chunks: Callable[[], Chunks]
    port: int = 0
    exchange: int = 0
    connection: int = 0
    codings: tuple[str, ...] = ()
    authority: str = ""
    joined: bool = False
    known: bool = False


def streams(facts: Facts) -> Iterator[Stream]:
    """All that left, in no particular order."""
    yield from _exchanges(facts)
    yield from _connections(facts)
    yield from _transfers(facts)
    yield from _queries(facts)
    yield from _arguments(facts)
    yield from _files(facts)


# ---- HTTP


def _exchanges(facts: Facts) -> Iterator[Stream]:
    groups: dict[tuple[int, str], list[Exchange]] = {}
    for exchange in facts.network.exchanges.values():
        if exchange.request.seen:
            process = facts.process_of(exchange.task, exchange.request.seq)
            groups.setdefault((process, host_of(exchange)), []).append(exchange)
            yield from _exchange(exchange, process)
    for (process, host), exchanges in groups.items():
        if len(exchanges) > 1:
            yield from _requests_joined(process, host, exchanges)


def host_of(exchange: Exchange) -> str:
    """The name of the host that an exchange went to, without port."""
    host = exchange.host or exchange.server[0] or exchange.authority
    return without_port(host)


def without_port(host: str) -> str:
    """``host:port`` and ``[v6]:port`` without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _exchange(exchange: Exchange, process: int) -> Iterator[Stream]:
    request, seq = exchange.request, exchange.request.seq

    def stream(channel: str, chunks: Callable[[], Chunks], first: int = seq, codings: tuple[str, ...] = ()) -> Stream:
        named = without_port(exchange.authority)
        return Stream(
            channel, host_of(exchange), process, first, chunks, exchange.server[1], exchange.number, exchange.connection, codings, named
        )

    yield stream("url", lambda: iter([(seq, _latin(exchange.url))]))
    if exchange.url.count("/") > 6:  # a value may be cut into segments
        segments = stream("url", lambda: iter([(seq, _latin(exchange.url.partition("//")[2].partition("/")[2].replace("/", "")))]))
        segments.joined = True
        yield segments
    heads = [*request.headers, *request.trailers]
    yield stream("http-header", lambda: iter([(seq, b"".join(_latin(f"{name}: {value}\n") for name, value in heads))]))
    if request.pieces:
        codings = tuple(reversed([name.strip().lower() for name in request.header("content-encoding").split(",") if name.strip()]))
        yield stream("http-body", lambda: _body(exchange), request.pieces[0].seq, codings)
    messages = [message for message in exchange.messages if not message.to_client and message.pieces]
    if messages:
        yield stream("websocket", lambda: _messages(messages), messages[0].pieces[0].seq)


def _body(exchange: Exchange) -> Chunks:
    """Decoded when it says how, which gives no events for its parts; else piece by piece."""
    request = exchange.request
    if request.header("content-encoding"):
        return iter([(request.pieces[0].seq, request.decoded().data)])
    return ((piece.seq, data) for piece, (_, data) in zip(request.pieces, request.chunks(), strict=False))


def _messages(messages: Iterable[WebSocketMessage]) -> Chunks:
    for message in messages:
        yield message.pieces[0].seq, message.data


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


@dataclass(slots=True)
class _Parts:
    """Values of the same place in one request after the other."""

    parts: list[tuple[int, bytes]] = field(default_factory=list)
    size: int = 0

    def add(self, seq: int, data: bytes) -> None:
        if data and len(data) <= _JOIN_BYTES and self.size < _JOIN_MAX:
            self.parts.append((seq, data))
            self.size += len(data)


def _requests_joined(process: int, host: str, exchanges: list[Exchange]) -> Iterator[Stream]:
    places: dict[tuple[str, str], _Parts] = {}
    for exchange in exchanges[:20_000]:
        for channel, place, data in _small_values(exchange):
            if len(places) < 200 or (channel, place) in places:
                places.setdefault((channel, place), _Parts()).add(exchange.request.seq, data)
    for (channel, _), parts in places.items():
        if len({data for _, data in parts.parts}) > 1:
            last = exchanges[-1]
            yield _joined(channel, host, process, parts.parts, last.server[1], last.number, last.connection)


def _joined(
    channel: str, to: str, process: int, parts: list[tuple[int, bytes]], port: int = 0, exchange: int = 0, connection: int = 0
) -> Stream:
    return Stream(channel, to, process, parts[-1][0], lambda: iter(parts), port, exchange, connection, joined=True)


def _small_values(exchange: Exchange) -> Iterator[tuple[str, str, bytes]]:
    """(channel, place, bytes): what could be a part of something, by where it stands."""
    request = exchange.request
    path, _, query = request.target.partition("?")
    yield "url", "last segment", unquote_to_bytes(_latin(path.rstrip("/").rsplit("/", 1)[-1]))
    for name, value in parse_qsl(query, encoding="latin-1")[:50]:
        yield "url", f"?{name}", _latin(value)
    for name, value in request.headers[:100]:
        yield "http-header", name.lower(), _latin(value)
    if not request.pieces or request.size > _BODY_JOIN:
        return
    body = request.decoded(_BODY_JOIN * 4).data
    yield "http-body", "", body
    if body[:1] == b"{":
        yield from (("http-body", f".{name}", value) for name, value in _json_values(body))
    elif b"=" in body:
        pairs = parse_qsl(body.decode("latin-1"), encoding="latin-1")[:50]
        yield from (("http-body", f"={name}", _latin(value)) for name, value in pairs)


def _json_values(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        node = json.loads(body)
    except (ValueError, RecursionError):
        return
    for name, value in list(node.items())[:50] if isinstance(node, dict) else ():
        if isinstance(value, str):
            yield name, value.encode("utf-8", "surrogateescape")


# ---- connections


def _connections(facts: Facts) -> Iterator[Stream]:
    """What the broker carried without understanding it: it kept the bytes where only it saw them in the clear."""
    for connection in facts.network.connections.values():
        sent = [transfer.piece for transfer in connection.transfers if not transfer.to_client and transfer.piece.data != b""]
        if sent:
            process = facts.process_of(connection.task, sent[0].seq)
            keep = sent
            yield Stream(
                "raw",
                without_port(connection.host),
                process,
                sent[0].seq,
                lambda keep=keep, connection=connection: (  # type: ignore[misc]
                    (piece.seq, data) for piece, (_, data) in zip(keep, connection.keep.chunks(keep), strict=False)
                ),
                connection.server[1],
                0,
                connection.number,
            )


def _transfers(facts: Facts) -> Iterator[Stream]:
    groups: dict[tuple[int, str, int, str, int], list[Transfer]] = {}
    small: dict[tuple[int, str], list[int]] = {}
    for transfer in facts.transfers:
        if not transfer.outgoing or not transfer.seqs or _LOOPBACK.match(transfer.address or transfer.host):
            continue
        to = transfer.host or transfer.address
        groups.setdefault((transfer.process, to, transfer.port, transfer.protocol, transfer.connection), []).append(transfer)
        if transfer.size <= _JOIN_BYTES:
            small.setdefault((transfer.process, to), []).extend(transfer.seqs[:100])
    many: dict[tuple[int, str], int] = {}
    for (process, to, port, protocol, connection), transfers in groups.items():
        seqs = sorted({seq for transfer in transfers for seq in transfer.seqs})
        many[process, to] = many.get((process, to), 0) + 1
        dns = protocol == "udp" and port == 53
        chunks = _by_seq(facts, seqs, _question if dns else None)
        yield Stream("dns" if dns else "raw", to, process, seqs[0], chunks, port, 0, connection, known=dns)
    for (process, to), seqs in small.items():
        if many[process, to] > 1:
            seqs = sorted(set(seqs))[:20_000]
            yield Stream("raw", to, process, seqs[-1], _by_seq(facts, seqs), joined=True)


def _by_seq(facts: Facts, seqs: list[int], change: Callable[[bytes], bytes] | None = None) -> Callable[[], Chunks]:
    def chunks() -> Chunks:
        for seq in seqs:
            try:
                data = facts.bytes_of(seq)
            except KeyError:
                continue
            yield seq, change(data) if change else data

    return chunks


def _question(packet: bytes) -> bytes:
    """The labels of a DNS query, without what is between them and without the domain's last two."""
    labels, at = [], 12
    while at < len(packet) and 0 < packet[at] < 64:
        labels.append(packet[at + 1 : at + 1 + packet[at]])
        at += 1 + packet[at]
    return b"".join(labels[:-2])


# ---- names


def _queries(facts: Facts) -> Iterator[Stream]:
    groups: dict[str, list[tuple[int, int, list[str]]]] = {}
    seen: set[str] = set()
    for query in facts.network.dns:
        name = query.name.rstrip(".")
        base = base_domain(name)
        labels = name[: -len(base)].rstrip(".").split(".") if len(name) > len(base) else []
        if labels and name.lower() not in seen and len(groups.get(base, ())) < 50_000:
            seen.add(name.lower())
            groups.setdefault(base, []).append((query.seq, query.task, labels))
    for base, queries in groups.items():
        seqs = [seq for seq, _, _ in queries]
        process = facts.process_of(queries[0][1], seqs[0])
        readings: dict[bytes, list[tuple[int, bytes]]] = {}
        for reading in _READINGS:
            parts = [(seq, _latin(reading(labels))) for seq, labels in _in_order(queries, reading is _payload)]
            readings.setdefault(b"".join(data for _, data in parts), parts)
        for parts in readings.values():
            yield Stream("dns", base, process, seqs[0], lambda parts=parts: iter(parts), 53, known=True, joined=len(parts) > 1)  # type: ignore[misc]


def base_domain(name: str) -> str:
    """The last two labels of a name, three under ``co.uk`` and its like."""
    labels = name.lower().split(".")
    return ".".join(labels[-3 if _TWO_PART.search(name.lower()) and len(labels) > 2 else -2 :])


def _in_order(queries: list[tuple[int, int, list[str]]], by_number: bool) -> list[tuple[int, list[str]]]:
    """Queries as they came, or by the number that one of their labels is: parts may be sent in any order."""
    plain = [(seq, labels) for seq, _, labels in queries]
    if not by_number:
        return plain
    numbers = [next((int(label) for label in labels if label.isdecimal() and len(label) < 7), None) for _, labels in plain]
    numbered = [(number, *entry) for number, entry in zip(numbers, plain, strict=True)]
    if any(number is None for number, _, _ in numbered):
        return plain
    return [(seq, labels) for _, seq, labels in sorted(numbered, key=lambda entry: (entry[0] or 0, entry[1]))]


def _everything(labels: list[str]) -> str:
    return "".join(labels)


def _payload(labels: list[str]) -> str:
    """Without labels that only count, and without counters before the payload."""
    kept = [label for label in labels if not label.isdecimal() and (len(label) > 3 or len(labels) == 1)]
    return "".join(re.sub(r"^(?:[a-z]?\d{1,4}[-_])", "", label) for label in kept or labels)


def _first(labels: list[str]) -> str:
    return labels[0]


def _longest(labels: list[str]) -> str:
    return max(labels, key=len)


_READINGS: tuple[Callable[[list[str]], str], ...] = (_everything, _payload, _first, _longest)


# ---- arguments and files


def _arguments(facts: Facts) -> Iterator[Stream]:
    for process in facts.processes.values():
        for image in process.images:
            if image.path.rsplit("/", 1)[-1] in NETWORK_TOOLS:
                data = b"\0".join(argument.encode("utf-8", "surrogateescape") for argument in image.argv[1:])
                to = _host_in(image.argv) or image.path.rsplit("/", 1)[-1]
                yield Stream("argv", to, process.number, image.seq, lambda seq=image.seq, data=data: iter([(seq, data)]), known=True)  # type: ignore[misc]


def _host_in(argv: tuple[str, ...]) -> str:
    for argument in argv[1:]:
        if found := re.match(r"[a-z+]{2,10}://(?:[^/@\s]*@)?([\w.-]+)", argument):
            return found.group(1)
    return ""


def _files(facts: Facts) -> Iterator[Stream]:
    """Files that one process wrote and another one read."""
    handed = {(flow.source, flow.name) for flow in facts.flows if flow.kind == "file" and flow.source != flow.target}
    for access in facts.files:
        if access.seqs and access.kind in ("write", "create") and (access.process, access.path) in handed:
            yield Stream("file", access.path, access.process, access.seqs[0], _by_seq(facts, access.seqs), known=True)
