"""A trace may hold anything: every field is asked of events that no kernel would make, and of a network that lies."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from sentra_sandbox.review.rules.evaluate import evaluate, load_rules
from sentra_sandbox.review.rules.fields import registry
from sentra_sandbox.review.rules.files import RuleFiles, RuleSet
from sentra_sandbox.syscalls.table import all_calls
from sentra_sandbox.trace.events import Event, Segment
from sentra_sandbox.views.network import Network

NUMBERS = [call.number for call in all_calls()] + [9999, -1]
VALUES = [0, 1, 3, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFF9C, 0x1000, 1 << 63]
TEXTS = [b"", b"/", b"a", b"../" * 50, b"/etc/shadow", b"\xff\xfe\x00x", b"/proc/self/fd/3", b"\x02\x00\x11\x5c\x7f\x00\x00\x01" + bytes(8), bytes(300)]
JUNK: list[Any] = [None, 0, -1, True, "", "x", "a b", " ", [], ["x"], ["", 0], ["::1", 70000], {}, {"subject": 1}, [["a", "b"], ["c"]], 1 << 70, "\ud800"]
NAMES = ["client", "server", "protocol", "local", "remote", "name", "type", "rcode", "answers", "real", "allowed", "rule", "sni", "mode", "certificate", "method", "scheme", "authority", "path", "version", "headers", "status", "offered", "alpn", "error", "transport", "trailers"]  # fmt: skip


def nasty(rng: random.Random, seq: int) -> Event:
    kind = rng.choice([1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 9, 64, 70, 72, 74, 77, 78, 79, 80, 81, 80, 75, 77])
    segments = tuple(
        Segment(rng.choice(VALUES), rng.randrange(5), rng.randrange(7), rng.randrange(16), rng.choice(TEXTS)) for _ in range(rng.randrange(4))
    )
    args = tuple(rng.choice(VALUES) for _ in range(rng.randrange(8)))
    if kind >= 64:
        fields = {name: rng.choice(JUNK) for name in NAMES if rng.random() < 0.7}
        segments = (Segment(0, 3, 0, 0, json.dumps(fields).encode()), Segment(0, 3, 1, 0, rng.choice(TEXTS)))
        args = (rng.randrange(4), rng.randrange(5), rng.randrange(3), rng.randrange(4), rng.choice(VALUES))
    result = rng.choice([0, 1, 3, -1, -2, -9999, 1 << 62])
    return Event(seq, kind, rng.choice([0, 0, 0, 1, 4, 16]), rng.randrange(6), seq, 0, rng.choice(NUMBERS), result, args, segments)


def everything() -> RuleSet:
    """A rule for every field, with its value shown."""
    files = RuleFiles()
    for number, spec in enumerate(registry().values()):
        argument = {"number": "[1]", "text": "[flags]", "number?": "", "text?": ""}.get(spec.argument, "")
        text = f"- rule: R{number}\n  desc: d\n  condition: {spec.name}{argument} exists\n  output: '%{spec.name}{argument}'\n  priority: INFO\n"
        files.add(text + f"  subject: '%{spec.name}{argument}'\n", "all.yaml")
    return files.finish()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_in_a_trace_makes_it_fail(seed: int) -> None:
    rng = random.Random(seed)
    events = [nasty(rng, seq) for seq in range(1, 400)]
    network = Network.from_events(events)
    outcome = evaluate(events, everything(), network=network, workspace="/work", home="/root")
    assert outcome.report.matches > 1000
    for finding in outcome.findings:
        assert all(text.isprintable() for text in (finding.summary, finding.subject))
    evaluate(events, load_rules(), network=network)
