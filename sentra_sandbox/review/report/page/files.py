"""Files: what was changed outside the workspace, in it, deleted, read; and what was written, against what the run read before."""

from __future__ import annotations

import difflib

from sentra_sandbox.errors import SentraError
from sentra_sandbox.review.facts import FileAccess
from sentra_sandbox.review.report.behaviour import FileUse
from sentra_sandbox.review.report.page.events import Anchors, text_of_bytes
from sentra_sandbox.review.report.page.markup import Room, code, esc, more, rows_within, table
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import size_text

_ROWS_MAX = 2000
_DIFFS_MAX = 60
_CONTENT_MAX = 64 << 10
_LINES_MAX = 600
_SHOWN_LINES_MAX = 240
_LINE_MAX = 400


def files_section(shown: Shown, anchors: Anchors, room: Room) -> str:
    """Tables, then differences."""
    does = shown.does
    changed = [use for use in does.files.values() if use.changed and not use.outside]
    outside_reads = [use for use in does.read if not use.changed and use.outside]
    reads = [use for use in does.read if not use.changed and not use.outside]
    parts = [
        _table(shown, anchors, room, "Changed outside the workspace", does.outside, True),
        _table(shown, anchors, room, "Changed in the workspace and in temporary places", changed, True),
        _table(shown, anchors, room, "Read in the workspace", reads, False),
        _table(shown, anchors, room, "Read elsewhere", outside_reads, False),
    ]
    return "".join(parts) or "<p>The run used no files that the recording shows.</p>\n"


def _table(shown: Shown, anchors: Anchors, room: Room, title: str, uses: list[FileUse], is_open: bool) -> str:
    if not uses:
        return ""
    rows = []
    for use in uses[:_ROWS_MAX]:
        kinds = ", ".join(f"{kind} × {count:,}" if count > 1 else kind for kind, count in use.kinds.items())  # noqa: RUF001
        who = ", ".join(anchors.process(number, esc(shown.process(number))) for number in sorted(use.processes)[:3])
        target = f" → {code(shown.masked(use.first.target[:500]))}" if use.first.target else ""
        sizes = [size_text(use.read) if use.read else "", size_text(use.written) if use.written else ""]
        rows.append([code(shown.masked(use.path[:1000])) + target, esc(kinds), *sizes, anchors.event(use.first.seq), who])
    fitting = rows_within(room, rows)
    head = ["path", "what", "read", "written", "first event", "by"]
    left = more(len(uses) - len(fitting), "files", f"sentra-sandbox show {shown.run.id} --files")
    opened = " open" if is_open else ""
    return f"<details{opened}><summary><b>{title}</b> ({len(uses):,})</summary>{table(head, fitting, frozenset({2, 3}))}{left}</details>\n"


def contents_section(shown: Shown, anchors: Anchors, room: Room) -> str:
    """What was written, file by file: those outside the workspace first."""
    uses = sorted((use for use in shown.does.written if use.written), key=lambda use: (not use.outside, use.first.seq))
    before: dict[str, list[FileAccess]] = {}
    wanted = {use.path for use in uses[: 4 * _DIFFS_MAX]}
    for access in shown.facts.files:
        if access.path in wanted and not access.failed and access.seqs:
            before.setdefault(access.path, []).append(access)
    parts: list[str] = []
    for use in uses[: 4 * _DIFFS_MAX]:
        part = _content(shown, anchors, use, before.get(use.path, [])) if len(parts) < _DIFFS_MAX else ""
        if part and room.take(part):
            parts.append(part)
    left = more(len(uses) - len(parts), "written files", f"sentra-sandbox show {shown.run.id} --files")
    return "".join(parts) + left if uses else ""


def _content(shown: Shown, anchors: Anchors, use: FileUse, accesses: list[FileAccess]) -> str:
    """The last writing of a file, against what was read or written of it before."""
    writes = [access for access in accesses if access.kind in ("write", "create")]
    if not writes:
        return ""
    last = writes[-1]
    written, whole = _bytes(shown, last)
    earlier = [access for access in accesses if access.seq < last.seq and access.kind in ("read", "write", "create")]
    old, old_whole = _bytes(shown, earlier[-1]) if earlier else (b"", True)
    notes = [f"{size_text(last.size)} in {len(last.seqs):,} calls" if len(last.seqs) > 1 else size_text(last.size)]
    notes += [f"the last of {len(writes)} times"] if len(writes) > 1 else []
    notes += [f"the first {size_text(len(written))}"] if not whole else []
    if b"\0" in written or not written:
        body = f'<p class="dim">{"binary content" if written else "the content is not in the recording"}</p>'
    else:
        body, compared = _difference(shown, old, written)
        if compared:
            notes.append(
                f"against what the run {'read' if earlier[-1].kind == 'read' else 'wrote'} before{'' if old_whole else ' (in part)'}"
            )
    head = f'{code(shown.masked(use.path[:500]))} <span class="dim">{esc(", ".join(notes))}</span> {anchors.event(last.seqs[0])}'
    return f"<details><summary>{head}</summary>{body}</details>\n"


def _bytes(shown: Shown, access: FileAccess) -> tuple[bytes, bool]:
    """What its calls moved, in order, and whether that is all."""
    data = b""
    for seq in access.seqs:
        try:
            data += shown.facts.bytes_of(seq)
        except (KeyError, SentraError):
            return data, False
        if len(data) > _CONTENT_MAX:
            return data[:_CONTENT_MAX], False
    return data, True


def _difference(shown: Shown, old: bytes, new: bytes) -> tuple[str, bool]:
    """Markup, and whether it is a comparison: where nothing is the same, the bytes were appended or are another file's."""
    before = _lines(shown, old) if old and b"\0" not in old else []
    after = _lines(shown, new)
    compared = any(line.strip() for line in set(before) & set(after))
    lines = list(difflib.unified_diff(before, after, lineterm="", n=3))[2:] if compared else [f"+{line}" for line in after]
    cut = lines[:_SHOWN_LINES_MAX]
    styles = {"+": "p", "-": "q", "@": "h"}
    body = "".join(f'<span class="{styles.get(line[:1], "k")}">{esc(line[:_LINE_MAX], keep=chr(9)) or " "}</span>' for line in cut)
    left = f'<span class="h">{len(lines) - len(cut):,} more lines</span>' if len(lines) > len(cut) else ""
    if compared and not lines:
        body = '<span class="h">the same content</span>'
    return f'<pre class="diff">{body}{left}</pre>', compared


def _lines(shown: Shown, data: bytes) -> list[str]:
    return shown.masked(text_of_bytes(data)).split("\n")[:_LINES_MAX]
