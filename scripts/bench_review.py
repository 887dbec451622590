#!/usr/bin/env python3
"""Measures the review. Groups: ``content`` (secrets looked for in what left; 500 MB and 1,000 secrets by default).

    scripts/bench_review.py content [--mb 500] [--secrets 1000]

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
from typing import Any

from sentra_sandbox.review.content.atoms import atoms_of, needles_of
from sentra_sandbox.review.content.search import Secret, search
from sentra_sandbox.review.facts import Execution, Facts, ProcessFact, Transfer
from sentra_sandbox.review.matcher import Matcher
from sentra_sandbox.views.network import Network

PIECE = 4 << 20
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=["content"])
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--secrets", type=int, default=1000)
    options = parser.parse_args()
    content(options.mb, options.secrets)


if __name__ == "__main__":
    main()
