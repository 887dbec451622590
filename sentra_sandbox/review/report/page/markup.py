"""Markup from hostile text. Everything that comes from a run passes ``esc`` (or ``block``), which masks nothing: mask first.

``Room`` bounds a section; what does not fit is counted and said.
"""

from __future__ import annotations

import re
from html import escape

from sentra_sandbox.review.report.text import _ACTING as ACTING
from sentra_sandbox.review.report.text import escape_of

_BLOCK_MAX = 4000


class Room:
    """How many bytes a section may still take."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, markup: str) -> bool:
        """Whether it fits; then it counts as used."""
        size = len(markup.encode("utf-8", "replace"))
        if size > self.left:
            return False
        self.left -= size
        return True


def esc(text: str, keep: str = "") -> str:
    """Text as markup: specials escaped, characters that act made visible as escapes that are marked as such."""
    return ACTING.sub(lambda found: found[0] if found[0] in keep else f'<i class="c">{escape_of(found[0])}</i>', escape(text, quote=True))


def block(text: str, longest: int = _BLOCK_MAX) -> str:
    """Several lines of text, cut at ``longest`` characters, which it says."""
    more = len(text) - longest
    cut = f'\n<span class="more">{more:,} more characters</span>' if more > 0 else ""
    return f"<pre>{esc(text[:longest], keep=chr(10) + chr(9))}{cut}</pre>"


def code(text: str) -> str:
    """A short text as code."""
    return f"<code>{esc(text)}</code>"


def link(anchor: str, markup: str) -> str:
    """A link inside the page; ``anchor`` is ours."""
    return f'<a href="#{anchor}">{markup}</a>'


def table(head: list[str], rows: list[list[str]], right: frozenset[int] = frozenset()) -> str:
    """Cells are markup. Scrolls on narrow screens rather than widening the page."""
    if not rows:
        return ""
    top = "".join(f'<th scope="col"{_right(n, right)}>{escape(text)}</th>' for n, text in enumerate(head))
    body = "".join("<tr>" + "".join(f"<td{_right(n, right)}>{cell}</td>" for n, cell in enumerate(row)) + "</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def _right(number: int, right: frozenset[int]) -> str:
    return ' class="n"' if number in right else ""


def rows_within(room: Room, rows: list[list[str]]) -> list[list[str]]:
    """As many rows as fit."""
    for number, row in enumerate(rows):
        if not room.take("".join(row) + "<tr></tr>" + "<td></td>" * len(row)):
            return rows[:number]
    return rows


def more(count: int, what: str, command: str) -> str:
    """``12 more files: sentra-sandbox show ...``; nothing for none."""
    return f'<p class="more">{count:,} more {escape(what)}: {code(command)}</p>\n' if count > 0 else ""


def percent(part: float, whole: float) -> str:
    """A coordinate in the width of a drawing."""
    return f"{min(max(100 * part / whole, 0.0), 100.0):.2f}%" if whole > 0 else "0%"


def slug(text: str) -> str:
    """What may stand in a class or an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())
