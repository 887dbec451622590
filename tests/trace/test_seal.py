from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import Recording, lacking, made_up_events

from sentra_sandbox.cli import main
from sentra_sandbox.errors import TraceError, UsageError
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace.blocks import BlockFile
from sentra_sandbox.trace.merkle import audit_path, root_from_path
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.trace.seal import Seal, check_proof, differences, prove, signed_bytes, state

Start = Callable[..., Recording]


@pytest.fixture
def run(start: Start) -> Path:
    recording = start()
    recording.record(made_up_events(4000))
    recording.finish()
    return recording.directory


@pytest.fixture
def seal(run: Path) -> Seal:
    with Trace(run) as trace:
        return Seal(state(trace))


def blocks_of(run: Path) -> list[tuple[int, layout.BlockHeader]]:
    blocks = BlockFile(run / "events")
    try:
        return [(block.offset, block.header) for block in blocks.blocks()]
    finally:
        blocks.close()


def large(run: Path) -> int:
    """An event with content in the blob store."""
    with Trace(run) as trace:
        return next(event.seq for event in trace.events() if any(len(segment.data) == 4096 for segment in event.segments))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("count", range(1, 20))
def test_a_path_leads_from_every_leaf_to_the_root_and_from_nothing_else(count: int) -> None:
    leaves = [bytes([number]) * 32 for number in range(count)]
    tree = layout.MerkleTree()
    for leaf in leaves:
        tree.add(leaf)
    for number, leaf in enumerate(leaves):
        path = audit_path(leaves, number)
        assert root_from_path(leaf, number, count, path) == tree.root()
        assert root_from_path(b"x" * 32, number, count, path) != tree.root()
        assert root_from_path(leaf, (number + 1) % count, count, path) != tree.root() or count == 1
        assert root_from_path(leaf, number, count, [*path, leaf]) is None
        assert root_from_path(leaf, count, count, path) is None
        if path:
            assert root_from_path(leaf, number, count, path[:-1]) is None


def test_a_run_is_as_it_was_sealed(run: Path, seal: Seal) -> None:
    assert differences(seal.statement, run) == []
    assert seal.statement["events"] == 4000 and seal.statement["blocks"] == len(blocks_of(run)) > 1


def test_a_changed_byte_of_each_kind_is_seen(run: Path, seal: Seal) -> None:
    first, header = blocks_of(run)[0]
    frame = first + layout.BLOCK_HEADER_SIZE
    header_fields = [0, 4, 6, 8, 16, 24, 28, 32, 36, 40, 48, 56, 88, 120]  # magic ... positions, hash before, own hash
    places = [(run / "events", at) for at in (0, 8, 16, 24)]  # of the file's header: magic, version, both clocks
    places += [(run / "events", first + at) for at in header_fields]
    places += [(run / "events", frame), (run / "events", frame + header.frame_bytes // 2), (run / "events", -1)]
    places += [(run / name, at) for name in ("run.json", "index", "blobs") for at in (0, -1)]
    for path, at in places:
        before = path.read_bytes()
        flip(path, at)
        found = differences(seal.statement, run)
        assert found and any(path.name in text for text in found), (path, at, found)
        path.write_bytes(before)
    assert differences(seal.statement, run) == []


@pytest.mark.parametrize("name", ["run.json", "events", "index", "files", "blobs"])
def test_more_or_less_or_nothing_of_a_file_is_seen(run: Path, seal: Seal, name: str) -> None:
    path = run / name
    whole = path.read_bytes()
    for changed in (whole + b"\0", whole[:-1], b""):
        if changed != whole:
            path.write_bytes(changed)
            assert any(name in text for text in differences(seal.statement, run)), len(changed)
    path.unlink()
    assert any(name in text for text in differences(seal.statement, run))


def test_whole_blocks_cut_off_the_end_are_seen(run: Path, seal: Seal) -> None:
    last, _ = blocks_of(run)[-1]
    os.truncate(run / "events", last)
    assert any("Merkle root" in text for text in differences(seal.statement, run))


def test_a_run_that_was_written_anew_is_seen(start: Start, run: Path, seal: Seal) -> None:
    """Chain, root, index and digests of the other run are all right in themselves."""
    other = start()
    other.record(made_up_events(4000, seed=2))
    other.finish()
    with Trace(other.directory) as trace:
        trace.verify()
    found = " ".join(differences(seal.statement, other.directory))
    assert "Merkle root" in found and "events is not what was sealed" in found and f"the seal is of run {seal.statement['run']}" in found


def test_changed_content_in_the_blob_store_is_seen(run: Path, seal: Seal, home: Path) -> None:
    with sqlite3.connect(home / "blobs" / "blobs.db") as database:
        database.execute("UPDATE blobs SET data = zeroblob(length(data))")
    assert differences(seal.statement, run)


def test_an_unfinished_or_damaged_run_is_not_sealed(start: Start, run: Path) -> None:
    recording = start()
    recording.record(made_up_events(10))
    with Trace(recording.directory) as trace, pytest.raises(UsageError, match="not finished"):
        state(trace)
    flip(run / "events", -1)
    with Trace(run) as trace, pytest.raises(TraceError):
        state(trace)


def test_a_proof_holds_without_the_run(run: Path, seal: Seal, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    with Trace(run) as trace:
        expected = {seq: trace.event(seq) for seq in (1, 2, large(run), 2711, 4000)}
        proofs = {seq: prove(trace, seal, seq) for seq in expected}
        with pytest.raises(UsageError, match="has no event 4001"):
            prove(trace, seal, 4001)
    shutil.rmtree(run.parent.parent)
    for seq, data in proofs.items():
        proof.write_bytes(data)
        proven = check_proof(proof)
        assert proven.event == expected[seq] and proven.seal == seal


def test_a_changed_proof_does_not_hold(run: Path, seal: Seal, tmp_path: Path) -> None:
    with Trace(run) as trace:
        good = json.loads(prove(trace, seal, large(run)))
    block = base64.b64decode(good["block"])
    changed = bytearray(block)
    changed[200] ^= 1
    (digest, _), *_ = good["blobs"].items()
    statement = good["statement"]
    wrongs = [
        {"block": base64.b64encode(bytes(changed)).decode()},
        {"block": base64.b64encode(block[:100]).decode()},
        {"block": "not base64!"},
        {"block": None},
        {"seq": 3999},
        {"seq": -1},
        {"number": good["number"] + 1},
        {"path": good["path"][:-1]},
        {"path": ["00" * 32, *good["path"][1:]]},
        {"path": ["zz"]},
        {"blobs": {}},
        {"blobs": {digest: base64.b64encode(b"other").decode()}},
        {"blobs": [1]},
        {"statement": {**statement, "merkle_root": "00" * 32}},
        {"statement": {**statement, "blocks": statement["blocks"] + 1}},
        {"statement": {**statement, "more": 1}},
        {"statement": 3},
        {"signature": None},
        {"format": "other"},
    ]
    proof = tmp_path / "proof"
    for wrong in wrongs:
        proof.write_text(json.dumps({**good, **wrong}))
        with pytest.raises(TraceError):
            check_proof(proof)
    for text in ("", "[]", "[" * 100_000, '{"format": 1}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):
        proof.write_text(text)
        with pytest.raises(TraceError):
            check_proof(proof)


# ---- signatures and commands


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    if not shutil.which("ssh-keygen"):
        lacking("ssh-keygen")
    for name in ("good", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", tmp_path / name], check=True, timeout=30)
    public = (tmp_path / "good.pub").read_text()
    (tmp_path / "signers").write_text(f'alice@example.com namespaces="sentra-sandbox-seal" {public}')
    (tmp_path / "elsewhere").write_text(f'alice@example.com namespaces="git" {public}')
    return tmp_path


def test_the_commands_sign_and_say_who_signed(run: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, signers = str(run), str(keys / "signers")
    assert main(["seal", name]) == 0
    assert os.stat(run / "seal").st_mode & 0o777 == 0o600
    assert main(["verify-seal", name]) == 0
    assert "is what was sealed: 4,000 events" in (shown := capsys.readouterr()).out and "not signed" in shown.err
    assert main(["verify-seal", name, "--allowed-signers", signers]) == 1  # unsigned
    assert main(["seal", name, "--sign", str(keys / "good")]) == 0
    capsys.readouterr()
    assert main(["verify-seal", name, "--allowed-signers", signers]) == 0
    assert "signed by alice@example.com" in capsys.readouterr().err
    assert main(["verify-seal", name]) == 0
    assert "nobody vouches" in capsys.readouterr().err
    assert main(["verify-seal", name, "--allowed-signers", str(keys / "elsewhere")]) == 1
    assert main(["verify-seal", name, "--allowed-signers", str(keys / "none")]) == 125
    assert main(["seal", name, "--sign", str(keys / "other"), "-o", str(keys / "run.seal")]) == 0
    assert main(["verify-seal", name, "--seal", str(keys / "run.seal"), "--allowed-signers", signers]) == 1
    assert main(["seal", name, "--sign", str(keys / "missing")]) == 125
    assert main(["verify-seal"]) == 125 and main(["verify-seal", name, "--proof", "x"]) == 125


def test_a_statement_that_was_changed_after_signing_is_seen(run: Path, keys: Path, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seal", str(run), "--sign", str(keys / "good")]) == 0
    kept = json.loads((run / "seal").read_bytes())
    other = start()
    other.record(made_up_events(500, seed=3))
    other.finish()
    with Trace(other.directory) as trace:
        kept["statement"] = state(trace)
    (other.directory / "seal").write_text(json.dumps(kept))
    capsys.readouterr()
    for more in ([], ["--allowed-signers", str(keys / "signers")]):
        assert main(["verify-seal", str(other.directory), *more]) == 1
        assert "DIFFERENT: the signature is not one of this seal" in capsys.readouterr().out


def test_a_signed_proof(run: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof, signers = str(keys / "proof"), str(keys / "signers")
    assert main(["seal", str(run), "--prove", "5"]) == 125  # where to?
    assert main(["seal", str(run), "--prove", "18", "-o", proof, "--sign", str(keys / "good")]) == 0
    flip(run / "events", -1)
    capsys.readouterr()
    assert main(["verify-seal", "--proof", proof, "--allowed-signers", signers]) == 0
    assert "has event 18, at" in capsys.readouterr().out
    assert main(["verify-seal", str(run), "--seal", proof]) == 125  # a proof is no seal


def test_what_is_signed_is_as_documented(seal: Seal) -> None:
    text = json.dumps(seal.statement, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert signed_bytes(seal.statement) == text.encode()
