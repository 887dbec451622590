"""Baselines: the same agent has the same one in another place and at another time; what is new is told."""

from __future__ import annotations

import pytest

from build import Made
from sentra_sandbox.errors import UsageError
from sentra_sandbox.review.baseline import Baseline, baseline_of, new_things, normal_path, path_class, united
from sentra_sandbox.review.facts import Facts


def a_run(host: str = "api.openai.com", *, extra: bool = False) -> Facts:
    run = Made()
    agent = run.process("/usr/bin/python3", "agent.py")
    run.write(agent, "out/report-2026-11-23.md")
    run.write(agent, "/tmp/tmpab12cd34/x")
    run.net.chat(agent, [{"role": "user", "content": "hello"}], tools=[{"type": "function", "function": {"name": "run"}}], host=host)
    if extra:
        run.process("/usr/bin/curl", parent=agent)
        run.write(agent, "~/.bashrc")
    return run.facts()


def test_what_another_run_does_more_is_new() -> None:
    before = baseline_of(a_run())
    assert new_things(baseline_of(a_run()), before) == []
    found = new_things(baseline_of(a_run("evil.example", extra=True)), before)
    assert {(kind, name) for kind, name, _ in found} == {("host", "evil.example"), ("executable", "/usr/bin/curl"), ("path", "~/.bashrc")}
    assert all(seq for *_, seq in found)
    assert new_things(baseline_of(a_run("evil.example")), united(before, baseline_of(a_run("evil.example")))) == []


def test_saved_and_read_again() -> None:
    saved = baseline_of(a_run()).to_json()
    assert Baseline.from_json(saved, "x").to_json() == saved
    assert new_things(baseline_of(a_run()), Baseline.from_json(saved, "x")) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "sentra-sandbox baseline", "version": 1, "hosts": [1]}', "[" * 100_000])
def test_what_is_no_baseline(text: str) -> None:
    with pytest.raises(UsageError):
        Baseline.from_json(text, "x")


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/home/dev/project/a/b.py", "./a/b.py"),
        ("/home/dev/.cache/3f9a0c1b2d4e/x", "~/.cache/*/x"),
        ("/tmp/tmpx8_2kq1z/file", "/tmp/*"),
        ("/var/log/app-2026-11-23.log", "/var/log/app-*.log"),
        ("/usr/lib/python3.11/os.py", "/usr/lib/python*/os.py"),
    ],
)
def test_what_differs_from_run_to_run_is_taken_out(path: str, normal: str) -> None:
    assert normal_path(a_run(), path) == normal


def test_classes_of_paths() -> None:
    facts = a_run()
    assert path_class(facts, "/home/dev/project/a/b/c/d/e/f.py") == "./a/b/c"
    assert path_class(facts, "/home/dev/.bashrc") == "~/.bashrc"
    assert path_class(facts, "/etc/cron.d/x") == "/etc/cron.d"
