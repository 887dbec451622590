"""What the fixture ``sentra`` does: runs a command, records its network or answers it from a recording, and says what passed.

Recordings hold what was said and no keys: see ``network.recording_file``. One that was made by a test that failed is thrown away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentra_sandbox.errors import UsageError
from sentra_sandbox.network.match_rules import rules_of
from sentra_sandbox.network.recorded import MISSED
from sentra_sandbox.network.recording_file import save_recording
from sentra_sandbox.network.recording_place import is_recording_file
from sentra_sandbox.record.capture import CapturedResult, run
from sentra_sandbox.testing.exchanges import HttpExchange, exchanges_of
from sentra_sandbox.trace.opening import open_trace
from sentra_sandbox.views.network import Network

_MARKER_RULES = {"order": "order", "ignore": "ignore", "ignore_query": "ignoreQuery", "query_order": "queryOrder", "timing": "timing"}
_NOT_IN_A_NAME = re.compile(r"[^\w.\-\[\]=]+")
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a marker: name of the recording, rules of matching as in a file."""

    recording: str
    rules: dict[str, object]


@dataclass(frozen=True, slots=True)
class AgentRun:
    """How a command ended. ``exchanges``: its HTTP exchanges in order, misses included; ``misses``: what it asked that was not in the
    recording, with the nearest and the difference; ``from_recording``: whether it was answered from one; ``directory``: its run, for
    ``sentra-sandbox show``.
    """

    exit_status: int
    stdout: str
    stderr: str
    exchanges: tuple[HttpExchange, ...]
    misses: tuple[str, ...]
    from_recording: bool
    directory: Path


def settings_of(args: Sequence[object], kwargs: Mapping[str, object], test: str) -> Settings:
    """From the marker's arguments. Raises ``UsageError`` for what it does not know."""
    given = dict(kwargs)
    name = str(given.pop("recording", args[0] if args else test))
    unknown = [key for key in given if key not in _MARKER_RULES]
    if unknown or len(args) > 1:
        raise UsageError(
            f"The marker sentra does not know {unknown[0] if unknown else args[1]!r}.", f"It takes recording, {', '.join(_MARKER_RULES)}."
        )
    rules = {_MARKER_RULES[key]: value for key, value in given.items()}
    rules_of(rules)
    safe = _NOT_IN_A_NAME.sub("_", name)
    if not safe.strip("._"):
        raise UsageError(f"{name!r} cannot name a recording.", "Use letters and digits.")
    return Settings(safe, rules)


class SentraTest:
    """The fixture's value, for one test. ``place``: where its recordings are."""

    def __init__(self, settings: Settings, mode: str, place: Path, scratch: Callable[[], Path]) -> None:
        self._settings = settings
        self._mode = mode
        self._place = place
        self._scratch = scratch
        self._runs = 0
        self._new: list[tuple[Path, Path]] = []

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout_s: float = TIMEOUT_S,
        allow_net: Sequence[str] = (),
        maps: Sequence[str] = (),
        allow_misses: bool = False,
    ) -> AgentRun:
        """Run ``command`` in the sandbox. ``env`` is added to this process's environment; ``allow_net`` and ``maps`` are those of ``exec``
        and mean something while recording only.

        Raises ``AssertionError`` for a request that is not in the recording (unless ``allow_misses``) and for a recording that is missing
        where none may be made; errors of ``sentra_sandbox.run`` otherwise.
        """
        recording = self._next_recording()
        recorded = self._mode != "all" and is_recording_file(recording)
        if not recorded and self._mode == "none":
            raise AssertionError(
                f"There is no recording in {recording}, and --sentra-record=none makes none. Run the test once without it."
            )
        directory = self._scratch() / "run"
        result = run(
            command,
            capture_output=True,
            cwd=None if cwd is None else os.fspath(cwd),
            env={**os.environ, **(env or {})},
            net=f"recorded:{recording}" if recorded else "open",
            allow_net=() if recorded else allow_net,
            maps=() if recorded else maps,
            match=self._settings.rules if recorded else None,
            output=directory,
            timeout_s=timeout_s,
        )
        if not recorded:
            self._new.append((directory, recording))
        finished = _finished(result, recorded)
        if finished.misses and not allow_misses:
            raise AssertionError(_missed(finished, recording))
        return finished

    def _next_recording(self) -> Path:
        self._runs += 1
        return self._place / (self._settings.recording + (f"-{self._runs}" if self._runs > 1 else ""))

    def keep(self) -> None:
        """The test has passed: what it recorded answers it from now on."""
        for directory, recording in self._new:
            save_recording(directory, recording)
        self._new.clear()


def _finished(result: CapturedResult, recorded: bool) -> AgentRun:
    with open_trace(result.path) as trace:
        network = Network.of(trace)
        return AgentRun(
            exit_status=result.exit_status,
            stdout=result.stdout.decode("utf-8", "replace"),
            stderr=result.stderr.decode("utf-8", "replace"),
            exchanges=exchanges_of(network),
            misses=tuple(problem.detail for problem in network.problems if problem.what == MISSED),
            from_recording=recorded,
            directory=result.path,
        )


def _missed(finished: AgentRun, recording: Path) -> str:
    lines: list[Any] = [f"{len(finished.misses)} of the program's requests not answered from {recording}:", *dict.fromkeys(finished.misses)]
    lines.append("To record it anew: pytest --sentra-record=all; to leave parts out: @pytest.mark.sentra(ignore=['$.path'])")
    if finished.stderr:
        lines.append(f"The program's standard error ended with: {finished.stderr[-1000:]}")
    return "\n".join(lines)
