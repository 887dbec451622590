"""Control over a replay: let it run to an event, look at its stopped tasks, let it go on.

    with HeldReplay(trace) as held:
        if held.run_to(1234) == Hold.AT_EVENT:      # event 1234 has not happened yet
            for task in held.tasks(): ...
        result = held.finish()

Time goes forwards only: for an earlier event begin again.
"""

from __future__ import annotations

import threading
from types import TracebackType

from sentra_sandbox.errors import UsageError
from sentra_sandbox.replay.memory import HeldTask, Hold, TaskMemory
from sentra_sandbox.replay.session import WAIT_MS, ReplayResult, ReplaySession
from sentra_sandbox.trace.reader import Trace, blob_root


class HeldReplay:
    """A replay that begins held before its first event. Leaving the context ends it, wherever it is."""

    def __init__(self, trace: Trace, *, stdout: int = -1, stderr: int = -1) -> None:
        """``stdout`` and ``stderr``: descriptors for the program's output, -1: nowhere. Raises as ``replay`` does."""
        self._store = blob_root(trace.path)
        self._files = trace.files()
        self._session = ReplaySession(trace, stdout, stderr, hold_at_seq=1)
        self._feeder = threading.Thread(target=self._feed, name="sentra-feed")
        self._error: BaseException | None = None
        self._seq = 1
        self._result: ReplayResult | None = None

    def __enter__(self) -> HeldReplay:
        self._session.start()
        self._feeder.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._session.stop()
        self._feeder.join()
        self._session.abort()

    def _feed(self) -> None:
        try:
            self._session.feed()
        except BaseException as error:  # raised again where somebody waits
            self._error = error
            self._session.stop()

    def run_to(self, seq: int) -> Hold:
        """Go on until just before event ``seq`` (the next one there is, where it has no such event).

        ``Hold.AT_EVENT``: it is there. ``Hold.DIVERGED``: it differed before, and is held where it did; ``finish``
        has the report. ``Hold.ENDED``: the replay ended before. Raises ``UsageError`` for an event that has passed,
        ``TraceError`` for a damaged trace.
        """
        if seq < self._seq:
            raise UsageError(f"The replay is at event {self._seq} already.", "Begin a new one to look at an earlier event.")
        place = self._wait()
        if place == Hold.AT_EVENT and seq > 1:
            self._session.go_on(seq)
            place = self._wait()
        self._seq = seq + 1
        return place

    def _wait(self) -> Hold:
        while (place := self._session.wait(WAIT_MS)) == Hold.NOT:
            pass
        if self._error is not None:
            raise self._error
        return place

    def tasks(self) -> tuple[HeldTask, ...]:
        """The tasks as they are now, by their recorded ids; none unless the replay is held."""
        return tuple(sorted(self._session.tasks(), key=lambda task: task.inner_tid))

    def diverging(self) -> int:
        """The recorded id of the task that differs, 0 unless held at a divergence."""
        tid = self._session.diverging_tid()
        return next((task.inner_tid for task in self.tasks() if tid and task.tid == tid), 0)

    def memory(self, task: HeldTask) -> TaskMemory:
        """The memory of a task: a context manager, valid until the replay goes on. Raises ``Unreadable``."""
        return TaskMemory(task.tid, self._store, self._files)

    def finish(self) -> ReplayResult:
        """Go on to the end. Raises as ``replay`` does."""
        if self._result is None:
            if self._wait() == Hold.AT_EVENT:
                self._session.go_on(0)
                self._wait()
            self._result = self._session.end()
            if self._error is not None:
                raise self._error
        return self._result
