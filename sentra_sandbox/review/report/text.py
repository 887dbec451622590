"""Text for people: hostile characters made visible, amounts and times in short, shortening. Pure."""

from __future__ import annotations

import re
import shlex
import unicodedata

# Control and format characters: terminals and browsers act on them (ESC, bidirectional overrides, zero-width, tags). No newline is kept.
_ACTING = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def is_acting(character: str) -> bool:
    """Whether a character would do something other than be seen."""
    return _ACTING.match(character) is not None


def visible(text: str, keep: str = "") -> str:
    """The text with each acting character, but those in ``keep``, as an escape: ``\\x1b``, ``\\u202e``; bytes that were no UTF-8
    as ``\\xff``.
    """
    return _ACTING.sub(lambda found: found[0] if found[0] in keep else escape_of(found[0]), text)


def escape_of(character: str) -> str:
    """``\\x1b``, ``\\n``, ``\\u202e``."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii") if not 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def shortened(text: str, longest: int) -> str:
    """At most ``longest`` characters; what is cut is in the end."""
    return text if len(text) <= longest else text[: max(longest - 3, 0)] + "..."


def middle_out(text: str, longest: int) -> str:
    """At most ``longest`` characters; what is cut is in the middle, since both ends of a path tell most."""
    if len(text) <= longest or longest < 8:
        return shortened(text, longest)
    tail = (longest - 3) * 2 // 3
    return text[: longest - 3 - tail] + "..." + text[-tail:]


def size_text(size: int) -> str:
    """``512 B``, ``1.5 KiB``, ``38 MiB``."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def moment_text(time_ns: int) -> str:
    """Seconds since the start of the run: ``0.184s``, ``2m05.1s``."""
    seconds = time_ns / 1e9
    return f"{seconds:.3f}s" if seconds < 100 else f"{int(seconds // 60)}m{seconds % 60:04.1f}s"


def duration_text(duration_ns: int) -> str:
    """``412 ms``, ``3.2 s``, ``2m 05s``, ``3h 07m``."""
    seconds = duration_ns / 1e9
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m {int(seconds % 60):02d}s"
    return f"{int(seconds // 3600)}h {int(seconds % 3600 // 60):02d}m"


def count_text(number: int, noun: str, plural: str = "") -> str:
    """``1 process``, ``12,345 events``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def command_text(argv: tuple[str, ...], longest: int = 200) -> str:
    """A command line as one would type it."""
    return shortened(shlex.join(word[: longest + 1] for word in argv[: longest + 1]), longest)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, width: int) -> str:
    """At most ``width`` columns."""
    if columns(text) <= width:
        return text
    taken = 0
    for at, character in enumerate(text):
        taken += _columns(character)
        if taken > width - 3:
            return text[:at] + "..."
    return text
