from __future__ import annotations

import gzip
import random
import zlib

import pytest
import zstandard
from network_by_hand import CLIENT, SERVER, Broker, a_day, sse

from sentra_sandbox.trace.events import Event, Segment, SegmentKind
from sentra_sandbox.trace.network_events import MAX_BYTES, NetworkType
from sentra_sandbox.views.content_codings import decode
from sentra_sandbox.views.exchanges import Keep
from sentra_sandbox.views.lines import event_text, type_name
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.processes import ProcessTable
from sentra_sandbox.views.selection import Selection
from sentra_sandbox.views.server_sent_events import events_of


def test_a_bit_of_everything() -> None:
    network = a_day().network()
    first, refused, plain = network.connections.values()
    (query,) = network.dns
    assert (query.name, query.task, query.answers, query.time_ns - query.began_ns) == ("api.example.com", 7, ("198.18.0.1",), 2_000_000)
    assert (first.task, first.target, first.peer, first.closed_by, first.sent, first.received) == (7, "api.example.com:443", ("93.184.216.34", 443), "client", 300, 500)
    assert first.tls and (first.tls.mode, first.tls.offered) == ("intercept", ("h2", "http/1.1"))
    assert (refused.task, refused.allowed, refused.remedy, refused.closed_how) == (8, False, "--allow-net localhost:11434", "refused")
    assert b"".join(data for _, data in plain.chunks(True)) == b"+PONG\r\n" and plain.received == 1007
    (exchange,) = network.exchanges.values()
    assert exchange.url.startswith("https://api.example.com/v1/things?key=")
    assert (exchange.task, exchange.request.body, exchange.response.body) == (7, b'{"a": [1, 2]}', b'{"ok": true}')
    assert exchange.request.raw_head.startswith(b"POST /v1/things")
    assert [problem.what for problem in network.problems] == ["bad DNS message"]
    assert [(socket.what, socket.task) for socket in network.refused_sockets] == [("/run/docker.sock", 7)]


def test_an_endpoint_may_come_after_its_connection_and_a_port_be_used_again() -> None:
    b = Broker()
    b.open()
    b.endpoint(3)
    b.close(1)
    b.endpoint(4)
    b.open()
    b.close(2)
    b.endpoint(5)
    b.endpoint(6, ("::ffff:198.19.255.254", CLIENT[1]))
    b.open()
    b.open(("10.0.0.9", 1))
    assert [connection.task for connection in b.network().connections.values()] == [3, 4, 6, 0]


def test_datagrams_are_tied_by_the_local_port() -> None:
    b = Broker()
    b.dns(port=1000)
    b.dns("b.test", port=1000)
    b.endpoint(9, ("0.0.0.0", 1000), ("127.0.0.53", 53), "udp")
    b.dns("c.test", port=1000)
    b.open(("127.0.0.1", 1000), ("198.18.0.9", 123), "ntp.test", protocol="udp")
    network = b.network()
    assert [query.task for query in network.dns] == [9, 9, 9]
    assert network.connections[1].task == 9


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "zstd", "gzip, zstd", "identity", "br"])
def test_content_codings_keep_the_time_of_each_byte(coding: str) -> None:
    text = [b"first " * 10, b"second " * 10]

    def packed(name: str, parts: list[bytes]) -> list[bytes]:
        if name == "identity":
            return parts
        if name == "zstd":
            z = zstandard.ZstdCompressor().compressobj()
            return [z.compress(part) + z.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH if part is parts[-1] else zstandard.COMPRESSOBJ_FLUSH_BLOCK) for part in parts]
        if name == "br":
            brotli = pytest.importorskip("brotli")
            b = brotli.Compressor()
            return [b.process(part) + (b.finish() if part is parts[-1] else b.flush()) for part in parts]
        c = zlib.compressobj(wbits={"gzip": 31, "deflate": 15, "raw deflate": -15}[name])
        return [c.compress(part) + c.flush(zlib.Z_FINISH if part is parts[-1] else zlib.Z_SYNC_FLUSH) for part in parts]

    parts = text
    for name in coding.split(", "):
        parts = packed(name, parts)
    decoded = decode(enumerate(parts, 1), coding.removeprefix("raw "))
    assert (decoded.data, decoded.note) == (b"".join(text), "")
    for time_ns in (1, 2):
        assert b"".join(data for at, data in decoded.chunks if at == time_ns) == text[time_ns - 1]


@pytest.mark.parametrize(
    ("coding", "body", "note", "size"),
    [
        ("gzip", gzip.compress(bytes(1 << 26)), "cut off", 1 << 20),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(1 << 26))), "cut off", 1 << 20),
        ("deflate", zlib.compress(bytes(1 << 26)), "cut off", 1 << 20),
        ("zstd", zstandard.ZstdCompressor().compress(bytes(1 << 26)), "cut off", 1 << 20),
        ("gzip", gzip.compress(b"x" * 50)[:-4], "ends too early", 50),
        ("gzip", b"no gzip at all", "damaged", 0),
        ("gzip", gzip.compress(b"x") + b"\0\0\0", "", 1),
        ("gzip", gzip.compress(b"x") + gzip.compress(b"y"), "", 2),
        ("gzip", gzip.compress(b"") * 20000, "", 0),
        ("gzip", b"", "", 0),
        ("zstd", b"no zstd at all", "damaged", 0),
        ("zstd", bytes.fromhex("28b52ffd00f800"), "damaged", 0),
        ("lzma", b"abc", "unknown content coding 'lzma'", 3),
        (",".join(["gzip"] * 50), b"abc", "50 content codings", 3),
    ],
)
def test_bombs_and_damage_are_bounded_and_said(coding: str, body: bytes, note: str, size: int) -> None:
    decoded = decode([(1, body[:7]), (2, body[7:])], coding, 1 << 20)
    assert note in decoded.note and bool(note) == bool(decoded.note)
    assert len(decoded.data) == size and decoded.cut == (note == "cut off")


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_server_sent_events_however_they_are_cut(cut: int, end: str) -> None:
    text = ": hi||data: a|data: b||event: done|data: ü|id: 7||data||retry: 3||event: x||data: rest".replace("|", end).encode()
    text = b"\xef\xbb\xbf" + text
    chunks = [(at, text[at : at + cut]) for at in range(0, len(text), cut)]
    events = [(event.event, event.data, event.id, event.complete) for event in events_of(chunks)]
    assert events == [("message", "a\nb", "", True), ("done", "ü", "7", True), ("message", "", "", True), ("x", "", "", True), ("message", "rest", "", False)]


def test_events_of_a_compressed_stream_have_their_times() -> None:
    b = Broker()
    c = zlib.compressobj(wbits=31)
    chunks = [c.compress(part) + c.flush(zlib.Z_SYNC_FLUSH) for part in sse({"n": 1}, {"n": 2}, "[DONE]")]
    b.exchange(b.open(), answer={"Content-Type": "text/event-stream; charset=utf-8", "Content-Encoding": "gzip"}, chunks=chunks, every_ms=20, ends=False)
    (exchange,) = b.network().exchanges.values()
    assert [(event.time_ns // 1_000_000, event.data) for event in exchange.server_sent_events()] == [(10, '{"n": 1}'), (30, '{"n": 2}'), (50, "[DONE]")]


def test_websocket_messages_are_put_together() -> None:
    b = Broker()
    c = b.open()
    x = b.exchange(c, headers={"Upgrade": "websocket"}, status=101)
    long = bytes(range(256)) * 600
    assert len(long) > 2 * MAX_BYTES
    b.message(c, x, b"one ", final=False)
    b.message(c, x, b"", opcode="ping")
    b.message(c, x, b"two", opcode="continuation")
    b.message(c, x, long, opcode="binary", to_client=True)
    b.message(c, x, b"end", opcode="text", to_client=True)
    b.message(c, x, b"\x03\xe8", opcode="close")
    (exchange,) = b.network().exchanges.values()
    assert exchange.is_websocket
    assert [(m.to_client, m.opcode, m.data, m.complete) for m in exchange.messages] == [
        (False, "text", b"one two", True),
        (False, "ping", b"", True),
        (True, "binary", long, True),
        (True, "text", b"end", True),
        (False, "close", b"\x03\xe8", True),
    ]


def test_what_does_not_fit_in_memory_is_fetched() -> None:
    b = Broker()
    body = random.Random(1).randbytes(300_000)
    b.exchange(b.open(), chunks=body)
    by_seq = {event.seq: event for event in b.events}
    asked: list[int] = []

    def fetch(seqs):  # type: ignore[no-untyped-def]
        for seq in seqs:
            asked.append(seq)
            yield next(s.data for s in by_seq[seq].segments if s.arg == 1)

    network = Network(fetch, keep_bytes=100_000)
    network.feed_all(b.events)
    assert network.exchanges[1].response.body == body
    assert len(asked) == 4
    assert sum(len(piece.data or b"") for piece in network.exchanges[1].response.pieces) <= 100_000


def test_contradictions_are_problems() -> None:
    b = Broker()
    c = b.open()
    b.exchange(c, "GET", "/a")
    b.events += [event for event in a_day().events if event.type in (NetworkType.REQUEST, NetworkType.RESPONSE)]
    b.write(NetworkType.OPEN, {}, connection=1)
    b.close(1)
    b.close(1)
    b.write(NetworkType.END, None, connection=1, exchange=1, size=2**63, direction=1)
    network = b.network()
    assert network.exchanges[1].request.target == "/a"
    assert [problem.detail for problem in network.problems] == [
        "exchange 1 has two requests",
        "exchange 1 has two responses",
        "connection 1 was opened twice",
        "connection 1 was closed twice",
        "a body of 9223372036854775808 bytes, of which 0 were recorded",
    ]


JUNK = [None, True, -1, 10**30, 1.5, "", "x" * 1000, "\udcff\x1b[2J", [], [None], ["a", 1], [["a", "b"], ["c"], 3], {}, {"a": {}}, ["1.2.3.4", "80"], ["1.2.3.4", 99999]]
FIELDS = ["fd", "protocol", "local", "remote", "path", "reason", "remedy", "client", "server", "transport", "name", "type", "rcode", "answers", "real", "allowed", "rule", "peer", "error", "mode", "sni", "offered", "certificate", "side", "by", "how", "sent", "received", "method", "scheme", "authority", "version", "headers", "stream", "status", "informational", "from", "trailers", "opcode", "code", "what", "detail"]


def hostile_events(seed: int, count: int = 400) -> list[Event]:
    """Events of all types with random fields, numbers, flags and order."""
    random_ = random.Random(seed)
    events = []
    for seq in range(1, count):
        kind = random_.choice([*NetworkType, 67, 99])
        data = random_.choice([b"", b"abc", b"{}", b"data: {\n\n", b"\x1f\x8b\x08", random_.randbytes(20)])
        fields = {name: random_.choice(JUNK) for name in random_.sample(FIELDS, 12)}
        b = Broker()
        b.write(kind, fields, data, connection=random_.choice([0, 1, 2, 2**64 - 1]), exchange=random_.choice([0, 1, 2, 2**63]), direction=random_.choice([0, 1, 7]), flags=random_.choice([0, 1, 2, 2**40]), size=None)
        (event,) = b.events
        args = event.args if random_.random() < 0.9 else event.args[: random_.randrange(5)]
        segments = event.segments if random_.random() < 0.9 else (Segment(0, SegmentKind.INFO, 0, 0, random_.choice([b"[1]", b"{", b"\xff", b"[" * 100_000])),)
        events.append(Event(seq, event.type, 0, random_.choice([0, 5]), random_.choice([0, seq, 2**62]), random_.choice([0, 2**62]), 0, 0, args, segments))
    return events


@pytest.mark.parametrize("seed", range(20))
def test_hostile_events_make_a_model(seed: int) -> None:
    network = Network.from_events(hostile_events(seed))
    for exchange in network.exchanges.values():
        assert isinstance(exchange.url, str) and isinstance(exchange.last_ns, int)
        exchange.server_sent_events()
        for message in (exchange.request, exchange.response):
            message.decoded()
            assert isinstance(message.raw_head, bytes) and isinstance(message.media_type, str)
    for connection in network.connections.values():
        assert isinstance(connection.target, str)
    assert SERVER and Keep().chunks([])


def test_each_network_event_has_a_line() -> None:
    b = a_day()
    c = b.open()
    number = b.exchange(c, "GET", "/ws", headers={"Upgrade": "websocket"}, status=101)
    b.message(c, number, b"hello")
    b.data(c, b"x", datagram=True)
    b.write(NetworkType.TRUST, {"path": "/x/cacert.pem", "shown": "/y"}, task=7)
    b.write(NetworkType.TRUST, {"path": "/z/cacert.pem", "shown": "", "error": "no room"}, task=7)
    b.upstream(c, error="no route")
    b.tls(c, error="unknown ca", side="client", remedy="tls.exclude: [api.example.com]")
    b.write(NetworkType.WORLD, {"answered": 3, "missed": 1, "recorded": 5, "unused": 2})
    lines = [event_text(event) for event in b.events]
    assert {kind.name.lower() for kind in NetworkType} - {type_name(event.type) for event in b.events} <= {"world"}
    for part in (
        "tcp socket 3: 198.19.255.254:40000 -> 198.18.0.1:443",
        "dns api.example.com A = 198.18.0.1, really 93.184.216.34",
        "connection 1: tcp to api.example.com:443, allowed by default: public",
        "connection 1: connected to 93.184.216.34:443",
        "connection 2: tcp to localhost:11434 refused: the host's own service; to allow it: --allow-net localhost:11434",
        "exchange 1: POST https://api.example.com/v1/things?key=***",
        "exchange 1: 200 OK",
        "exchange 1: body: 13 bytes to the server",
        "exchange 1: response complete, body of 12 bytes",
        "connection 3: 1,000 bytes to the client, not kept here",
        "connection 3 closed, reset by the server; 6 bytes sent, 1,007 received",
        "unix socket /run/docker.sock refused: not allowed",
        "exchange 2: websocket text: 5 bytes to the server",
        "connection 4: not reached: no route",
        "failed at the client: unknown ca; tls.exclude: [api.example.com]",
        "problem: bad DNS message: 12 bytes",
        "recorded world: 3 answered, 1 not in the recording, 2 of 5 left unused",
        "certificate bundle /x/cacert.pem was shown with the certificate of the run",
        "certificate bundle /z/cacert.pem could not be shown with the certificate of the run: no room",
    ):
        assert any(part in line for line in lines), part
    chosen = Selection(calls=frozenset({41}), network=True)
    assert all(chosen.wants(event, ProcessTable(), ()) for event in b.events)
    assert not any(Selection(calls=frozenset({41})).wants(event, ProcessTable(), ()) for event in b.events)
    for event in hostile_events(1):
        assert event_text(event).startswith("---")
