from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from needs import lacking
from network_by_hand import Broker, seal
from worlds import SECRETS, world

sys.path.insert(0, str(Path(__file__).parent.parent / "views"))
from test_network import hostile_events

from sentra_sandbox.cli import main
from sentra_sandbox.export.har import write_har
from sentra_sandbox.export.otlp import CONVENTIONS, write_otlp
from sentra_sandbox.export.pcapng import write_pcapng
from sentra_sandbox.trace.reader import Trace

URLS = [
    ("POST", "https://api.example.com/v1/things?key=***", 200),
    ("POST", "https://api.openai.com/v1/chat/completions", 200),
    ("POST", "https://api.openai.com/v1/chat/completions", 200),
    ("GET", "http://web.example.com:8080/page", 200),
    ("GET", "http://web.example.com:8080/missing", 404),
    ("POST", "http://web.example.com:8080/form", 200),
    ("GET", "http://ws.example.com/socket", 101),
    ("PUT", "http://six.example.com:8080/v6", 200),
]


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Trace]:
    with Trace(seal(tmp_path, world().events)) as opened:
        yield opened


def har_of(trace: Trace, **options: Any) -> Any:
    file = io.StringIO()
    count = write_har(trace, file, **options)
    log = json.loads(file.getvalue())["log"]
    assert len(log["entries"]) == count
    return log


# ---- HAR

_TEXT, _NUMBER, _LIST, _OBJECT = str, (int, float), list, dict
HAR_ENTRY: dict[str, Any] = {
    "startedDateTime": _TEXT,
    "time": _NUMBER,
    "request": {"method": _TEXT, "url": _TEXT, "httpVersion": _TEXT, "cookies": _LIST, "headers": _LIST, "queryString": _LIST, "headersSize": int, "bodySize": int},
    "response": {"status": int, "statusText": _TEXT, "httpVersion": _TEXT, "cookies": _LIST, "headers": _LIST, "content": {"size": int, "mimeType": _TEXT}, "redirectURL": _TEXT, "headersSize": int, "bodySize": int},
    "cache": _OBJECT,
    "timings": {"blocked": _NUMBER, "dns": _NUMBER, "connect": _NUMBER, "ssl": _NUMBER, "send": _NUMBER, "wait": _NUMBER, "receive": _NUMBER},
}


def check_shape(value: Any, shape: Any, place: str) -> None:
    if isinstance(shape, dict):
        assert isinstance(value, dict), place
        for key, inner in shape.items():
            assert key in value, f"{place}.{key}"
            check_shape(value[key], inner, f"{place}.{key}")
    else:
        assert isinstance(value, shape) and not isinstance(value, bool), place


def check_har(log: Any) -> None:
    """What HAR 1.2 demands of a log."""
    assert log["version"] == "1.2" and log["creator"]["name"] == "sentra-sandbox" and isinstance(log["creator"]["version"], str)
    for entry in log["entries"]:
        check_shape(entry, HAR_ENTRY, "entry")
        times = entry["timings"]
        assert entry["time"] == pytest.approx(sum(value for key, value in times.items() if value > 0 and key != "ssl"), abs=1e-3)
        assert min(times["send"], times["wait"], times["receive"]) >= 0 and times["ssl"] <= max(times["connect"], -1)
        for message in (entry["request"], entry["response"]):
            assert all(set(header) == {"name", "value"} for header in message["headers"])
            assert all({"name", "value"} <= set(cookie) for cookie in message["cookies"])
        content = entry["response"]["content"]
        if content.get("encoding") == "base64":
            assert len(base64.b64decode(content["text"])) == content["size"]


def test_har(trace: Trace) -> None:
    log = har_of(trace)
    check_har(log)
    entries = log["entries"]
    assert [(e["request"]["method"], e["request"]["url"], e["response"]["status"]) for e in entries] == URLS
    first, chat, answer, page, _, form, socket, _ = entries
    assert first["timings"]["dns"] == 2 and first["timings"]["connect"] == 10 and first["timings"]["ssl"] == 5 and first["timings"]["wait"] == 10
    assert first["startedDateTime"] == "2026-11-22T10:00:00.000000Z" and first["serverIPAddress"] == "93.184.216.34"
    assert chat["timings"]["connect"] == 10 and answer["timings"]["connect"] == -1
    assert page["response"]["content"]["text"].startswith("<p>hello") and page["response"]["content"]["compression"] > 1000
    assert form["response"]["content"]["encoding"] == "base64" and form["request"]["postData"]["params"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "x y"}]
    assert [entry["_resourceType"] for entry in (first, chat, page, form, socket)] == ["fetch", "eventsource", "document", "image", "websocket"]
    messages = socket["_webSocketMessages"]
    assert [(m["type"], m["opcode"], len(m["data"])) for m in messages] == [("send", 1, 12), ("receive", 1, 70_000), ("receive", 2, 16)]
    assert chat["_llm"]["usage"] == {"input_tokens": 11, "output_tokens": 7}
    assert not any(secret in json.dumps(log) for secret in SECRETS)
    whole = json.dumps(har_of(trace, secrets=True))
    assert all(secret in whole for secret in SECRETS)


# ---- pcapng


def packets(trace: Trace, tmp_path: Path, *arguments: str, secrets: bool = False) -> list[list[str]]:
    """Fields that tshark reads from the export."""
    path = tmp_path / "export.pcapng"
    with open(path, "wb") as file:
        write_pcapng(trace, file, secrets=secrets)
    command = ["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)})
    except FileNotFoundError:
        lacking("tshark")
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def fields(*names: str) -> list[str]:
    return ["-T", "fields", *(word for name in names for word in ("-e", name))]


def test_tshark_reads_the_same_requests_and_answers(trace: Trace, tmp_path: Path) -> None:
    found = packets(trace, tmp_path, "-Y", "http.request", *fields("http.request.method", "http.request.full_uri", "tcp.stream"))
    expected = [(method, url.replace("https://", "http://")) for method, url, _ in URLS]
    assert [(method, url) for method, url, _ in found] == expected
    streams = {number: [s for _, _, s in found][index] for index, number in enumerate(range(1, 9))}
    answered = packets(trace, tmp_path, "-Y", "http.response", *fields("http.response.code", "tcp.stream"))
    assert [(int(code), stream) for code, stream in answered] == [(status, streams[n]) for n, (_, _, status) in enumerate(URLS, 1)]


def test_tshark_finds_nothing_wrong_and_knows_the_names(trace: Trace, tmp_path: Path) -> None:
    wrong = "tcp.analysis.flags || _ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0"
    assert packets(trace, tmp_path, "-Y", f"({wrong}) && !tcp.analysis.keep_alive", *fields("frame.number", "_ws.col.Info")) == []
    hosts = {host for (host,) in packets(trace, tmp_path, "-N", "n", "-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0", *fields("ip.dst_host"))}
    assert {"api.example.com", "api.openai.com", "web.example.com", "redis.example.com", "localhost"} <= hosts
    (six,) = packets(trace, tmp_path, "-N", "n", "-Y", "ipv6 && tcp.flags.syn == 1 && tcp.flags.ack == 0", *fields("ipv6.dst_host", "tcp.dstport"))
    assert six == ["six.example.com", "8080"]
    comments = packets(trace, tmp_path, "-Y", "frame.comment", *fields("frame.comment"))
    assert any("connection 1: api.example.com:443; task 7; TLSv1.3 was taken off; port 443 is shown as 80" in comment for (comment,) in comments)


def test_tshark_reads_dns_websocket_streams_and_ends(trace: Trace, tmp_path: Path) -> None:
    dns = packets(trace, tmp_path, "-Y", "dns.flags.response == 1", *fields("dns.qry.name", "dns.a", "dns.flags.rcode"))
    assert dns == [["api.example.com", "198.18.0.1", "0"], ["evil.test", "", "5"]]
    sent = packets(trace, tmp_path, "-Y", "websocket", *fields("websocket.opcode", "websocket.payload_length", "websocket.payload_length_ext_64"))
    assert [(opcode, int(long or size)) for opcode, size, long in sent] == [("1", 12), ("1", 70_000), ("2", 10)]
    events = packets(trace, tmp_path, "-Y", 'http.content_type == "text/event-stream"', *fields("http.file_data"))
    assert len(events) == 1
    resets = packets(trace, tmp_path, "-Y", "tcp.flags.reset == 1", *fields("tcp.dstport", "tcp.srcport"))
    assert resets == [["40001", "11434"], ["40002", "6379"], ["80", "40102"]]
    (cut,) = packets(trace, tmp_path, "-Y", "frame.cap_len < frame.len", *fields("frame.cap_len", "frame.len"))
    assert cut == ["40", "1040"]
    udp = packets(trace, tmp_path, "-Y", "udp.port == 9999", *fields("data.data"))
    assert [bytes.fromhex(data) for (data,) in udp] == [b"question", b"answer"]


def test_times_and_secrets_of_packets(trace: Trace, tmp_path: Path) -> None:
    times = [float(time) for (time,) in packets(trace, tmp_path, *fields("frame.time_epoch"))]
    assert times == sorted(times) and times[0] == 1795341600.0  # 2026-11-22T10:00:00Z
    data = (tmp_path / "export.pcapng").read_bytes()
    assert not any(secret.encode() in data for secret in SECRETS)
    packets(trace, tmp_path, "-c", "1", secrets=True)
    data = (tmp_path / "export.pcapng").read_bytes()
    assert all(secret.encode() in data for secret in SECRETS)


def test_http2_streams_are_connections_of_their_own(tmp_path: Path) -> None:
    b = Broker()
    c = b.open()
    b.tls(c, alpn="h2")
    for path in ("/one", "/two"):
        b.exchange(c, "POST", path, body=b"x" * 10, answer={"content-type": "text/plain"}, chunks=[b"a", b"b"])
    b.close(c)
    for event in b.events:
        for segment in event.segments:
            if segment.arg == 0 and b'"method"' in segment.data:
                object.__setattr__(segment, "data", segment.data.replace(b'"version":"1.1"', b'"version":"2","stream":5'))
    with Trace(seal(tmp_path, b.events)) as trace:
        found = packets(trace, tmp_path, "-Y", "http.request", *fields("http.request.uri", "tcp.stream", "tcp.dstport"))
        assert found == [["/one", "1", "80"], ["/two", "2", "80"]]
        assert [code for (code,) in packets(trace, tmp_path, "-Y", "http.response", *fields("http.response.code"))] == ["200", "200"]


# ---- OTLP


def otlp_of(trace: Trace) -> Any:
    file = io.StringIO()
    count = write_otlp(trace, file)
    data = json.loads(file.getvalue())
    assert len(data["resourceSpans"][0]["scopeSpans"][0]["spans"]) == count
    return data


def values(span: Any) -> dict[str, Any]:
    found = {}
    for pair in span["attributes"]:
        ((kind, value),) = pair["value"].items()
        found[pair["key"]] = int(value) if kind == "intValue" else [next(iter(item.values())) for item in value["values"]] if kind == "arrayValue" else value
    return found


def check_proto(data: Any) -> Any:
    """Parsed by the protocol's own definition. OTLP's JSON has ids in hexadecimal where protobuf's has base64."""
    try:
        from google.protobuf import json_format
        from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
    except ImportError:
        lacking("the Python package opentelemetry-proto")
    data = json.loads(json.dumps(data))
    for span in data["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return json_format.ParseDict(data, TracesData())


def test_otlp(trace: Trace) -> None:
    data = otlp_of(trace)
    parsed = check_proto(data)
    assert parsed.resource_spans[0].schema_url == f"https://opentelemetry.io/schemas/{CONVENTIONS}"
    spans = data["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len({span["spanId"] for span in spans}) == len(spans)
    by_id = {span["spanId"]: span for span in spans}
    root = spans[0]
    assert "parentSpanId" not in root and all(span["parentSpanId"] in by_id for span in spans[1:])
    chat, tool, second = (span for span in spans if span["name"].startswith(("chat", "execute_tool")))
    assert (chat["name"], tool["name"], second["name"]) == ("chat gpt-x", "execute_tool weather", "chat gpt-x")
    assert (chat["kind"], tool["kind"]) == (3, 1)
    found = values(chat)
    assert {name: found[f"gen_ai.{name}"] for name in ("operation.name", "provider.name", "request.model", "response.model", "usage.input_tokens", "usage.output_tokens", "request.temperature")} == {
        "operation.name": "chat", "provider.name": "openai", "request.model": "gpt-x", "response.model": "gpt-x-2", "usage.input_tokens": 11, "usage.output_tokens": 7, "request.temperature": 1.0,
    }  # fmt: skip
    assert found["gen_ai.response.finish_reasons"] == ["tool_calls"] and found["server.address"] == "api.openai.com" and found["server.port"] == 443
    (output,) = json.loads(found["gen_ai.output.messages"])
    assert output["parts"] == [{"type": "text", "content": "Let me look."}, {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Bern"}}]
    assert json.loads(found["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert values(tool)["gen_ai.tool.call.id"] == "call_1"
    assert int(chat["endTimeUnixNano"]) == int(tool["startTimeUnixNano"]) < int(tool["endTimeUnixNano"]) == int(second["startTimeUnixNano"])
    http = [span for span in spans if "http.request.method" in values(span)]
    assert [(values(s)["http.request.method"], values(s)["url.full"], values(s)["http.response.status_code"]) for s in http] == URLS
    assert by_id[http[1]["parentSpanId"]] is chat and http[4]["status"] == {"code": 2, "message": "404"}
    assert not any(secret in json.dumps(data) for secret in SECRETS)
    assert otlp_of(trace) == data


# ---- hostile traces, and the command


@pytest.mark.parametrize("seed", range(6))
def test_hostile_traces_are_exported(seed: int, tmp_path: Path) -> None:
    with Trace(seal(tmp_path, hostile_events(seed, 250))) as trace:
        check_har(har_of(trace))
        check_proto(otlp_of(trace))
        packets(trace, tmp_path, "-q")


def test_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = str(seal(tmp_path, world().events))
    for kind, beginning in (("har", b'{"log"'), ("pcapng", b"\n\r\r\n"), ("otlp", b'{"resourceSpans"')):
        path = tmp_path / f"out.{kind}"
        assert main(["export", f"--{kind}", str(path), run]) == 0
        assert path.read_bytes().startswith(beginning)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert f"to {path}" in capfd.readouterr().err
        assert main(["export", f"--{kind}", "-", run]) == 0
        assert capfd.readouterr().out.encode("utf-8", "surrogateescape")[:4] == beginning[:4]
    assert not list(tmp_path.glob("*.partial"))
    for mistake, said in ((["--har", str(tmp_path)], "directory"), ([], "Name one format"), (["--har", "-", "--otlp", "-"], "Name one format"), (["--bundle", "-"], "goes into a file"), (["--har", str(tmp_path / "no" / "x")], "cannot be written")):
        assert main(["export", *mistake, run]) == 125
        assert said in capfd.readouterr().err


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    run = str(seal(tmp_path, world().events))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE)
    assert main(["export", "--otlp", str(fifo), run]) == 0
    assert reader.communicate(timeout=20)[0].startswith(b'{"resourceSpans"')
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert "no ordinary file" in _said(["export", "--bundle", str(fifo), run])


def _said(arguments: list[str]) -> str:
    code = f"from sentra_sandbox.cli import main; raise SystemExit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 125
    return done.stderr
