"""Fields of network events as what they should be: a trace may hold anything, and what is malformed reads as empty. Pure."""

from __future__ import annotations

from sentra_sandbox.trace.network_events import NetworkEvent
from sentra_sandbox.views.exchanges import Headers


def text(event: NetworkEvent, name: str) -> str:
    """A field that is text, ``""`` if it is missing or something else."""
    value = event.fields.get(name)
    return value if isinstance(value, str) else ""


def texts(event: NetworkEvent, name: str) -> tuple[str, ...]:
    """A field that is a list of texts."""
    value = event.fields.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def number(event: NetworkEvent, name: str) -> int:
    """A field that is a natural number of 63 bits at most, else 0."""
    value = event.fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else 0


def headers(value: object) -> Headers:
    """Names and values; what is neither is left out."""
    if not isinstance(value, list):
        return []
    pairs = (pair for pair in value if isinstance(pair, list) and len(pair) == 2)
    return [(name, content) for name, content in pairs if isinstance(name, str) and isinstance(content, str)]
