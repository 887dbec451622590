"""Descriptions of tools that give orders to the model: hidden text, orders behind the user's back, or another description than before.

Evidence: the request or answer that holds the description (a model's ``tools``, an MCP server's ``tools/list`` over HTTP or a pipe) with an
excerpt; for a change, both descriptions with their hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import instructions
from sentra_sandbox.review.detectors.evidence import ordered, pid_of, shown, who
from sentra_sandbox.review.detectors.llm import prompts
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity
from sentra_sandbox.views.json_values import compact, items, mapping, parse, string

POISONED = FindingClass(
    "SEN-160",
    "A tool's description gives orders",
    "prompt-injection",
    Severity.HIGH,
    "The description of a tool holds text that is meant for the model and not for its user: hidden characters, orders to read "
    "credentials or to keep something from the user, commands to run. "
    "Models obey descriptions; the tool need not even be called.",
    "Take the server of the tool out of the MCP configuration. Pin servers to versions whose descriptions were read.",
    ("T1195.002", "T1565.001"),
    ("ASI04", "ASI01", "LLM01:2025"),
    "Descriptions that say how to use the tool, or that quote attacks in documentation. An order alone, without secrets, commands or "
    "secrecy, has a low severity.",
)
CHANGED = FindingClass(
    "SEN-161",
    "A tool's description changed during the run",
    "prompt-injection",
    Severity.MEDIUM,
    'The same tool had another description later in the run. What a person approved is no longer what the model is told ("rug pull").',
    "Compare both descriptions. Pin the server to a version, or refuse changes of approved tools.",
    ("T1195.002", "T1554"),
    ("ASI04",),
    "Tools whose descriptions hold a date or a list of files change harmlessly: low severity when only the program itself offers them "
    "to its model.",
)
_BODY_MAX = 4 << 20
_TOOLS_MAX = 20_000
_FLOWS_MAX = 300


@dataclass(frozen=True, slots=True)
class _Offer:
    """A tool as it was described at one time; ``server``: who described it."""

    server: str
    name: str
    text: str
    seq: int
    exchange: int
    mcp: bool
    who: str


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    first: dict[tuple[str, str], _Offer] = {}
    told: set[tuple[str, str]] = set()
    count = 0
    for offer in sorted((*_of_models(facts), *_of_servers(facts)), key=lambda offer: offer.seq):
        count += 1
        if count > _TOOLS_MAX:
            return
        key = (offer.server, offer.name)
        before = first.setdefault(key, offer)
        if before.text == offer.text and before is not offer:
            continue
        severity, why, excerpt = _poison(offer.text)
        if why and ("poison", offer.name) not in told:
            told.add(("poison", offer.name))
            evidence = (
                Evidence(
                    offer.seq,
                    f"{offer.who} describes the tool {shown(offer.name, 60)}",
                    exchange=offer.exchange,
                    sha256=_hash(offer.text),
                    excerpt=shown(excerpt),
                ),
            )
            yield Finding(
                POISONED,
                severity,
                Confidence.HIGH,
                f"The description of the tool {shown(offer.name, 60)} {why}.",
                f"tool {shown(offer.name, 60)}",
                evidence,
            )
        if before.text != offer.text and ("change", offer.name) not in told:
            told.add(("change", offer.name))
            yield _changed(before, offer, bool(why) and severity >= Severity.MEDIUM)
        first[key] = offer


def _changed(before: _Offer, after: _Offer, poisoned: bool) -> Finding:
    evidence = [
        Evidence(
            one.seq,
            f"{one.who} describes the tool {shown(one.name, 60)}",
            exchange=one.exchange,
            sha256=_hash(one.text),
            excerpt=shown(one.text),
        )
        for one in (before, after)
    ]
    severity = Severity.HIGH if poisoned else Severity.MEDIUM if after.mcp else Severity.LOW
    return Finding(
        CHANGED,
        severity,
        Confidence.PROVEN,
        f"The description of the tool {shown(after.name, 60)} changed during the run.",
        f"tool {shown(after.name, 60)}",
        ordered(evidence),
    )


def _poison(text: str) -> tuple[Severity, str, str]:
    """Severity, what is wrong in words ("" if nothing), and the place."""
    if how := instructions.hidden(text):
        return Severity.HIGH, f"hides text by {how}", text
    order, secret, command = instructions.imperative(text), instructions.sensitive(text), instructions.dangerous(text)
    if command:
        return Severity.HIGH, "holds a command that fetches and runs something, or sends secrets", command
    if bad := instructions.overriding(text):
        return Severity.HIGH, "gives orders behind the user's back", bad
    if order and secret:
        return Severity.HIGH, "gives orders about credentials", order
    if order:
        return Severity.LOW, "gives orders to the model", order
    return Severity.INFO, "", ""


def _of_models(facts: Facts) -> Iterator[_Offer]:
    for prompt in prompts(facts):
        process = facts.process_of(prompt.exchange.task, prompt.seq) if prompt.exchange.task else 0
        for tool in prompt.tools:
            text = f"{tool.description}\n{_descriptions(tool.parameters)}"
            yield _Offer("model", tool.name, text, prompt.seq, prompt.exchange.number, False, who(facts, process))


def _of_servers(facts: Facts) -> Iterator[_Offer]:
    models = {prompt.exchange.number for prompt in prompts(facts)}
    for exchange in facts.network.exchanges.values():
        response = exchange.response
        if (
            exchange.number in models
            or not (response.media_type.endswith("json") or response.media_type == "text/event-stream")
            or not 0 < response.size <= _BODY_MAX
        ):
            continue
        data = response.decoded(_BODY_MAX).data
        if b"inputSchema" in data:
            yield from _tools(data, exchange.host, response.seq, exchange.number, exchange.host)
    pairs = {(flow.source, flow.target) for flow in facts.flows if flow.kind in ("pipe", "socket")}
    looked = 0
    for flow in facts.flows:
        # A server on standard streams is asked and answers; what only writes is none.
        if flow.kind not in ("pipe", "socket") or flow.size < 60 or (flow.target, flow.source) not in pairs or looked >= _FLOWS_MAX:
            continue
        looked += 1
        for seq in {flow.first_seq, flow.last_seq}:
            try:
                data = facts.bytes_of(seq)
            except KeyError:
                continue
            if b"inputSchema" in data and len(data) <= _BODY_MAX:
                name = who(facts, flow.source)
                yield from _tools(data, f"process {flow.source} {pid_of(facts, flow.source)}", seq, 0, name)


def _tools(data: bytes, server: str, seq: int, exchange: int, name: str) -> Iterator[_Offer]:
    """Tools of a ``tools/list`` result: one JSON object, or one a line, or server-sent events."""
    for line in [data] if parse(data) is not None else data.splitlines()[:1000]:
        result = mapping(mapping(parse(line.removeprefix(b"data:"))).get("result"))
        for value in items(result.get("tools"))[:500]:
            tool = mapping(value)
            text = f"{string(tool.get('description'))}\n{_descriptions(tool.get('inputSchema'))}"
            yield _Offer(server, string(tool.get("name")) or "?", text, seq, exchange, True, name)


def _descriptions(schema: Any, depth: int = 0) -> str:
    """All texts of a schema that a model reads, names of parameters too."""
    if depth > 6:
        return ""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return "\n".join(_descriptions(value, depth + 1) for value in schema[:200])
    if isinstance(schema, dict):
        return "\n".join(f"{key} {_descriptions(value, depth + 1)}" for key, value in list(schema.items())[:200])
    return compact(schema) if schema is not None else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


DETECTOR = Detector("mcp_poisoning", (POISONED, CHANGED), _detect)
