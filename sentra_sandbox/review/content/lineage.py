"""Where a secret may have gone without being seen: from the process that read it, along what processes handed each other, to something
that left and could not be looked into. Unproven by nature: order and sizes, no bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sentra_sandbox.review.content.channels import Stream, streams
from sentra_sandbox.review.content.hunt import belongs
from sentra_sandbox.review.content.search import Secret, Sightings

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Facts

_ENTRIES_MAX = 200
_SAMPLE = 1 << 20
_KINDS = frozenset({"credential-file", "metadata", "private-key", "canary", "token"})
# Compressed, but everyone can look into them: they are what they say they are, as far as a beginning tells.
_MEDIA = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"%PDF", b"\0\0\0\x18ftyp", b"\0\0\0 ftyp", b"OggS", b"\x7fELF", b"wOF2")

Way = tuple[int, tuple[int, ...]]
"""(event from which on, processes that it went through)"""


def lineage(facts: Facts, sightings: Sightings) -> list[tuple[Secret, tuple[int, ...], str, int, int]]:
    """(secret, processes from the reader to the sender, what left, event, size), for what left after the secret could have got there.

    One entry for each file or source and each thing that left; secrets that were seen leaving need none.
    """
    proven = {sighting.secret.name.split(" ")[0] for sighting in sightings.found}
    sources: dict[tuple[str, int], Secret] = {}
    for secret in sightings.secrets:
        source = secret.name.split(" ")[0]
        if secret.kind in _KINDS and secret.process and source not in proven:
            sources.setdefault((source, secret.process), secret)
    if not sources:
        return []
    ways = {key: _reach(facts, secret) for key, secret in sources.items()}
    found: list[tuple[Secret, tuple[int, ...], str, int, int]] = []
    for process, to, text, seq, size in _opaque(facts):
        for key, secret in sources.items():
            way = ways[key].get(process)
            if way and way[0] < seq and not belongs(secret, to) and len(found) < _ENTRIES_MAX:
                found.append((secret, way[1], text, seq, size))
    return sorted(found, key=lambda entry: entry[3])


def _reach(facts: Facts, secret: Secret) -> dict[int, Way]:
    """The processes that could have the secret, since when, and how."""
    ways: dict[int, Way] = {secret.process: (secret.source_seq, (secret.process,))}
    edges = [(flow.source, flow.target, flow.first_seq, flow.last_seq) for flow in facts.flows]
    edges += [(fact.parent, fact.number, fact.started_seq, fact.started_seq) for fact in facts.processes.values() if fact.parent]
    outgoing: dict[int, list[tuple[int, int, int]]] = {}
    for source, target, first, last in edges:
        outgoing.setdefault(source, []).append((target, first, last))
    todo = [secret.process]
    while todo:
        process = todo.pop(0)
        since, path = ways[process]
        for target, first, last in outgoing.get(process, ()):
            at = max(since, first)
            if last > since and (target not in ways or at < ways[target][0]) and target not in path and len(path) < 32:
                ways[target] = (at, (*path, target))
                todo.append(target)
    return ways


def _opaque(facts: Facts) -> Iterator[tuple[int, str, str, int, int]]:
    """(process, to, what, event, size) of what left and says nothing."""
    for connection in facts.network.connections.values():
        if connection.tls and connection.tls.mode == "passthrough" and connection.sent:
            seq = min((transfer.piece.seq for transfer in connection.transfers if not transfer.to_client), default=0)
            calls = facts.connection_calls.get(connection.number, [])
            process = facts.process_of(connection.task, seq)
            yield process, connection.host, f"TLS passed through to {connection.target}", max([seq, *calls]), connection.sent
    for stream in streams(facts):
        if stream.known or stream.joined or stream.channel in ("url", "http-header"):
            continue
        data, seqs, size = _beginning(stream)
        if is_opaque(data):
            text = f"{size} bytes that cannot be looked into, {stream.channel} to {stream.to}{f':{stream.port}' if stream.port else ''}"
            yield stream.process, stream.to, text, seqs, size


def _beginning(stream: Stream) -> tuple[bytes, int, int]:
    data, last, size = bytearray(), stream.first_seq, 0
    for seq, piece in stream.chunks():
        last = seq
        size += len(piece)
        data += piece[: max(_SAMPLE - len(data), 0)]
    return bytes(data), last, size


def is_opaque(data: bytes, depth: int = 0) -> bool:
    """Whether bytes are as good as random and do not begin as a known kind of file, or are base64 or hex of such, or compressed such."""
    if len(data) < 48 or depth > 3 or any(data.startswith(magic) or (magic in data[:1024] and magic[:1] > b"\x7f") for magic in _MEDIA):
        return False
    from sentra_sandbox.review.content.encodings import unpacked_beginning
    from sentra_sandbox.review.matcher import decoded

    if inner := unpacked_beginning(data):
        return is_opaque(inner, depth + 1)
    if any(byte >= 127 or byte < 9 for byte in data[:4096]):  # else it is text, of which there are more codings
        return _even(data)
    for coding in ("hex", "base64"):
        runs = decoded(coding, data)
        if runs and sum(int(runs.spans[i].start_bytes) for i in range(min(runs.count, 1000))) > len(data) * 0.6:
            return is_opaque(runs.data[:-4], depth + 1)
    return False


def _even(data: bytes) -> bool:
    from sentra_sandbox.review.matcher import histogram

    counts = [count for count in histogram(data) if count]
    entropy = -sum(count / len(data) * math.log2(count / len(data)) for count in counts)
    return entropy >= min(7.5, math.log2(len(data)) * 0.84)  # few bytes cannot show all their values
