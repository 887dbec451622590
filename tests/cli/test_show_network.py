from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from network_by_hand import Broker, a_day, seal, sse

sys.path.insert(0, str(Path(__file__).parent.parent / "views"))
from test_network import hostile_events

from sentra_sandbox.cli import main
from sentra_sandbox.trace.network_events import NetworkType

SECRETS = ("sk-very-secret", "hidden", "AIzaSyA1234567890abcdefghijkl")
CHAT = {"model": "gpt-x", "stream": True, "messages": [{"role": "user", "content": "What is\x1b[31m red?"}], "tools": [{"function": {"name": "look"}}]}
STREAM = sse(
    {"model": "gpt-x-2", "choices": [{"index": 0, "delta": {"content": "Red \x1b]0;title\x07"}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"at": "sky"}'}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 1234, "completion_tokens": 40}},
    "[DONE]",
)
Show = Callable[..., str]


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """Seals a run of these events and gives what ``show`` says of it."""
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")

    def run(broker: Broker, *options: str, status: int = 0) -> str:
        directory = tmp_path / "runs" / "20261122-100000-abcd"
        if not directory.exists():
            seal(tmp_path, broker.events)
        assert main(["show", str(directory), *options]) == status
        said = capsys.readouterr()
        return said.out if status == 0 else said.err

    return run


def model_call(b: Broker) -> Broker:
    connection = b.open()
    b.exchange(connection, "POST", "/v1/chat/completions", headers={"Content-Type": "application/json"}, body=json.dumps(CHAT).encode(), answer={"Content-Type": "text/event-stream"}, chunks=STREAM, first_ms=100, every_ms=20)
    return b


def test_waterfall(show: Show) -> None:
    text = show(model_call(a_day()), "--net")
    lines = text.splitlines()
    assert any("dns" in line and "api.example.com A -> 198.18.0.1 (93.184.216.34)" in line for line in lines)
    assert any("api.example.com:443 TLSv1.3 http/1.1" in line and "300 B" in line and "500 B" in line for line in lines)
    assert any("#1" in line and "POST https://api.example.com/v1/things?key=***" in line and " 200 " in line for line in lines)
    assert "the host's own service; to allow it: --allow-net localhost:11434" in text
    assert "/run/docker.sock" in text and "--allow-unix" in text and "bad DNS message" in text
    assert "chat gpt-x-2: 1,234 -> 40 tokens, first after 100 ms" in text and "calls look" in text
    assert all(line.count("|") == 2 for line in lines if " #" in line)
    assert not any(secret in text for secret in SECRETS)
    starts = [float(line[:10]) for line in lines[1:] if line[:10].strip()]
    assert starts == sorted(starts)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_lines_of_the_waterfall_fit_the_terminal(width: int) -> None:
    from sentra_sandbox.cli.show_network import _rows, waterfall
    from sentra_sandbox.cli.terminal import Style
    from sentra_sandbox.views.processes import ProcessTable

    rows = list(_rows(model_call(a_day()).network(), {}, False))
    lines = [line for line in waterfall(rows, ProcessTable(), width, Style(False)) if "|" in line]
    assert len(lines) == len(rows) and {len(line) for line in lines} == {width}


def test_events_as_json_are_masked_too(show: Show) -> None:
    objects = [json.loads(line) for line in show(a_day(), "--json").splitlines()]
    request = next(found for found in objects if found["type"] == "request")
    assert request["fields"]["headers"][1] == ["Authorization", "Bearer ***"] and request["exchange"] == 1
    assert not any(secret in json.dumps(objects) for secret in SECRETS)


def test_waterfall_as_json(show: Show) -> None:
    objects = [json.loads(line) for line in show(model_call(a_day()), "--net", "--json").splitlines()]
    kinds = [found["kind"] for found in objects]
    assert {kind: kinds.count(kind) for kind in kinds} == {"dns": 1, "connection": 4, "exchange": 2, "refused_socket": 1, "problem": 1}
    refused = next(found for found in objects if found["kind"] == "connection" and not found["allowed"])
    assert refused["remedy"] == "--allow-net localhost:11434" and refused["task"] == 8
    call = next(found["llm"] for found in objects if found.get("llm"))
    assert call["usage"] == {"input_tokens": 1234, "output_tokens": 40} and call["model"] == "gpt-x"


def test_one_exchange(show: Show) -> None:
    text = show(a_day(), "--http", "1")
    assert "POST /v1/things?key=*** HTTP/1.1" in text
    assert "Authorization: Bearer ***" in text and "Set-Cookie: id=***" in text
    assert '{\n  "a": [\n    1,\n    2\n  ]\n}' in text and '{\n  "ok": true\n}' in text
    assert "HTTP/1.1 200 OK" in text and "answered after 10 ms" in text
    assert not any(secret in text for secret in SECRETS)
    shown = show(a_day(), "--http", "1", "--show-secrets")
    assert all(secret in shown for secret in SECRETS)


def test_a_model_call_is_a_conversation_and_harmless_to_a_terminal(show: Show) -> None:
    text = show(model_call(Broker()), "--http", "1")
    assert "chat with gpt-x (openai, streamed)" in text and "tools offered: look" in text
    assert "[user] 17 characters" in text and "What is\\x1b[31m red?" in text
    assert "Red \\x1b]0;title\\x07" in text and "calls look (c1):" in text and '"at": "sky"' in text
    assert "5 events, first after 100 ms" in text and "stopped: tool_calls" in text
    assert "\x1b" not in text and "\x07" not in text
    found = json.loads(show(model_call(Broker()), "--http", "1", "--json"))
    assert found["llm"]["text"] == "Red \x1b]0;title\x07" and len(found["server_sent_events"]) == 5
    assert found["request"]["body"]["text"] == json.dumps(CHAT) and found["connection"]["number"] == 1


def test_streams_messages_and_binary_bodies(show: Show) -> None:
    b = Broker()
    c = b.open()
    b.exchange(c, "GET", "/events", answer={"Content-Type": "text/event-stream"}, chunks=sse("one", "two"), every_ms=30)
    b.exchange(c, "GET", "/image", answer={"Content-Type": "image/png"}, chunks=bytes(range(200)))
    b.exchange(c, "GET", "/packed", answer={"Content-Type": "text/plain", "Content-Encoding": "br"}, chunks=b"\x8b\x02")
    number = b.exchange(c, "GET", "/ws", headers={"Upgrade": "websocket"}, status=101)
    b.message(c, number, b"hello")
    b.message(c, number, b"\x00\x01", to_client=True, opcode="binary")
    assert "+10.0 ms  one" in show(b, "--http", "1") and "+40.0 ms  two" in show(b, "--http", "1")
    assert "binary, 200 bytes: 00 01 02" in show(b, "--http", "2")
    if "brotli" not in show(b, "--http", "3"):
        pytest.importorskip("brotli")
    text = show(b, "--http", "4")
    assert "-> text 5 B  hello" in text and "<- binary 2 B  binary, 2 bytes: 00 01" in text


def test_mistakes(show: Show) -> None:
    assert "no HTTP exchange 9. It has 1; 'show --net' lists them." in show(a_day(), "--http", "9", status=125)
    assert "different views" in show(a_day(), "--http", "1", "--net", status=125)
    assert "goes with --net and --http" in show(a_day(), "--show-secrets", status=125)
    assert "about the whole run" in show(a_day(), "--http", "1", "--limit", "3", status=125)


def test_a_run_without_network(show: Show) -> None:
    assert "no network was used" in show(Broker(), "--net")


@pytest.mark.parametrize("seed", range(4))
def test_hostile_runs_are_shown(show: Show, seed: int) -> None:
    b = Broker()
    b.events = hostile_events(seed, 250)
    assert show(b, "--net")
    for line in show(b, "--net", "--json").splitlines():
        found = json.loads(line)
        if found["kind"] == "exchange":
            for options in ((), ("--json",)):
                assert "\x1b" not in show(b, "--http", str(found["number"]), *options)
    assert show(b, "--summary") and show(b) and show(b, "--json")


def test_answers_of_the_broker_and_refused_certificates(show: Show) -> None:
    b = Broker()
    c = b.open(allowed=False, reason="a metadata service", remedy="--allow-net 169.254.169.254:80")
    b.exchange(c, status=403, chunks=b"no")
    d = b.open()
    b.tls(d, error="alert unknown ca", side="client", remedy="tls: exclude")
    b.close(d, "client", "error")
    b.write(NetworkType.RESPONSE, {"status": 504, "reason": "", "from": "broker", "headers": []}, connection=d, exchange=9, direction=1)
    text = show(b, "--net")
    assert "a metadata service; to allow it: --allow-net 169.254.169.254:80" in text and " 403 " in text
    assert "TLS failed at the client: alert unknown ca; tls: exclude" in text and "error by client" not in text
    assert "answered by the broker" in text and "answered by the broker" in show(b, "--http", "9")
