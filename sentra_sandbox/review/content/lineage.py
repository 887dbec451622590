"""Where a secret may have gone without being seen: from the process that read it, along what processes handed each other, to something
that left and could not be looked into. Unproven by nature: order and sizes, no bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sentra_sandbox.review.content.hunt import belongs
from sentra_sandbox.review.content.search import Secret, Sightings

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Facts

_ENTRIES_MAX = 200
_KINDS = frozenset({"credential-file", "metadata", "private-key", "canary", "token"})
Way = tuple[int, tuple[int, ...]]
"""(event from which on, processes that it went through)"""
Opaque = tuple[int, str, str, int, int]
"""(process, to, what in words, event, size) of what left and says nothing"""


def lineage(facts: Facts, sightings: Sightings, opaque: list[Opaque]) -> list[tuple[Secret, tuple[int, ...], str, int, int]]:
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
    for process, to, text, seq, size in (*opaque, *_passed_through(facts)):
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


def _passed_through(facts: Facts) -> Iterator[Opaque]:
    """TLS that the broker could not or should not look into."""
    for connection in facts.network.connections.values():
        if connection.tls and connection.tls.mode == "passthrough" and connection.sent:
            seq = min((transfer.piece.seq for transfer in connection.transfers if not transfer.to_client), default=0)
            calls = facts.connection_calls.get(connection.number, [])
            process = facts.process_of(connection.task, seq)
            yield process, connection.host, f"TLS passed through to {connection.target}", max([seq, *calls]), connection.sent
