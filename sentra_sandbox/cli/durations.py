"""Durations and sizes as people write and read them: ``1m30s``, ``2.5h``, ``412 KiB``. Pure; imports nothing."""

from __future__ import annotations

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> float:
    """Seconds, more than 0, from ``5``, ``5s``, ``1.5m``, ``2h``, ``3d``, ``250ms``.

    Raises ``ValueError`` with a sentence for the person who wrote it.
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * _UNIT_SECONDS[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0.0 < seconds < 1e10:
        raise ValueError(
            f"'{text}' is not a duration: write a number above zero and a unit, such as 5s, 2m, 1.5h or 250ms."
        )
    return seconds


def format_duration(duration_ns: int) -> str:
    """``0.8 ms``, ``412 ms``, ``3.21 s``, ``2m 05s``, ``3h 07m``, ``4d 02h``: about three digits, whatever the size."""
    seconds = duration_ns / 1e9
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m {int(seconds % 60):02d}s"
    if seconds < 86400:
        return f"{int(seconds // 3600)}h {int(seconds % 3600 // 60):02d}m"
    return f"{int(seconds // 86400)}d {int(seconds % 86400 // 3600):02d}h"


def format_size(size_bytes: int) -> str:
    """``512 B``, ``1.5 KiB``, ``38 MiB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"
    return f"{size / 1024:.1f} TiB"


def format_count(number: int, noun: str, plural: str = "") -> str:
    """``1 process``, ``12,345 events``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
