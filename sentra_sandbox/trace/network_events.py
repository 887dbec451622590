"""What the network broker (and the engine, for sockets) adds to a trace: events of type 64 and up, as data.

Pure, and the only place that knows their layout: the broker writes through ``to_event``, views, exports and the recorded world read
through ``from_event``. A replay skips all of them. An event's layout:

    args   connection, exchange, direction, flags, size       (0 where it means nothing)
    INFO 0 fields: a JSON object, UTF-8
    INFO 1 bytes

Numbers of connections and exchanges count from 1 in one run. ``size`` is the number of bytes that the event stands for, also where the
bytes themselves are not kept (``Flag.NO_BYTES``: they are in the program's own calls). Bytes longer than ``MAX_BYTES`` go in several
events.
"""

from __future__ import annotations

import json
from enum import IntEnum, IntFlag

from sentra_sandbox.trace.events import Event, Segment, SegmentKind

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 64 * 1024
FIRST = 64


class NetworkType(IntEnum):
    """``Event.type``. After each: who writes it, and its ``fields``."""

    ENDPOINT = 64
    """Engine, task = the caller: a socket of the program got a peer (connect, or a first datagram). fields: ``fd``, ``protocol``
    (``tcp``, ``udp``), ``local`` and ``remote`` as ``[address, port]``. Ties a connection to its task: its ``client`` equals ``local``
    (only in its port where a datagram socket is bound to no address: ``local`` is then ``0.0.0.0`` or ``::``)."""
    UNIX_REFUSED = 65
    """Engine, task = the caller: a unix socket of the host was refused. fields: ``path``, ``reason``, ``remedy``."""
    TRUST = 66
    """Engine, task = the caller: a certificate bundle was opened and ours shown. fields: ``path``, ``shown``; where that was not
    possible ``shown`` is "" and ``error`` says why."""
    DNS = 70
    """Broker. fields: ``client`` [address, port], ``server`` [address, port] as the program asked it, ``transport`` (``udp``, ``tcp``),
    ``name``, ``type``
    (``A``), ``rcode`` (``NOERROR``), ``answers`` (texts as in a zone file), ``real`` (addresses that the name really has, if asked),
    ``allowed``, ``rule``, ``reason``.
    duration = time to the answer."""
    OPEN = 72
    """Broker: a connection was accepted and decided. fields: ``protocol``, ``client``, ``server`` [address, port] as the program meant
    it, ``name`` (of the address, or ""),
    ``allowed``, ``rule``, ``reason``, ``remedy``."""
    UPSTREAM = 73
    """Broker: the other leg. fields: ``peer`` [address, port], ``local`` [address, port], or ``error``. duration = time to connect."""
    TLS = 74
    """Broker. fields: ``mode`` (``intercept``, ``passthrough``), ``sni``, ``offered`` and ``alpn`` (protocols), ``version``, ``cipher``,
    ``certificate`` (upstream: subject,
    issuer, not_after, sha256), ``error`` and ``side`` (``client``, ``server``) when a handshake failed, ``remedy``, ``refused``
    (``certain``, or ``likely`` where it only left) when the client did not accept our certificate."""
    DATA = 75
    """Broker: bytes of a connection that are not an HTTP exchange; direction; NO_BYTES for plain and passed-through connections."""
    CLOSE = 76
    """Broker. fields: ``by`` (``client``, ``server``, ``broker``), ``how`` (``end``, ``reset``, ``timeout``, ``refused``, ``error``),
    ``error``, ``sent`` and ``received`` (bytes as seen by the
    program). duration = life of the connection."""
    REQUEST = 77
    """Broker: the head of a request. fields: ``method``, ``scheme``, ``authority``, ``path`` (with query), ``version`` (``1.1``, ``2``),
    ``headers`` [[name, value], ...] in order and
    case as sent (Latin-1), ``stream`` (HTTP/2). bytes = the head as it came (HTTP/1 only)."""
    RESPONSE = 78
    """Broker: the head of a response. fields: ``status``, ``reason``, ``version``, ``headers``, ``informational`` (true for 1xx),
    ``from`` (``broker`` if we answered, ``recording``).
    bytes as above."""
    BODY = 79
    """Broker: a piece of a body as it came: transfer coding taken off, content coding left on; direction."""
    END = 80
    """Broker: a message is complete; direction. fields: ``trailers`` [[name, value], ...], ``error`` when it broke off. size = bytes of
    the body."""
    MESSAGE = 81
    """Broker: a WebSocket message or control frame; direction. fields: ``opcode`` (``text``, ``binary``, ``ping``, ``pong``, ``close``),
    ``code``. FINAL on the last piece."""
    DATAGRAM = 82
    """Broker: one UDP datagram of a connection; direction."""
    PROBLEM = 83
    """Broker: something was refused or could not be understood. fields: ``what``, ``detail``, ``remedy``."""
    WORLD = 84
    """Broker, at the end of a run in a recorded world. fields: ``answered``, ``missed``, ``recorded`` and ``unused`` (numbers of
    exchanges), ``first_unused`` (texts)."""


class Direction(IntEnum):
    """Towards whom the bytes went."""

    TO_SERVER = 0
    TO_CLIENT = 1


class Flag(IntFlag):
    """``NetworkEvent.flags``."""

    NO_BYTES = 1
    FINAL = 2


class NetworkEvent:
    """One event of type 64 and up. ``seq``, ``task``, ``time_ns`` (of its end) and ``duration_ns`` are the event's own."""

    __slots__ = ("connection", "data", "direction", "duration_ns", "exchange", "fields", "flags", "seq", "size", "task", "time_ns", "type")

    def __init__(
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
        seq: int = 0,
        task: int = 0,
        time_ns: int = 0,
        duration_ns: int = 0,
    ) -> None:
        self.type = type
        self.fields = fields or {}
        self.data = data
        self.connection = connection
        self.exchange = exchange
        self.direction = direction
        self.flags = flags
        self.size = len(data) if size is None else size
        self.seq = seq
        self.task = task
        self.time_ns = time_ns
        self.duration_ns = duration_ns

    def __repr__(self) -> str:
        name = NetworkType(self.type).name if self.type in NetworkType._value2member_map_ else str(self.type)
        return f"<{name} connection={self.connection} exchange={self.exchange} {self.fields} {self.size} bytes>"


def to_event(event: NetworkEvent) -> Event:
    """As the arena and the codec take it. ``ValueError`` if its bytes are longer than ``MAX_BYTES``."""
    if len(event.data) > MAX_BYTES:
        raise ValueError(f"{len(event.data)} bytes in one network event")
    segments = []
    if event.fields:
        text = json.dumps(event.fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
        segments.append(Segment(0, SegmentKind.INFO, 0, 0, text))
    if event.data:
        segments.append(Segment(0, SegmentKind.INFO, 1, 0, event.data))
    return Event(
        seq=event.seq,
        type=event.type,
        flags=0,
        task=event.task,
        time_ns=event.time_ns,
        duration_ns=event.duration_ns,
        nr=0,
        result=0,
        args=(event.connection, event.exchange, event.direction, event.flags, event.size),
        segments=tuple(segments),
    )


def from_event(event: Event) -> NetworkEvent | None:
    """The network event in a trace's event; ``None`` for other events. What is malformed in a trace reads as empty fields, never fails."""
    if event.type < FIRST:
        return None
    args = (*event.args, 0, 0, 0, 0, 0)
    fields: dict[str, Any] = {}
    data = b""
    for segment in event.segments:
        if segment.kind != SegmentKind.INFO:
            continue
        if segment.arg == 0:
            fields = _fields(segment.data)
        elif segment.arg == 1:
            data = segment.data
    return NetworkEvent(
        event.type,
        fields,
        data,
        connection=args[0],
        exchange=args[1],
        direction=args[2] & 1,
        flags=args[3],
        size=args[4],
        seq=event.seq,
        task=event.task,
        time_ns=event.time_ns,
        duration_ns=event.duration_ns,
    )


def _fields(text: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
