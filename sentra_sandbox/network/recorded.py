"""The recorded world: every request is answered from a recording, or fails and says what was nearest. Nothing here can reach a network.

A ``Recording`` is shared by all connections of a run: what was answered on one is not answered again on another. An answer comes in
the pieces in which it was recorded, at once (or, with ``timing: recorded``, when they came). An answer that broke off breaks off at the
same byte.
Names resolve if the recorded run asked for them or talked to them; all others do not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from sentra_sandbox.network.exchange import Answering, Headers, Origin, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.match_body import Body, read_body
from sentra_sandbox.network.match_rules import MatchRules
from sentra_sandbox.network.matching import Asked, Matcher, Miss, Recorded, key_of
from sentra_sandbox.network.recorded_websocket import RecordedWebSocket, switching_headers
from sentra_sandbox.network.recording_file import mask_query, open_recording
from sentra_sandbox.network.refusal import RefusalAnswer
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.trace.network_events import NetworkType
from sentra_sandbox.views.content_codings import decode
from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.network import Network

if TYPE_CHECKING:
    from sentra_sandbox.network.recorded_names import RecordedResolver

MISSED = "not in the recording"
MAX_REQUEST_BYTES = 256 << 20
_PROTOCOLS = ("h2", "http/1.1")
_UNUSED_LISTED = 20
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_CONNECTION_FIELDS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding"))
_REMEDY = "Record it anew, or say what may differ: --match-ignore '$.path' for parts of JSON bodies, --match FILE for the rest."


class Recording:
    """The exchanges of a recorded run, and which of them have been answered. ``masked``: secrets in queries were masked when it was
    saved."""

    def __init__(self, network: Network, rules: MatchRules, journal: Journal, *, masked: bool = False) -> None:
        self.network = network
        self.rules = rules
        self.answered = self.missed = 0
        self._journal = journal
        self._masked = masked
        self._close: Callable[[], None] | None = None
        self._protocols = {
            each.tls.sni.lower() or each.name.lower(): each.tls.alpn or "http/1.1"
            for each in network.connections.values()
            if each.tls is not None and not each.tls.error
        }
        recorded = [self._recorded(each) for each in network.exchanges.values() if each.request.seen]
        self._exchanges = {each.number: each for each in network.exchanges.values()}
        self._matcher = Matcher(recorded, rules)

    @classmethod
    def open(cls, path: Path, rules: MatchRules, journal: Journal) -> Recording:
        """Of a run's directory, or of one that ``recording_file`` wrote. Raises ``TraceError``. ``finish`` frees it."""
        source = open_recording(path)
        recording = cls(source.network, rules, journal, masked=source.masked)
        recording._close = source.close
        return recording

    def world(self, host: str, port: int) -> Origin:
        """Who answers a connection to this host: the recording, for the whole of it."""
        return RecordedOrigin(self, host, port)

    def protocol(self, name: str, offered: Sequence[str]) -> str:
        """What TLS to this host agrees on: what it was in the recording, if the client offers it, else what it names first; "" for none."""
        known = self._protocols.get(name.lower(), "")
        return known if known in offered else next((each for each in offered if each in _PROTOCOLS), "")

    def resolver(self) -> RecordedResolver:
        """Resolves the recorded names."""
        from sentra_sandbox.network.recorded_names import RecordedResolver

        return RecordedResolver(self.network)

    def finish(self) -> None:
        """The run is over: note what became of the recording, once."""
        unused = self._matcher.unused
        fields = {
            "answered": self.answered,
            "missed": self.missed,
            "recorded": len(self._matcher.recorded),
            "unused": len(unused),
            "first_unused": [f"exchange {each.number}, {each.asked}" for each in unused[:_UNUSED_LISTED]],
        }
        self._journal.write(NetworkType.WORLD, fields)
        if self._close is not None:
            self._close()
            self._close = None

    def answer(self, head: RequestHead, asked: Asked, data: bytes) -> Exchange | Miss:
        """The exchange that answers, or why there is none, which is noted."""
        coding = _header(head.headers, b"content-encoding")
        plain = decode([(0, data)], coding).data if coding else data
        found = self._matcher.take(asked, read_body(_header(head.headers, b"content-type"), plain))
        if isinstance(found, Miss):
            self.note_miss(found.text(asked))
            return found
        self.answered += 1
        return self._exchanges[found.number]

    def note_miss(self, detail: str) -> None:
        """Something was asked that the recording does not answer."""
        self.missed += 1
        self._journal.write(NetworkType.PROBLEM, {"what": MISSED, "detail": detail, "remedy": _REMEDY})

    def asked(self, scheme: str, authority: str, method: str, target: str) -> Asked:
        """A request's head as it is compared."""
        if "://" in target:
            parts = urlsplit(target)
            authority, target = parts.netloc.rpartition("@")[2], target.split("://", 1)[1].removeprefix(parts.netloc) or "/"
        host, port = _host(authority)
        if port and port != _DEFAULT_PORTS.get(scheme):
            host = f"{host}:{port}"
        path, _, query = target.partition("#")[0].partition("?")
        if self._masked:
            query = mask_query(query)
        pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1") if query else []
        return Asked(scheme, host, method, path, tuple(pairs))

    def _recorded(self, exchange: Exchange) -> Recorded:
        request = exchange.request
        asked = self.asked(request.scheme or "http", exchange.authority, request.method, request.target)
        fetch = partial(_body_of, exchange)
        return Recorded(exchange.number, asked, key_of(asked, fetch(), self.rules), fetch, exchange.response.seen)


class RecordedOrigin:
    """An ``Origin`` for one connection to ``host`` and ``port``."""

    def __init__(self, recording: Recording, host: str, port: int) -> None:
        self._recording = recording
        self._host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def open(self, head: RequestHead) -> Answering:
        """See ``Origin``."""
        authority = head.authority.decode("latin-1") or self._host
        asked = self._recording.asked(head.scheme.decode(), authority, head.method.decode("latin-1"), head.target.decode("latin-1"))
        return RecordedAnswer(self._recording, head, asked)

    async def close(self) -> None:
        """See ``Origin``."""


class RecordedAnswer:
    """One request, collected until it is whole, and its answer. An ``Answering``."""

    def __init__(self, recording: Recording, head: RequestHead, asked: Asked) -> None:
        self._recording = recording
        self._request = head
        self._asked = asked
        self._body = bytearray()
        self._heads: list[ResponseHead] = []
        self._whole = asyncio.Event()
        self._exchange: Exchange | None = None
        self._refusal: RefusalAnswer | None = None
        self._failure: OriginFailed | None = None
        self._pieces: Iterable[tuple[int, bytes]] = iter(())
        self._began_ns = 0
        self._began_s = 0.0
        if _header(head.headers, b"expect").lower() == "100-continue":
            self._heads.append(ResponseHead(100, b"Continue", [], head.version, length=0, source="recording"))

    # ---- the request

    async def send(self, data: bytes) -> None:
        """See ``Answering``."""
        if len(self._body) + len(data) > MAX_REQUEST_BYTES:
            self._fail(OriginFailed(413, f"The recorded world compares requests of at most {MAX_REQUEST_BYTES >> 20} MiB."))
            raise OriginFailed(413, "The request is too long.")
        self._body += data

    async def finish(self, trailers: Headers) -> None:
        """See ``Answering``."""
        if self._whole.is_set():
            return
        found = self._recording.answer(self._request, self._asked, bytes(self._body))
        self._body.clear()
        if isinstance(found, Miss):
            self._refuse(found)
        elif not found.response.seen:
            why = f" ({found.error})" if found.error else ""
            self._fail(OriginFailed(502, f"In the recording, {self._asked} got no answer{why}."))
        else:
            self._answer(found)
        self._whole.set()

    def _refuse(self, miss: Miss) -> None:
        failure = OriginFailed(502, miss.text(self._asked), _REMEDY)
        self._refusal = RefusalAnswer(failure, self._request)

    def _fail(self, failure: OriginFailed) -> None:
        self._failure = failure
        self._whole.set()

    # ---- the answer

    def _answer(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._began_ns = max(exchange.request.last_ns, exchange.request.time_ns)
        self._began_s = asyncio.get_running_loop().time()
        response = exchange.response
        for each in exchange.informational:
            if each.status != 100:
                self._heads.append(_response_head(each.status, each.reason, each.headers, each.version, None))
        length = response.header("content-length")
        self._heads.append(
            _response_head(
                response.status,
                response.reason,
                response.headers,
                response.version,
                0 if self._request.method == b"HEAD" or not response.pieces else int(length) if length.isdecimal() else None,
            )
        )
        if response.status == 101:
            self._heads[-1].headers = switching_headers(self._request, self._heads[-1].headers)
        self._pieces = iter(response.chunks())

    async def head(self) -> ResponseHead:
        """See ``Answering``."""
        if not self._heads:
            await self._whole.wait()
        if self._failure is not None:
            raise self._failure
        if self._heads:
            head = self._heads.pop(0)
            if self._exchange is not None:
                await self._until(self._exchange.response.time_ns)
            return head
        assert self._refusal is not None
        head = await self._refusal.head()
        if all(name != b"x-should-retry" for name, _ in head.headers):
            head.headers.append((b"x-should-retry", b"false"))  # clients of language models would ask again, for nothing
        return head

    async def read(self) -> bytes:
        """See ``Answering``."""
        if self._refusal is not None:
            return await self._refusal.read()
        for time_ns, data in self._pieces:
            if data:
                await self._until(time_ns)
                return data
        exchange = self._exchange
        if exchange is not None and (exchange.response.error or not exchange.response.ended_ns):
            raise OriginFailed(502, f"The recorded answer broke off here ({exchange.response.error or 'its end was not recorded'}).")
        return b""

    async def _until(self, time_ns: int) -> None:
        """Wait as long as it took in the recording, if that is wanted."""
        if self._recording.rules.timing == "recorded":
            due = self._began_s + max(time_ns - self._began_ns, 0) / 1e9
            await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))

    def trailers(self) -> Headers:
        """See ``Answering``."""
        return [] if self._exchange is None else _bytes(self._exchange.response.trailers)

    async def upgraded(self) -> Stream:
        """See ``Answering``."""
        assert self._exchange is not None
        if not self._exchange.is_websocket:
            raise OriginFailed(502, "In the recorded world a connection can be upgraded to WebSocket only.")
        return RecordedWebSocket(self._exchange, self._recording.rules, self._recording.note_miss)

    def abort(self) -> None:
        """See ``Answering``."""
        if not self._whole.is_set():
            self._fail(OriginFailed(502, "aborted"))


def _response_head(status: int, reason: str, headers: list[tuple[str, str]], version: str, length: int | None) -> ResponseHead:
    kept = [(name, value) for name, value in _bytes(headers) if name.lower() not in _CONNECTION_FIELDS]
    return ResponseHead(status, reason.encode("latin-1", "replace"), kept, version or "1.1", length=length, source="recording")


def _bytes(headers: list[tuple[str, str]]) -> Headers:
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers]


def _header(headers: Headers, name: bytes) -> str:
    return next((value.decode("latin-1") for each, value in headers if each.lower() == name), "")


def _host(authority: str) -> tuple[str, str]:
    """Name or address as compared, and port."""
    authority = authority.rpartition("@")[2].strip().lower()
    host, _, port = authority.rpartition(":")
    if not host or not port.isdigit() or authority.endswith("]"):
        host, port = authority, ""
    return host.rstrip("."), port


def _body_of(exchange: Exchange) -> Body:
    request = exchange.request
    return read_body(request.header("content-type"), request.decoded().data)
