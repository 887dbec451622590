"""Fields that Falco does not have: HTTP exchanges, DNS, TLS, connections and their policy, calls of language models, kinds of files,
what a process has got hold of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from sentra_sandbox.review.rules.fields import Argument, FieldSpec
from sentra_sandbox.review.rules.moment import Moment, entropy
from sentra_sandbox.review.rules.operators import Kind
from sentra_sandbox.review.rules.paths import file_class, inside
from sentra_sandbox.views.exchanges import Message

_TEXT_MAX = 256 * 1024


def _ours(name: str, kind: Kind, meaning: str, get: Callable[[Moment], Any]) -> FieldSpec:
    return FieldSpec(name, kind, meaning, lambda moment, _: get(moment), "", "", "ours", get)


def _named(name: str, kind: Kind, meaning: str, get: Callable[[Moment, str | None], Any], argument: Argument = "text") -> FieldSpec:
    return FieldSpec(name, kind, meaning, get, argument, "", "ours")


def _http(name: str, kind: Kind, meaning: str, get: Callable[[Any], Any]) -> FieldSpec:
    return _ours(f"http.{name}", kind, meaning, lambda moment: get(moment.exchange) if moment.exchange else None)


def _header(response: bool) -> Callable[[Moment, str | None], str | None]:
    def value(moment: Moment, name: str | None) -> str | None:
        if moment.exchange is None or name is None:
            return None
        message: Message = moment.exchange.response if response else moment.exchange.request
        return message.header(name) if any(key.lower() == name.lower() for key, _ in message.headers) else None

    return value


def _query(exchange: Any) -> str | None:
    _, mark, query = exchange.request.target.partition("?")
    return unquote(query[:_TEXT_MAX]) if mark else None


def _dns(name: str, kind: Kind, meaning: str, get: Callable[[Any], Any]) -> FieldSpec:
    return _ours(f"dns.{name}", kind, meaning, lambda moment: get(moment.dns) if moment.dns else None)


def _labels(name: str) -> list[str]:
    return [label for label in name.rstrip(".").split(".") if label]


def _label_entropy(query: Any) -> float:
    """Of the labels before the last two: what a tunnel can choose."""
    return entropy("".join(_labels(query.name)[:-2]).encode("utf-8", "surrogateescape"))


def _tls(name: str, kind: Kind, meaning: str, get: Callable[[Any], Any]) -> FieldSpec:
    def value(moment: Moment) -> Any:
        tls = moment.connection.tls if moment.connection else None
        return get(tls) if tls else None

    return _ours(f"tls.{name}", kind, meaning, value)


def _certificate(key: str) -> Callable[[Any], str | None]:
    return lambda tls: tls.certificate[key] if isinstance(tls.certificate.get(key), str) else None


def _net(name: str, kind: Kind, meaning: str, of_connection: Callable[[Any], Any], of_dns: Callable[[Any], Any]) -> FieldSpec:
    def value(moment: Moment) -> Any:
        if moment.dns is not None:
            return of_dns(moment.dns)
        return of_connection(moment.connection) if moment.connection is not None else None

    return _ours(f"net.{name}", kind, meaning, value)


def _llm(name: str, kind: Kind, meaning: str, get: Callable[[Any], Any]) -> FieldSpec:
    return _ours(f"llm.{name}", kind, meaning, lambda moment: get(moment.llm) if moment.llm else None)


def _prompt(call: Any) -> str:
    parts = [part for turn in call.turns for part in (turn.text, *(result.text for result in turn.tool_results))]
    return "\n".join(part for part in parts if part)[:_TEXT_MAX]


def _about(moment: Moment) -> str | None:
    """The file that an event is about: the last path it names, else its descriptor's."""
    if moment.paths:
        return moment.paths[-1]
    return moment.fd.name if moment.fd and moment.fd.char in "fd" else None


def _class(moment: Moment) -> str | None:
    path = _about(moment)
    return file_class(path, moment.facts.workspace, moment.facts.home) or None if path else None


def _in_workspace(moment: Moment) -> bool | None:
    path = _about(moment)
    return inside(path, moment.facts.workspace) if path else None


def _run(name: str, meaning: str, get: Callable[[Any], Any], kind: Kind = "text") -> FieldSpec:
    return _ours(f"run.{name}", kind, meaning, lambda moment: get(moment.facts.run) if moment.facts.run else None)


FIELDS: tuple[FieldSpec, ...] = (
    _http("method", "text", "GET, POST, ...", lambda e: e.request.method or None),
    _http("scheme", "text", "http or https", lambda e: e.request.scheme or None),
    _http("host", "text", "host that the request names, without port", lambda e: e.authority.rsplit("@", 1)[-1].split(":")[0] or None),
    _http("path", "text", "path, without query", lambda e: e.path),
    _http("query", "text", "query, percent signs decoded", _query),
    _http("url", "text", "the whole URL", lambda e: e.url),
    _http("version", "text", "1.1 or 2", lambda e: e.request.version or None),
    _http("status", "number", "status of the answer", lambda e: e.response.status or None),
    _http("error", "text", "why it broke off", lambda e: e.error or None),
    _named("http.request.header", "text", "a header of the request", _header(False)),
    _named("http.response.header", "text", "a header of the answer", _header(True)),
    _http("request.type", "text", "media type of the request", lambda e: e.request.media_type or None),
    _http("response.type", "text", "media type of the answer", lambda e: e.response.media_type or None),
    _http("request.size", "number", "bytes of the request's body", lambda e: e.request.size),
    _http("response.size", "number", "bytes of the answer's body", lambda e: e.response.size),
    _ours("http.request.body", "text", "the request's body, decoded, its first 64 KiB", lambda m: m.body(False)),
    _ours("http.response.body", "text", "the answer's body, decoded, its first 64 KiB", lambda m: m.body(True)),
    _http("websocket", "truth", "whether it became a WebSocket", lambda e: e.is_websocket),
    _dns("name", "text", "name that was asked for", lambda q: q.name.rstrip(".")),
    _dns("type", "text", "A, AAAA, TXT, ...", lambda q: q.type or None),
    _dns("rcode", "text", "NOERROR, NXDOMAIN, REFUSED, ...", lambda q: q.rcode or None),
    _dns("answers", "list", "answers as in a zone file", lambda q: q.answers),
    _dns("transport", "text", "udp or tcp", lambda q: q.transport),
    _dns("server", "address", "address that was asked", lambda q: q.server[0] or None),
    _dns("labels", "number", "number of labels", lambda q: len(_labels(q.name))),
    _dns("label_length", "number", "length of the longest label", lambda q: max(map(len, _labels(q.name)), default=0)),
    _dns("label_entropy", "number", "bits a byte of the labels before the last two", _label_entropy),
    _tls("sni", "text", "name that the client asked for", lambda t: t.sni or None),
    _tls("mode", "text", "intercept or passthrough", lambda t: t.mode or None),
    _tls("decrypted", "truth", "whether the recording has the plain text", lambda t: t.mode == "intercept" and not t.error),
    _tls("version", "text", "version of the protocol", lambda t: t.version or None),
    _tls("alpn", "text", "protocol agreed on", lambda t: t.alpn or None),
    _tls("error", "text", "why a handshake failed", lambda t: t.error or None),
    _tls("certificate.subject", "text", "subject of the server's certificate", _certificate("subject")),
    _tls("certificate.issuer", "text", "issuer of the server's certificate", _certificate("issuer")),
    _net("declared", "truth", "whether the policy allows the connection or the name", lambda c: c.allowed, lambda q: q.allowed),
    _net("rule", "text", "the rule of the policy that decided", lambda c: c.rule or None, lambda q: q.rule or None),
    _net("reason", "text", "why it was refused", lambda c: c.reason or None, lambda q: q.reason or None),
    _net("host", "text", "host by name, else address", lambda c: c.host or None, lambda q: q.name.rstrip(".") or None),
    _net("name", "text", "host's name; missing where only an address is known", lambda c: c.name or None, lambda q: q.name or None),
    _net("port", "number", "port of the server", lambda c: c.server[1], lambda q: q.server[1]),
    _net("protocol", "text", "tcp or udp", lambda c: c.protocol or None, lambda q: q.transport),
    _net("sent", "number", "bytes sent on the whole connection", lambda c: c.sent, lambda q: None),
    _net("received", "number", "bytes received on the whole connection", lambda c: c.received, lambda q: None),
    _llm("provider", "text", "openai, anthropic, ...", lambda c: c.provider),
    _llm("api", "text", "chat, anthropic, google, ...", lambda c: c.api),
    _llm("server", "text", "host of the model", lambda c: c.server),
    _llm("model", "text", "model that was asked for", lambda c: c.model or None),
    _llm("prompt", "text", "texts of the conversation that was sent, results of tools too", _prompt),
    _llm("text", "text", "what the model answered", lambda c: c.text[:_TEXT_MAX] or None),
    _llm("tools", "list", "names of the tools that were offered", lambda c: tuple(tool.name for tool in c.tools)),
    _llm("tool_calls", "list", "names of the tools that the model called", lambda c: tuple(call.name for call in c.tool_calls)),
    _llm("tool_arguments", "list", "JSON arguments of these calls", lambda c: tuple(call.arguments for call in c.tool_calls)),
    _llm("tokens.in", "number", "tokens sent", lambda c: c.usage.input_tokens),
    _llm("tokens.out", "number", "tokens answered", lambda c: c.usage.output_tokens),
    _ours("file.class", "text", "kind of the file: secret, startup, vcs, ci, agent, temporary, workspace, home, system, other", _class),
    _ours("file.in_workspace", "truth", "whether the file is below the directory that the run began in", _in_workspace),
    _ours("taint.source", "list", "what the process or the one that started it got hold of before: secret (read), network (received)",
          lambda m: tuple(sorted(m.process.taint)) if m.process and m.process.taint else None),
    _run("id", "the run's id", lambda r: r.id),
    _run("name", "the run's name", lambda r: r.name or None),
    _run("cmdline", "the command that was run", lambda r: " ".join(r.argv)),
    _run("net", "how the run was connected: open, host, none, ...", lambda r: str(r.options.get("net") or "") or None),
)  # fmt: skip
