"""The chain, the tree, the index and ``run.json`` by themselves."""

from __future__ import annotations

import hashlib
import json
import random
import re

import pytest

from sentra_sandbox.errors import TraceError
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace import run


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, written down as it is defined."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def test_merkle_root_is_that_of_the_rfc() -> None:
    leaves = [bytes([index]) * 32 for index in range(70)]
    tree = layout.MerkleTree()
    for count in range(71):
        assert tree.root() == tree_hash(leaves[:count])
        if count < 70:
            tree.add(leaves[count])


def test_index_round_trip_and_every_flipped_bit_is_noticed() -> None:
    entries = [(1, 32), (1000, 5000), (2**40, 2**41)]
    data = layout.pack_index(entries)
    assert layout.unpack_index(data, "index") == entries
    assert layout.unpack_index(layout.pack_index([]), "index") == []
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TraceError):
            layout.unpack_index(bytes(damaged), "index")
    for end in range(len(data)):
        with pytest.raises(TraceError):
            layout.unpack_index(data[:end], "index")


METADATA = run.RunMetadata(
    "20261122-101500-abcd", ("sh", "-c", "echo \udcff"), "/tmp", "2026-11-22T10:15:00Z", "näme", counts={"events": 5}
)


def test_metadata_round_trip() -> None:
    assert run.RunMetadata.from_json(METADATA.to_json(), "run.json") == METADATA


def test_every_change_of_metadata_is_noticed() -> None:
    data = METADATA.to_json()
    rng = random.Random(2)
    for _ in range(1500):
        damaged = bytearray(data)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        try:
            assert run.RunMetadata.from_json(bytes(damaged), "run.json") == METADATA
        except TraceError:
            continue
    for end in range(0, len(data) - 2, 7):
        with pytest.raises(TraceError):
            run.RunMetadata.from_json(data[:end], "run.json")


@pytest.mark.parametrize(
    "change",
    [
        {"state": "perfect"}, {"argv": "sh"}, {"id": "../../etc"}, {"counts": {"events": True}}, {"extra": 1},
        {"duration_ns": 1.5},
    ],
)  # fmt: skip
def test_metadata_of_wrong_types_is_refused_even_with_a_right_digest(change: dict[str, object]) -> None:
    fields = {**json.loads(METADATA.to_json()), **change}
    del fields["digest"]
    fields["digest"] = run._digest(fields)
    with pytest.raises(TraceError, match="damaged"):
        run.RunMetadata.from_json(json.dumps(fields).encode(), "run.json")


def test_another_version_is_named() -> None:
    fields = {**json.loads(METADATA.to_json()), "format_version": 9}
    with pytest.raises(TraceError, match="version 9"):
        run.RunMetadata.from_json(json.dumps(fields).encode(), "run.json")


def test_run_ids_look_as_promised() -> None:
    assert run.new_run_id(0)[:16] == "19700101-000000-"
    assert re.fullmatch(run._ID, run.new_run_id())
    assert len({run.new_run_id(0) for _ in range(50)}) > 45


def test_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", "/x/y")
    assert str(run.default_home()) == "/x/y"
    monkeypatch.delenv("SENTRA_SANDBOX_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert str(run.default_home()) == "/data/sentra-sandbox"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/u")
    assert str(run.default_home()) == "/home/u/.local/share/sentra-sandbox"
