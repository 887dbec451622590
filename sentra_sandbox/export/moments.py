"""When things of a run happened, for formats that want dates: the run's start and nanoseconds since. Pure."""

from __future__ import annotations

from datetime import datetime, timezone

_DAY_S = 86400
_LATEST_NS = 250 * 365 * _DAY_S * 10**9  # beyond it a trace lies, and dates end


def start_of(created: str) -> int:
    """Nanoseconds since 1970 of a run's ``created``; 0 if it is no date."""
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return max((since.days * _DAY_S + since.seconds) * 10**9 + since.microseconds * 1000, 0)


def absolute(start_ns: int, time_ns: int) -> int:
    """Nanoseconds since 1970, in a range that all formats can hold."""
    return start_ns % _LATEST_NS + min(max(time_ns, 0), _LATEST_NS)


def iso(start_ns: int, time_ns: int) -> str:
    """``2026-11-22T10:00:00.012345Z``."""
    moment = absolute(start_ns, time_ns)
    whole = datetime.fromtimestamp(moment // 10**9, timezone.utc)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{moment % 10**9 // 1000:06d}Z"
