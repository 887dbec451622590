"""The profiles that come with the package: found by name, complete, commented; strict and offline not looser."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.policy.calls import table_calls
from sentra_sandbox.policy.decision import Fate, make_plans
from sentra_sandbox.policy.oci import load_profile
from sentra_sandbox.policy.profiles import find_profile, profile_names

ROOT = Path(__file__).parent.parent.parent


def test_names() -> None:
    assert profile_names() == ["default", "none", "offline", "strict"]
    for name in profile_names():
        assert find_profile(name).name == f"{name}.json"


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "odd").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find_profile("mine.json") == Path("mine.json")
    assert find_profile("./odd") == Path("odd")
    assert find_profile(str(tmp_path / "odd")) == tmp_path / "odd"
    with pytest.raises(PolicyError, match=r"no seccomp profile named 'odd'.*\(write \./odd for the file"):
        find_profile("odd")


@pytest.mark.parametrize("name", ["defualt", "", "..", "default.jsn"])
def test_unknown_names_list_those_that_exist(name: str) -> None:
    with pytest.raises(PolicyError, match="default, none, offline, strict"):
        find_profile(name)


@pytest.mark.parametrize("name", ["missing.json", "./default", "/", "a/b"])
def test_missing_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyError, match=r"no seccomp profile file .*default, none, offline, strict"):
        find_profile(name)


@pytest.mark.parametrize("name", ["default", "strict", "offline"])
def test_every_rule_says_why(name: str) -> None:
    for rule in load_profile(find_profile(name)).rules:
        assert len(rule.comment) > 8, rule.names


@pytest.mark.parametrize("name", ["default", "strict", "offline"])
def test_every_call_is_thought_of(name: str) -> None:
    """A call that the table records is named by a rule: left to the default action are only calls without a use."""
    profile = load_profile(find_profile(name))
    named = {one for rule in profile.rules for one in rule.names}
    forgotten = {call.name for call in table_calls() if call.treatment.outcome.fate < Fate.REFUSE} - named
    assert forgotten <= {"listns", "sysfs", "ustat"}


@pytest.mark.parametrize("name", ["strict", "offline"])
def test_never_looser_than_default(name: str) -> None:
    mine = make_plans(load_profile(find_profile(name)), table_calls())
    default = make_plans(load_profile(find_profile("default")), table_calls())
    source = random.Random(11)
    constants = [
        value
        for plans in (mine, default)
        for plan in plans.by_number.values()
        for clause in plan.clauses
        for condition in clause.conditions
        for value in (condition.value, condition.value_two, condition.value_two | 1 << 40, 1, 2, 0xFFFFFFFFFFFFFFFF)
    ]
    for number, plan in default.by_number.items():
        for _ in range(300):
            args = [source.choice(constants) for _ in range(6)]
            assert mine.plan(number).decide(args).fate >= plan.decide(args).fate, (number, args)


def test_profiles_are_part_of_the_built_package(tmp_path: Path) -> None:
    """What ends up in a wheel has the profiles inside the package, and finds them there."""
    source = tmp_path / "source"
    for name in ("sentra_sandbox", "seccomp_profiles", "csrc", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "*.o", "__pycache__"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    script = (
        "from sentra_sandbox.policy.profiles import find_profile, profile_names\n"
        "print(find_profile('strict'), *profile_names())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )
    inside = tmp_path / "lib" / "sentra_sandbox" / "seccomp_profiles" / "strict.json"
    assert result.stdout.split() == [str(inside), "default", "none", "offline", "strict"]
