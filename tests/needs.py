"""What a test needs of the machine: a missing tool or kernel feature is a skip, and a failure where everything must work."""

from __future__ import annotations

import os

import pytest


def lacking(what: str) -> None:
    """Skip because this machine lacks something, or fail where everything must work. Call it at the test's start."""
    if os.environ.get("SENTRA_MUST_WORK") == "1":
        pytest.fail(f"this machine lacks {what}, and SENTRA_MUST_WORK=1 says that everything must work")
    pytest.skip(f"this machine lacks {what}")
