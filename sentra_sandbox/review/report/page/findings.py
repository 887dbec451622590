"""Findings: each with its evidence in order, linked to the events; why it matters and what to do."""

from __future__ import annotations

from sentra_sandbox.review.findings import Evidence, Finding
from sentra_sandbox.review.report.page.events import Anchors
from sentra_sandbox.review.report.page.markup import Room, code, esc, more
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import moment_text

_OPEN = 12  # findings that are shown whole; later ones are folded
_EVIDENCE_MAX = 40


def findings_section(shown: Shown, anchors: Anchors, room: Room) -> str:
    """All findings, worst first; suppressed ones folded at the end."""
    parts = []
    for number, finding in enumerate(shown.findings):
        part = _finding(shown, anchors, finding, number)
        if not room.take(part):
            parts.append(more(len(shown.findings) - number, "findings", f"sentra-sandbox review {shown.run.id} --verbose"))
            break
        parts.append(part)
    if not shown.findings:
        parts.append(f"<p>{_nothing(shown)}</p>\n")
    if shown.review.suppressed:
        parts.append(_suppressed(shown, room))
    return "".join(parts)


def _nothing(shown: Shown) -> str:
    if shown.review.verdict == "incomplete":
        return "Nothing was found, but the review could not look at everything: see what was not seen."
    return "Nothing was found."


def _finding(shown: Shown, anchors: Anchors, finding: Finding, number: int) -> str:
    severity = finding.severity
    title = f'{badge(finding)} {esc(shown.masked(finding.kind.title))} <span class="dim">{esc(finding.kind.id)}</span>'
    body = f'<p class="said">{esc(shown.masked(finding.summary))}</p>\n{_chain(shown, anchors, finding)}{_details(shown, anchors, finding)}'
    if number < _OPEN:
        return f'<article class="finding f{severity.value}" id="f{number + 1}"><h3>{title}</h3>\n{body}</article>\n'
    summary = f"{title}: {esc(shown.masked(finding.subject[:200]))}"
    return f'<details class="finding f{severity.value}" id="f{number + 1}"><summary>{summary}</summary>\n{body}</details>\n'


def badge(finding: Finding) -> str:
    """Severity and confidence."""
    severity, confidence = finding.severity, finding.confidence.name.lower()
    return f'<span class="badge s{severity.value}">{severity.name.lower()}</span> <span class="badge s0">{confidence}</span>'


def _chain(shown: Shown, anchors: Anchors, finding: Finding) -> str:
    items = "".join(f"<li>{_evidence(shown, anchors, item)}</li>\n" for item in finding.evidence[:_EVIDENCE_MAX])
    left = len(finding.evidence) - _EVIDENCE_MAX
    return f'<ol class="chain">{items}</ol>\n{more(left, "events", f"sentra-sandbox review {shown.run.id} --json")}'


def _evidence(shown: Shown, anchors: Anchors, item: Evidence) -> str:
    who = esc(shown.evidence_who(item))
    parts = [f'<span class="dim">{moment_text(item.time_ns)}</span>', anchors.event(item.seq), who, esc(shown.masked(item.text[:2000]))]
    if item.excerpt:
        parts.append(f'<code class="ex">{esc(shown.masked(item.excerpt[:600]))}</code>')
    place = shown.evidence_place(item)
    if place:
        parts.append(f'<span class="dim">{anchors.exchange(item.exchange, esc(place))}</span>')
    if item.sha256:
        parts.append(f'<span class="dim">SHA-256 {code(item.sha256[:16])}</span>')
    return " ".join(part for part in parts if part)


def _details(shown: Shown, anchors: Anchors, finding: Finding) -> str:
    kind = finding.kind
    where = shown.where(finding)
    rows = [("why", esc(shown.masked(kind.explanation))), ("what to do", esc(shown.masked(kind.remedy)))]
    if kind.false_positives:
        rows.append(("harmless if", esc(kind.false_positives)))
    process = shown.process(finding.process)
    if process:
        rows.append(("process", anchors.process(finding.process, esc(process))))
    if where:
        rows.append(("called from", " ← ".join(code(line) for line in reversed(where))))
    ids = ", ".join((*kind.attack, *kind.owasp))
    rows.append(("class", esc(f"{kind.category}{', ' + ids if ids else ''}")))
    rows.append(("subject", code(shown.masked(finding.subject[:500]))))
    rows.append(("suppress with", code(finding.fingerprint)))
    rows.append(("look closer", "<br>".join(code(command) for command in shown.next_commands(finding))))
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{markup}</dd>" for name, markup in rows if markup) + "</dl>\n"


def _suppressed(shown: Shown, room: Room) -> str:
    items = []
    for finding, reason in shown.review.suppressed:
        why = f'<span class="dim">{esc(shown.masked(reason[:600]))}</span>'
        item = f"<li>{badge(finding)} {esc(shown.masked(finding.summary[:600]))} {why}</li>\n"
        if not room.take(item):
            break
        items.append(item)
    left = more(len(shown.review.suppressed) - len(items), "suppressed findings", f"sentra-sandbox review {shown.run.id} --json")
    return f"<details><summary>{len(shown.review.suppressed):,} suppressed</summary><ul>{''.join(items)}</ul>{left}</details>\n"
