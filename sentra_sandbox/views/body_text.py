"""Bodies as text for people: decoded by their charset, JSON indented; what is no text is said to be none. Pure."""

from __future__ import annotations

import json
import re

from sentra_sandbox.views.exchanges import Message

INDENT_MAX = 4 << 20  # JSON beyond it stays as it is
_TEXTS = re.compile(r"text/|.*(?:json|xml|javascript|x-www-form-urlencoded|graphql|yaml|csv|toml)$")
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]{1,40})", re.IGNORECASE)
# Not any codec that Python has: some are slow, some are no character sets.
_KNOWN = re.compile(
    r"(?:us-)?ascii|utf-?(?:8|16|32)(?:-?[lb]e)?|latin-?1|iso-?8859-\d+|windows-125\d|shift_jis|euc-(?:jp|kr)|gb(?:k|2312|18030)|big5|koi8-[ru]"
)
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def body_text(message: Message, data: bytes) -> str | None:
    """The decoded ``data`` of a message as text, or None if it is none."""
    found = _CHARSET.search(message.header("content-type"))
    charset = found[1].lower() if found and _KNOWN.fullmatch(found[1].lower()) else "utf-8"
    if _TEXTS.match(message.media_type):
        return data.decode(charset, "replace")
    if message.media_type and not message.media_type.endswith("octet-stream"):
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def indented(text: str) -> str:
    """JSON with two spaces a level; other text, and JSON that is very large, as it is."""
    if len(text) > INDENT_MAX or text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def binary_summary(data: bytes) -> str:
    """``binary, 12,345 bytes: 89 50 4e 47 ...``."""
    return f"binary, {len(data):,} bytes: {data[:16].hex(' ')}{' ...' if len(data) > 16 else ''}"
