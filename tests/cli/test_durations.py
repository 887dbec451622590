from __future__ import annotations

import pytest

from sentra_sandbox.cli.durations import format_count, format_duration, format_size, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), ("5s", 5.0), ("250ms", 0.25), ("2m", 120.0), ("1.5h", 5400.0), ("3d", 259200.0), ("1w", 604800.0)],
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-1", "5x", "nan", "inf", "1e999", "five", "5 5", "1m30"])
def test_parse_duration_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0.0 ms"),
        (800_000, "0.8 ms"),
        (412_000_000, "412 ms"),
        (3_210_000_000, "3.21 s"),
        (125_000_000_000, "2m 05s"),
        (11_220_000_000_000, "3h 07m"),
        (352_800_000_000_000, "4d 02h"),
    ],
)
def test_format_duration(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (40 << 20, "40 MiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")],
)
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


def test_format_count() -> None:
    assert [format_count(1, "process", "processes"), format_count(12345, "event")] == ["1 process", "12,345 events"]
