"""JSON text of ``run.json`` and ``files``, byte for byte as ``json.dumps`` would write it (a test compares them).

Only writing, and only what those files hold: ``json`` loads re and enum, which costs each recorded program 6 ms.
Reading is left to ``json``.
"""

from __future__ import annotations

try:
    from _json import encode_basestring_ascii as quote
except ImportError:  # another Python than CPython
    from json.encoder import encode_basestring_ascii as quote

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    Value: TypeAlias = str | int | float | bool | Sequence["Value"] | Mapping[str, "Value"] | None

_WORDS = {True: "true", False: "false", None: "null"}


def compact(value: Value, *, sort_keys: bool) -> str:
    """``json.dumps(value, separators=(",", ":"), sort_keys=sort_keys)``."""
    return _text(value, ":", sort_keys, None)


def indented(value: Value) -> str:
    """``json.dumps(value, indent=1, sort_keys=True)``."""
    return _text(value, ": ", True, "\n")


def _text(value: Value, colon: str, sort_keys: bool, line: str | None) -> str:
    """``line`` is the line end and indentation of the value itself, None for everything in one line."""
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value - value != 0:  # infinite, or no number
            raise ValueError("JSON has no such number")
        return float.__repr__(value)
    deeper = None if line is None else f"{line} "
    if isinstance(value, (list, tuple)):
        return _joined("[", (_text(item, colon, sort_keys, deeper) for item in value), "]", line)
    if not isinstance(value, dict):
        raise TypeError(f"JSON has no {type(value).__name__}")
    items = sorted(value.items()) if sort_keys else value.items()
    texts = (f"{quote(name)}{colon}{_text(item, colon, sort_keys, deeper)}" for name, item in items)
    return _joined("{", texts, "}", line)


def _joined(start: str, texts: Iterable[str], end: str, line: str | None) -> str:
    if line is None:
        return f"{start}{','.join(texts)}{end}"
    body = f",{line} ".join(texts)
    return f"{start}{line} {body}{line}{end}" if body else start + end
