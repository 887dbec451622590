"""The system's own DNS clients against our server, in namespaces where it is their name server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from needs import lacking

from sentra_sandbox.network.names import NameTable

FOUR, SIX = NameTable().addresses("both.example.com")


@pytest.fixture(scope="module")
def said() -> dict[str, list[Any]]:
    isolated = ["unshare", "--user", "--map-root-user", "--mount", "--net"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        lacking("user namespaces, or unshare(1)")
    script = Path(__file__).with_name("dns_for_clients.py")
    made = subprocess.run([*isolated, sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    answers: dict[str, list[Any]] = json.loads(made.stdout)
    return answers


def test_glibc(said: dict[str, list[Any]]) -> None:
    status, output, _ = said["getent both.example.com"]
    assert status == 0 and {line.split()[0] for line in output.splitlines()} == {FOUR, SIX}
    assert NameTable().addresses("four.example.com")[0] in said["getent four"][1], "the search domain"
    assert said["getent reverse"][1].split() == [FOUR, "both.example.com"]
    assert said["getent x.localhost"][0] == 0
    for name in ("missing.example.com", "denied.org"):
        status, output, seconds = said[f"getent {name}"]
        assert status == 2 and not output and seconds < 2


def test_getaddrinfo(said: dict[str, list[Any]]) -> None:
    assert set(said["python both.example.com"][1].split()) == {FOUR, SIX}
    assert said["python six.example.com"][1].split() == [NameTable().addresses("six.example.com")[1]]
    _, output, seconds = said["python denied.org"]
    assert output.startswith("True Name or service not known") and seconds < 2, "a lasting failure at once"


def test_node_and_c_ares(said: dict[str, list[Any]]) -> None:
    if not shutil.which("node"):
        lacking("node")
    lookup, resolve, texts = said["node both.example.com"][1].splitlines()
    assert set(lookup.split()) == {FOUR, SIX} and resolve == FOUR and texts == "1"
    assert said["node denied.org"][1].split() == ["ENOTFOUND"] * 3 and said["node denied.org"][2] < 3
    assert said["node big.example.com"][1].splitlines()[2] == "60", "truncated over UDP, whole over TCP"
