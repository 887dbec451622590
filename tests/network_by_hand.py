"""A run's network events written by hand: what the broker and the engine would write for a query, a connection, an exchange."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentra_sandbox.network.exchange import ExchangeLog, RequestHead, ResponseHead
from sentra_sandbox.network.journal import Numbers
from sentra_sandbox.trace import run
from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.blobs import BlobStore
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.network_events import MAX_BYTES, Direction, Flag, NetworkEvent, NetworkType, to_event
from sentra_sandbox.trace.writer import Sealer
from sentra_sandbox.views.network import Network

MS = 1_000_000
CLIENT, SERVER = ("198.19.255.254", 40000), ("198.18.0.1", 443)


class Broker(Numbers):
    """Writes events with rising seq; ``now`` (ms) is the time of the next one. Splits bytes as the arena's journal does."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.now = 0.0

    def write(
        self,
        type: int,
        fields: dict[str, Any] | None = None,
        data: bytes = b"",
        *,
        connection: int = 0,
        exchange: int = 0,
        direction: int = 0,
        flags: int = 0,
        size: int | None = None,
        duration_ns: int = 0,
        task: int = 0,
    ) -> None:
        for start in range(0, len(data) or 1, MAX_BYTES):
            piece = data[start : start + MAX_BYTES]
            self.events.append(
                to_event(
                    NetworkEvent(
                        type,
                        fields if not start else None,
                        piece,
                        connection=connection,
                        exchange=exchange,
                        direction=direction,
                        flags=flags,
                        size=len(piece) if size is None or data else size,
                        seq=len(self.events) + 1,
                        task=task,
                        time_ns=int(self.now * MS),
                        duration_ns=duration_ns,
                    )
                )
            )

    def dns(self, name: str = "api.example.com", answer: str = "198.18.0.1", *, port: int = 5353, allowed: bool = True, reason: str = "") -> None:
        self.write(
            NetworkType.DNS,
            {
                "client": ["127.0.0.1", port],
                "server": ["127.0.0.53", 53],
                "transport": "udp",
                "name": name,
                "type": "A",
                "rcode": "NOERROR" if allowed else "REFUSED",
                "answers": [answer] if allowed else [],
                "real": ["93.184.216.34"] if allowed else [],
                "allowed": allowed,
                "rule": "default: public" if allowed else "deny evil.test",
                "reason": reason,
            },
            duration_ns=2 * MS,
        )

    def endpoint(self, task: int, local: tuple[str, int] = CLIENT, remote: tuple[str, int] = SERVER, protocol: str = "tcp") -> None:
        self.write(NetworkType.ENDPOINT, {"fd": 3, "protocol": protocol, "local": list(local), "remote": list(remote)}, task=task)

    def open(
        self,
        client: tuple[str, int] = CLIENT,
        server: tuple[str, int] = SERVER,
        name: str = "api.example.com",
        *,
        allowed: bool = True,
        reason: str = "",
        remedy: str = "",
        protocol: str = "tcp",
    ) -> int:
        number = self.new_connection()
        fields = {
            "protocol": protocol,
            "client": list(client),
            "server": list(server),
            "name": name,
            "allowed": allowed,
            "rule": "default: public" if allowed else "default: host",
            "reason": reason,
            "remedy": remedy,
        }
        self.write(NetworkType.OPEN, fields, connection=number)
        return number

    def upstream(self, connection: int, *, ms: float = 10, error: str = "") -> None:
        self.now += ms
        fields: dict[str, Any] = {"error": error} if error else {"peer": ["93.184.216.34", 443], "local": ["10.0.0.5", 51000]}
        self.write(NetworkType.UPSTREAM, fields, connection=connection, duration_ns=int(ms * MS))

    def tls(self, connection: int, **fields: Any) -> None:
        known = {"mode": "intercept", "sni": "api.example.com", "offered": ["h2", "http/1.1"], "alpn": "http/1.1", "version": "TLSv1.3"}
        self.write(NetworkType.TLS, {**known, **fields}, connection=connection, duration_ns=5 * MS)

    def exchange(
        self,
        connection: int,
        method: str = "GET",
        path: str = "/",
        *,
        authority: str = "api.example.com",
        scheme: str = "https",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        status: int = 200,
        answer: dict[str, str] | None = None,
        chunks: list[bytes] | bytes = b"",
        every_ms: float = 1,
        first_ms: float = 10,
        ends: bool = True,
    ) -> int:
        """One exchange: the request at once, the answer's head after ``first_ms``, a chunk each ``every_ms``."""
        log = ExchangeLog(self, connection)
        log.request(_request(method, scheme, authority, path, headers or {}))
        if body:
            log.body(Direction.TO_SERVER, body)
        log.end(Direction.TO_SERVER)
        self.now += first_ms
        log.response(ResponseHead(status, b"OK" if status == 200 else b"", _pairs(answer or {}), "1.1"))
        for chunk in [chunks] if isinstance(chunks, bytes) else chunks:
            if chunk:
                log.body(Direction.TO_CLIENT, chunk)
            self.now += every_ms
        if ends:
            log.end(Direction.TO_CLIENT)
        return log.number

    def message(self, connection: int, exchange: int, data: bytes, *, to_client: bool = False, opcode: str = "text", final: bool = True) -> None:
        self.now += 1
        log = ExchangeLog(self, connection, exchange)
        log.message(Direction.TO_CLIENT if to_client else Direction.TO_SERVER, opcode, data, final=final)

    def data(self, connection: int, data: bytes | int, *, to_client: bool = False, datagram: bool = False) -> None:
        """Bytes of a connection; a number: so many, which are not kept."""
        kind = NetworkType.DATAGRAM if datagram else NetworkType.DATA
        direction = Direction.TO_CLIENT if to_client else Direction.TO_SERVER
        if isinstance(data, int):
            self.write(kind, None, connection=connection, direction=direction, flags=Flag.NO_BYTES, size=data)
        else:
            self.write(kind, None, data, connection=connection, direction=direction)

    def close(self, connection: int, by: str = "client", how: str = "end", sent: int = 0, received: int = 0) -> None:
        self.now += 1
        self.write(NetworkType.CLOSE, {"by": by, "how": how, "sent": sent, "received": received}, connection=connection)

    def network(self) -> Network:
        return Network.from_events(self.events)


def _request(method: str, scheme: str, authority: str, path: str, headers: dict[str, str]) -> RequestHead:
    pairs = _pairs({"Host": authority, **headers})
    raw = f"{method} {path} HTTP/1.1\r\n".encode() + b"".join(n + b": " + v + b"\r\n" for n, v in pairs) + b"\r\n"
    return RequestHead(method.encode(), scheme.encode(), authority.encode(), path.encode(), pairs, "1.1", raw)


def _pairs(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def sse(*objects: object, names: bool = False) -> list[bytes]:
    """A chunk for each object, as server-sent events; ``names``: each with its ``type`` as the event's name."""
    chunks = []
    for item in objects:
        text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
        name = f"event: {item['type']}\n" if names and isinstance(item, dict) and "type" in item else ""
        chunks.append(f"{name}data: {text}\n\n".encode("utf-8", "surrogatepass"))
    return chunks


def a_day(broker: Broker | None = None) -> Broker:
    """A bit of everything: a query, an exchange over TLS, a refused connection, a plain one, a refused socket."""
    b = broker or Broker()
    b.endpoint(7, ("127.0.0.1", 5353), ("127.0.0.53", 53), "udp")
    b.now = 2
    b.dns()
    b.endpoint(7)
    first = b.open()
    b.upstream(first)
    b.tls(first)
    b.exchange(
        first,
        "POST",
        "/v1/things?key=AIzaSyA1234567890abcdefghijkl",
        headers={"Authorization": "Bearer sk-very-secret", "Content-Type": "application/json"},
        body=b'{"a": [1, 2]}',
        answer={"Content-Type": "application/json", "Set-Cookie": "id=hidden"},
        chunks=[b'{"ok":', b" true}"],
    )
    b.close(first, sent=300, received=500)
    b.endpoint(8, ("127.0.0.1", 40001), ("127.0.0.1", 11434))
    refused = b.open(("127.0.0.1", 40001), ("127.0.0.1", 11434), "localhost", allowed=False, reason="the host's own service", remedy="--allow-net localhost:11434")
    b.close(refused, "broker", "refused")
    plain = b.open(("198.19.255.254", 40002), ("198.18.0.2", 6379), "redis.example.com")
    b.data(plain, b"PING\r\n")
    b.data(plain, b"+PONG\r\n", to_client=True)
    b.data(plain, 1000, to_client=True)
    b.close(plain, "server", "reset", 6, 1007)
    b.write(NetworkType.UNIX_REFUSED, {"path": "/run/docker.sock", "reason": "not allowed", "remedy": "--allow-unix /run/docker.sock"}, task=7)
    b.write(NetworkType.PROBLEM, {"what": "bad DNS message", "detail": "12 bytes", "remedy": ""})
    return b


def seal(home: Path, events: list[Event], run_id: str = "20261122-100000-abcd") -> Path:
    """A finished run below ``home`` that holds these events."""
    directory = home / "runs" / run_id
    metadata = run.RunMetadata(run_id, ("python", "agent.py"), "/home/agent", "2026-11-22T10:00:00Z", options={"net": "open"})
    lock = run.RunDirectory.create(directory, metadata)
    arena = Arena.create(directory / run.ARENA, 1 << 20, 1)
    sealer = Sealer(directory, arena, BlobStore(home / "blobs"))
    for event in events:
        arena.append(event, 0)
        sealer.drain()
    sealer.finish(metadata)
    arena.close()
    arena.free()
    lock.close()
    return directory
