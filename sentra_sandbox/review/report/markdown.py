"""The review for a pull request: a verdict, a table of findings, the rest folded away. GitHub's Markdown, below its limit of 65,536.

All texts of a run are put where Markdown does nothing: escaped, or in code spans that are longer than any run of backticks in them.
"""

from __future__ import annotations

import re

from sentra_sandbox.review.findings import Finding
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import count_text, shortened, size_text
from sentra_sandbox.review.review import Review

_FINDINGS_MAX = 50
_DETAILS_MAX = 15
_ROWS_MAX = 25
_SIZE_MAX = 60_000
_SIGNS = {"findings": "❌", "no findings": "✅", "incomplete": "⚠️"}
_SPECIAL = re.compile(r"[\\`*_{}\[\]#!|~>@:$]|(?<=www)\.", re.IGNORECASE)  # mentions, links that are made of addresses, and formulas too


def render(review: Review, *, show_secrets: bool = False) -> str:
    """The comment."""
    shown = Shown(review, show_secrets)
    parts = [_head(shown)]
    if shown.findings:
        parts.append(_table(shown))
        parts += [_details(shown, finding) for finding in shown.findings[:_DETAILS_MAX]]
    parts += [_behaviour(shown), _gaps(shown), f"<sub>`sentra-sandbox review {shown.run.id} --html review.html` shows all of it.</sub>\n"]
    whole = ""
    for part in parts:
        if len(whole) + len(part) > _SIZE_MAX:
            whole += "\nThis is cut: it would be too long for a comment.\n"
            break
        whole += part + "\n"
    return whole


def _plain(shown: Shown, text: str, longest: int = 300) -> str:
    """Text in which nothing is markup, a link, a mention or a table's border."""
    text = shortened(shown.text(text, 2000), longest).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text)


def _code(shown: Shown, text: str, longest: int = 200) -> str:
    """As code, in a table too."""
    text = shortened(shown.text(text, 2000), longest)
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<code>{_SPECIAL.sub(lambda found: f'&#{ord(found[0])};', escaped)}</code>"


def _head(shown: Shown) -> str:
    verdict = f"## {_SIGNS[shown.review.verdict]} Agent run: {shown.review.verdict}"
    counts = f" ({shown.counts_text})" if shown.findings else ""
    suppressed = f" · {len(shown.review.suppressed)} suppressed" if shown.review.suppressed else ""
    return f"{verdict}{counts}\n\n{_code(shown, shown.command)} · {' · '.join(shown.facts_of_run)}{suppressed}\n"


def _table(shown: Shown) -> str:
    lines = ["| severity | finding | what | confidence |", "|---|---|---|---|"]
    for finding in shown.findings[:_FINDINGS_MAX]:
        title = f"{_plain(shown, finding.kind.id)} {_plain(shown, finding.kind.title)}"
        lines.append(
            f"| **{finding.severity.name.lower()}** | {title} | {_plain(shown, finding.summary)} | {finding.confidence.name.lower()} |"
        )
    more = len(shown.findings) - _FINDINGS_MAX
    if more > 0:
        lines += ["", f"and {more:,} more."]
    return "\n".join(lines) + "\n"


def _details(shown: Shown, finding: Finding) -> str:
    kind = finding.kind
    lines = ["<details>", f"<summary>{_plain(shown, kind.id)}: {_plain(shown, finding.subject, 120)}</summary>", ""]
    lines += [f"{_plain(shown, kind.explanation, 1000)}", "", "| time | event | process | evidence |", "|---|---|---|---|"]
    for item in finding.evidence[:_ROWS_MAX]:
        excerpt = f" {_code(shown, item.excerpt, 120)}" if item.excerpt else ""
        who = _plain(shown, shown.evidence_who(item))
        lines.append(f"| {item.time_ns / 1e9:.3f} s | {item.seq} | {who} | {_plain(shown, item.text)}{excerpt} |")
    where = shown.where(finding)
    lines += ["", f"Called from {_code(shown, where[-1])}."] if where else []
    ids = ", ".join((*kind.attack, *kind.owasp))
    lines += ["", f"**What to do:** {_plain(shown, kind.remedy, 1000)}", ""]
    lines += [f"Suppress with `{finding.fingerprint}`.{f' Known as {_plain(shown, ids)}.' if ids else ''}", "", "</details>", ""]
    return "\n".join(lines)


def _behaviour(shown: Shown) -> str:
    does = shown.does
    numbers = [
        count_text(len(shown.facts.processes), "process", "processes"),
        count_text(len(does.programs), "program"),
        f"{count_text(len(does.read), 'file')} read",
        f"{len(does.written):,} written",
        f"{len(does.deleted):,} deleted",
        f"{len(does.outside):,} changed outside the workspace",
        count_text(len(does.hosts), "host"),
        count_text(len(does.llm), "LLM call"),
    ]
    lines = ["<details>", f"<summary>Behaviour: {', '.join(numbers)}</summary>", ""]
    if does.hosts:
        lines += ["| host | out | in | requests | declared |", "|---|---:|---:|---:|---|"]
        for use in does.hosts[:_ROWS_MAX]:
            declared = "refused" if use.refused else {True: "yes", False: "no", None: "?"}[use.declared]
            name = _code(shown, use.name)
            lines.append(f"| {name} | {size_text(use.sent)} | {size_text(use.received)} | {use.requests:,} | {declared} |")
        lines += _more(len(does.hosts))
    for title, uses in (("Changed outside the workspace", does.outside), ("Deleted", does.deleted)):
        if uses:
            lines += ["", f"**{title}**", "", *(f"- {_code(shown, use.path)}" for use in uses[:_ROWS_MAX]), *_more(len(uses))]
    if does.programs:
        programs = (f"- {_code(shown, program.path)}, {program.runs:,} times" for program in does.programs[:_ROWS_MAX])
        lines += ["", "**Programs**", "", *programs]
        lines += _more(len(does.programs))
    if does.installs:
        installs = (f"{install.manager} {' '.join(install.what)}" for install in does.installs[:_ROWS_MAX])
        lines += ["", "**Installed**", "", *(f"- {_code(shown, install)}" for install in installs)]
    if shown.review.new:
        lines += ["", "**New against the baseline**", "", *(f"- {_code(shown, item)}" for item in shown.review.new[:_ROWS_MAX])]
        lines += _more(len(shown.review.new))
    return "\n".join([*lines, "", "</details>", ""])


def _more(count: int) -> list[str]:
    return ["", f"and {count - _ROWS_MAX:,} more"] if count > _ROWS_MAX else []


def _gaps(shown: Shown) -> str:
    if not shown.missing:
        return "No gaps in the recording are known.\n"
    lines = "\n".join(f"- {_plain(shown, text, 400)}" for text in shown.missing[:_ROWS_MAX])
    return f"**Not seen**\n\n{lines}\n"
