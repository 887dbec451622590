"""Rules over events: hand-made ones, and a real run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from events_by_hand import AT_FDCWD, O_CREAT, O_RDWR, O_WRONLY, Script, ipv4
from network_by_hand import Broker
from running import Product

from sentra_sandbox.review.findings import Confidence, Severity
from sentra_sandbox.review.rules.evaluate import SUBJECTS_MAX, RuleOutcome, evaluate, load_rules
from sentra_sandbox.review.rules.files import RuleFiles, RuleSet
from sentra_sandbox.trace.events import Event, EventFlag
from sentra_sandbox.views.network import Network


def rule(condition: str, output: str = "%proc.name", **more: str) -> RuleSet:
    files = RuleFiles()
    extra = "".join(f"  {key}: {value}\n" for key, value in more.items())
    files.add(f"- rule: R\n  desc: d\n  condition: >\n    {condition}\n  output: '{output}'\n  priority: WARNING\n{extra}", "r.yaml")
    return files.finish()


def ask(condition: str, events: Iterable[Event], output: str = "%proc.name", network: Network | None = None, **more: str) -> RuleOutcome:
    events = list(events)
    return evaluate(events, rule(condition, output, **more), workspace="/work dir", home="/root", network=network)


def said(condition: str, events: Iterable[Event], output: str = "%proc.name", network: Network | None = None) -> list[str]:
    """The texts of all evidence."""
    outcome = ask(condition, events, output, network)
    return [evidence.text for finding in outcome.findings for evidence in finding.evidence]


def family(script: Script) -> list[Event]:
    """1 /usr/bin/agent → 2 bash → 3 curl."""
    return [
        script.became(1, "/usr/bin/python3", "agent", "--run"),
        script.started(2, 1),
        script.became(2, "/usr/bin/bash", "bash", "-c", "curl x"),
        script.started(3, 2),
        script.became(3, "/usr/bin/curl", "curl", "-s", "x"),
    ]


def test_processes_and_ancestors() -> None:
    script = Script()
    events = [*family(script), script.call(3, "setsid", result=3)]
    output = "%proc.name %proc.pname %proc.aname[2] %proc.aname[3] %proc.cmdline|%proc.pcmdline|%proc.aexepath[2]|%proc.env[HOME]|%proc.cwd"
    assert said("evt.type = setsid", events, output) == [
        "curl bash python3 <NA> curl -s x|bash -c curl x|/usr/bin/python3|***|/work dir/"
    ]
    for condition, found in (
        ("proc.aname = python3", 1), ("proc.aname in (python3)", 1), ("proc.aname[1] = bash", 1), ("proc.aname[2] in (bash)", 0),
        ("proc.aname = curl", 0), ("proc.aname[0] = curl", 1), ("proc.aname != bash", 1), ("proc.apid[2] = 1", 1), ("proc.level = 3", 1),
        ("proc.is_sid_leader = true", 1), ("proc.duration > 0", 1), ("proc.env[HOME] = /root", 1), ("proc.env[NO] exists", 0),
    ):  # fmt: skip
        assert len(said(f"evt.type = setsid and {condition}", events)) == found, condition


def test_execs() -> None:
    script = Script()
    events = [
        *family(script),
        script.call(3, "execve", "/tmp/link", 0, 0),
        script.became(3, "/opt/real-program-with-long-name", "x"),
        script.call(3, "execve", "/no/such", 0, 0, result=-2),
    ]
    assert said("evt.type in (execve, execveat) and evt.res = SUCCESS", events, "%proc.name %proc.exepath %proc.pname") == [
        "python3 /usr/bin/python3 <NA>", "bash /usr/bin/bash python3", "curl /usr/bin/curl bash", "link /opt/real-program-with-long-name bash",
    ]  # fmt: skip
    assert said("evt.type = execve and evt.res != SUCCESS", events, "%proc.name %evt.res %evt.arg.filename") == ["link ENOENT /no/such"]


def test_comm_is_cut_and_prctl_changes_it() -> None:
    script = Script()
    events = [script.became(1, "/bin/a-name-longer-than-15", "x"), script.call(1, "getpid"), script.call(1, "prctl", 15, "kworker/0:1")]
    events.append(script.call(1, "getpid"))
    assert said("evt.type = getpid", events) == ["a-name-longer-t", "kworker/0:1"]


def test_a_program_that_the_run_wrote() -> None:
    script = Script()
    events = [
        *family(script),
        script.call(3, "openat", AT_FDCWD, "/tmp/tool", O_WRONLY | O_CREAT, 0o755, result=4),
        script.became(3, "/tmp/tool", "tool"),
        script.became(2, "/usr/bin/true", "true"),
    ]
    assert said("evt.type = execve and proc.is_exe_upper_layer = true", events, "%proc.exepath") == ["/tmp/tool"]


def test_opens() -> None:
    script = Script()
    events = [
        script.became(1, "/bin/cat", "cat"),
        script.call(1, "openat", AT_FDCWD, "../etc/../etc/shadow", 0, 0, result=3),
        script.call(1, "openat", AT_FDCWD, "new", O_WRONLY | O_CREAT, 0o644, result=4),
        script.call(1, "openat", AT_FDCWD, "/gone", O_RDWR, 0, result=-2),
        script.call(1, "open", "/dir", 0o200000, 0, result=5),
    ]
    output = "%fd.num %fd.name %fd.nameraw %fd.directory %fd.filename %fd.typechar %evt.res %evt.arg.flags"
    assert said("evt.type in (open, openat)", events, output) == [
        "3 /etc/shadow ../etc/../etc/shadow /etc shadow f SUCCESS O_RDONLY",
        "4 /work dir/new new /work dir new f SUCCESS O_WRONLY|O_CREAT",
        "-1 /gone /gone / gone f ENOENT O_RDWR",
        "5 /dir /dir / dir d SUCCESS O_RDONLY|O_DIRECTORY",
    ]
    assert len(said("evt.is_open_read = true and evt.type in (open, openat)", events)) == 3
    assert len(said("evt.is_open_write = true and evt.type in (open, openat)", events)) == 2
    assert len(said("evt.type = openat and fd.num >= 0 and fd.name pmatch (/etc)", events)) == 1
    assert said("evt.type = openat and file.class = secret", events, "%fd.name") == ["/etc/shadow"]
    assert said("evt.type = openat and file.in_workspace = true", events, "%fd.name") == ["/work dir/new"]


def test_paths() -> None:
    script = Script()
    events = [
        script.became(1, "/bin/x", "x"),
        script.call(1, "rename", "a", "/b"),
        script.call(1, "symlinkat", "/etc/shadow", AT_FDCWD, "link"),
        script.call(1, "unlinkat", AT_FDCWD, "gone", 0),
        script.call(1, "fchmodat", AT_FDCWD, "/tmp/s", 0o4755),
    ]
    assert said("evt.type = rename", events, "%fs.path.source %fs.path.target %evt.arg.oldpath %evt.arg.newpath") == [
        "/work dir/a /b /work dir/a /b"
    ]
    assert said("evt.type = symlinkat", events, "%fs.path.source %fs.path.targetraw") == ["/etc/shadow link"]
    assert said("evt.type = unlinkat and fs.path.name endswith gone", events, "%fs.path.name %fs.path.nameraw") == ["/work dir/gone gone"]
    assert said("evt.type = fchmodat and evt.arg.mode contains S_ISUID", events, "%evt.arg.mode") == [
        "S_ISUID|S_IRUSR|S_IWUSR|S_IXUSR|S_IRGRP|S_IXGRP|S_IROTH|S_IXOTH"
    ]


def connected(script: Script, address: str = "192.0.2.7", result: int = 0) -> list[Event]:
    return [
        script.became(1, "/bin/nc", "nc"),
        script.call(1, "socket", 2, 1, 0, result=3),
        script.call(1, "connect", 3, ipv4(address, 4444), 16, result=result),
    ]


def test_sockets() -> None:
    script = Script()
    events = [*connected(script), script.call(1, "dup2", 3, 0, result=0), script.call(1, "sendto", 3, b"secret", 6, 0, 0, 0, result=6)]
    output = "%fd.type %fd.typechar %fd.sip %fd.sport %fd.rip %fd.l4proto %fd.name %fd.connected"
    assert said("evt.type = connect and fd.net != 127.0.0.0/8", events, output) == [
        "ipv4 4 192.0.2.7 4444 192.0.2.7 tcp ->192.0.2.7:4444 true"
    ]
    assert said("evt.type = dup2 and evt.rawres in (0, 1, 2) and fd.type in (ipv4, ipv6)", events, "%fd.sport") == ["4444"]
    assert said("evt.type = sendto and evt.buffer contains secret", events, "%io.bytes %evt.buffer") == ["6 <6 bytes>"]
    assert not said("evt.type = connect and fd.snet in (10.0.0.0/8)", events)
    failed = connected(Script(), result=-111)
    assert said("evt.type = connect and evt.res = ECONNREFUSED", failed, "%fd.sip:%fd.sport") == ["192.0.2.7:4444"]


def test_taint_follows_children() -> None:
    script = Script()
    events = [
        *family(script)[:3],
        script.call(2, "openat", AT_FDCWD, "/root/.ssh/id_ed25519", 0, 0, result=3),
        script.started(9, 2),
        script.call(9, "getpid"),
        script.call(1, "getpid"),
    ]
    assert said("evt.type = getpid and taint.source intersects (secret)", events, "%thread.tid %taint.source") == ["9 secret"]


def traffic() -> Broker:
    broker = Broker()
    broker.dns("evil.example", allowed=False)
    broker.dns("api.example.com")
    broker.endpoint(1)
    number = broker.open()
    broker.tls(number)
    headers = {"Authorization": "Bearer sk-abcdefghijklmnop1234", "Content-Type": "application/json"}
    chat = b'{"model":"m-1","messages":[{"role":"user","content":"hello"}],"tools":[{"type":"function","function":{"name":"shell"}}]}'
    answer = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1}}'
    json = {"Content-Type": "application/json"}
    broker.exchange(number, "POST", "/v1/chat/completions?key=0123456789abcdef0123", headers=headers, body=chat, answer=json, chunks=answer)
    broker.exchange(number, "GET", "/open", ends=False)
    broker.close(number)
    return broker


def test_the_network_has_events_of_its_own() -> None:
    broker = traffic()
    network = broker.network()

    def texts(condition: str, output: str) -> list[str]:
        return said(condition, broker.events, output, network)

    assert texts("evt.type = dns and net.declared = false", "%dns.name %dns.rcode %net.host") == ["evil.example REFUSED evil.example"]
    assert texts("evt.type = connection", "%net.host %net.port %fd.sip %fd.sip.name %net.declared") == [
        "api.example.com 443 198.18.0.1 api.example.com true"
    ]
    assert texts("evt.type = tls and tls.decrypted = true", "%tls.sni %tls.version") == ["api.example.com TLSv1.3"]
    assert texts("evt.type = http", "%http.method %http.host %http.path %http.status %thread.tid") == [
        "POST api.example.com /v1/chat/completions 200 1", "GET api.example.com /open 200 1",
    ]  # fmt: skip
    assert texts("evt.type = http and http.request.body contains hello and http.request.header[content-type] exists", "%http.request.size") == ["120"]
    assert texts("evt.type = llm", "%llm.model %llm.tools %llm.tokens.in %llm.prompt") == ["m-1 shell 5 <5 bytes>"]
    assert texts("evt.type = http and http.host = 198.18.0.1", "x") == []


def test_secrets_in_output_are_masked() -> None:
    broker = traffic()
    (first, *_) = said("evt.type = http", broker.events, "%http.url %http.request.header[authorization] %http.request.body", broker.network())
    assert "sk-abc" not in first and "0123456789abcdef" not in first and "hello" not in first and "Bearer ***" in first
    script = Script()
    argv = ("curl", "-H", "Authorization: Bearer abcdefghijklmnop", "--data", "password=hunter2hunter2", "ghp_0123456789abcdefghijABCDEFGHIJ012345")
    (text,) = said("evt.type = execve", [script.became(1, "/usr/bin/curl", *argv)], "%proc.cmdline %evt.arg.filename")
    assert "hunter2" not in text and "abcdefghijklmnop" not in text and "ghp_" not in text and "***" in text


def test_output_cannot_steer_a_terminal() -> None:
    (text,) = said("evt.type = execve", [Script().became(1, "/bin/x", "x", "\x1b[2J\nfake line\u202e")], "%proc.args %% %no.such")
    assert text == "\\x1b[2J\\nfake line\ufffd % <NA>"


def test_findings() -> None:
    script = Script()
    events = [script.became(1, "/bin/cat", "cat")]
    events += [script.call(1, "openat", AT_FDCWD, path, 0, 0, result=3) for path in ["/a", "/b", *["/a"] * 9]]
    outcome = ask(
        "evt.type = openat", events, "read %fd.name", tags="[mitre_credential_access, T1552.001, ASI02]", confidence="high", subject="'%fd.name'"
    )
    first, second = outcome.findings
    assert (first.kind.id, first.kind.category, first.kind.severity, first.confidence) == (
        "FALCO-r", "credential-access", Severity.MEDIUM, Confidence.HIGH,
    )  # fmt: skip
    assert (first.kind.attack, first.kind.owasp) == (("T1552.001",), ("ASI02",))
    assert (first.summary, first.subject, first.process) == ("read /a (10 times)", "/a", 1)
    assert [evidence.seq for evidence in first.evidence] == [2, 4, 5, 6, 7]
    assert second.summary == "read /b" and second.fingerprint != first.fingerprint
    assert outcome.report.matches == 11


def test_a_noisy_rule_is_bounded_and_says_so() -> None:
    script = Script()
    events = [script.call(1, "openat", AT_FDCWD, f"/{number}", 0, 0, result=3) for number in range(SUBJECTS_MAX + 50)]
    outcome = ask("evt.type = openat", events)
    assert len(outcome.findings) == SUBJECTS_MAX
    assert any("250 subjects" in warning for warning in outcome.report.warnings)


def test_unfinished_and_foreign_calls_are_not_asked() -> None:
    script = Script()
    events = [script.call(1, "unlink", "/x", flags=flag) for flag in (EventFlag.IN_FLIGHT, EventFlag.FOREIGN_ABI)]
    assert not said("evt.type = unlink", events)
    assert said("evt.type = unlink and evt.failed = true", [script.call(1, "unlink", "/x", result=-1, flags=EventFlag.REFUSED)], "%evt.res") == [
        "EPERM"
    ]


def test_a_rule_without_an_event_type_is_asked_of_all() -> None:
    assert said("proc.name = x", [Script().became(1, "/bin/x", "x")]) == ["x"]


def test_a_real_run(product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sentra_sandbox.trace.reader import Trace
    from sentra_sandbox.trace.run import read_metadata

    script = (
        "printf '#!/bin/sh\\necho hi\\n' > tool; chmod 4755 tool; ./tool; (exec -a odd cat /etc/passwd > /dev/null);"
        " ln -s /etc/shadow here; mkdir .git; echo x > .git/HEAD; rm .git/HEAD; cat /proc/self/environ > /dev/null"
    )
    assert product("exec", "-q", "--net", "host", "--name", "rules", "--", "bash", "-c", script).status == 0
    run_dir = next(Path(product.env["SENTRA_SANDBOX_HOME"]).glob("runs/*"))
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", product.env["SENTRA_SANDBOX_HOME"])
    metadata = read_metadata(run_dir)
    with Trace(run_dir) as trace:
        outcome = evaluate(trace.events(), load_rules(), run=metadata, network=Network.of(trace), home="/root")
        found = {finding.kind.id: finding for finding in outcome.findings}
        assert {"SEN-R017", "SEN-R033"} <= set(found), [finding.summary for finding in outcome.findings]
        assert f"{metadata.cwd}/tool" in found["SEN-R017"].summary and found["SEN-R017"].subject.startswith(metadata.cwd)
        evidence = found["SEN-R033"].evidence[0]
        assert trace.event(evidence.seq).task == evidence.task and "/etc/shadow" in evidence.text
        everything = rule("proc.name exists and container.id = " + metadata.id, "%evt.type %evt.args %proc.cmdline %fd.name %user.uid")
        assert evaluate(trace.events(), everything, run=metadata).report.matches > 100


def test_a_subject_has_what_the_event_has() -> None:
    script = Script()
    events = [script.became(1, "/bin/cat", "cat"), script.call(1, "openat", AT_FDCWD, "/a", 0, 0, result=3), script.call(1, "getpid")]
    assert [finding.subject for finding in ask("evt.type in (openat, getpid)", events).findings] == ["cat /a", "cat"]
