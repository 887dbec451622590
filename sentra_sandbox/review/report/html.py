"""The review as one HTML file: no scripts, nothing loaded from anywhere, readable on a telephone and on paper, light and dark.

Everything that a run said is hostile: it goes through the masking function and then ``page.markup.esc``. Besides, the page forbids itself
everything but its own style sheet (content security policy with the sheet's hash). Each section has a bound in bytes, so that the page of
the largest run is below 10 MB; what is left off is counted, with the command that shows it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sentra_sandbox.review.report.page.events import Anchors, events_section
from sentra_sandbox.review.report.page.files import contents_section, files_section
from sentra_sandbox.review.report.page.findings import findings_section
from sentra_sandbox.review.report.page.markup import Room, code, esc, more, table
from sentra_sandbox.review.report.page.models import models_section
from sentra_sandbox.review.report.page.network import network_section
from sentra_sandbox.review.report.page.processes import processes_section, timeline_section
from sentra_sandbox.review.report.page.style import STYLE
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import size_text
from sentra_sandbox.review.review import Review

# Bytes of each section; together with the rest of the page below 10 MB.
_FINDINGS, _NETWORK, _FILES, _CONTENTS, _MODELS, _PROCESSES, _EVENTS = (
    1_500_000,
    1_900_000,
    900_000,
    1_000_000,
    1_700_000,
    700_000,
    1_500_000,
)
_LIST_MAX = 300


def render(review: Review, *, show_secrets: bool = False) -> str:
    """The whole page."""
    shown = Shown(review, show_secrets)
    sections = _sections(shown)
    style = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
    title = f"{shown.verdict.capitalize()}: {shown.run.id}"
    links = "".join(f'<li><a href="#{section.anchor}">{section.title}</a>{section.count_markup}</li>' for section in sections)
    body = "".join(f'<section id="{section.anchor}"><h2>{section.title}</h2>\n{section.markup}</section>\n' for section in sections)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">
<title>{esc(title)}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>
<body><div class="frame"><nav aria-label="Sections"><ul>{links}</ul></nav><main>
{_head(shown)}{body}{_foot(shown)}</main></div></body></html>
"""
    return page.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class _Section:
    anchor: str
    title: str
    markup: str
    count: int | None = None

    @property
    def count_markup(self) -> str:
        return f' <span class="count">{self.count:,}</span>' if self.count else ""


def _sections(shown: Shown) -> list[_Section]:
    """In the order of the page. Made in another: what findings link to has to be known before them."""
    anchors = Anchors(shown)
    facts, does = shown.facts, shown.does
    processes = processes_section(shown, anchors, Room(_PROCESSES))
    network = network_section(shown, anchors, Room(_NETWORK))
    made: list[tuple[str, str, Callable[[], str], int | None]] = [
        ("findings", "Findings", lambda: findings_section(shown, anchors, Room(_FINDINGS)), len(shown.findings)),
        ("new", "New against the baseline", lambda: _new(shown), len(shown.review.new)),
        ("timeline", "Timeline", lambda: timeline_section(shown, anchors), None),
        ("models", "Language models", lambda: models_section(shown, anchors, Room(_MODELS)), len(does.llm)),
        ("network", "Network", lambda: network, len(does.hosts)),
        ("files", "Files", lambda: files_section(shown, anchors, Room(_FILES)), len(does.files)),
        ("contents", "What was written", lambda: contents_section(shown, anchors, Room(_CONTENTS)), None),
        ("processes", "Processes", lambda: processes, len(facts.processes)),
        ("programs", "Programs and installs", lambda: _programs(shown), len(does.programs)),
        ("calls", "Calls worth knowing", lambda: _calls(shown, anchors), len(facts.calls)),
        ("completeness", "What was not seen", lambda: _completeness(shown), len(shown.missing)),
        ("events", "Events of the evidence", lambda: events_section(shown, anchors, Room(_EVENTS)), len(anchors.seqs)),
    ]
    sections = [_Section(anchor, title, make(), count) for anchor, title, make, count in made]
    return [section for section in sections if section.markup]


def _head(shown: Shown) -> str:
    review, does, facts = shown.review, shown.does, shown.facts
    style = review.verdict.replace(" ", "-")
    counts = " ".join(
        f'<span class="badge s{severity.value}">{count} {severity.name.lower()}</span>' for severity, count in shown.counts.items()
    )
    suppressed = f' <span class="dim">{len(review.suppressed):,} suppressed</span>' if review.suppressed else ""
    missing = shown.missing
    gaps = (
        f'<p class="dim">Not seen: {esc(missing[0])}{" and more" if len(missing) > 1 else ""} (<a href="#completeness">all</a>)</p>'
        if missing
        else ""
    )
    first = f'<p>{esc(shown.masked(shown.findings[0].summary[:600]))} <a href="#f1">See the evidence</a></p>' if shown.findings else ""
    calls, tools = sum(use.calls for use in does.models), sum(use.tool_calls for use in does.models)
    tokens = sum(use.input_tokens + use.output_tokens for use in does.models)
    tiles = [
        (f"{len(facts.processes):,}", f"processes of {len(does.programs):,} programs"),
        (f"{len(does.read):,}", "files read"),
        (f"{len(does.written):,}", f"files written, {len(does.deleted):,} deleted"),
        (f"{len(does.outside):,}", "changed outside the workspace"),
        (f"{len(does.hosts):,}", f"hosts, {sum(use.declared is False for use in does.hosts):,} undeclared"),
        (size_text(sum(use.sent for use in does.hosts)), f"sent, {size_text(sum(use.received for use in does.hosts))} received"),
        (f"{calls:,}", f"LLM calls, {tokens:,} tokens, {tools:,} tool calls"),
        (f"{len(does.installs):,}", "installs"),
    ]
    items = "".join(f"<li><b>{number}</b><span>{text}</span></li>" for number, text in tiles)
    about = " · ".join([*map(esc, shown.facts_of_run), esc(shown.masked(shown.run.created[:40]))])
    return f"""<header class="verdict {style}"><h1>{esc(shown.verdict.capitalize())} {counts}{suppressed}</h1>
<p>{code(shown.command)}</p><p class="dim">run {code(shown.run.id)} · {about}</p>{first}{gaps}</header>
<ul class="tiles">{items}</ul>
"""


def _foot(shown: Shown) -> str:
    secrets = "shown" if shown.masked.show_secrets else "masked"
    return f"""<footer>Made by sentra-sandbox from the recording of run {code(shown.run.id)} alone. Secrets are {secrets}.
Times count from the start of the run; numbers with # are events: {code(f"sentra-sandbox show {shown.run.id}")} lists them.</footer>"""


def _new(shown: Shown) -> str:
    items = "".join(f"<li>{esc(shown.masked(text[:500]))}</li>\n" for text in shown.review.new[:_LIST_MAX])
    left = more(len(shown.review.new) - _LIST_MAX, "items", f"sentra-sandbox review {shown.run.id} --json")
    return f"<ul>{items}</ul>{left}" if items else ""


def _programs(shown: Shown) -> str:
    rows = []
    for program in shown.does.programs[:_LIST_MAX]:
        kind = '<span class="badge s3">no file</span>' if program.fileless else ""
        digest = code(program.sha256[:16]) if program.sha256 else ""
        rows.append([code(shown.masked(program.path[:500])) + f" {kind}", f"{program.runs:,}", digest])
    left = more(len(shown.does.programs) - _LIST_MAX, "programs", f"sentra-sandbox show {shown.run.id} --tree")
    told = (f"{install.manager} {' '.join(install.what)}"[:400] for install in shown.does.installs[:_LIST_MAX])
    installs = "".join(f"<li>{code(shown.masked(text))}</li>" for text in told)
    more_installs = more(len(shown.does.installs) - _LIST_MAX, "installs", f"sentra-sandbox show {shown.run.id} --tree")
    below = f"<h3>Told to install</h3><ul>{installs}</ul>{more_installs}" if installs else ""
    return table(["program", "runs", "SHA-256"], rows, frozenset({1})) + left + below


def _calls(shown: Shown, anchors: Anchors) -> str:
    calls = sorted(shown.facts.calls[:50_000], key=lambda call: not call.refused)
    rows = [
        [
            anchors.event(call.seq),
            code(call.name),
            esc(shown.masked(call.detail[:300])),
            '<span class="s3">refused</span>' if call.refused else esc(call.result),
            anchors.process(call.process, esc(shown.process(call.process))),
        ]
        for call in calls[:_LIST_MAX]
    ]
    left = more(len(shown.facts.calls) - len(rows), "calls", f"sentra-sandbox show {shown.run.id}")
    return table(["event", "call", "", "result", "by"], rows) + left


def _completeness(shown: Shown) -> str:
    missing = shown.missing
    items = "".join(f"<li>{esc(text)}</li>\n" for text in missing[:_LIST_MAX]) or '<li class="ok">No gaps are known.</li>'
    searched = shown.review.sightings.searched_bytes
    secrets = len(shown.review.sightings.secrets)
    looked = f"<p>{size_text(searched)} of what left were searched for {secrets:,} secrets.</p>" if searched or secrets else ""
    seal = code(f"sentra-sandbox seal {shown.run.id}")
    root = f"<p>Merkle root of the recording: {code(shown.run.merkle_root[:64])}. A seal makes changes to it evident: {seal}.</p>"
    left = more(len(missing) - _LIST_MAX, "gaps", f"sentra-sandbox review {shown.run.id} --json")
    notes = "".join(f"<li>{esc(text)}</li>\n" for text in shown.notes[:_LIST_MAX])
    besides = f"<details><summary>Besides</summary><ul>{notes}</ul></details>" if notes else ""
    return f"<ul>{items}</ul>{left}{looked}{root if shown.run.merkle_root else ''}{besides}"
