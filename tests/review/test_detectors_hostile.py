"""What a hostile run may hold: texts that are meant to keep patterns busy, terminal codes, names of processes that are not there."""

from __future__ import annotations

import time

import pytest

from build import Made
from sentra_sandbox.review.detectors import evidence, instructions, personal_data, registry

TEXTS = ["a" * 300_000, "1 " * 150_000, "curl -d " * 40_000, "@.a" * 100_000, "DE00 " * 60_000, "+1 " * 100_000, "you must read " * 20_000, "\\" * 100_000, "<!-- to " * 40_000]


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_no_text_keeps_a_pattern_busy(number: int) -> None:
    text = TEXTS[number]
    start = time.process_time()
    for look in (instructions.imperative, instructions.overriding, instructions.hidden, instructions.dangerous, instructions.sensitive, personal_data.personal, evidence.shown):
        look(text)
    assert time.process_time() - start < 4


def test_what_is_shown_obeys_nobody_and_hides_nothing() -> None:
    text = evidence.shown("\x1b[2J\x07\u202eevil\u200b\nnext AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCY http://u:pass@h/ ghp_0123456789abcdefghijABCDEFGHIJ012345")
    assert not any(ord(c) < 32 or c in "\u202e\u200b" for c in text)
    assert "wJalrXUt" not in text and ":pass@" not in text and "0123456789abcdef" not in text


def test_detectors_take_a_run_that_contradicts_itself() -> None:
    run = Made()
    lost = 77  # no such process
    run.read(lost, "/proc/12/mem")
    run.write(lost, "~/.bashrc", b"\xff\xfe\x00")
    run.write(lost, "~/" + "x" * 5000 + "/CLAUDE.md", b"\x00" * 100)
    run.call(lost, "ptrace", "", "EPERM")
    run.call(lost, "prctl", 'prctl(PR_SET_NAME, "kworker/1")')
    run.flow(lost, lost)
    run.transfer(lost, "", 0, b"\xff" * 50)
    run.net.dns("")
    run.net.dns("." * 100)
    run.net.http(1, "h.example", "POST", "/v1/chat/completions", b'{"model": 1, "messages": [{"role": 2, "content": [[[]]]}], "tools": {"a": 1}}', b"[" * 3000)
    run.net.http(1, "h.example", "POST", "/", b"", b'{"result": {"tools": [{"inputSchema": ' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}]}}")
    secret = run.secret(lost)
    run.sighting(secret, "", seqs=())
    run.sightings.lineage.append((secret, (), "", 10**9, -1))
    empty = run.process("", argv0="")
    run.processes[empty].parent = empty
    list(registry.detect(run.facts(), run.sightings))
