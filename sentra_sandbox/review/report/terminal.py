"""The review on one screen of a terminal: verdict, worst findings with their evidence, what the run did, what is not known, what next.

``render`` fits ``height`` lines of ``width`` columns; with ``verbose`` it is as long as it needs to be. Colours only if asked for: the
command line knows whether there is a terminal, and NO_COLOR.
"""

from __future__ import annotations

import textwrap

from sentra_sandbox.review.findings import Finding, Severity
from sentra_sandbox.review.report.behaviour import HostUse
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import columns, count_text, fitted, middle_out, size_text
from sentra_sandbox.review.review import Review

WIDTH, HEIGHT = 80, 24
_WIDEST = 200
_ITEMS_MAX = 2000  # of each list, even if verbose
_COLOURS = {Severity.CRITICAL: "1;31", Severity.HIGH: "31", Severity.MEDIUM: "33", Severity.LOW: "36", Severity.INFO: "2"}
_VERDICTS = {"findings": "1;31", "no findings": "1;32", "incomplete": "1;33"}
Lines = list[str]


def render(
    review: Review, *, width: int = WIDTH, height: int = HEIGHT, colour: bool = False, verbose: bool = False, show_secrets: bool = False
) -> str:
    """The whole text, each line ended."""
    return _Screen(Shown(review, show_secrets), min(max(width, 40), _WIDEST), max(height, 20), colour, verbose).text()


class _Screen:
    def __init__(self, shown: Shown, width: int, height: int, colour: bool, verbose: bool) -> None:
        self.shown = shown
        self.width, self.height = width, height
        self.colour, self.verbose = colour, verbose

    def text(self) -> str:
        head, tail = self._head(), [*self._behaviour(), *self._new(), *self._gaps(), *self._next()]
        room = self.height - 1 - len(head) - len(tail) - 2  # the prompt's line, and a blank before and after the findings
        findings = self._findings(room)
        lines = [*head, "", *findings, "", *tail] if findings else [*head, "", *tail]
        return "".join(f"{line}\n" for line in lines)

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour and text else text

    def _cut(self, text: str, width: int = 0) -> str:
        return text if self.verbose else fitted(text, width or self.width)

    def _head(self) -> Lines:
        shown = self.shown
        verdict = self._paint(shown.verdict, _VERDICTS[shown.review.verdict])
        rest = f": {shown.counts_text}" if shown.findings else ""
        if shown.review.suppressed:
            rest += f" ({len(shown.review.suppressed)} suppressed)"
        first = self._cut(f"{rest}  run {shown.run.id}", self.width - len(shown.verdict))
        return [verdict + first, self._cut(" · ".join((shown.command, *shown.facts_of_run)) if self.verbose else self._command_line())]

    def _command_line(self) -> str:
        """The command is cut, not what follows it."""
        known = " · ".join(self.shown.facts_of_run)
        return f"{fitted(self.shown.command, max(self.width - len(known) - 3, 16))} · {known}"

    # ---- findings

    def _findings(self, room: int) -> Lines:
        wrapped = room >= 5 * len(self.shown.findings)
        blocks = [self._block(finding, wrapped) for finding in self.shown.findings]
        if self.verbose:
            return [line for block in blocks for line in (*block, "")][:-1]
        shown = blocks[: max(1, room // 3)] if blocks else []
        more = len(blocks) - len(shown)
        room -= 1 if more else 0
        kept = [block[:2] for block in shown]
        spare = room - sum(map(len, kept))
        at = 2
        while spare > 0 and any(len(block) > at for block in shown):  # evidence, one line of each at a time
            for number, block in enumerate(shown):
                if spare > 0 and len(block) > at:
                    kept[number].append(block[at])
                    spare -= 1
            at += 1
        lines = [line for block in kept for line in block]
        return (
            [*lines, self._paint(self._cut(f"and {count_text(more, 'more finding')}: --verbose, or --html FILE"), "2")] if more else lines
        )

    def _block(self, finding: Finding, wrapped: bool) -> Lines:
        """Title, summary (with ``wrapped`` in up to three lines), then evidence."""
        shown = self.shown
        severity = finding.severity.name
        confidence = finding.confidence.name.lower()
        title = f" {shown.text(finding.kind.id, 100)} {shown.text(finding.kind.title)} ({confidence})"
        title = self._cut(title, self.width - len(severity))
        summary = [shown.text(finding.summary)]
        if wrapped and not self.verbose:
            summary = textwrap.wrap(summary[0], self.width - 2, max_lines=3, placeholder="...") or summary
        lines = [self._paint(severity, _COLOURS[finding.severity]) + title, *(self._cut(f"  {line}") for line in summary)]
        where = shown.where(finding)
        if where:
            lines.append(self._cut(f"    at {where[-1]}"))
        for item in finding.evidence[: _ITEMS_MAX if self.verbose else 12]:
            quoted = f"  «{shown.text(item.excerpt, 300)}»" if item.excerpt else ""
            lines.append(self._paint(self._cut(f"    {shown.evidence_head(item)}: {shown.text(item.text)}{quoted}"), "2"))
        if self.verbose:
            lines += self._details(finding, where)
        return lines

    def _details(self, finding: Finding, where: Lines) -> Lines:
        kind = finding.kind
        ids = ", ".join((*kind.attack, *kind.owasp))
        details = [f"why: {kind.explanation}", f"what to do: {kind.remedy}", f"suppress with: {finding.fingerprint}"]
        details += [f"known as: {ids}"] if ids else []
        details += [f"stack: {' < '.join(reversed(where))}"] if where else []
        details += [f"see: {command}" for command in self.shown.next_commands(finding)]
        return [f"    {self.shown.text(line)}" for line in details]

    # ---- what it did

    def _label(self, label: str, text: str) -> str:
        return self._paint(f"{label:<6}", "1") + self._cut(text, self.width - 6)

    def _joined(self, items: Lines, width: int) -> str:
        """As many items as fit, then how many more."""
        if self.verbose:
            more = len(items) - _ITEMS_MAX
            return ", ".join(items[:_ITEMS_MAX]) + (f" and {more:,} more" if more > 0 else "")
        text = ""
        for number, item in enumerate(items):
            longer = f"{text}, {item}" if text else fitted(item, width - 10)
            more = len(items) - number - 1
            if text and columns(longer) + (len(f" and {more} more") if more else 0) > width:
                return f"{text} and {len(items) - number:,} more"
            text = longer
        return text

    def _behaviour(self) -> Lines:
        shown, does, width = self.shown, self.shown.does, self.width - 6
        outside = does.outside
        programs = [shown.text(program.path.rsplit("/", 1)[-1], 60) for program in does.programs]
        ran = f"{count_text(len(shown.facts.processes), 'process', 'processes')}, {count_text(len(does.programs), 'program')}: "
        lines = [self._label("ran", ran + self._joined(list(dict.fromkeys(programs)), width - len(ran)))]
        files = f"read {len(does.read):,}, wrote {len(does.written):,}, deleted {len(does.deleted):,}; "
        lines.append(self._label("files", f"{files}{len(outside) or 'none'} outside the workspace{':' if outside else ''}"))
        if outside:
            lines.append(self._label("", self._joined([self._path(use.path) for use in outside], width)))
        hosts = [self._host(use) for use in does.hosts]
        lines.append(self._label("hosts", self._joined(hosts, width) if hosts else "none"))
        if does.models:
            models = [
                f"{shown.text(use.model, 60)} {count_text(use.calls, 'call')}, {use.input_tokens:,} tokens in, {use.output_tokens:,} out,"
                f" {count_text(use.tool_calls, 'tool call')}"
                for use in does.models
            ]
            lines.append(self._label("llm", self._joined(models, width)))
        if does.installs:
            installs = [shown.text(f"{install.manager} {' '.join(install.what)}".strip(), 120) for install in does.installs]
            lines.append(self._label("inst.", self._joined(installs, width)))
        if does.refused_calls and self.verbose:
            lines.append(self._label("calls", f"{does.refused_calls:,} refused"))
        return lines

    def _path(self, path: str) -> str:
        home = self.shown.facts.home.rstrip("/")
        path = "~" + path[len(home) :] if home and path.startswith(home + "/") else path
        return self.shown.text(path) if self.verbose else middle_out(self.shown.text(path), 44)

    def _host(self, use: HostUse) -> str:
        name = self.shown.text(use.name) if self.verbose else middle_out(self.shown.text(use.name, 300), 40)
        if use.refused and not use.sent and not use.received:
            return f"{name} refused"
        undeclared = " undeclared" if use.declared is False else ""
        return f"{name} {size_text(use.sent)} out {size_text(use.received)} in{undeclared}"

    # ---- the rest

    def _new(self) -> Lines:
        new = [self.shown.text(item, 200) for item in self.shown.review.new]
        return [self._label("new", self._joined(new, self.width - 6))] if new else []

    def _gaps(self) -> Lines:
        missing = self.shown.missing
        if not missing and not self.verbose:
            return [self._label("gaps", "none known")]
        if self.verbose:
            return [self._label("gaps", text) for text in missing] + [self._label("note", text) for text in self.shown.notes]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        return [self._label("gaps", fitted(missing[0], self.width - 6 - len(more)) + more)]

    def _next(self) -> Lines:
        run = self.shown.run.id
        commands = [f"sentra-sandbox review {run} --html review.html"]
        if self.shown.findings:
            commands = [*self.shown.next_commands(self.shown.findings[0])[:1], *commands]
        return [
            self._paint("next  " if not number else "      ", "1") + command for number, command in enumerate(commands)
        ]  # to copy: never cut
