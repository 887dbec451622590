"""Real commands (tests/commands/commands.py), native and recorded in fresh copies of a work directory: nothing may
differ."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from commands.commands import COMMANDS, EVERYWHERE, HERE, Command, prepare
from needs import lacking
from running import Finished, Recorder, environment, fresh, replays_identically, run


@pytest.fixture(scope="session")
def go_workload(place: Path) -> Path:
    """The Go program, built once for this test session."""
    go = shutil.which("go", path=environment(place)["PATH"])
    if not go:
        lacking("go")
    binary = place / "go_workload"
    cache = os.environ.get("GOCACHE", str(place / "go-cache"))
    env = {
        **os.environ,
        "GOCACHE": cache,
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "CGO_ENABLED": "0",
    }
    subprocess.run([go, "build", "-o", str(binary), "."], cwd=HERE / "go_workload", env=env, check=True, timeout=300)
    return binary


def tree(directory: Path, command: Command) -> dict[str, str]:
    """What a command left behind: a line for each path, as exact as its row declares."""
    found = {}
    if command.tree == "none":
        return found
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if any(fnmatch.fnmatch(name, pattern) for pattern in command.ignore):
            continue
        info = path.lstat()
        line = stat.filemode(info.st_mode)
        if command.tree == "content" and stat.S_ISREG(info.st_mode):
            line += f" {info.st_size} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        elif command.tree == "content" and stat.S_ISLNK(info.st_mode):
            line += f" -> {os.readlink(path)}"
        found[name] = line
    return found


def output(finished: Finished, command: Command) -> tuple[str, str, int]:
    """Output, errors and status with what the row declares made equal."""
    texts = []
    for data in (finished.stdout, finished.stderr):
        text = data.decode(errors="backslashreplace")
        for pattern, replacement in (*EVERYWHERE, *command.normalise):
            text = re.sub(pattern, replacement, text)
        texts.append("".join(sorted(text.splitlines(keepends=True))) if command.unordered else text)
    return texts[0], texts[1], finished.status


@pytest.mark.parametrize("command", [pytest.param(command, id=command.name) for command in COMMANDS])
def test_command(
    command: Command, work: Path, env: dict[str, str], recorder: Recorder, request: pytest.FixtureRequest
) -> None:
    for program in command.needs:
        if shutil.which(program, path=env["PATH"]) is None:
            if command.optional:
                pytest.skip(f"{program} is not here")
            lacking(program)
    if command.name == "go":
        env["GO_WORKLOAD"] = str(request.getfixturevalue("go_workload"))
    argv = ["bash", "-c", command.script]
    expected = run(argv, cwd=prepare(command, work, env), env=env, stdin=command.stdin, timeout=command.timeout)
    left = tree(work, command)
    prepare(command, work, env)
    recording = recorder.record(argv, cwd=work, env=env, stdin=command.stdin, timeout=command.timeout)
    assert output(recording.finished, command) == output(expected, command)
    assert tree(work, command) == left
    if not recording.by_strace:
        events = recording.events()
        assert any(event.kind == "exec" for event in events)
        assert sum(event.kind == "exit" for event in events) >= 1
        fresh(work)  # the replay does not need what the program found there
        replays_identically(recording, env)
