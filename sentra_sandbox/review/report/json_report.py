"""The whole review as one JSON object. Its schema is ``review.schema.json`` beside this file, in words docs/REVIEW_JSON.md.

Keys are only ever added. Lists are bounded: ``left_off`` says of which list how many are missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sentra_sandbox.review.findings import Evidence, Finding, FindingClass, Severity
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.review import Review

SCHEMA = "sentra-sandbox/review"
SCHEMA_VERSION = 1
_LIST_MAX = 10_000
_ITEMS_MAX = 200  # of a list in an item
T = TypeVar("T")


def render(review: Review, *, show_secrets: bool = False) -> str:
    """The object as indented ASCII, ended by a newline."""
    return json.dumps(report_object(review, show_secrets=show_secrets), indent=1) + "\n"


def report_object(review: Review, *, show_secrets: bool = False) -> dict[str, Any]:
    """The object itself."""
    return _Report(Shown(review, show_secrets)).object()


class _Report:
    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.left_off: dict[str, int] = {}

    def _text(self, text: str) -> str:
        """Masked; bytes that were no UTF-8 as escapes, since not every JSON reader takes lone surrogates."""
        return self.shown.masked(text[:20_000]).encode("utf-8", "backslashreplace").decode()

    def _list(self, name: str, items: Iterable[T], make: Callable[[T], dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for number, item in enumerate(items):
            if number < _LIST_MAX:
                made.append(make(item))
            else:
                self.left_off[name] = number + 1 - _LIST_MAX
        return made

    def object(self) -> dict[str, Any]:
        shown, review, facts = self.shown, self.shown.review, self.shown.facts
        counts = shown.counts
        whole: dict[str, Any] = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "run": self._run(),
            "verdict": review.verdict,
            "fail_on": review.fail_on.name.lower(),
            "counts": {severity.name.lower(): counts.get(severity, 0) for severity in Severity},
            "findings": self._list("findings", shown.findings, self._finding),
            "suppressed": self._list("suppressed", review.suppressed, self._suppressed),
            "incomplete": [self._text(text) for text in review.incomplete[:_LIST_MAX]],
            "gaps": [self._text(text) for text in facts.gaps[:_LIST_MAX]],
            "notes": [self._text(text) for text in shown.notes[:_LIST_MAX]],
            "new": [self._text(text) for text in review.new[:_LIST_MAX]],
            "secrets": self._list("secrets", review.sightings.secrets, self._secret),
            "sightings": self._list("sightings", review.sightings.found, self._sighting),
            "processes": self._list("processes", facts.processes.values(), self._process),
            "files": self._list("files", shown.does.files.values(), self._file),
            "hosts": self._list("hosts", shown.does.hosts, self._host),
            "dns": self._list("dns", facts.network.dns, self._dns),
            "exchanges": self._list("exchanges", facts.network.exchanges.values(), self._exchange),
            "llm_calls": self._list("llm_calls", shown.does.llm, self._llm),
            "installs": self._list("installs", shown.does.installs, self._install),
            "calls": self._list("calls", facts.calls, self._call),
            "flows": self._list("flows", facts.flows, self._flow),
        }
        whole["left_off"] = self.left_off
        return whole

    def _run(self) -> dict[str, Any]:
        run = self.shown.run
        return {
            "id": run.id,
            "name": self._text(run.name),
            "argv": [self._text(word) for word in run.argv[:1000]],
            "cwd": self._text(run.cwd),
            "created": self._text(run.created),
            "state": run.state,
            "exit_status": run.exit_status,
            "duration_ns": run.duration_ns,
            "events": self.shown.facts.events,
            "merkle_root": self._text(run.merkle_root),
        }

    # ---- findings

    def _finding(self, finding: Finding) -> dict[str, Any]:
        return {
            **self._class(finding.kind),
            "severity": finding.severity.name.lower(),
            "confidence": finding.confidence.name.lower(),
            "summary": self._text(finding.summary),
            "subject": self._text(finding.subject),
            "fingerprint": finding.fingerprint,
            "process": finding.process,
            "where": self.shown.where(finding),
            "evidence": [self._evidence(item) for item in finding.evidence[:_ITEMS_MAX]],
        }

    def _class(self, kind: FindingClass) -> dict[str, Any]:
        return {
            "id": self._text(kind.id),
            "title": self._text(kind.title),
            "category": self._text(kind.category),
            "explanation": self._text(kind.explanation),
            "remedy": self._text(kind.remedy),
            "attack": list(kind.attack),
            "owasp": list(kind.owasp),
        }

    def _evidence(self, item: Evidence) -> dict[str, Any]:
        return {
            "seq": item.seq,
            "time_ns": item.time_ns,
            "task": item.task,
            "text": self._text(item.text),
            "offset": item.offset,
            "size": item.size,
            "exchange": item.exchange,
            "sha256": item.sha256,
            "excerpt": self._text(item.excerpt),
        }

    def _suppressed(self, pair: tuple[Finding, str]) -> dict[str, Any]:
        return {"finding": self._finding(pair[0]), "reason": self._text(pair[1])}

    def _secret(self, secret: Any) -> dict[str, Any]:
        known = {"name": self._text(secret.name), "kind": secret.kind, "source_seq": secret.source_seq, "process": secret.process}
        if self.shown.masked.show_secrets:
            known["value"] = self._text(secret.value.decode("utf-8", "surrogateescape"))
        return known

    def _sighting(self, sighting: Any) -> dict[str, Any]:
        return {
            "secret": self._text(sighting.secret.name),
            "channel": sighting.channel,
            "to": self._text(sighting.to),
            "port": sighting.port,
            "coding": self._text(sighting.coding),
            "seqs": list(sighting.seqs[:_ITEMS_MAX]),
            "offset": sighting.offset,
            "size": sighting.size,
            "bits": round(sighting.bits, 1),
            "process": sighting.process,
            "exchange": sighting.exchange,
            "connection": sighting.connection,
        }

    # ---- what the run did

    def _process(self, process: Any) -> dict[str, Any]:
        return {
            "number": process.number,
            "pid": process.pid,
            "parent": process.parent,
            "started_seq": process.started_seq,
            "started_ns": process.started_ns,
            "ended_ns": process.ended_ns,
            "wait_status": process.wait_status,
            "images": [
                {
                    "seq": image.seq,
                    "time_ns": image.time_ns,
                    "path": self._text(image.path),
                    "argv": [self._text(word) for word in image.argv[:_ITEMS_MAX]],
                    "cwd": self._text(image.cwd),
                    "sha256": image.sha256,
                    "fileless": image.fileless,
                }
                for image in process.images[:_ITEMS_MAX]
            ],
        }

    def _file(self, use: Any) -> dict[str, Any]:
        return {
            "path": self._text(use.path),
            "outside": use.outside,
            "kinds": use.kinds,
            "read_bytes": use.read,
            "written_bytes": use.written,
            "first_seq": use.first.seq,
            "processes": sorted(use.processes)[:_ITEMS_MAX],
        }

    def _host(self, use: Any) -> dict[str, Any]:
        return {
            "name": self._text(use.name),
            "ports": sorted(use.ports)[:_ITEMS_MAX],
            "protocols": sorted(use.protocols),
            "addresses": [self._text(address) for address in sorted(use.addresses)[:_ITEMS_MAX]],
            "sent_bytes": use.sent,
            "received_bytes": use.received,
            "requests": use.requests,
            "connections": use.connections,
            "refused": use.refused,
            "declared": use.declared,
        }

    def _dns(self, query: Any) -> dict[str, Any]:
        return {
            "seq": query.seq,
            "time_ns": query.time_ns,
            "task": query.task,
            "name": self._text(query.name),
            "type": self._text(query.type),
            "rcode": self._text(query.rcode),
            "allowed": query.allowed,
        }

    def _exchange(self, exchange: Any) -> dict[str, Any]:
        from sentra_sandbox.views.secrets import mask_url

        return {
            "number": exchange.number,
            "connection": exchange.connection,
            "seq": exchange.request.seq,
            "began_ns": exchange.began_ns,
            "method": self._text(exchange.request.method),
            "url": self._text(exchange.url if self.shown.masked.show_secrets else mask_url(exchange.url)),
            "status": exchange.response.status,
            "request_bytes": exchange.request.size,
            "response_bytes": exchange.response.size,
            "task": exchange.task,
            "error": self._text(exchange.error),
        }

    def _llm(self, call: Any) -> dict[str, Any]:
        return {
            "exchange": call.exchange,
            "server": self._text(call.server),
            "provider": self._text(call.provider),
            "model": self._text(call.model or call.answered_model),
            "turns": len(call.turns),
            "usage": call.usage.as_dict(),
            "tools": [self._text(tool.name) for tool in call.tools[:_ITEMS_MAX]],
            "tool_calls": [
                {"name": self._text(tool.name), "arguments": self._text(tool.arguments)} for tool in call.tool_calls[:_ITEMS_MAX]
            ],
            "error": self._text(call.error.message or call.error.type) if call.error else "",
        }

    def _install(self, install: Any) -> dict[str, Any]:
        return {
            "seq": install.seq,
            "process": install.process,
            "manager": self._text(install.manager),
            "packages": [self._text(word) for word in install.what],
        }

    def _call(self, call: Any) -> dict[str, Any]:
        return {
            "seq": call.seq,
            "time_ns": call.time_ns,
            "process": call.process,
            "name": call.name,
            "detail": self._text(call.detail),
            "result": call.result,
            "refused": call.refused,
        }

    def _flow(self, flow: Any) -> dict[str, Any]:
        return {
            "source": flow.source,
            "target": flow.target,
            "kind": flow.kind,
            "name": self._text(flow.name),
            "first_seq": flow.first_seq,
            "last_seq": flow.last_seq,
            "size": flow.size,
        }
