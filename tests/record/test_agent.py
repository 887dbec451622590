"""The demo agent (tests/agents): a model over HTTP, git, grep, Python and threads; what it does must be in its
trace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from running import Recorder, fresh, run

AGENTS = Path(__file__).resolve().parent.parent / "agents"


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """The URL of a model server that runs outside of the sandbox."""
    server = subprocess.Popen(
        [sys.executable, str(AGENTS / "model_server.py"), "--delay-ms", "0.2"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    line = server.stdout.readline()
    assert line.startswith("listening on ")
    yield line.split()[-1]
    server.terminate()
    server.wait(5)
    server.stdout.close()


def test_agent(model: str, work: Path, env: dict[str, str], recorder: Recorder) -> None:
    command = [sys.executable, str(AGENTS / "demo_agent.py"), model, "."]
    expected = run(command, cwd=fresh(work), env=env)
    assert expected.status == 0, expected
    options = ("-q", "--allow-net", f"localhost:{urlsplit(model).port}")
    recording = recorder.record(command, cwd=fresh(work), env=env, options=options)
    assert (recording.finished.stdout, recording.finished.stderr, recording.finished.status) == (
        expected.stdout,
        expected.stderr,
        0,
    )
    assert "24 tool calls" in recording.finished.stdout.decode()
    assert (work / "report.md").read_text().count("- ") >= 24
    events = recording.events()
    assert sum(event.kind == "exec" for event in events) >= 20
    assert sum(event.kind == "call" and event.name == "connect" and event.result in (0, -115) for event in events) >= 1
    if not recording.by_strace:
        sent = b"".join(event.memory.get(("in", 1), b"") for event in events if event.name == "sendto")
        received = b"".join(event.memory.get(("out", 1), b"") for event in events if event.name == "recvfrom")
        assert b"Authorization: Bearer sk-local-demo" in sent
        assert b"Nothing is left to do" not in sent and b'"finish_reason": "stop"' in received
