"""A run's network as a packet capture (pcapng) that Wireshark opens: names, DNS, connections, and HTTP decrypted. Needs neither sandbox
nor native.

The packets are made from what the broker recorded, one TCP stream for each connection between the program and the (synthetic) address it
used. What went through TLS that the broker took off is shown as plain HTTP/1.1, with port 443 as 80 so that Wireshark reads it; each
HTTP/2 stream as a TCP stream of its own. Bytes that the broker did not keep appear as packets cut off while capturing. A comment at the
first packet of a stream says what it stands for. Format: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Iterator
from typing import IO

from sentra_sandbox.export import dns_wire
from sentra_sandbox.export.http_wire import exchange_wire
from sentra_sandbox.export.moments import absolute, start_of
from sentra_sandbox.export.packets import Packet, TcpStream, datagram, ip_bytes
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.connections import Connection, DnsQuery
from sentra_sandbox.views.endpoints import Address
from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.network import Network

_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_LINKTYPE_RAW = 101
_COMMENT, _USER_APPLICATION, _IF_NAME, _IF_TSRESOL = 1, 4, 2, 9
_NAMES_MAX = 100_000
_FIRST_OWN_PORT = 20_000  # of streams that stand for HTTP/2 streams

Step = tuple[int, int, bool, bytes, int]
"""(time, order, to the client?, bytes, bytes that were not kept)"""


def write_pcapng(trace: Trace, file: IO[bytes], *, secrets: bool = False) -> int:
    """Write the whole run; how many packets it were. Raises ``TraceError``, ``OSError``."""
    network = Network.of(trace)
    start_ns = start_of(trace.meta.created)
    masked = "" if secrets else " Secrets in heads are masked."
    said = f"Run {trace.meta.id}. Packets are made from what was recorded outside of the program.{masked}"
    file.write(
        _block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), [(_COMMENT, said.encode()), (_USER_APPLICATION, b"sentra-sandbox")])
    )
    file.write(_block(_INTERFACE, struct.pack("<HHI", _LINKTYPE_RAW, 0, 0), [(_IF_NAME, b"sandbox"), (_IF_TSRESOL, b"\x09")]))
    names = _name_records(network)
    if names:
        file.write(_block(_NAMES, names))
    count = 0
    for packet in heapq.merge(*_streams(network, secrets), key=lambda packet: packet.time_ns):
        moment = absolute(start_ns, packet.time_ns)
        head = struct.pack("<IIIII", 0, moment >> 32, moment & 0xFFFFFFFF, len(packet.data), packet.size)
        options = [(_COMMENT, packet.comment.encode("utf-8", "replace")[:1000])] if packet.comment else []
        file.write(_block(_PACKET, head + _padded(packet.data), options))
        count += 1
    return count


def _block(kind: int, body: bytes, options: Iterable[tuple[int, bytes]] = ()) -> bytes:
    coded = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    coded += bytes(4) if coded else b""
    size = 12 + len(body) + len(coded)
    return struct.pack("<II", kind, size) + body + coded + struct.pack("<I", size)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _name_records(network: Network) -> bytes:
    """Name resolution records: address → name, as the program knew it."""
    known: dict[bytes, str] = {}
    for connection in network.connections.values():
        if connection.name and connection.server[0] and connection.name != connection.server[0]:
            known.setdefault(ip_bytes(connection.server[0]), connection.name)
    records = []
    for address, name in list(known.items())[:_NAMES_MAX]:
        data = address + name.encode("utf-8", "replace").replace(b"\0", b"?")[:255] + b"\0"
        records.append(struct.pack("<HH", 1 if len(address) == 4 else 2, len(data)) + _padded(data))
    return b"".join(records) + bytes(4) if records else b""


def _streams(network: Network, secrets: bool) -> Iterator[Iterator[Packet]]:
    ports = _OwnPorts()
    for query in network.dns:
        yield _dns(query)
    for connection in network.connections.values():
        if connection.protocol == "udp":
            yield _udp(connection)
        elif connection.seen or connection.exchanges:
            exchanges = [network.exchanges[number] for number in connection.exchanges]
            plain = [exchange for exchange in exchanges if not exchange.request.version.startswith("2")]
            yield _tcp(connection, plain, _steps(connection, plain, secrets), _said(connection))
            for exchange in exchanges:
                if not exchange.request.version.startswith("2"):
                    continue
                stream = f"HTTP/2 stream {exchange.request.stream or '?'} of it, shown as HTTP/1.1 on a connection of its own"
                said = f"{_said(connection)}; {stream}"
                yield _http2(connection, exchange, next(ports), said, secrets)


class _OwnPorts:
    """Ports for streams that had none."""

    def __init__(self) -> None:
        self._next = _FIRST_OWN_PORT

    def __next__(self) -> int:
        self._next = self._next + 1 if self._next < 32_767 else _FIRST_OWN_PORT
        return self._next


def _said(connection: Connection) -> str:
    """What a stream stands for."""
    tls = connection.tls
    parts = [f"connection {connection.number}: {connection.target}", f"task {connection.task}" if connection.task else "task not known"]
    if tls and tls.mode != "passthrough":
        parts.append(f"{tls.version or 'TLS'} was taken off; port {connection.server[1]} is shown as {_port(connection)}")
    if not connection.allowed:
        parts.append(f"refused: {connection.reason or connection.rule}")
    return "; ".join(parts)


def _port(connection: Connection) -> int:
    decrypted = connection.tls is not None and connection.tls.mode != "passthrough"
    return 80 if decrypted and connection.exchanges else connection.server[1]


def _dns(query: DnsQuery) -> Iterator[Packet]:
    said = f"task {query.task or 'not known'}" + ("" if query.allowed else f"; refused: {query.reason or query.rule}")
    asked, answered = dns_wire.question(query), dns_wire.answer(query)
    if query.transport != "tcp":
        yield datagram(query.began_ns, query.client, query.server, False, asked, comment=said)
        yield datagram(query.time_ns, query.client, query.server, True, answered)
        return
    stream = TcpStream(query.client, query.server)
    yield from stream.opened(query.began_ns, said)
    yield from stream.data(query.began_ns, False, len(asked).to_bytes(2, "big") + asked)
    yield from stream.data(query.time_ns, True, len(answered).to_bytes(2, "big") + answered)
    yield from stream.closed(query.time_ns, True)


def _udp(connection: Connection) -> Iterator[Packet]:
    said, latest = _said(connection), 0
    for transfer in connection.transfers:
        piece = transfer.piece
        latest = max(latest, piece.time_ns)
        data = b"".join(data for _, data in connection.keep.chunks([piece]))
        claimed = max(min(piece.size - len(data), 1 << 16), 0)
        yield datagram(latest, connection.client, connection.server, transfer.to_client, data, claimed, said)
        said = ""


def _steps(connection: Connection, exchanges: list[Exchange], secrets: bool) -> Iterator[Step]:
    """What passed on a connection, in order of time."""

    def of_exchange(order: int, exchange: Exchange) -> Iterator[Step]:
        for time_ns, to_client, data in exchange_wire(exchange, secrets=secrets):
            yield time_ns, order, to_client, data, 0

    def of_transfers() -> Iterator[Step]:
        for transfer in connection.transfers:
            data = b"".join(data for _, data in connection.keep.chunks([transfer.piece]))
            yield transfer.piece.time_ns, -1, transfer.to_client, data, max(transfer.piece.size - len(data), 0)

    wires = [of_exchange(order, exchange) for order, exchange in enumerate(exchanges)]
    return heapq.merge(of_transfers(), *wires, key=lambda step: step[:2])


def _tcp(connection: Connection, exchanges: list[Exchange], steps: Iterator[Step], said: str) -> Iterator[Packet]:
    stream = TcpStream(connection.client, (connection.server[0], _port(connection) if exchanges else connection.server[1]))
    latest = connection.opened_ns
    yield from stream.opened(latest, said)
    for time_ns, _, to_client, data, claimed in steps:
        latest = max(latest, time_ns)
        yield from stream.data(latest, to_client, data)
        yield from stream.unrecorded(latest, to_client, claimed)
    if connection.closed_ns:
        latest = max(latest, connection.closed_ns)
        by_client = connection.closed_by == "client"
        yield from stream.closed(latest, by_client) if connection.closed_how == "end" else stream.reset(latest, by_client)


def _http2(connection: Connection, exchange: Exchange, port: int, said: str, secrets: bool) -> Iterator[Packet]:
    client: Address = (connection.client[0], port)
    stream = TcpStream(client, (connection.server[0], _port(connection)))
    latest = exchange.began_ns
    yield from stream.opened(latest, said)
    for time_ns, to_client, data in exchange_wire(exchange, secrets=secrets):
        latest = max(latest, time_ns)
        yield from stream.data(latest, to_client, data)
    if exchange.error:
        yield from stream.reset(latest, True)
    else:
        yield from stream.closed(latest, True)
