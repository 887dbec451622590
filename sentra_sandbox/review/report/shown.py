"""A review as reports show it: findings in order, who did it, what to type next; every text without secrets. Pure.

All texts that come from a run leave here through ``Shown.text`` (masked; characters that act made visible) or ``Shown.masked`` (masked
only, for those who escape themselves).
"""

from __future__ import annotations

from dataclasses import replace

from sentra_sandbox.errors import SentraError
from sentra_sandbox.review.findings import Evidence, Finding, Severity
from sentra_sandbox.review.report.behaviour import Behaviour, behaviour
from sentra_sandbox.review.report.masking import Masker
from sentra_sandbox.review.report.text import command_text, count_text, duration_text, moment_text, visible
from sentra_sandbox.review.review import Review, ordered

SEVERITIES = tuple(sorted(Severity, reverse=True))
_TEXT_MAX = 4000
_DATED_MAX, _EVIDENCE_MAX = 300, 40  # findings, and evidence of each, whose events are looked up


class Shown:
    """``does`` is what the run did."""

    def __init__(self, review: Review, show_secrets: bool = False) -> None:
        self.review = review
        self.facts = review.facts
        self.run = review.facts.run
        self.masked = Masker((secret for secret in review.sightings.secrets), show_secrets)
        self.does: Behaviour = behaviour(review.facts)
        self.findings: list[Finding] = [self._dated(finding) for finding in ordered(review.findings)[:_DATED_MAX]]
        self.findings += ordered(review.findings)[_DATED_MAX:]

    def _dated(self, finding: Finding) -> Finding:
        """With the time and task of each event, which a detector may have left to us."""
        if all(item.time_ns and item.task for item in finding.evidence):
            return finding
        return replace(
            finding, evidence=tuple(self._dated_item(item) for item in finding.evidence[:_EVIDENCE_MAX]) + finding.evidence[_EVIDENCE_MAX:]
        )

    def _dated_item(self, item: Evidence) -> Evidence:
        if item.time_ns and item.task:
            return item
        try:
            event = self.facts.event(item.seq)
        except (KeyError, SentraError):
            return item
        return replace(item, time_ns=item.time_ns or event.time_ns, task=item.task or event.task)

    def text(self, text: str, longest: int = _TEXT_MAX) -> str:
        """One line of text that may be shown anywhere."""
        return visible(self.masked(text[:longest]) + ("..." if len(text) > longest else ""))

    @property
    def verdict(self) -> str:
        """``FINDINGS``, ``NO FINDINGS``, ``INCOMPLETE``."""
        return self.review.verdict.upper()

    @property
    def counts(self) -> dict[Severity, int]:
        """Findings by severity, worst first, without those that there are none of."""
        counts = {severity: sum(finding.severity == severity for finding in self.findings) for severity in SEVERITIES}
        return {severity: count for severity, count in counts.items() if count}

    @property
    def counts_text(self) -> str:
        """``1 critical, 2 high``; ``nothing found``."""
        return ", ".join(f"{count} {severity.name.lower()}" for severity, count in self.counts.items()) or "nothing found"

    @property
    def command(self) -> str:
        return self.text(command_text(self.run.argv, 300))

    @property
    def facts_of_run(self) -> list[str]:
        """``exit status 0``, ``3.2 s``, ``12,345 events``, ``network open``: what is known of the run."""
        ended = "no exit status" if self.run.exit_status is None else f"exit status {self.run.exit_status}"
        known = [ended, duration_text(self.run.duration_ns), count_text(self.facts.events, "event")]
        net = self.run.options.get("net")
        if isinstance(net, str):
            known.append(self.text(f"network {net}", 80))
        return known if self.run.state != "incomplete" else [*known, "trace not finished"]

    @property
    def missing(self) -> list[str]:
        """What the review could not see: reasons for being incomplete, then gaps of the trace; each once."""
        return list(dict.fromkeys(self.text(text, 600) for text in (*self.review.incomplete, *self.facts.gaps)))

    @property
    def notes(self) -> list[str]:
        """What a reader should know besides, each once."""
        return list(dict.fromkeys(self.text(text, 600) for text in (*self.review.notes, *self.review.sightings.notes)))

    def process(self, number: int) -> str:
        """``python3[101]``; ``""`` for none."""
        fact = self.facts.processes.get(number)
        if fact is None:
            return ""
        name = fact.name or next((ancestor.name for ancestor in self.facts.lineage(number) if ancestor.name), "?")
        return f"{self.text(name)}[{fact.pid}]"

    def evidence_who(self, item: Evidence) -> str:
        """The process of an event of evidence, or its task's number; nothing where the text begins with its name anyway."""
        if not item.task:
            return ""
        who = self.process(self.facts.process_of(item.task, item.seq)) or f"task {item.task}"
        return "" if item.text.startswith(who.partition("[")[0] + " ") else who

    def evidence_head(self, item: Evidence) -> str:
        """``0.184s #812 cat[103]``."""
        return " ".join(part for part in (moment_text(item.time_ns), f"#{item.seq}", self.evidence_who(item)) if part)

    def evidence_place(self, item: Evidence) -> str:
        """``bytes 10 to 40``, ``exchange 3, bytes 0 to 12``, or nothing."""
        place = [f"exchange {item.exchange}"] if item.exchange else []
        if item.offset is not None and item.size is not None:
            place.append(f"bytes {item.offset:,} to {item.offset + item.size:,}")
        return ", ".join(place)

    def next_commands(self, finding: Finding) -> list[str]:
        """What to type to see the evidence of a finding."""
        commands = []
        exchange = next((item.exchange for item in finding.evidence if item.exchange), 0)
        if exchange:
            commands.append(f"sentra-sandbox show {self.run.id} --http {exchange}")
        fact = self.facts.processes.get(finding.process)
        if fact is not None:
            commands.append(f"sentra-sandbox show {self.run.id} --pid {fact.pid}")
        if finding.evidence:
            commands.append(f"sentra-sandbox inspect {self.run.id} --at {finding.evidence[0].seq}")
        return commands

    def where(self, finding: Finding) -> list[str]:
        """The stack of the responsible call, innermost last, if it is known."""
        return [self.text(line, 300) for line in self.review.where.get(finding.fingerprint, [])[:20]]
