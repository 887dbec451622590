"""The pytest plugin, as its users meet it: a test of an agent, run by a pytest of its own against a server that is there once."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentra_sandbox.errors import UsageError
from sentra_sandbox.testing.recorder import settings_of

AGENT = """
import json, os, sys, urllib.request
for prompt in sys.argv[2:]:
    body = {"prompt": prompt, "metadata": {"pid": os.getpid(), "cwd": os.getcwd()}}
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-very-secret-123456", "Cookie": "session=hidden-cookie"}
    request = urllib.request.Request(sys.argv[1] + "/v1/chat?key=secret-in-query", json.dumps(body).encode(), headers)
    try:
        print(json.load(urllib.request.urlopen(request))["said"])
    except urllib.error.HTTPError as error:
        print(error.code)
"""
TEST = """
import sys, pytest
@pytest.mark.sentra(recording="chat", ignore=["$.metadata"])
def test_agent(sentra, request):
    result = sentra.run([sys.executable, "agent.py", "{url}", *{prompts}], allow_net=["localhost:{port}"], cwd="{place}")
    assert result.exit_status == 0
    assert result.stdout == "".join("you said " + prompt + "\\n" for prompt in {prompts})
    assert [each.request_json["prompt"] for each in result.exchanges] == {prompts}
    first = result.exchanges[0]
    assert (first.method, first.status, first.json["said"]) == ("POST", 200, "you said " + {prompts}[0])
    assert result.from_recording == {replayed}
    assert {passes}
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        answer = json.dumps({"said": f"you said {prompt}"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Set-Cookie", "session=server-secret-77")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def model() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _only_ours(native: bool) -> None:
    if native:
        pytest.skip("says something about sentra-sandbox only")


def run_test(
    place: Path, port: int, *options: str, prompts: tuple[str, ...] = ("hello", "bye"), replayed: bool, passes: bool = True
) -> str:
    """What a pytest of its own prints."""
    (place / "agent.py").write_text(AGENT)
    text = TEST.format(url=f"http://localhost:{port}", port=port, place=place, prompts=list(prompts), replayed=replayed, passes=passes)
    (place / "test_it.py").write_text(text)
    (place / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider --strict-markers -q\n")
    env = {**os.environ, "SENTRA_SANDBOX_HOME": str(place / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, str(place)]
    done = subprocess.run(command, cwd=place, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_a_test_records_once_and_runs_offline_afterwards(tmp_path: Path) -> None:
    kept = tmp_path / "recordings" / "chat" / "exchanges.jsonl"
    with model() as port:
        failed = run_test(tmp_path, port, replayed=False, passes=False)
        assert "1 failed" in failed and not kept.exists(), "the recording of a test that failed is not kept"
        absent = run_test(tmp_path, port, "--sentra-record=none", replayed=True)
        assert "There is no recording in" in absent and not kept.exists()
        assert "1 passed" in (printed := run_test(tmp_path, port, replayed=False)), printed
    recorded = kept.read_text()
    for secret in ("very-secret", "hidden-cookie", "server-secret", "secret-in-query"):
        assert secret not in recorded
    assert "you said hello" in recorded
    assert json.loads(recorded.split("\n")[0])["local_ports"] == [port]

    # the server is gone
    assert "1 passed" in (printed := run_test(tmp_path, port, "--sentra-record=none", prompts=("bye", "hello"), replayed=True)), printed
    missed = run_test(tmp_path, port, prompts=("bye", "hallo"), replayed=True)
    assert 'body $.prompt: sent "hallo", recorded "hello"' in missed and "1 failed" in missed
    assert "AssertionError" in missed and "pytest --sentra-record=all" in missed
    assert kept.read_text() == recorded


def test_recording_anew(tmp_path: Path) -> None:
    with model() as port:
        for prompts in (("one",), ("two",)):
            printed = run_test(tmp_path, port, "--sentra-record=all", prompts=prompts, replayed=False)
            assert "1 passed" in printed, printed
    recorded = (tmp_path / "recordings" / "chat" / "exchanges.jsonl").read_text()
    assert "you said two" in recorded and "you said one" not in recorded


def test_the_marker_is_checked() -> None:
    assert settings_of((), {"order": "any", "ignore_query": ["x"]}, "test_a[b/c]").recording == "test_a[b_c]"
    for args, kwargs in [((), {"ordre": "any"}), ((), {"order": "random"}), (("a", "b"), {}), (("..",), {}), ((), {"ignore": ["x"]})]:
        with pytest.raises(UsageError):
            settings_of(args, kwargs, "test")


def test_the_plugin_costs_other_users_nothing() -> None:
    code = "import sys, pytest\nbefore = set(sys.modules)\nimport sentra_sandbox.testing.plugin\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["sentra_sandbox", "sentra_sandbox.testing", "sentra_sandbox.testing.plugin"]
