"""The ``output:`` of a rule with its ``%fields`` filled in; secrets masked, lines and control characters taken out, length bounded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sentra_sandbox.review.rules.compiled import Getter, Lookup, resolve
from sentra_sandbox.review.rules.conditions import Field
from sentra_sandbox.review.rules.fields import argument_problem, why_not
from sentra_sandbox.views.secrets import MASK, looks_secret, mask_header, mask_url

VALUE_MAX = 200
TEXT_MAX = 2000
MISSING = "<NA>"
_WORD = re.compile(r"%%|%([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)+)(?:\[([^\]\s]{1,200})\])?")
_ASSIGNMENT = re.compile(
    r"(?i)((?:[\w-]*(?:api[-_]?key|secret|passw(?:or)?d|token|credential)[\w-]*)[\"']?\s*[=:]\s*[\"']?)([^\s\"'&,;]{4,})"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic|token)\s+([\w.~+/=-]{8,})")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HEADER = re.compile(r"http\.(?:request|response)\.header")
_CONTENT = frozenset({"http.request.body", "http.response.body", "evt.buffer", "proc.env", "llm.prompt", "llm.text", "llm.tool_arguments"})


@dataclass(frozen=True, slots=True)
class Output:
    """A template, ready to be filled in."""

    parts: tuple[str | tuple[str, str | None, Getter], ...]
    unsupported: dict[str, str]

    def fill(self, subject: Any) -> str:
        """The text for one moment."""
        shown = (part if isinstance(part, str) else show(part[0], part[1], part[2](subject)) for part in self.parts)
        return "".join(shown)[:TEXT_MAX]


def template(text: str, lookup: Lookup) -> Output:
    """Fields that cannot be told are shown as ``<NA>`` and listed."""
    parts: list[str | tuple[str, str | None, Getter]] = []
    unsupported: dict[str, str] = {}
    at = 0
    text = re.sub(r"\s+", " ", text).strip().lstrip("*")
    for found in _WORD.finditer(text):
        parts.append(text[at : found.start()])
        at = found.end()
        if found.group() == "%%":
            parts.append("%")
            continue
        wanted = Field(found.group(1), found.group(2))
        spec, argument = resolve(wanted)
        if spec is None or argument_problem(spec, argument):
            if wanted.name not in ("container.info", "k8s.info"):
                unsupported[str(wanted)] = why_not(wanted.name) if spec is None else argument_problem(spec, argument)
            parts.append(MISSING)
        else:
            parts.append((spec.name, argument, lookup(wanted, spec, argument)))
    parts.append(text[at:])
    return Output(tuple(part for part in parts if part != ""), unsupported)


def show(name: str, argument: str | None, value: Any) -> str:
    """One value, masked. Contents are told by their size: who wants to read them has the event."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if name in _CONTENT and not (name == "proc.env" and argument):
        return f"<{len(value):,} {'items' if isinstance(value, tuple) else 'bytes'}>"
    if name == "proc.env":
        return MASK
    if isinstance(value, tuple):
        return ", ".join(show(name, argument, item) for item in value[:20])
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if _HEADER.fullmatch(name) and argument:
        return printable(mask_header(argument, text))
    return printable(mask_url(text) if name == "http.url" else mask_text(text))


def mask_text(text: str) -> str:
    """Free text without what looks like a secret: values by their name, tokens by their form, private keys."""
    text = _PRIVATE_KEY.sub(MASK, text[: 8 * TEXT_MAX])
    text = _BEARER.sub(lambda found: f"{found[1]} {MASK}", text)
    text = _ASSIGNMENT.sub(lambda found: f"{found[1]}{MASK}", mask_url(text))
    return " ".join(MASK if looks_secret(word) else word for word in text.split(" "))


def printable(text: str) -> str:
    """On one line, without what could steer a terminal, cut."""
    cut = text[:VALUE_MAX] + ("..." if len(text) > VALUE_MAX else "")
    return "".join(c if c.isprintable() else "\\n" if c == "\n" else f"\\x{ord(c):02x}" if ord(c) < 256 else "\ufffd" for c in cut)
