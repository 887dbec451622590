"""Takes credential files apart: which of their values are secret. Pure, bounded; what is malformed is read line by line."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote_to_bytes, urlsplit

from sentra_sandbox.review.content.entropy import entropy_bits
from sentra_sandbox.review.content.secret_places import GITHUB, NOT_SECRET_NAME, PLACEHOLDER, SECRET_NAME, TOKENS

SHORTEST = 8  # bytes; shorter values prove nothing wherever they stand
LEAST_BITS = 24.0
VALUES_MAX = 400  # of one file

# No part of a pattern may stand for what the next one stands for: lines are hostile, and may be long.
_PAIR = re.compile(rb"""\s*(?:export\s+|-\s+|set\s+)?["']?([\w./:@ -]{1,120}?)["']?\s*(?:=|:\s)(.+)""")
_URL = re.compile(rb"[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]{1,2000}", re.IGNORECASE)
_PEM_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----")
_PEM_MAX = 20_000
_KEYS_MAX = 64
_LINES_MAX = 1 << 20  # bytes that are read line by line
_SECTION = re.compile(rb"^\s*\[([^\]]{1,100})\]\s*$")


@dataclass(frozen=True, slots=True)
class Value:
    """``kind`` as of ``Secret``; ``prefix``: how many bytes of its beginning every such token has."""

    label: str
    value: bytes
    kind: str = "credential-file"
    owners: tuple[str, ...] = ()
    prefix: int = 0


def values_of(data: bytes, form: str) -> list[Value]:
    """The secret values of a credential file written in ``form`` (of ``secret_places.CREDENTIAL_FILES``)."""
    found: dict[bytes, Value] = {}
    for value in (*tokens_of(data), *private_keys_of(data), *_FORMS.get(form, _lines)(_without_keys(data))):
        if len(value.value) >= SHORTEST and value.value not in found and len(found) < VALUES_MAX:
            found[value.value] = value
    return list(found.values())


def is_secret(value: bytes, name: str = "") -> bool:
    """Whether a value is one that a person would keep: long enough, no placeholder, not words."""
    if len(value) < SHORTEST or PLACEHOLDER.search(value[:256]):
        return False
    bits = entropy_bits(value)
    return bits >= (LEAST_BITS if name else 60.0)


def named_secret(name: str, value: bytes) -> bool:
    """Whether a value is secret, judged by what it is called and what it looks like."""
    if SECRET_NAME.search(name) and not NOT_SECRET_NAME.search(name):
        return is_secret(value, name) and not value.startswith((b"/", b"./", b"~/", b"http://", b"https://"))
    return False


def tokens_of(data: bytes) -> Iterator[Value]:
    """Tokens that show by their form."""
    for what, anchor, form, prefix, owners in TOKENS:
        if anchor not in data:
            continue
        for match in form.finditer(data):
            token = match.group()
            if is_secret(token[prefix:]) or (len(token) == 20 and is_secret(token[prefix:], what)):
                yield Value(what, token, "token", owners, prefix)


def private_keys_of(data: bytes) -> Iterator[Value]:
    """Private keys in PEM: the value is the base64 text of the body, lines joined."""
    if b"PRIVATE KEY" not in data:
        return
    data = data.replace(b"\\n", b"\n")
    for what, start, end in _keys(data):
        lines = [line.strip() for line in data[start:end].splitlines()]
        body = b"".join(line for line in lines if line and b":" not in line and not line.startswith(b"="))
        if re.fullmatch(rb"[A-Za-z0-9+/=]{40,}", body):
            yield Value(what, body, "private-key")


def _keys(data: bytes) -> list[tuple[str, int, int]]:
    """What kind of private key, and where its body begins and ends."""
    found: list[tuple[str, int, int]] = []
    at = 0
    while len(found) < _KEYS_MAX and (begin := _PEM_BEGIN.search(data, at)):
        end = data.find(b"-----", begin.end(), begin.end() + _PEM_MAX)
        at = end if end >= 0 else min(begin.end() + _PEM_MAX, len(data))
        found.append((begin.group(1).decode().lower(), begin.end(), at))
    return found


def url_passwords(data: bytes) -> Iterator[Value]:
    """Passwords inside URLs; the URL's host owns them."""
    if b"://" not in data or b"@" not in data:
        return
    for match in _URL.finditer(data):
        if b"@" not in match.group():
            continue
        try:
            parts = urlsplit(match.group().decode("utf-8", "replace"))
            password, host = parts.password or "", parts.hostname or ""
        except ValueError:
            continue
        value = unquote_to_bytes(password)
        if not value and parts.username and is_secret(parts.username.encode()):
            value = parts.username.encode()
        if is_secret(value, "password"):
            yield Value(f"password for {host}", value, owners=_with_subdomains(host))


def _with_subdomains(host: str) -> tuple[str, ...]:
    return GITHUB if host == "github.com" else (host,) if host else ()


def _without_keys(data: bytes) -> bytes:
    for _, start, end in reversed(_keys(data)) if b"PRIVATE KEY" in data else ():
        data = data[:start] + data[end:]
    return data


def _lines(data: bytes) -> Iterator[Value]:
    """``name = value``, ``name: value`` and JSON, in sections or not."""
    stripped = data.lstrip()
    if stripped[:1] in (b"{", b"["):
        try:
            yield from _json(json.loads(stripped))
            return
        except (ValueError, RecursionError):
            pass
    yield from url_passwords(data)
    section = ""
    for line in data[:_LINES_MAX].split(b"\n")[:20_000]:
        if len(line) > 20_000 or not (b"=" in line or b":" in line) or line.lstrip().startswith((b"#", b";", b"//")):
            continue
        if head := _SECTION.match(line):
            section = f"[{head.group(1).decode('utf-8', 'replace')}] "
        elif pair := _PAIR.match(line):
            name = pair.group(1).decode("utf-8", "replace").strip()
            yield from _named(section + name, name, pair.group(2).strip().rstrip(b",").strip(b"\"' "))
        elif b":" in line and line.count(b":") == 4:  # pgpass
            yield Value("password", line.rsplit(b":", 1)[1].strip())


def _named(label: str, name: str, value: bytes) -> Iterator[Value]:
    if name.endswith(("key-data", "key_data")):
        value_key = _unbase64(value)
        yield from private_keys_of(value_key)
    if named_secret(name, value):
        yield Value(label, value)


def _json(node: object, name: str = "") -> Iterator[Value]:
    todo: list[tuple[object, str, str]] = [(node, name, name)]
    seen = 0
    while todo and seen < 20_000:
        node, name, path = todo.pop()
        seen += 1
        if isinstance(node, dict):
            todo.extend((child, str(key), f"{path}.{key}" if path else str(key)) for key, child in reversed(node.items()))
        elif isinstance(node, list):
            todo.extend((child, name, path) for child in reversed(node))
        elif isinstance(node, str):
            data = node.encode("utf-8", "surrogateescape")
            yield from url_passwords(data)
            yield from _named(path[:120], name, data)


def _netrc(data: bytes) -> Iterator[Value]:
    words = data.split()
    host = ""
    for word, after in pairwise(words):
        if word == b"machine":
            host = after.decode("utf-8", "replace")
        elif word == b"password" and is_secret(after, "password"):
            yield Value(f"password for {host}", after, owners=_with_subdomains(host))


def _npmrc(data: bytes) -> Iterator[Value]:
    for line in data.split(b"\n"):
        name, equals, value = line.strip().partition(b"=")
        value = value.strip(b"\"' ")
        text = name.decode("utf-8", "replace").strip()
        if equals and re.search(r"_auth|_password|token", text, re.IGNORECASE) and is_secret(value, text):
            host = text[2:].split("/")[0] if text.startswith("//") else ""
            yield Value(text, value, owners=(host,) if host else ())


def _docker(data: bytes) -> Iterator[Value]:
    try:
        auths = json.loads(data)["auths"]
        entries = list(auths.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        yield from _lines(data)
        return
    for registry, entry in entries[:VALUES_MAX]:
        host = urlsplit(registry if "//" in registry else f"//{registry}").netloc
        owners = (host, "*.docker.io", "*.docker.com") if "docker.io" in host else (host,)
        for name, text in entry.items() if isinstance(entry, dict) else ():
            value = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else b""
            if name in ("auth", "identitytoken", "registrytoken", "password") and is_secret(value, name):
                yield Value(f"{name} for {host}", value, owners=owners)
                password = _unbase64(value).partition(b":")[2]
                if name == "auth" and is_secret(password, "password"):
                    yield Value(f"password for {host}", password, owners=owners)


def _unbase64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def _shadow(data: bytes) -> Iterator[Value]:
    for line in data.split(b"\n"):
        user, _, rest = line.partition(b":")
        hashed = rest.split(b":")[0]
        if hashed.startswith(b"$") and len(hashed) > 20:
            yield Value(f"password hash of {user.decode('utf-8', 'replace')[:32]}", hashed)


def _whole(data: bytes) -> Iterator[Value]:
    value = data.strip()
    if b"\n" not in value and is_secret(value, "value"):
        yield Value("value", value)
    else:
        yield from _lines(data)


def _environ(data: bytes) -> Iterator[Value]:
    for pair in data.split(b"\0")[:5000]:
        name, _, value = pair.partition(b"=")
        yield from _named(name.decode("utf-8", "replace")[:100], name.decode("utf-8", "replace"), value)


def _opaque(data: bytes) -> Iterator[Value]:
    """Binary stores: stretches of what is neither zeros nor text that everybody has."""
    taken = 0
    for start in range(0, min(len(data), 4 << 20), 64):
        piece = data[start : start + 64]
        if taken < VALUES_MAX // 2 and len(piece) == 64 and entropy_bits(piece) >= 250:
            taken += 1
            yield Value(f"bytes {start}", piece)


def _nothing(data: bytes) -> Iterator[Value]:
    return iter(())


_FORMS = {
    "netrc": _netrc,
    "npmrc": _npmrc,
    "docker": _docker,
    "shadow": _shadow,
    "whole": _whole,
    "environ": _environ,
    "opaque": _opaque,
    "public": _nothing,
}
