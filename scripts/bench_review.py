#!/usr/bin/env python3
"""Measures the review. Groups: ``content`` (secrets looked for in what left; 500 MB and 1,000 secrets by default),
``rules`` (rules asked about events).

    scripts/bench_review.py content [--mb 500] [--secrets 1000]
    scripts/bench_review.py rules [--run DIRECTORY] [--rules FILE ...]

Prints seconds of processor time, MB/s and the most memory used, for the inner loop and for the whole search.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sentra_sandbox.review.content.atoms import atoms_of, needles_of
from sentra_sandbox.review.content.search import Secret, search
from sentra_sandbox.review.facts import Execution, Facts, ProcessFact, Transfer
from sentra_sandbox.review.matcher import Matcher
from sentra_sandbox.review.rules.evaluate import Evaluator, load_rules
from sentra_sandbox.review.rules.files import RuleFiles
from sentra_sandbox.review.rules.moment import RunFacts
from sentra_sandbox.review.rules.moments import EventMoments
from sentra_sandbox.syscalls.table import all_calls
from sentra_sandbox.trace.events import Event, Segment
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.network import Network

PIECE = 4 << 20
AT_FDCWD = 0xFFFFFFFFFFFFFF9C
TEXT = ("the agent reads a file and sends what it found to its host while nobody looks", "return import def self value error")
WORDS = " ".join(TEXT).split()
CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(PIECE)


def base64_text(rng: random.Random) -> bytes:
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(PIECE * 3 // 4 - 100))
    return b'{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,' + image + b'"}}]}]}'


def json_text(rng: random.Random) -> bytes:
    def row() -> dict[str, Any]:
        return {"id": rng.randrange(10**9), "text": " ".join(rng.choices(WORDS, k=20)), "hash": rng.randbytes(16).hex()}

    return json.dumps([row() for _ in range(PIECE // 200)]).encode()


def source_text(rng: random.Random) -> bytes:
    def line() -> str:
        return f"    {rng.choice(WORDS)}_{rng.choice(WORDS)} = '{rng.choice(WORDS)}\\n'  # {' '.join(rng.choices(WORDS, k=6))}"

    lines = [line() for _ in range(PIECE // 60)]
    return json.dumps({"prompt": "\n".join(lines)}).encode()


KINDS: tuple[Callable[[random.Random], bytes], ...] = (random_bytes, base64_text, json_text, source_text)


class BenchFacts(Facts):
    """Transfers of made content; nothing of it is on disk."""

    __slots__ = ("pieces",)
    pieces: list[bytes]

    def process_of(self, task: int, seq: int) -> int:
        return 1

    def bytes_of(self, seq: int) -> bytes:
        return self.pieces[seq % len(self.pieces)]


def made_facts(pieces: list[bytes], megabytes: int, env: dict[str, str]) -> Facts:
    image = Execution(0, 0, "/usr/bin/python3", ("python3",), env, "/")
    process = ProcessFact(1, 1, 0, 0, 0, [image])
    size = sum(map(len, pieces)) // len(pieces)
    seqs = range(1, (megabytes << 20) // size + 1)
    transfers = [Transfer(1, True, "up.example", "198.18.0.9", 443, "tcp", size, [seq], seq) for seq in seqs]
    nothing: Any = None
    facts = BenchFacts(nothing, {1: process}, [], [], transfers, [], Network(), [], len(transfers), "/", "/root", nothing)
    facts.pieces = pieces
    return facts


def content(megabytes: int, count: int) -> None:
    rng = random.Random(1)
    env = {f"SERVICE_{i}_TOKEN": "".join(rng.choices(CHARS, k=40)) for i in range(count)}
    pieces = [kind(rng) for kind in KINDS for _ in range(2)]
    secrets = [Secret(name, "environment", value.encode(), 0, 1, (), 240.0) for name, value in env.items()]
    needles = [needle for i, secret in enumerate(secrets) for atom in atoms_of(i, secret) for needle in needles_of(atom)]
    began = time.process_time()
    matcher = Matcher([needle.data for needle in needles], [needle.least for needle in needles])
    took = time.process_time() - began
    print(f"inner loop: {count} secrets, {len(needles)} needles, {matcher.grams} groups of bytes, prepared in {took:.2f} s")
    for kind, data in zip([k for k in KINDS for _ in range(2)], pieces, strict=True):
        began = time.process_time()
        hits = sum(1 for _ in matcher.find(data))
        print(f"  {kind.__name__:14} {len(data) / (time.process_time() - began) / 1e6:7.0f} MB/s, {hits} hits")
    began = time.process_time()
    sightings = search(made_facts(pieces, megabytes, env))
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"search: {sightings.searched_bytes / 1e6:.0f} MB in {took:.1f} s ({sightings.searched_bytes / took / 1e6:.0f} MB/s), "
          f"{len(sightings.secrets)} secrets, {len(sightings.found)} sightings, peak memory {peak:.0f} MiB; {sightings.notes}")  # fmt: skip


def made_events() -> list[Event]:
    """Calls as a Python program makes them when it starts: of 100, 12 open a file, most read, stat or map, one starts a program."""
    numbers = {call.name: call.number for call in all_calls()}
    mix = ["openat"] * 12 + ["newfstatat"] * 20 + ["read"] * 20 + ["close"] * 12 + ["mmap"] * 15 + ["execve"]
    mix += ["lseek", "write", "ioctl", "futex"] * 5
    events = []
    for seq in range(1, 20_001):
        name = mix[seq * 37 % len(mix)]
        path = f"/usr/lib/python3/{seq % 300}.py".encode()
        args: tuple[int, ...] = (3, 0, 4096)
        segments: tuple[Segment, ...] = ()
        if name in ("openat", "newfstatat"):
            args, segments = (AT_FDCWD, 0x1000, 0o2000000, 0), (Segment(0x1000, 1, 1, 1, path),)
        elif name == "execve":
            args, segments = (0x1000, 0, 0), (Segment(0x1000, 1, 0, 1, path),)
        failed = -2 if name == "execve" else 3 if name == "openat" else 0
        events.append(Event(seq, 1, 0, 2, seq * 1000, 0, numbers[name], failed, args, segments))
    return events


def rules(run_directory: Path | None, files: list[str]) -> None:
    """Events a second of keeping the state, and of asking the rules besides that."""
    events = list(Trace(run_directory).events()) if run_directory else made_events()
    rounds = max(1, 200_000 // len(events))
    loaded = load_rules(files, own=not files)
    began = time.process_time()
    Evaluator(loaded)
    print(f"{len(loaded.rules)} rules, compiled in {(time.process_time() - began) * 1000:.0f} ms; {len(events):,} events, {rounds} times")

    def took(evaluator: Evaluator) -> float:
        moments = EventMoments(evaluator, RunFacts(None, "/work", "/root"))
        began = time.process_time()
        for _ in range(rounds):
            for event in events:
                moments.feed(event)
        return time.process_time() - began

    state = min(took(Evaluator(RuleFiles().finish())) for _ in range(3))
    evaluators = [Evaluator(loaded) for _ in range(3)]
    whole = min(took(evaluator) for evaluator in evaluators)
    count, report = len(events) * rounds, evaluators[0].report
    print(f"state alone       {count / state:12,.0f} events/s")
    print(f"rules alone       {count / max(whole - state, 1e-9):12,.0f} events/s   goal >= 200,000")
    print(f"both              {count / whole:12,.0f} events/s; {report.events / count:.0%} were asked about, {report.matches:,} matches")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=["content", "rules"])
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--secrets", type=int, default=1000)
    parser.add_argument("--run", type=Path, help="rules: the directory of a recorded run instead of made events")
    parser.add_argument("--rules", action="append", default=[], help="rules: rule files; without, our own pack")
    options = parser.parse_args()
    if options.group == "rules":
        rules(options.run, options.rules)
    else:
        content(options.mb, options.secrets)


if __name__ == "__main__":
    main()
