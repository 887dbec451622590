"""Recordings written by hand, and programs that ask them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from sentra_sandbox.network.exchange import ExchangeLog, Headers, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.match_rules import rules_of
from sentra_sandbox.network.recorded import Recording
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.network_events import Direction, NetworkType, to_event
from sentra_sandbox.views.network import Network

JSON = (b"Content-Type", b"application/json")


@dataclass
class Made:
    """One exchange. ``url`` is absolute; ``body`` bytes, or a value for JSON; ``status`` 0: no answer; ``error``: the answer broke off."""

    method: str
    url: str
    body: Any = b""
    pieces: tuple[bytes, ...] = (b"ok",)
    status: int = 200
    headers: Headers = field(default_factory=list)
    answer_headers: Headers = field(default_factory=list)
    trailers: Headers = field(default_factory=list)
    error: str = ""


def head_of(made: Made) -> tuple[RequestHead, bytes]:
    """Its request."""
    scheme, _, rest = made.url.partition("://")
    host, slash, path = rest.partition("/")
    body = made.body if isinstance(made.body, bytes) else json.dumps(made.body).encode()
    headers = [*([] if isinstance(made.body, bytes) else [JSON]), *made.headers]
    return RequestHead(
        made.method.encode(), scheme.encode(), host.encode(), (slash + path or "/").encode(), headers, "1.1", length=len(body)
    ), body


def events_of(*exchanges: Made) -> list[Event]:
    """As the broker would have written them."""
    journal = ListJournal()
    for made in exchanges:
        head, body = head_of(made)
        log = ExchangeLog(journal, journal.new_connection())
        name = head.authority.decode().partition(":")[0]
        journal.write(
            NetworkType.OPEN,
            {"protocol": "tcp", "client": ["a", 1], "server": ["198.18.0.1", 443], "name": name, "allowed": True},
            connection=log.connection,
        )
        log.request(head)
        if body:
            log.body(Direction.TO_SERVER, body)
        log.end(Direction.TO_SERVER)
        if made.status:
            log.response(ResponseHead(made.status, b"", made.answer_headers, "1.1"))
            for piece in made.pieces:
                log.body(Direction.TO_CLIENT, piece)
            log.end(Direction.TO_CLIENT, made.trailers, made.error)
    for seq, event in enumerate(journal.events):
        event.seq = seq
    return [to_event(event) for event in journal.events]


def recording(*exchanges: Made, **rules: Any) -> tuple[Recording, ListJournal]:
    """Ready to answer."""
    journal = ListJournal()
    return Recording(Network.from_events(events_of(*exchanges)), rules_of(rules), journal), journal


async def ask(recorded: Recording, made: Made) -> tuple[int, bytes]:
    """Its request asked of the recording."""
    head, body = head_of(made)
    origin = recorded.world("198.18.0.1", 443)
    answering = await origin.open(head)
    if body:
        await answering.send(body[:3])
        await answering.send(body[3:])
    await answering.finish([])
    answer, data = await answering.head(), b""
    try:
        while piece := await answering.read():
            data += piece
    except OriginFailed as failure:
        data += b"!" + failure.reason.encode()
    return answer.status, data
