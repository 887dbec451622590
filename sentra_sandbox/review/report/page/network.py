"""The network: hosts, a waterfall of HTTP exchanges, other connections, names."""

from __future__ import annotations

from sentra_sandbox.review.report.page.events import Anchors
from sentra_sandbox.review.report.page.markup import Room, block, code, esc, more, percent, rows_within, table
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import count_text, duration_text, moment_text, size_text
from sentra_sandbox.views.body_text import binary_summary, body_text, indented
from sentra_sandbox.views.connections import Connection
from sentra_sandbox.views.exchanges import Exchange, Message
from sentra_sandbox.views.secrets import mask_headers, mask_url

_BODY_MAX = 3000
_DECODE_MAX = 256 << 10
_WHOLE_MAX = 150  # exchanges that are shown with heads and bodies
_HEADERS_MAX = 60
_RIGHT = frozenset({2, 3, 4})


def network_section(shown: Shown, anchors: Anchors, room: Room) -> str:
    """All of it."""
    network = shown.facts.network
    if not shown.does.hosts and not network.dns and not network.refused_sockets:
        return "<p>The run did not use the network.</p>\n"
    parts = [_hosts(shown, room), _exchanges(shown, anchors, room), _connections(shown, room), _dns(shown, room), _sockets(shown, room)]
    return "".join(parts)


def _hosts(shown: Shown, room: Room) -> str:
    rows = []
    for use in shown.does.hosts:
        declared = {True: "by the policy", False: '<span class="s2">no</span>', None: '<span class="dim">no policy</span>'}[use.declared]
        if use.refused:
            declared = f'<span class="s3">refused {count_text(use.refused, "time")}</span>'
        ports = esc(", ".join(map(str, sorted(use.ports)[:8])))
        protocols = esc(shown.masked(", ".join(sorted(use.protocols)[:6])))
        addresses = esc(", ".join(sorted(use.addresses)[:4]))
        cells = [
            code(shown.masked(use.name[:300])),
            declared,
            size_text(use.sent),
            size_text(use.received),
            f"{use.requests:,}",
            ports,
            protocols,
        ]
        rows.append([*cells, addresses])
    shown_rows = rows_within(room, rows)
    head = ["host", "declared", "sent", "received", "requests", "ports", "protocols", "addresses"]
    left = more(len(rows) - len(shown_rows), "hosts", f"sentra-sandbox show {shown.run.id} --net")
    return table(head, shown_rows, _RIGHT) + left


def _exchanges(shown: Shown, anchors: Anchors, room: Room) -> str:
    exchanges = list(shown.facts.network.exchanges.values())
    if not exchanges:
        return ""
    wanted = {item.exchange for finding in shown.findings for item in finding.evidence if item.exchange}
    wanted |= {exchange.number for exchange in exchanges[:_WHOLE_MAX]}
    start = min(exchange.began_ns for exchange in exchanges)
    length = max(max(exchange.last_ns for exchange in exchanges) - start, 1)
    items: list[str] = []
    for exchange in exchanges:
        whole = exchange.number in wanted
        item = _exchange(shown, exchange, start, length, whole)
        if not room.take(item):
            item = _exchange(shown, exchange, start, length, False)
            if not room.take(item):
                break
        anchors.exchanges.add(exchange.number)
        items.append(item)
    left = more(len(exchanges) - len(items), "exchanges", f"sentra-sandbox show {shown.run.id} --net")
    return f"<h3>HTTP exchanges</h3>\n{''.join(items)}{left}"


def _exchange(shown: Shown, exchange: Exchange, start: int, length: int, whole: bool) -> str:
    request, response = exchange.request, exchange.response
    url = exchange.url[:4000]
    url = shown.masked(url if shown.masked.show_secrets else mask_url(url))
    status = str(response.status) if response.status else "-"
    style = "s3" if response.status >= 400 or exchange.error else "dim"
    sizes = f"{size_text(request.size)} / {size_text(response.size)}"
    x, width = percent(exchange.began_ns - start, length), percent(max(exchange.last_ns - exchange.began_ns, 0), length)
    drawing = (
        '<svg height="7" aria-hidden="true"><line class="lane" x1="0" x2="100%" y1="3.5" y2="3.5"/>'
        f'<rect class="bar" x="{x}" y="0" width="{width}" height="7" rx="2"/>'
        f'<rect class="bar" x="{x}" y="0" width="2" height="7"/></svg>'
    )
    cells = f'<span>{exchange.number}</span><b>{esc(shown.masked(request.method[:20])) or "?"}</b><span class="u m">{esc(url)}</span>'
    cells += f'<span class="{style}">{status}</span><span class="z dim">{sizes}</span><span class="b">{drawing}</span>'
    body = (
        _exchange_body(shown, exchange)
        if whole
        else f'<p class="more">{code(f"sentra-sandbox show {shown.run.id} --http {exchange.number}")}</p>'
    )
    return f'<details class="row x" id="x{exchange.number}"><summary>{cells}</summary>\n{body}</details>\n'


def _exchange_body(shown: Shown, exchange: Exchange) -> str:
    who = shown.process(shown.facts.process_of(exchange.task, exchange.request.seq)) if exchange.task else ""
    took = duration_text(max(exchange.last_ns - exchange.began_ns, 0))
    at = f"at {moment_text(exchange.began_ns)}, took {took}{f', by {who}' if who else ''}, connection {exchange.connection}"
    parts = [f'<p class="dim">{esc(at)}</p>', _message(shown, "request", exchange.request), _message(shown, "response", exchange.response)]
    if exchange.messages:
        parts.append(f"<p>{count_text(len(exchange.messages), 'WebSocket message')}</p>")
    if exchange.error:
        parts.append(f'<p class="s3">{esc(shown.masked(exchange.error[:600]))}</p>')
    return "".join(parts)


def _message(shown: Shown, name: str, message: Message) -> str:
    if not message.seen:
        return f'<p class="dim">no {name}</p>'
    headers = message.headers if shown.masked.show_secrets else mask_headers(message.headers)
    lines = [f"{key}: {value[:2000]}" for key, value in headers[:_HEADERS_MAX]]
    lines += [f"... {len(headers) - _HEADERS_MAX} more"] if len(headers) > _HEADERS_MAX else []
    heads = block(shown.masked("\n".join(lines))) if lines else ""
    return f'<h3>{name} <span class="dim">{size_text(message.size)}</span></h3>{heads}{_body(shown, message)}'


def _body(shown: Shown, message: Message) -> str:
    if not message.size:
        return ""
    decoded = message.decoded(_DECODE_MAX)
    data = decoded.data
    text = body_text(message, data)
    note = f'<p class="dim">{esc(shown.masked(decoded.note[:300]))}</p>' if decoded.note else ""
    if text is None:
        return (
            f'<p class="dim">{esc(binary_summary(b""))} {len(data):,} bytes decoded</p>{note}'
            if not data
            else f'<p class="dim">binary, {len(data):,} bytes</p>{note}'
        )
    return block(shown.masked(indented(text)[: 4 * _BODY_MAX]), _BODY_MAX) + note


def _connections(shown: Shown, room: Room) -> str:
    """Those that carried something else than HTTP, or were refused or failed."""
    others = [c for c in shown.facts.network.connections.values() if not c.exchanges]
    rows = [
        [str(c.number), esc(c.protocol), code(shown.masked(c.target[:300])), size_text(c.sent), size_text(c.received), _outcome(shown, c)]
        for c in others
    ]
    rows += [
        ["", esc(transfer.protocol), code(shown.masked(f"{transfer.host or transfer.address}:{transfer.port}")[:300])]
        + ([size_text(transfer.size), ""] if transfer.outgoing else ["", size_text(transfer.size)])
        + [esc(shown.process(transfer.process))]
        for transfer in shown.facts.transfers
        if not transfer.connection
    ]
    if not rows:
        return ""
    fitting = rows_within(room, rows)
    left = more(len(rows) - len(fitting), "connections", f"sentra-sandbox show {shown.run.id} --net")
    return "<h3>Other connections</h3>\n" + table(["", "protocol", "to", "sent", "received", ""], fitting, frozenset({3, 4})) + left


def _outcome(shown: Shown, connection: Connection) -> str:
    text = shown.masked
    if not connection.allowed:
        remedy = f"; to allow it: {connection.remedy}" if connection.remedy else ""
        return f'<span class="s3">refused</span> {esc(text(f"{connection.reason}{remedy}"[:600]))}'
    if connection.upstream_error:
        return f'<span class="s2">not reached</span> {esc(text(connection.upstream_error[:300]))}'
    tls = connection.tls
    if tls is not None:
        failed = f" {tls.error}" if tls.error else ""
        return esc(text(f"TLS {tls.mode} {tls.version}{failed}"[:300]))
    return esc(text(connection.close_error[:300]))


def _dns(shown: Shown, room: Room) -> str:
    queries = shown.facts.network.dns
    if not queries:
        return ""
    rows = []
    for query in queries[:2000]:
        answer = ", ".join(query.real[:3] or query.answers[:3]) or query.rcode
        result = (
            esc(shown.masked(answer[:200])) if query.allowed else f'<span class="s3">refused</span> {esc(shown.masked(query.reason[:200]))}'
        )
        rows.append([moment_text(query.time_ns), code(shown.masked(query.name[:260])), esc(query.type), result])
    fitting = rows_within(room, rows)
    left = more(len(queries) - len(fitting), "queries", f"sentra-sandbox show {shown.run.id} --type dns")
    body = table(["time", "name", "type", "answer"], fitting) + left
    return f"<details><summary>{count_text(len(queries), 'DNS query', 'DNS queries')}</summary>{body}</details>\n"


def _sockets(shown: Shown, room: Room) -> str:
    problems = [*shown.facts.network.refused_sockets, *shown.facts.network.problems]
    rows = [[moment_text(p.time_ns), esc(shown.masked(p.what[:300])), esc(shown.masked(p.detail[:400]))] for p in problems[:500]]
    if not rows:
        return ""
    return "<h3>Refused sockets and problems</h3>\n" + table(["time", "what", ""], rows_within(room, rows))

