"""What is secret in heads and URLs, and how it is shown: the scheme and names stay, values become ``***``. Pure.

Bodies are not looked at: what a program sends there is what a person looks for. The trace itself holds everything. For any text
that a report shows, bodies too, there is ``mask_text``.
"""

from __future__ import annotations

import re

from sentra_sandbox.views.exchanges import Headers

MASK = "***"
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"})
_SECRET_NAME = re.compile(
    r"api[-_]?key|(?<!rate)token(?!s)|secret|passw|passphrase|credential|signature|session|^auth$|[-_]auth$|^sig$|^key$|^code$|^jwt$|^sas$",
    re.IGNORECASE,
)
_NOT_SECRET = re.compile(r"ratelimit|rate-limit|^x-amz-security-token-expir|^sec-websocket|content-type|^access-control-", re.IGNORECASE)
_TOKENS = re.compile(
    r"\b(?:sk-[\w-]{8,}|(?:gh[opsur]|github_pat|glpat|xox[abeoprs]|hf|npm|pypi|AKIA|ASIA)[_-]?[\w-]{12,}|AIza[\w-]{20,}"
    r"|ya29\.[\w.-]{8,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"
)
_OPAQUE = re.compile(r"[\w.~+/=%-]{24,}")  # a value that nobody reads, when it mixes digits with letters
_QUERY_PAIR = re.compile(r"([?&;#])([^=&;#?]*)=([^&;#]*)")
# NAME=value, "name": "value", name: value, --name value, where the name says that the value is secret.
_NAMED = re.compile(
    r"(?<![\w-])([\w-]{0,48}?(?:api[-_]?key|access[-_]?key|secret|passw(?:or)?d|passphrase|private[-_]?key|[-_]token(?!s)|authtoken)"
    r"[\w-]{0,32}(?:\\?[\"'])?\s{0,4}[=:]\s{0,4}(?:\\?[\"'])?)([^\s\"'\\&;,<>{}()\[\]]{6,})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b((?:bearer|basic)\s+)([\w.~+/=-]{12,})", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]{1,20000}")
_USERINFO = re.compile(r"(\w://)[^/?#@\s]*@")


def mask_headers(headers: Headers) -> Headers:
    """The headers with their secrets masked."""
    return [(name, mask_header(name, value)) for name, value in headers]


def mask_header(name: str, value: str) -> str:
    """A header's value as it may be shown."""
    name = name.lower()
    if name in _SECRET_HEADERS:
        scheme, space, rest = value.strip().partition(" ")
        return f"{scheme} {MASK}" if space and rest and scheme.isalnum() else MASK
    if name == "cookie":
        return "; ".join(_cookie(part) for part in value.split("; "))
    if name == "set-cookie":
        first, semicolon, attributes = value.partition(";")
        return f"{_cookie(first)}{semicolon}{attributes}"
    if _SECRET_NAME.search(name) and not _NOT_SECRET.search(name):
        return MASK
    return mask_url(value) if "?" in value or "://" in value else _TOKENS.sub(MASK, value)


def _cookie(part: str) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}={MASK}" if equals else MASK


def mask_url(url: str) -> str:
    """A URL or request target without passwords, and without the values in its query that are secret by name or look like it."""
    url = _USERINFO.sub(rf"\1{MASK}@", url)
    return _TOKENS.sub(MASK, _QUERY_PAIR.sub(_pair, url))


def _pair(found: re.Match[str]) -> str:
    before, name, value = found.groups()
    secret = bool(value) and (bool(_SECRET_NAME.search(name)) or looks_secret(value))
    return f"{before}{name}={MASK if secret else value}"


def looks_secret(value: str) -> bool:
    """Whether a value looks like a key or token: known beginnings, or long and without words."""
    if _TOKENS.search(value):
        return True
    if not _OPAQUE.fullmatch(value):
        return False
    digits = sum(c.isdigit() for c in value)
    return 4 <= digits < len(value) and "/" not in value


def mask_text(text: str) -> str:
    """Any text without what has the form of a key or token, and without what stands behind the name of one."""
    text = _PRIVATE_KEY.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    text = _NAMED.sub(lambda found: found[0] if MASK in found[2] else found[1] + MASK, text)
    return _TOKENS.sub(MASK, _USERINFO.sub(rf"\1{MASK}@", text))
