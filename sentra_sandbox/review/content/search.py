"""Where bytes of secrets were seen leaving. The contract between the search and the detectors.

secret_places, secret_files ─► secrets ─► atoms ─┐ needles
facts ─► channels (what left, as streams) ───────┴─► encodings (matcher: C) ─► hunt ─► Sightings
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Facts


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that should not leave. ``kind``: ``credential-file``, ``environment``, ``metadata``, ``canary``, ``private-key``,
    ``token`` (found by its form), ``personal`` (of a person).
    ``name`` says which without giving it away (``~/.aws/credentials [default] aws_secret_access_key``, ``$GITHUB_TOKEN``). ``source_seq``
    is where the run got it, ``process`` who.
    ``owners`` are host patterns to which sending it is normal (api.openai.com for an OpenAI key). ``bits``: its estimated entropy.
    """

    name: str
    kind: str
    value: bytes
    source_seq: int
    process: int
    owners: tuple[str, ...] = ()
    bits: float = 0.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """Part of a secret in something that left (or went to another process). ``channel``: ``http-body``, ``http-header``, ``url``,
    ``raw``, ``dns``, ``argv``, ``websocket``, ``file``, ``pipe``;
    ``coding`` is the chain that was taken off, outermost first (``gzip>base64``); ``seqs`` and ``offset`` say where (several for bytes
    split over packets); ``bits``
    is the entropy of the matched part. ``to`` is the host's name or address, ``exchange``/``connection`` the broker's numbers (0: none).
    """

    secret: Secret
    channel: str
    to: str
    coding: str
    seqs: tuple[int, ...]
    offset: int
    size: int
    bits: float
    process: int
    exchange: int = 0
    connection: int = 0
    port: int = 0
    prompt: bool = False  # in the prompt of a language model


@dataclass(slots=True)
class Sightings:
    """All secrets that the run got, and where they were seen. ``lineage``: ordered flows with sizes from a secret's reader to something
    that left and could
    not be looked into (unproven): (secret, path of process numbers, transfer description, seq, size).
    """

    secrets: list[Secret] = field(default_factory=list)
    found: list[Sighting] = field(default_factory=list)
    lineage: list[tuple[Secret, tuple[int, ...], str, int, int]] = field(default_factory=list)
    searched_bytes: int = 0
    notes: list[str] = field(default_factory=list)

    def of(self, kinds: Iterable[str]) -> list[Sighting]:
        """Sightings of secrets of these kinds."""
        wanted = set(kinds)
        return [sighting for sighting in self.found if sighting.secret.kind in wanted]


def search(facts: Facts, canaries: Iterable[tuple[str, bytes]] = ()) -> Sightings:
    """Look for all secrets of a run in everything that left. What could not be looked at is said in ``notes``. Needs the extension."""
    from sentra_sandbox.review.content.hunt import hunt

    return hunt(facts, tuple(canaries))
