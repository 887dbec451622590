"""Where in the code a finding's call was made: the Python stack of the responsible task, by replaying the run to that event.

Only for the worst findings, only where the recording is exact, only up to ``SEQ_MAX`` (a replay takes as long as the run did), one replay
for all of them. What was found is kept in the run's directory: the trace does not change any more.
"""

from __future__ import annotations

import contextlib
import json
import os

from sentra_sandbox.errors import SentraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentra_sandbox.replay.python_stack import PythonFrame
    from sentra_sandbox.review.facts import Facts
    from sentra_sandbox.review.findings import Evidence, Finding
    from sentra_sandbox.review.review import Review
    from sentra_sandbox.trace.reader import Trace

FINDINGS_MAX = 5
PLACES_MAX = 3  # of one finding
FRAMES_MAX = 8
SEQ_MAX = 300_000
CACHE_MAX = 1 << 20
_BACK = 64  # events between execve and its EXEC event
_EXECVE = (59, 322)

Stacks = dict[int, list[str]]
"""Event → the lines of its stack, the most recent call last; empty if it has none."""


def find_where(trace: Trace, result: Review) -> tuple[dict[str, list[str]], str]:
    """``(fingerprint → lines, what to say to the reader)``; nothing where no finding's call was made by Python."""
    worst = result.findings[:FINDINGS_MAX]
    wanted = {finding.fingerprint: list(_places(result.facts, finding))[:PLACES_MAX] for finding in worst}
    seqs = sorted({seq for places in wanted.values() for seq, _ in places})
    if not seqs:
        return {}, ""
    if trace.meta.grade != "exact":
        return {}, f"Source lines were not looked for: the run does not replay exactly ({trace.meta.grade or 'unfinished'})."
    known = _read_cache(trace)
    actors = {seq: actor for places in wanted.values() for seq, actor in places}
    missing = [seq for seq in seqs if seq not in known and seq <= SEQ_MAX]
    note = ""
    if missing:
        try:
            known.update(_replayed(trace, {seq: actors[seq] for seq in missing}))
            _write_cache(trace, known)
        except SentraError as error:
            note = f"Source lines were not found: the run could not be replayed here ({error.message})"
    where = {}
    for fingerprint, places in wanted.items():
        lines = next((known[seq] for seq, _ in places if known.get(seq)), None)
        if lines:
            where[fingerprint] = lines
    return where, note


def _places(facts: Facts, finding: Finding) -> Iterator[tuple[int, int]]:
    """(event, task) of calls that are responsible for a finding, the most telling first: its last evidence is what it came to."""
    for evidence in reversed(finding.evidence):
        if (place := _place(facts, evidence)) is not None:
            yield place
            break
    for process in facts.lineage(finding.process):
        above = facts.processes.get(process.parent)
        if above is not None and above.image is not None and "python" in (above.image.interpreter or above.image.path):
            yield process.started_seq, above.pid
            break
    for evidence in finding.evidence[:-1]:
        if (place := _place(facts, evidence)) is not None:
            yield place


def _place(facts: Facts, evidence: Evidence) -> tuple[int, int] | None:
    from sentra_sandbox.trace.events import EventType

    seq = evidence.seq
    exchange = facts.network.exchanges.get(evidence.exchange)
    try:
        event = facts.event(seq)
    except KeyError:
        return None
    if event.type >= EventType.ENDPOINT:
        if event.type == EventType.ENDPOINT or (exchange is None and not event.args):
            return None
        number = exchange.connection if exchange is not None else event.args[0]
        calls = facts.connection_calls.get(number, [])
        before = [call for call in calls if call < seq] or calls[:1]
        if not before:
            return None
        return before[-1], facts.event(before[-1]).task
    if event.type == EventType.EXEC:
        return _before_exec(facts, seq, event.task)
    return (seq, event.task) if event.type == EventType.SYSCALL else None


def _before_exec(facts: Facts, seq: int, task: int) -> tuple[int, int] | None:
    """The execve call: when its EXEC event comes, the old program is gone."""
    for earlier in range(seq - 1, max(seq - _BACK, 0), -1):
        with contextlib.suppress(KeyError):
            event = facts.event(earlier)
            if event.type == 1 and event.task == task and event.nr in _EXECVE:
                return earlier, task
    return None


def _replayed(trace: Trace, actors: dict[int, int]) -> Stacks:
    """One replay, held at each event in turn. Raises ``SentraError``."""
    from sentra_sandbox.replay.held import HeldReplay
    from sentra_sandbox.replay.inspect import look
    from sentra_sandbox.replay.memory import Hold

    found: Stacks = {}
    with HeldReplay(trace) as held:
        for seq in sorted(actors):
            if held.run_to(seq) != Hold.AT_EVENT:
                break
            task = next((task for task in held.tasks() if task.inner_tid == actors[seq]), None)
            found[seq] = []
            if task is not None:
                found[seq] = _lines(look(held, task).python_stack)
    return found


def _lines(stack: tuple[PythonFrame, ...]) -> list[str]:
    """The program's own frames as in a traceback, the most recent call last; those of the library only if there are no others."""
    frames = [frame for frame in stack if not frame.file.startswith("<frozen ")]
    own = [frame for frame in frames if "/lib/python3" not in frame.file]
    return [str(frame) for frame in reversed((own or frames)[:FRAMES_MAX])]


# ---- the cache


def _read_cache(trace: Trace) -> Stacks:
    """What an earlier review found for this very trace; nothing if there is none, or it is not what we wrote."""
    from sentra_sandbox.trace.run import WHERE

    try:
        with open(trace.path / WHERE, "rb") as file:
            document = json.loads(file.read(CACHE_MAX))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or document.get("merkle_root") != trace.meta.merkle_root:
        return {}
    stacks = document.get("stacks")
    if not isinstance(stacks, dict):
        return {}
    return {
        int(seq): [line for line in lines if isinstance(line, str)][:FRAMES_MAX]
        for seq, lines in stacks.items()
        if seq.isdigit() and isinstance(lines, list)
    }


def _write_cache(trace: Trace, stacks: Stacks) -> None:
    """A run in a place that cannot be written is reviewed all the same."""
    from sentra_sandbox.trace.run import WHERE

    text = json.dumps({"merkle_root": trace.meta.merkle_root, "stacks": {str(seq): lines for seq, lines in sorted(stacks.items())}})
    with contextlib.suppress(OSError):
        fd = os.open(trace.path / WHERE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
