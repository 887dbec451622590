"""docs/NETWORK.md says what the program does: its policies load, its patterns mean something, its refusals are word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.network.addresses import parse_any
from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.patterns import parse_pattern
from sentra_sandbox.network.policy_file import KNOWN, network_policy

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "NETWORK.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in TEXT.split("\n## ")[1:]}
POLICIES = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_load(tmp_path: Path, policy: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy)
    assert network_policy(str(path)).strict


def test_the_first_policy_shows_every_key() -> None:
    for section in ("network", "tls"):
        assert all(f"  {key}: " in POLICIES[0] for key in KNOWN[section])


def test_patterns_are_patterns() -> None:
    table = re.findall(r"^\| (`.*?) \|", SECTIONS["Naming hosts"], flags=re.MULTILINE)
    patterns = [pattern for cell in table for pattern in re.findall(r"`(.*?)`", cell)]
    assert len(patterns) > 12
    for pattern in patterns:
        parse_pattern(pattern)


def test_refusals_are_word_for_word() -> None:
    rows = re.findall(r"^\| `(.*?):(\d+)` \| `(.*?)` \| (.*?) \| `(.*?)` \|$", TEXT, flags=re.MULTILINE)
    assert len(rows) == 3
    for host, port, rule, reason, remedy in rows:
        policy = NetworkPolicy()
        decision = policy.decide_address(host, int(port)) if parse_any(host) else policy.decide_name(host, int(port))
        assert (decision.allowed, decision.rule, decision.reason, decision.remedy) == (False, rule, reason, remedy)


def test_errors_are_word_for_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text, line in (("network:\n  allowedDomain: []\n", 2), ("network:\n  allowedDomains:\n  - a.com\n  - https://b.com\n", 4)):
        Path("policy.yaml").write_text(text)
        with pytest.raises(PolicyError) as error:
            network_policy("policy.yaml")
        assert f"    {error.value}\n" in TEXT and f":{line}:" in str(error.value)
