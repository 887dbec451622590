"""The search itself: all secrets of a run against all that left.

One matcher holds the needles of all secrets. Hits in one stream are put together for each secret: which of its bytes were there, in
which coding. A sighting needs enough bits to be no chance. Sending a secret to whom it belongs is none, nor is sending back what the same
host sent before.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sentra_sandbox.errors import HostError
from sentra_sandbox.review.content.atoms import Needle, atoms_of, needles_of
from sentra_sandbox.review.content.channels import Stream, host_of, streams
from sentra_sandbox.review.content.search import Secret, Sighting, Sightings

if TYPE_CHECKING:
    from sentra_sandbox.review.content.encodings import Explorer
    from sentra_sandbox.review.facts import Facts
    from sentra_sandbox.review.matcher import Hit

LEAST_BITS = 40.0  # of a piece of a secret; a whole one is enough in any case
SECONDS_MAX = 600.0
FOUND_MAX = 5000
_PIECES_MAX = 20_000  # of one stream
_SEQS_MAX = 64


@dataclass(slots=True)
class _Pieces:
    """What was found of one secret in one coding: (offset, size) in the stream, and which bytes of each family."""

    places: list[tuple[int, int]] = field(default_factory=list)
    covered: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    totals: dict[int, int] = field(default_factory=dict)


class _Hunter:
    def __init__(self, facts: Facts, secrets: list[Secret], sightings: Sightings) -> None:
        from sentra_sandbox.review.content.encodings import Explorer
        from sentra_sandbox.review.matcher import Matcher

        self.facts, self.secrets, self.sightings = facts, secrets, sightings
        self.needles: list[Needle] = []
        for number, secret in enumerate(secrets):
            for atom in atoms_of(number, secret):
                self.needles.extend(needles_of(atom))
        self.explorer: Explorer = Explorer(Matcher([n.data for n in self.needles], [n.least for n in self.needles]))
        self.deadline = time.monotonic() + SECONDS_MAX
        self.opaque: list[tuple[int, str, str, int, int]] = []  # see lineage.Opaque
        self.came: dict[tuple[bytes, str], int] = {}  # when a host first sent a value itself
        self.best: dict[tuple[Secret, str, str], float] = {}  # of what was found in one thing, by channel and where it went

    def look(self, stream: Stream) -> None:
        """Search one stream, and add what is found in it."""
        from sentra_sandbox.review.content.encodings import WINDOW_BYTES, budget_for, windows

        found: dict[tuple[int, str], _Pieces] = {}
        marks: list[tuple[int, int]] = []
        says_nothing, size = False, 0
        for base, data, window_marks in windows(stream.chunks()):
            marks += window_marks if not marks else [mark for mark in window_marks if mark[0] > marks[-1][0]]
            budget = budget_for(len(data), self.deadline)
            room = [_PIECES_MAX]

            def emit(path: tuple[str, ...], hit: Hit, at: int, size: int, base: int = base, room: list[int] = room) -> None:
                if room[0] > 0:
                    room[0] -= 1
                    self._piece(found, (*stream.codings, *path), hit, base + at, size)

            self.explorer.explore(data, budget, emit)
            self.sightings.searched_bytes += len(data)
            says_nothing = says_nothing if base else self._says_nothing(stream, data)
            size = base + len(data)
            if self.explorer.cut_off and len(data) >= WINDOW_BYTES:
                self._note(f"{stream.channel} to {stream.to}: compressed data longer than {WINDOW_BYTES >> 20} MiB was looked at in part.")
            if budget.spent:
                self._note(f"{stream.channel} to {stream.to}: decoding was stopped at its bound; it may hold more.")
        for number in {number for number, _ in found}:
            self._weigh(stream, number, {coding: pieces for (n, coding), pieces in found.items() if n == number}, marks)

        if says_nothing:
            port = f":{stream.port}" if stream.port else ""
            text = f"{size} bytes that cannot be looked into, {stream.channel} to {stream.to}{port}"
            self.opaque.append((stream.process, stream.to, text, marks[-1][1], size))

    def _says_nothing(self, stream: Stream, data: bytes) -> bool:
        from sentra_sandbox.review.content.opaque import SAMPLE, is_opaque

        if stream.known or stream.joined or stream.channel in ("url", "http-header"):
            return False
        return is_opaque(data[:SAMPLE])

    def _note(self, note: str) -> None:
        if len(self.sightings.notes) < 100 and note not in self.sightings.notes:
            self.sightings.notes.append(note)

    def _piece(self, found: dict[tuple[int, str], _Pieces], path: tuple[str, ...], hit: Hit, at: int, size: int) -> None:
        needle = self.needles[hit.needle]
        coding = ">".join((*path, needle.coding) if needle.coding else path)
        pieces = found.setdefault((needle.atom.secret, coding), _Pieces())
        pieces.places.append((at, size))
        pieces.covered.setdefault(needle.atom.family, []).append(needle.covered(hit.needle_at, hit.size))
        pieces.totals[needle.atom.family] = needle.atom.total

    def _weigh(self, stream: Stream, number: int, codings: dict[str, _Pieces], marks: list[tuple[int, int]]) -> None:
        """The best reading of what was found of a secret; nothing if it is too little, or no news to the host."""
        secret = self.secrets[number]
        weighed = ((self._bits(secret, pieces), coding, pieces) for coding, pieces in codings.items())
        (bits, whole), coding, pieces = max(weighed, key=lambda entry: (entry[0][0], -entry[1].count(">"), -len(entry[1])))
        if bits < LEAST_BITS and not whole:
            return
        if len(self.sightings.found) >= FOUND_MAX:
            return self._note(f"More than {FOUND_MAX} sightings: the rest is left out.")
        start = min(at for at, _ in pieces.places)
        end = max(at + size for at, size in pieces.places)
        seqs = _events(marks, pieces.places)
        last, got = max(seqs, default=stream.first_seq), secret.source_seq
        if (last < got or (last == got and stream.channel != "raw")) and secret.kind != "canary":  # sendfile gets and sends in one call
            return
        if stream.joined and bits <= self.best.get((secret, stream.channel, stream.to), 0.0) * 1.01:
            return
        prompt = stream.channel == "http-body" and self._is_prompt(stream.exchange)
        if not prompt and self._expected(secret, stream):
            return
        if not stream.joined:
            self.best[secret, stream.channel, stream.to] = max(bits, self.best.get((secret, stream.channel, stream.to), 0.0))
        self.sightings.found.append(
            Sighting(
                secret,
                stream.channel,
                stream.to,
                coding,
                seqs or (stream.first_seq,),
                start,
                end - start,
                bits,
                stream.process,
                stream.exchange,
                stream.connection,
                stream.port,
                prompt,
            )
        )

    def _bits(self, secret: Secret, pieces: _Pieces) -> tuple[float, bool]:
        """(bits, whether all of it is there)"""
        best, whole = 0.0, False
        for family, ranges in pieces.covered.items():
            total = max(pieces.totals[family], 1)
            size = _union(ranges)
            whole = whole or size >= total
            # A key's bits are spread over a long text: a line of it is proof enough.
            bits = max(secret.bits, 128.0) * min(size / min(total, 64), 1.0) if secret.kind == "private-key" else secret.bits * size / total
            best = max(best, bits)
        return best, whole

    def _is_prompt(self, number: int) -> bool:
        from sentra_sandbox.views.llm import llm_call

        exchange = self.facts.network.exchanges.get(number)
        return exchange is not None and llm_call(exchange) is not None

    def _expected(self, secret: Secret, stream: Stream) -> bool:
        """Whether it went to whom it belongs, or came from there."""
        if (
            stream.channel not in ("file", "pipe")
            and belongs(secret, stream.to)
            and (not stream.authority or stream.authority == stream.to or belongs(secret, stream.authority))
        ):
            return True
        return self._came_from(secret, stream)

    def _came_from(self, secret: Secret, stream: Stream) -> bool:
        if secret.kind in ("canary", "metadata"):
            return False
        key = secret.value, stream.to
        if key not in self.came:
            self.came[key] = self._first_answer(*key)
        return self.came[key] < stream.first_seq

    def _first_answer(self, value: bytes, host: str) -> int:
        for exchange in self.facts.network.exchanges.values():
            response = exchange.response
            if host_of(exchange) == host and response.seen:
                heads = "\n".join(text for _, text in response.headers).encode("latin-1", "replace")
                if value in heads or (response.size and value in response.decoded(8 << 20).data):
                    return response.seq
        return 1 << 64


def belongs(secret: Secret, host: str) -> bool:
    """Whether sending a secret to ``host`` is what it is for."""
    return any(fnmatch.fnmatchcase(host.lower(), pattern.lower()) for pattern in secret.owners)


def _union(ranges: Iterable[tuple[int, int]]) -> int:
    size, end = 0, 0
    for first, last in sorted(ranges):
        first = max(first, end)
        if last > first:
            size += last - first
            end = last
    return size


def _events(marks: list[tuple[int, int]], places: list[tuple[int, int]]) -> tuple[int, ...]:
    """The events whose bytes were at the places."""
    from bisect import bisect_left, bisect_right

    starts = [at for at, _ in marks]
    found: dict[int, None] = {}
    for at, size in sorted(places):
        first = max(bisect_right(starts, at) - 1, 0)
        for _, seq in marks[first : max(bisect_left(starts, at + max(size, 1)), first + 1)]:
            if len(found) < _SEQS_MAX:
                found[seq] = None
    return tuple(sorted(found))


def hunt(facts: Facts, canaries: tuple[tuple[str, bytes], ...]) -> Sightings:
    """See ``search.search``."""
    from sentra_sandbox.review.content.secrets import secrets_of

    sightings = Sightings()
    sightings.secrets = secrets_of(facts, canaries, sightings.notes)
    if not sightings.secrets:
        return sightings
    try:
        hunter = _Hunter(facts, sightings.secrets, sightings)
    except HostError as error:
        sightings.notes.append(f"Nothing was searched for secrets: {error}")
        return sightings
    later: list[Stream] = []
    for stream in streams(facts):
        if stream.joined:
            later.append(stream)
        else:
            hunter.look(stream)
    for stream in later:  # what is put together counts only where it shows more than its parts
        hunter.look(stream)
    from sentra_sandbox.review.content.lineage import lineage
    from sentra_sandbox.review.content.substitution import substituted

    sightings.found += substituted(facts, sightings)
    sightings.found.sort(key=lambda sighting: (sighting.seqs[0], sighting.secret.name, sighting.channel))
    sightings.lineage = lineage(facts, sightings, hunter.opaque)
    return sightings
