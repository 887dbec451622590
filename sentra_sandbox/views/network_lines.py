"""One network event as one line of text. Pure; what is malformed gives a shorter line."""

from __future__ import annotations

from collections.abc import Callable

from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.network_events import Direction, Flag, NetworkEvent, NetworkType, from_event
from sentra_sandbox.views.endpoints import address, address_text
from sentra_sandbox.views.event_fields import headers, number, text, texts
from sentra_sandbox.views.secrets import mask_headers, mask_url


def network_text(event: Event) -> str:
    """``--- connection 1: tcp to api.example.com:443, allowed by default: public ---``."""
    found = from_event(event)
    writer = _WRITERS.get(event.type)
    return f"--- {writer(found)} ---" if found is not None and writer else f"--- event of type {event.type} ---"


def network_fields(event: Event) -> dict[str, object]:
    """What JSON says of a network event besides what all events have; secrets in heads and URLs are masked."""
    found = from_event(event)
    if found is None:
        return {}
    fields = dict(found.fields)
    for name in ("headers", "trailers"):
        if name in fields:
            fields[name] = mask_headers(headers(fields[name]))
    if found.type == NetworkType.REQUEST:
        fields["path"] = mask_url(text(found, "path"))
    numbers = {"connection": found.connection, "exchange": found.exchange, "size": found.size}
    return {**numbers, "to_client": found.direction == Direction.TO_CLIENT, "fields": fields}


def _where(event: NetworkEvent, name: str) -> str:
    return address_text(address(event.fields.get(name)))


def _after(label: str, value: str) -> str:
    return f"{label}{value}" if value else ""


def _remedy(event: NetworkEvent) -> str:
    return _after("; to allow it: ", text(event, "remedy"))


def _endpoint(event: NetworkEvent) -> str:
    return f"{text(event, 'protocol') or '?'} socket {number(event, 'fd')}: {_where(event, 'local')} -> {_where(event, 'remote')}"


def _unix_refused(event: NetworkEvent) -> str:
    return f"unix socket {text(event, 'path') or '?'} refused{_after(': ', text(event, 'reason'))}{_remedy(event)}"


def _trust(event: NetworkEvent) -> str:
    error = text(event, "error")
    shown = f"could not be shown with the certificate of the run: {error}" if error else "was shown with the certificate of the run"
    return f"certificate bundle {text(event, 'path') or '?'} {shown}"


def _dns(event: NetworkEvent) -> str:
    question = f"dns {text(event, 'name') or '?'} {text(event, 'type')}".rstrip()
    if event.fields.get("allowed") is False:
        return f"{question} refused{_after(': ', text(event, 'reason'))}{_after(' by ', text(event, 'rule'))}"
    answers = ", ".join(texts(event, "answers")[:4]) or text(event, "rcode") or "?"
    return f"{question} = {answers}{_after(', really ', ', '.join(texts(event, 'real')[:4]))}"


def _open(event: NetworkEvent) -> str:
    server = address(event.fields.get("server"))
    target = address_text((text(event, "name") or server[0], server[1]))
    opened = f"connection {event.connection}: {text(event, 'protocol') or '?'} to {target}"
    if event.fields.get("allowed") is False:
        return f"{opened} refused{_after(': ', text(event, 'reason'))}{_remedy(event)}"
    return f"{opened}{_after(', allowed by ', text(event, 'rule'))}"


def _upstream(event: NetworkEvent) -> str:
    error = text(event, "error")
    return f"connection {event.connection}: " + (f"not reached: {error}" if error else f"connected to {_where(event, 'peer')}")


def _tls(event: NetworkEvent) -> str:
    details = [value for name in ("mode", "version", "cipher", "alpn", "sni") if (value := text(event, name))]
    error = text(event, "error")
    failed = f", failed at the {text(event, 'side') or 'other side'}: {error}{_after('; ', text(event, 'remedy'))}" if error else ""
    return f"connection {event.connection}: TLS {' '.join(details)}{failed}"


def _bytes(event: NetworkEvent, what: str) -> str:
    side = "client" if event.direction == Direction.TO_CLIENT else "server"
    kept = ", not kept here" if event.flags & Flag.NO_BYTES else ""
    return f"{what}: {event.size:,} bytes to the {side}{kept}"


def _close(event: NetworkEvent) -> str:
    counts = f"{number(event, 'sent'):,} bytes sent, {number(event, 'received'):,} received"
    how = f"{text(event, 'how') or 'end'} by the {text(event, 'by') or '?'}{_after(': ', text(event, 'error'))}"
    return f"connection {event.connection} closed, {how}; {counts}"


def _request(event: NetworkEvent) -> str:
    target = text(event, "path")
    if target.startswith("/"):
        target = f"{text(event, 'scheme') or 'http'}://{text(event, 'authority')}{target}"
    return f"exchange {event.exchange}: {text(event, 'method') or '?'} {mask_url(target)}"


def _response(event: NetworkEvent) -> str:
    source = _after(" from the ", text(event, "from"))
    return f"exchange {event.exchange}: {number(event, 'status')} {text(event, 'reason')}".rstrip() + source


def _end(event: NetworkEvent) -> str:
    whole = "response" if event.direction == Direction.TO_CLIENT else "request"
    error = text(event, "error")
    return f"exchange {event.exchange}: {whole} {f'broke off: {error}' if error else 'complete'}, body of {event.size:,} bytes"


def _message(event: NetworkEvent) -> str:
    return _bytes(event, f"exchange {event.exchange}: websocket {text(event, 'opcode') or 'piece'}")


def _problem(event: NetworkEvent) -> str:
    return f"problem: {text(event, 'what') or '?'}{_after(': ', text(event, 'detail'))}{_after('; ', text(event, 'remedy'))}"


def _world(event: NetworkEvent) -> str:
    answered, missed, unused = (number(event, name) for name in ("answered", "missed", "unused"))
    rest = f"{unused:,} of {number(event, 'recorded'):,} left unused"
    return f"recorded world: {answered:,} answered, {missed:,} not in the recording, {rest}"


_WRITERS: dict[int, Callable[[NetworkEvent], str]] = {
    NetworkType.ENDPOINT: _endpoint,
    NetworkType.UNIX_REFUSED: _unix_refused,
    NetworkType.TRUST: _trust,
    NetworkType.DNS: _dns,
    NetworkType.OPEN: _open,
    NetworkType.UPSTREAM: _upstream,
    NetworkType.TLS: _tls,
    NetworkType.DATA: lambda event: _bytes(event, f"connection {event.connection}"),
    NetworkType.DATAGRAM: lambda event: _bytes(event, f"connection {event.connection}: datagram"),
    NetworkType.CLOSE: _close,
    NetworkType.REQUEST: _request,
    NetworkType.RESPONSE: _response,
    NetworkType.BODY: lambda event: _bytes(event, f"exchange {event.exchange}: body"),
    NetworkType.END: _end,
    NetworkType.MESSAGE: _message,
    NetworkType.PROBLEM: _problem,
    NetworkType.WORLD: _world,
}
