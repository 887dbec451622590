"""``exec --net recorded:RUN`` from end to end: an agent is recorded against a server, changed, and run again without it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from agents.agents import PYTHON as AGENTS_PYTHON
from agents.agents import Server, make_certificates, model_server
from needs import lacking
from running import Finished, Product

from sentra_sandbox.network.recording_file import save_recording
from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType, from_event
from sentra_sandbox.trace.reader import Trace

PYTHON = sys.executable
AGENT = """
import json, os, sys, urllib.request
def ask(prompt, url=sys.argv[1]):
    body = {"model": "little-model", "stream": True, "messages": [{"role": "user", "content": prompt}], "metadata": {"pid": os.getpid()}}
    headers = {"Authorization": "Bearer sk-local-demo", "Content-Type": "application/json"}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            text = ""
            for line in answer:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        text += choice["delta"].get("content") or ""
    except urllib.error.HTTPError as error:
        text = f"{error.code} {error.read().decode()}"
    return text
"""
FIRST = AGENT + "a = ask('How many files are here?'); b = ask('Name a colour.'); print('A', a); print('B', b)"
CHANGED = AGENT + "print('begin', flush=True); b = ask('Name a colour.'); a = ask('How many files are here?'); print('A', a); print('B', b)"
OTHER = AGENT + "print(ask('How many files are there?'))"


@pytest.fixture(autouse=True)
def _only_ours(native: bool, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    if native:
        pytest.skip("says something about sentra-sandbox only")
    for name in ("XDG_DATA_HOME", "SENTRA_SANDBOX_HOME"):  # this process reads runs of the same store
        if name in product.env:
            monkeypatch.setenv(name, product.env[name])


@dataclass
class Recorded:
    """A finished run and the agent's network that answers others."""

    finished: Finished
    directory: Path
    url: str


def record(product: Product, server: Server, *, tls: bool) -> Recorded:
    directory = product.work / "recorded"
    port = (server.tls if tls else server.url).rsplit(":", 1)[1]
    url = f"{'https' if tls else 'http'}://{'localhost' if tls else 'api.test'}" + (f":{port}" if tls else "")
    reach = ["--allow-net", f"localhost:{port}"] if tls else ["--map", f"api.test=127.0.0.1:{port}"]
    trust = ["-e", f"SSL_CERT_FILE={server.authority}"] if tls else []
    finished = product("exec", "-q", "-o", str(directory), *reach, *trust, "--", PYTHON, "-c", FIRST, url)
    assert finished.status == 0 and b"A " in finished.stdout, finished
    return Recorded(finished, directory, url)


def events(directory: Path, type: NetworkType) -> list[NetworkEvent]:
    with Trace(directory) as trace:
        return [found for event in trace.events() if event.type == type and (found := from_event(event))]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_changed_agent_gets_the_same_answers_without_the_server(product: Product, tmp_path: Path, tls: bool) -> None:
    (tmp_path / "certificates").mkdir()
    make_certificates(tmp_path / "certificates")
    with model_server(tmp_path / "certificates") as server:
        recorded = record(product, server, tls=tls)
    run = product.work / "again"
    world = ["--net", f"recorded:{recorded.directory}", "--match-ignore", "$.metadata"]
    changed = product("exec", "-o", str(run), *world, "--", PYTHON, "-c", CHANGED, recorded.url)
    assert changed.stdout == b"begin\n" + recorded.finished.stdout, changed
    assert b"2 requests answered; 0 of 2 recorded exchanges left unused" in changed.stderr
    assert not events(run, NetworkType.UPSTREAM), "nothing was connected to"
    assert {event.fields["from"] for event in events(run, NetworkType.RESPONSE)} == {"recording"}
    pieces = [
        [len(event.data) for event in events(each, NetworkType.BODY) if event.direction and event.exchange == 2]
        for each in (recorded.directory, run)
    ]
    assert len(pieces[1]) > 3, "streamed in pieces"
    if tls:
        return
    assert product("replay", str(run)).stdout == changed.stdout
    strict = product("exec", "-q", *world, "--match-order", "strict", "--", PYTHON, "-c", CHANGED, recorded.url)
    assert b"in strict order the recording expects another one now, number 1 of 2" in strict.stdout

    other = product("exec", *world, "--", PYTHON, "-c", OTHER, recorded.url)
    assert b'body $.messages[0].content: sent "How many files are there?", recorded "How many files are here?"' in other.stdout, other
    assert b"1 not in the recording" in other.stderr and b"2 of 2 recorded exchanges left unused" in other.stderr

    file = product.work / "kept"
    assert save_recording(recorded.directory, file) == 2
    from_file = product(
        "exec", "-q", "--net", f"recorded:{file}", "--match-ignore", "$.metadata", "--", PYTHON, "-c", CHANGED, recorded.url
    )
    assert from_file.stdout == changed.stdout, from_file
    assert b"sk-local-demo" not in (file / "exchanges.jsonl").read_bytes()


def test_https_speaks_the_recorded_version_of_http(product: Product, tmp_path: Path) -> None:
    if not AGENTS_PYTHON.exists() or subprocess.run([AGENTS_PYTHON, "-c", "import httpx, h2"], capture_output=True).returncode:
        lacking("httpx with h2 (tests/agents/install puts them there)")
    make_certificates(tmp_path)
    text = "import httpx, sys; r = httpx.Client(http2=True).get(sys.argv[1] + '/v1/models', headers={'x-api-key': 'sk-local-demo'})\n"
    text += "print(r.status_code, r.json(), file=sys.stdout); print(r.http_version, file=sys.stderr)"
    directory = product.work / "recorded"
    with model_server(tmp_path) as server:
        port = server.tls.rsplit(":", 1)[1]
        options = ["-q", "-o", str(directory), "--allow-net", f"localhost:{port}", "-e", f"SSL_CERT_FILE={server.authority}"]
        first = product("exec", *options, "--", str(AGENTS_PYTHON), "-c", text, server.tls)
    assert first.stderr == b"HTTP/1.1\n", first
    second = product("exec", "-q", "--net", f"recorded:{directory}", "--", str(AGENTS_PYTHON), "-c", text, server.tls)
    assert (second.stdout, second.stderr) == (first.stdout, b"HTTP/1.1\n")


def test_nothing_but_what_was_recorded_can_be_reached(product: Product, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with model_server(tmp_path) as server:
        recorded = record(product, server, tls=False)
        port = server.url.rsplit(":", 1)[1]
        text = "import socket, sys\n"
        for line in (
            "socket.getaddrinfo('example.com', 80)",
            f"socket.create_connection(('127.0.0.1', {port}), 5)",
            "s = socket.create_connection(('93.184.216.34', 5432), 5); s.sendall(b'\\0\\0\\0\\10\\4\\322\\26\\57'); 1 / len(s.recv(10))",
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.sendto(b'x', ('93.184.216.34', 123)); s.recv(10)",
        ):
            text += f"try: {line}; print('REACHED')\nexcept (OSError, ZeroDivisionError) as error: print(type(error).__name__)\n"
        run = product.work / "again"
        finished = product("exec", "-q", "-o", str(run), "--net", f"recorded:{recorded.directory}", "--", PYTHON, "-c", text)
    assert b"REACHED" not in finished.stdout and finished.stdout.count(b"\n") == 4, finished
    assert finished.stdout.startswith(b"gaierror\nConnectionRefusedError\n")
    assert not events(run, NetworkType.UPSTREAM)
    assert any("does not speak HTTP" in event.fields["detail"] for event in events(run, NetworkType.PROBLEM))


def test_mistakes_are_named_before_anything_runs(product: Product, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("orderr: any\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "exchanges.jsonl").write_text("{}\n")
    run = product.work / "run"
    product("exec", "-q", "-o", str(run), "--", "true")
    for options, text in [
        (["--net", "recorded:"], b"names no run"),
        (["--net", "recorded:nothing"], b"nothing"),
        (["--net", f"recorded:{empty}"], b"is no recording"),
        (["--net", f"recorded:{run}", "--match", str(rules)], b"no key 'orderr'"),
        (["--net", f"recorded:{run}", "--match", str(tmp_path / "none")], b"cannot be read"),
        (["--net", f"recorded:{run}", "--match-ignore", "metadata"], b"is no path into JSON"),
        (["--net", f"recorded:{run}", "--allow-net", "localhost:1"], b"means nothing"),
        (["--match", str(rules)], b"--match means nothing"),
    ]:
        finished = product("exec", *options, "--", "echo", "ran")
        assert finished.status == 125 and text in finished.stderr and not finished.stdout, (options, finished)
    assert os.path.exists(rules)
