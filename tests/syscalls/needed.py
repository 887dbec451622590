"""Programs that some tests of the table need; without them a test is skipped, or fails where everything must work."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str) -> str:
    """The path of ``program``; skips the test if there is none, fails it with SENTRA_MUST_WORK=1."""
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is not installed")
    return path or ""


def missing(what: str) -> None:
    """Skip because ``what``, or fail where everything must work."""
    if os.environ.get("SENTRA_MUST_WORK") == "1":
        pytest.fail(what)
    pytest.skip(what)
