"""The corpus: small agents, benign and malicious, run for real in a fake internet and reviewed. Those marked fast by default, all with
``SENTRA_CORPUS=all``. What each does and what must be found is in its header (tests/review/corpus/agents).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from needs import lacking
from running import environment, run

CORPUS = Path(__file__).parent / "corpus"
EVERYTHING = os.environ.get("SENTRA_CORPUS") == "all"
CANNOT = 77


@pytest.fixture(scope="module")
def outcomes(native: bool, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    if native:
        pytest.skip("says something about sentra-sandbox only")
    home = tmp_path_factory.mktemp("corpus")
    command = [sys.executable, str(CORPUS / "run.py"), "--json", *([] if EVERYTHING else ["--fast"])]
    done = run(command, cwd=home, env=environment(home), timeout=600)
    if done.status == CANNOT:
        lacking("network and mount namespaces")
    assert done.stdout, done.stderr.decode()
    told: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(told) >= (70 if EVERYTHING else 20)
    return told


def test_every_agent_was_recorded_and_reviewed(outcomes: list[dict[str, Any]]) -> None:
    assert {each["name"]: each["trouble"] for each in outcomes if each["trouble"]} == {}


def test_no_benign_agent_has_a_finding_of_medium_or_above(outcomes: list[dict[str, Any]]) -> None:
    assert {each["name"]: each["serious"] for each in outcomes if not each["malicious"] and each["serious"]} == {}


def test_what_malicious_agents_do_is_found(outcomes: list[dict[str, Any]]) -> None:
    assert {each["name"]: (each["missed"], each["serious"]) for each in outcomes if each["malicious"] and each["missed"]} == {}
