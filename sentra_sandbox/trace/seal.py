"""Seals: a statement of what a finished run is, to be signed and kept elsewhere; and proofs that one event was in a sealed run.

    statement   run id, Merkle root, numbers of blocks and events, SHA-256 and size of each file of the run
    seal        the statement, and a signature over ``signed_bytes(statement)`` ("" if there is none)
    proof       a seal, one block with its place in the tree, and the content that the event has in the blob store

Checking recomputes everything from the blocks. Seals and proofs are hostile input: what is wrong with them becomes ``TraceError``. A seal
makes later changes evident to whoever holds it, or trusts its signature: tamper-evident, never tamper-proof.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentra_sandbox.errors import TraceError, UsageError
from sentra_sandbox.trace import codec, frames, run
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace.blocks import Block, BlockFile
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.json_text import compact
from sentra_sandbox.trace.merkle import audit_path, root_from_path
from sentra_sandbox.trace.reader import Trace

STATEMENT_FORMAT = "sentra-sandbox-seal 1"
PROOF_FORMAT = "sentra-sandbox-proof 1"
NAME = run.SEAL
SEALED_FILES = (run.METADATA, run.EVENTS, run.INDEX, run.FILES, run.BLOBS)
SEAL_MAX = 1 << 20
PROOF_MAX = 256 << 20
_CHUNK = 1 << 20
Statement = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seal:
    """``signature`` is armoured as ssh-keygen writes it, ``""`` without one."""

    statement: Statement
    signature: str = ""

    def to_json(self) -> bytes:
        return json.dumps({"statement": self.statement, "signature": self.signature}, indent=1, sort_keys=True).encode() + b"\n"


def signed_bytes(statement: Statement) -> bytes:
    """What is signed: the statement as JSON with sorted keys, no spaces, only ASCII, no line end."""
    return compact(statement, sort_keys=True).encode()


def state(trace: Trace) -> Statement:
    """The statement about a run, everything recomputed and verified. Raises ``TraceError`` if it is damaged, ``UsageError`` if it has
    not ended.
    """
    if not trace.finished:
        remedy = "Wait for its end; a run that was cut off is recovered when it is opened."
        raise UsageError(f"Run {trace.meta.id} is not finished.", remedy)
    trace.verify()
    leaves = _leaves(trace.path)
    return {
        "format": STATEMENT_FORMAT,
        "run": trace.meta.id,
        "merkle_root": _root(leaves).hex(),
        "blocks": len(leaves),
        "events": trace.meta.counts.get("events", 0),
        "files": {name: _file(trace.path / name) for name in SEALED_FILES},
    }


def differences(statement: Statement, run_dir: Path) -> list[str]:
    """What of a run is not as the statement says, in words; empty if all is. Goes on after what it finds."""
    found = [difference for name in SEALED_FILES if (difference := _file_difference(run_dir / name, statement["files"][name]))]
    try:
        leaves = _leaves(run_dir)
        if _root(leaves).hex() != statement["merkle_root"] or len(leaves) != statement["blocks"]:
            found.append(f"the blocks have Merkle root {_root(leaves).hex()[:16]}..., the seal {str(statement['merkle_root'])[:16]}...")
        trace = Trace(run_dir)
        try:
            if trace.meta.id != statement["run"]:
                found.append(f"this is run {trace.meta.id}, the seal is of run {statement['run']}")
            if trace.meta.counts.get("events") != statement["events"]:
                found.append(f"the run has {trace.meta.counts.get('events')} events, the seal says {statement['events']}")
            trace.verify()
        finally:
            trace.close()
    except TraceError as error:
        found.append(error.message)
    return list(dict.fromkeys(found))


def _leaves(run_dir: Path) -> list[bytes]:
    """The hashes of all blocks, each computed from its bytes. Raises ``TraceError``."""
    blocks = BlockFile(run_dir / run.EVENTS)
    try:
        leaves = []
        end = layout.EVENTS_HEADER_SIZE
        for block in blocks.blocks():
            blocks.content(block)  # compares the hash with the bytes
            leaves.append(block.header.digest)
            end = block.end
        if end != blocks.size():
            raise blocks.damaged("bytes that are no whole block", end)
        return leaves
    finally:
        blocks.close()


def _root(leaves: list[bytes]) -> bytes:
    tree = layout.MerkleTree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def _file(path: Path) -> dict[str, Any]:
    """SHA-256 and size. Raises ``TraceError``."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        digest, size = hashlib.sha256(), 0
        with open(fd, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    return {"sha256": digest.hexdigest(), "size": size}


def _file_difference(path: Path, sealed: dict[str, Any]) -> str:
    try:
        found = _file(path)
    except TraceError as error:
        return error.message
    if found == sealed:
        return ""
    same = found["size"] == sealed["size"]
    size = "other content of the same size" if same else f"{found['size']:,} bytes, sealed with {sealed['size']:,}"
    return f"{path.name} is not what was sealed: {size}"


# ---- seals from files


def read_seal(path: Path) -> Seal:
    """Raises ``TraceError`` for anything but a seal of this version."""
    return _seal(_json(run.read_file(path, SEAL_MAX), path), path)


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path} is no JSON: {error}.", path=str(path), offset=0) from error
    if not isinstance(value, dict):
        raise TraceError(f"{path} holds no JSON object.", path=str(path), offset=0)
    return value


def _seal(value: dict[str, Any], path: Path) -> Seal:
    statement, signature = value.get("statement"), value.get("signature")
    if set(value) != {"statement", "signature"} or not isinstance(signature, str) or not _is_statement(statement):
        raise TraceError(f"{path} is no seal of this version ({STATEMENT_FORMAT}).", path=str(path), offset=0)
    assert isinstance(statement, dict)
    return Seal(statement, signature)


def _is_statement(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"format", "run", "merkle_root", "blocks", "events", "files"}:
        return False
    files = value["files"]
    return (
        value["format"] == STATEMENT_FORMAT
        and isinstance(value["run"], str)
        and _is_hash(value["merkle_root"])
        and _is_count(value["blocks"])
        and _is_count(value["events"])
        and isinstance(files, dict)
        and set(files) == set(SEALED_FILES)
        and all(isinstance(file, dict) and set(file) == {"sha256", "size"} for file in files.values())
        and all(_is_hash(file["sha256"]) and _is_count(file["size"]) for file in files.values())
    )


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


# ---- proofs


def prove(trace: Trace, seal: Seal, seq: int) -> bytes:
    """A proof that the run of this seal has event ``seq``. Raises ``UsageError`` if it has none, ``TraceError``."""
    blocks = BlockFile(trace.path / run.EVENTS)
    try:
        all_blocks = list(blocks.blocks())
        number = next((n for n, block in enumerate(all_blocks) if block.header.first_seq <= seq <= block.header.last_seq), -1)
        if number < 0:
            raise UsageError(f"Run {trace.meta.id} has no event {seq}.")
        block = all_blocks[number]
        content = blocks.content(block)
        raw = _raw_block(trace.path / run.EVENTS, block)
    finally:
        blocks.close()
    needed = _blobs_of_event(content, seq, trace)
    proof = {
        "format": PROOF_FORMAT,
        "statement": seal.statement,
        "signature": seal.signature,
        "seq": seq,
        "number": number,
        "path": [node.hex() for node in audit_path([block.header.digest for block in all_blocks], number)],
        "block": base64.b64encode(raw).decode(),
        "blobs": {digest.hex(): base64.b64encode(data).decode() for digest, data in needed.items()},
    }
    return json.dumps(proof, indent=1, sort_keys=True).encode() + b"\n"


def _raw_block(path: Path, block: Block) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), block.header.size, block.offset)


def _blobs_of_event(content: bytes, seq: int, trace: Trace) -> dict[bytes, bytes]:
    """The blobs that one event refers to."""
    event = _event_of(codec.unpack(content, lambda digests: [trace.blob(digest) for digest in digests]), seq)
    if event is None:
        raise UsageError(f"The run has no event {seq}.", "Numbers may be missing where a recorder was killed.")
    hashes = set(codec.packed_hashes(content))
    parts = ((hashlib.sha256(segment.data).digest(), segment.data) for segment in event.segments)
    return {digest: data for digest, data in parts if digest in hashes}


def _event_of(events: list[Event], seq: int) -> Event | None:
    return next((event for event in events if event.seq == seq), None)


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof shows: this event was in the run of this seal. Who made the seal is for its signature to say."""

    seal: Seal
    event: Event


def check_proof(path: Path) -> Proven:
    """Check a proof without the run. Raises ``TraceError`` that says what does not hold."""
    value = _json(run.read_file(path, PROOF_MAX), path)
    if value.get("format") != PROOF_FORMAT:
        raise TraceError(f"{path} is no proof of this version ({PROOF_FORMAT}).", path=str(path), offset=0)

    def wrong(what: str) -> TraceError:
        return TraceError(f"{path} proves nothing: {what}.", path=str(path))

    seal = _seal({name: value.get(name) for name in ("statement", "signature")}, path)
    seq, number, nodes, blobs = (value.get(name) for name in ("seq", "number", "path", "blobs"))
    if not (_is_count(seq) and _is_count(number) and isinstance(nodes, list) and all(map(_is_hash, nodes)) and isinstance(blobs, dict)):
        raise wrong("a field is missing or of the wrong type")
    assert isinstance(number, int) and isinstance(seq, int)
    header, content = _proven_block(_bytes(value.get("block"), wrong), wrong, path)
    root = root_from_path(header.digest, number, seal.statement["blocks"], [bytes.fromhex(node) for node in nodes])
    if root is None or root.hex() != seal.statement["merkle_root"]:
        raise wrong("its block does not lead to the Merkle root of the seal")
    known = {_checked_hash(digest, data := _bytes(text, wrong), wrong): data for digest, text in blobs.items()}
    try:
        event = _event_of(codec.unpack(content, _resolver(content, known)), seq)
    except codec.CodecError as error:
        raise wrong(f"its block breaks the layout ({error})") from error
    if event is None:
        raise wrong(f"its block has no event {seq}")
    if any(isinstance(segment.data, memoryview) for segment in event.segments):
        raise wrong("it lacks content of its event")
    return Proven(seal, event)


def _bytes(text: object, wrong: Any) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    error: TraceError = wrong("a field is no base64")
    raise error


def _checked_hash(digest: object, data: bytes, wrong: Any) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        error: TraceError = wrong("content does not match its hash")
        raise error
    return hashlib.sha256(data).digest()


def _proven_block(raw: bytes, wrong: Any, path: Path) -> tuple[layout.BlockHeader, bytes]:
    if len(raw) < layout.BLOCK_HEADER_SIZE:
        raise wrong("its block is too short")
    header = layout.unpack_block_header(raw[: layout.BLOCK_HEADER_SIZE], str(path), 0)
    frame = raw[layout.BLOCK_HEADER_SIZE :]
    if len(frame) != header.frame_bytes or layout.block_digest(header, frame) != header.digest:
        raise wrong("its block does not match its own hash")
    try:
        return header, frames.decompress(frame, header.content_bytes)
    except frames.FrameError as error:
        raise wrong(str(error)) from error


def _resolver(content: bytes, known: dict[bytes, bytes]) -> codec.Resolve:
    """Content that the proof has; for that of other events, of which the block has only hash and size, zeros that are told apart by their
    type.
    """
    sizes = codec.blob_sizes(content)
    zeros = memoryview(bytes(codec.RECORD_MAX))

    def resolve(digests: Any) -> Any:
        return [known[digest] if digest in known else zeros[: sizes.get(digest, 0)] for digest in digests]

    return resolve
