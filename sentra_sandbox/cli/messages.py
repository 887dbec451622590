"""What we say to the person at the terminal: on stderr, each line beginning ``sentra-sandbox:``.

The program's own output goes through stdout and stderr too; the prefix is what tells them apart. Long paths and
command lines come from traces, which are hostile: ``printable`` keeps control characters from reaching the terminal.
"""

from __future__ import annotations

import sys

PREFIX = "sentra-sandbox: "


def say(text: str) -> None:
    """Write ``text`` to stderr with our prefix on each line. A closed stderr is ignored: there is nobody to tell."""
    lines = "".join(f"{PREFIX}{line}\n" for line in printable(text, keep="\n").split("\n"))
    try:
        sys.stderr.write(lines)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def fail(text: str) -> None:
    """Write an error as one paragraph: what happened, why, what to do."""
    say("error: " + " ".join(text.split()))


def printable(text: str, keep: str = "") -> str:
    """``text`` with each character a terminal could act on (ESC, CR, bidirectional overrides, ...) as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)
