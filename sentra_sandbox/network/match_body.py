"""Bodies of requests as they are compared: what they mean, where that is known. Pure; a body may hold anything."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from sentra_sandbox.network.match_rules import ANY, DEEP, Path

_MAX_LINES = 500
_SHOWN = 60
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,70})"?', re.IGNORECASE)
_IGNORED = "\x00ignored"  # stands where an element of an array was taken out; no JSON text means it


@dataclass(frozen=True, slots=True)
class Body:
    """``value``: of JSON the value, of a form its pairs, else the bytes."""

    kind: Literal["empty", "json", "form", "bytes"]
    value: Any = b""


def read_body(content_type: str, data: bytes) -> Body:
    """A body without content coding."""
    if not data:
        return Body("empty")
    media_type = content_type.partition(";")[0].strip().lower()
    if data.lstrip(b" \t\r\n")[:1] in (b"{", b"[") or media_type.endswith("json"):  # also where a client names no type, or that of forms
        try:
            return Body("json", json.loads(data, parse_float=_number))
        except (ValueError, RecursionError):
            return Body("bytes", data)
    if media_type == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True, max_num_fields=10_000)
        except ValueError:
            return Body("bytes", data)
        return Body("form", tuple(sorted(pairs, key=lambda pair: pair[0])))
    boundary = _BOUNDARY.search(content_type) if media_type.startswith("multipart/") else None
    if boundary is not None:
        data = data.replace(b"--" + boundary[1].encode("latin-1", "replace"), b"--boundary")
    return Body("bytes", data)


def _number(text: str) -> float | int:
    """1.0 and 1 are the same number."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def body_key(body: Body, ignored: Sequence[Path]) -> bytes:
    """Equal for bodies that count as the same."""
    if body.kind == "json":
        try:
            content = json.dumps(pruned(body.value, ignored), sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")
        except RecursionError:
            content = repr(type(body.value)).encode()
    elif body.kind == "form":
        content = repr(body.value).encode("utf-8", "surrogatepass")
    else:
        content = bytes(body.value)
    return hashlib.sha256(body.kind.encode() + b":" + content).digest()


def pruned(value: Any, ignored: Sequence[Path]) -> Any:
    """A JSON value without what the paths name: members are taken out, elements of arrays keep their place."""
    if not ignored:
        return value
    if isinstance(value, dict):
        members = {}
        for name, member in value.items():
            inner = _advance(ignored, name)
            if inner is not None:
                members[name] = pruned(member, inner)
        return members
    if isinstance(value, list):
        elements = []
        for index, element in enumerate(value):
            inner = _advance(ignored, index)
            elements.append(_IGNORED if inner is None else pruned(element, inner))
        return elements
    return value


def _advance(paths: Sequence[Path], label: str | int) -> list[Path] | None:
    """What remains of the paths below a member or element; ``None`` if one ends there."""
    remaining: list[Path] = []
    for path in paths:
        rest = path
        if rest[0] is DEEP:
            remaining.append(path)
            rest = rest[1:]
        if rest[0] is ANY or (type(rest[0]) is type(label) and rest[0] == label):
            if len(rest) == 1:
                return None
            remaining.append(rest[1:])
    return remaining


def body_differences(sent: Body, recorded: Body, ignored: Sequence[Path]) -> list[str]:
    """What differs, a line each, ``_MAX_LINES`` at most."""
    if sent.kind != recorded.kind:
        return [f"body: sent {_describe(sent)}, recorded {_describe(recorded)}"]
    lines: list[str] = []
    if sent.kind == "json":
        try:
            for line in _json_differences(pruned(sent.value, ignored), pruned(recorded.value, ignored), "$"):
                lines.append(f"body {line}")
                if len(lines) == _MAX_LINES:
                    break
        except RecursionError:
            lines.append("body: nested too deeply to be compared")
    elif sent.kind == "form" and sent.value != recorded.value:
        lines = [f"body field {line}" for line in _pair_differences(sent.value, recorded.value)][:_MAX_LINES]
    elif sent.value != recorded.value:
        lines = [f"body: {_text_difference(sent.value, recorded.value)}"]
    return lines


def _describe(body: Body) -> str:
    return {"empty": "none", "json": "JSON", "form": "a form", "bytes": f"{len(body.value)} bytes"}[body.kind]


def _json_differences(sent: Any, recorded: Any, path: str) -> Iterator[str]:
    if isinstance(sent, dict) and isinstance(recorded, dict):
        for name in [*sent, *(name for name in recorded if name not in sent)]:
            below = f"{path}.{name}" if re.fullmatch(r"[\w-]+", name) else f"{path}[{name!r}]"
            yield from _member_differences(sent, recorded, name, below)
    elif isinstance(sent, list) and isinstance(recorded, list):
        ours, theirs = dict(enumerate(sent)), dict(enumerate(recorded))
        for index in range(max(len(sent), len(recorded))):
            yield from _member_differences(ours, theirs, index, f"{path}[{index}]")
    elif isinstance(sent, str) and isinstance(recorded, str) and sent != recorded:
        near, there, at = _around(sent, recorded)
        place = f" (from character {at})" if at else ""
        yield f"{path}{place}: sent {json.dumps(near, ensure_ascii=False)}, recorded {json.dumps(there, ensure_ascii=False)}"
    elif type(sent) is not type(recorded) or sent != recorded:
        yield f"{path}: sent {_shown(sent)}, recorded {_shown(recorded)}"


def _member_differences(sent: dict[Any, Any], recorded: dict[Any, Any], name: str | int, path: str) -> Iterator[str]:
    if name not in recorded:
        yield f"{path}: sent {_shown(sent[name])}, recorded nothing"
    elif name not in sent:
        yield f"{path}: sent nothing, recorded {_shown(recorded[name])}"
    else:
        yield from _json_differences(sent[name], recorded[name], path)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _around(sent: str, recorded: str) -> tuple[str, str, int]:
    """Both texts from shortly before the point where they part, and that place (0: from the beginning)."""
    if max(len(sent), len(recorded)) <= _SHOWN:
        return sent, recorded, 0
    at = _common(sent, recorded)
    start = max(0, at - 15)
    return _cut(sent, start), _cut(recorded, start), start


def _common(sent: str | bytes, recorded: str | bytes) -> int:
    for at, (ours, theirs) in enumerate(zip(sent, recorded, strict=False)):
        if ours != theirs:
            return at
    return min(len(sent), len(recorded))


def _cut(text: str, start: int) -> str:
    end = start + _SHOWN
    return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")


def _pair_differences(sent: Sequence[tuple[str, str]], recorded: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name in dict.fromkeys(name for name, _ in (*sent, *recorded)):
        ours, theirs = ([value for each, value in pairs if each == name] for pairs in (sent, recorded))
        if ours != theirs:
            yield f"{name}: sent {_shown(ours) if ours else 'nothing'}, recorded {_shown(theirs) if theirs else 'nothing'}"


def _text_difference(sent: bytes, recorded: bytes) -> str:
    at = _common(sent, recorded)
    start = max(0, at - 15)
    ours, theirs = (repr(bytes(data[start : start + _SHOWN]))[1:] for data in (sent, recorded))
    return f"sent {len(sent)} bytes, recorded {len(recorded)}; from byte {at} on they differ: sent {ours}, recorded {theirs}"
