"""Suppressions: what an entry covers, when it ends, and what a wrong file is told."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from sentra_sandbox.errors import UsageError
from sentra_sandbox.review.findings import Confidence, Finding, FindingClass, Severity
from sentra_sandbox.review.suppressions import read_suppressions, split

KIND = FindingClass("SEN-105", "Title", "policy", Severity.MEDIUM, "why", "what to do")
TODAY = datetime.date(2026, 11, 23)


def finding(subject: str) -> Finding:
    return Finding(KIND, Severity.MEDIUM, Confidence.HIGH, "summary", subject, ())


def entries(tmp_path: Path, text: str) -> str:
    path = tmp_path / "accepted.yaml"
    path.write_text(text)
    return str(path)


def test_by_fingerprint_and_by_pattern(tmp_path: Path) -> None:
    one, two, three = finding("~/.npmrc"), finding("/srv/a/.npmrc"), finding("~/.netrc")
    path = entries(
        tmp_path,
        f'suppressions:\n- {{fingerprint: "{one.fingerprint}", reason: known, expires: never}}\n'
        '- {id: SEN-105, subject: "/srv/*", reason: a server, expires: 2026-11-23}\n',
    )
    standing, suppressed, told = split([one, two, three], read_suppressions(path), TODAY)
    assert standing == [three] and told == []
    assert suppressed == [(one, "known"), (two, "a server")]


def test_an_expired_entry_suppresses_nothing_and_is_told(tmp_path: Path) -> None:
    path = entries(tmp_path, 'suppressions:\n- {id: SEN-105, subject: "*", reason: once, expires: 2026-11-22}\n')
    standing, suppressed, told = split([finding("x")], read_suppressions(path), TODAY)
    assert len(standing) == 1 and not suppressed and "expired on 2026-11-22" in told[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("suppressions: [{id: SEN-1, subject: x, expires: never}]", "reason"),
        ("suppressions: [{id: SEN-1, subject: x, reason: y}]", "expires"),
        ("suppressions: [{id: SEN-1, subject: x, reason: y, expires: soon}]", "expires"),
        ("suppressions: [{id: SEN-1, reason: y, expires: never}]", "neither"),
        ("suppressions: [{fingerprint: 12, reason: y, expires: never}]", "no fingerprint"),
        ("suppressions: [{id: SEN-1, subject: x, reason: y, expires: never, colour: red}]", "colour"),
        ("suppressions: 3", "no list"),
        ("[]", "no list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_suppressions(entries(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_suppressions(str(tmp_path / "none"))
