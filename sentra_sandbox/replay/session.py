"""Replaying one run: plan, engine thread, feeding it the trace. ``replay`` is the whole of it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sentra_sandbox.errors import Divergence, HostError, TraceError
from sentra_sandbox.native import ffi, lib, new_error
from sentra_sandbox.record.session import exit_status
from sentra_sandbox.replay.memory import HeldTask, Hold, TaskMemory, Unreadable, held_task
from sentra_sandbox.replay.native_stack import NativeFrame, native_stack
from sentra_sandbox.replay.plan import ReplayFile, make_executable, replay_files, replay_plan
from sentra_sandbox.replay.python_stack import PythonFrame, python_stack
from sentra_sandbox.replay.recorded_filter import replay_filter
from sentra_sandbox.sandbox.launch import launch_error
from sentra_sandbox.sandbox.native_plan import plan_to_native
from sentra_sandbox.trace import codec
from sentra_sandbox.trace.blobs import BlobStore
from sentra_sandbox.trace.blocks import BlockFile
from sentra_sandbox.trace.events import EventType
from sentra_sandbox.trace.format import BLOCK_RECOVERED
from sentra_sandbox.trace.pack import unpack_records
from sentra_sandbox.trace.reader import Trace, blob_root
from sentra_sandbox.trace.run import EVENTS, SEALED, default_home

WAIT_MS = 500  # a signal for us is noticed within this time
RECENT_NS = 86400 * 10**9  # as in the recorder (csrc/intercept/files.c)
HANG_NS = 600_000_000_000  # user code between two calls takes as long as it took; this is for loops that never end


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The first difference between a recording and its replay. Fields as in ``struct sentra_divergence``."""

    kind: str
    seq: int
    task: int
    expected_nr: int
    actual_nr: int
    argument: int
    expected: int
    actual: int
    offset: int
    text: str
    native_stack: tuple[NativeFrame, ...] = ()  # of the diverging task, innermost first; empty where it cannot be told
    python_stack: tuple[PythonFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How a replay ended. ``divergence`` is the first difference, None when everything was as recorded; ``more`` are those after it
    (``keep_going``), in order; the last of all ended the replay if it did not come to its end.
    """

    run_id: str
    exit_status: int
    events: int
    last_seq: int
    duration_ns: int
    divergence: ReplayReport | None
    more: tuple[ReplayReport, ...] = ()


def replay(run_dir: Path, *, stdout: int = 1, stderr: int = 2, keep_going: int = 0) -> ReplayResult:
    """Execute the run in ``run_dir`` again from its trace alone.

    ``keep_going`` differences (at most 64) in what calls hand over are noted and passed where the call is answered from the trace anyway.

    What the program writes to its standard streams goes to the descriptors ``stdout`` and ``stderr`` (-1: nowhere). Raises ``TraceError``
    for a trace that is damaged or lacks something, ``SetupError`` or ``HostError`` when the sandbox cannot be built here.
    """
    with Trace(run_dir) as trace:
        return ReplaySession(trace, stdout, stderr, keep_going=keep_going).run()


class ReplaySession:
    """One replay. ``run`` is all of it; ``HeldReplay`` uses the parts."""

    def __init__(self, trace: Trace, stdout: int, stderr: int, hold_at_seq: int = 0, keep_going: int = 0) -> None:
        self._trace = trace
        self._store = blob_root(trace.path)
        self._blobs = BlobStore(self._store)
        entries = trace.files()
        make_executable(self._store, entries)
        files = replay_files(entries)
        cpus = sorted(os.sched_getaffinity(0))
        cpu = cpus[os.getpid() % len(cpus)]
        program = replay_filter(trace, default_home() / "cache")
        self._plan = replay_plan(self._store / "files", _first_image(trace, files), program, cpu, trace.meta.options)
        self._native_plan = self._with_no_streams()
        self._error = new_error()
        self._divergence = ffi.new("struct sentra_divergence *")
        self._keep_going = keep_going
        self._native = self._new_native(files, cpu, (stdout, stderr), hold_at_seq)
        self._thread = threading.Thread(target=self._engine, name="sentra-replay")
        self._result = 0
        self._started = 0
        self._native_stack: tuple[NativeFrame, ...] = ()
        self._python_stack: tuple[PythonFrame, ...] = ()

    def _recorded_from_ns(self) -> int:
        """When the recording began, as CLOCK_REALTIME."""
        blocks = BlockFile(Path(self._trace.path) / EVENTS, unfinished=not self._trace.finished)
        try:
            return int(blocks.start().start_realtime_ns)
        finally:
            blocks.close()

    def _with_no_streams(self) -> Any:
        """The plan for the launcher. The program's descriptors are none: what it writes comes from its calls."""
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        return plan_to_native(ffi, replace(self._plan, stdio=(self._null,) * 3))

    def _new_native(self, files: list[ReplayFile], cpu: int, outputs: tuple[int, int], hold_at_seq: int) -> Any:
        options = ffi.new("struct sentra_replay_options *")
        options.launch = self._native_plan.options[0]
        options.cpu = cpu
        options.output_fds = outputs
        options.stop_at_seq = hold_at_seq
        options.hang_ns = HANG_NS
        options.recent_since_ns = max(0, self._recorded_from_ns() - RECENT_NS)
        options.keep_going = self._keep_going
        options.hold_on_divergence = 1
        native = lib.sentra_replay_new(options, self._error)
        if native == ffi.NULL:
            raise HostError("The replay could not be set up: out of memory or descriptors.")
        for item in files:
            if lib.sentra_replay_file(native, item.file_id, item.dev, item.ino, item.size, item.path.encode()):
                raise TraceError(f"The trace names a file number {item.file_id}, which cannot be.", path=str(self._trace.path))
        return native

    def run(self) -> ReplayResult:
        self.start()
        try:
            self.feed()
            while self.wait(WAIT_MS) == Hold.NOT:
                pass
            return self.end()
        finally:
            self.abort()

    def start(self) -> None:
        """Let the engine begin; ``abort`` is owed from then on."""
        self._started = time.monotonic_ns()
        self._thread.start()

    def wait(self, timeout_ms: int) -> Hold:
        """Why the replay is held, if it is within this time; see ``Hold``."""
        return Hold(lib.sentra_replay_wait_held(self._native, timeout_ms))

    def go_on(self, hold_at_seq: int) -> None:
        """From a hold at an event: go on, to the end (0) or until before this event."""
        lib.sentra_replay_continue(self._native, hold_at_seq)

    def tasks(self) -> tuple[HeldTask, ...]:
        """The tasks of a held replay; none when it is not held."""
        count = lib.sentra_replay_tasks(self._native, ffi.NULL, 0)
        if count <= 0:
            return ()
        found = ffi.new("struct sentra_replay_task[]", count)
        lib.sentra_replay_tasks(self._native, found, count)
        return tuple(held_task(item) for item in found)

    def end(self) -> ReplayResult:
        """How the replay ended; looks at the diverging task first if it is held there. Call it once, when ``wait`` says so."""
        if self.wait(0) == Hold.DIVERGED:
            self._look_at_diverging_task()
            lib.sentra_replay_stop(self._native)
        self._thread.join()
        stats = ffi.new("struct sentra_replay_stats *")
        lib.sentra_replay_stats(self._native, stats)
        if self._result < 0:
            raise launch_error(self._error)
        status = exit_status(int(stats.exit_status)) if stats.exit_status >= 0 else Divergence.exit_status
        differences = self._differences(status, int(stats.seq))
        return ReplayResult(
            run_id=self._trace.meta.id,
            exit_status=status,
            events=int(stats.events),
            last_seq=int(stats.seq),
            duration_ns=time.monotonic_ns() - self._started,
            divergence=differences[0] if differences else None,
            more=tuple(differences[1:]),
        )

    def abort(self) -> None:
        """Stop what still runs and let go of everything. Harmless after the end."""
        if self._native == ffi.NULL:
            return
        lib.sentra_replay_stop(self._native)
        lib.sentra_replay_feed_end(self._native)
        if self._thread.ident is not None:
            self._thread.join()
        lib.sentra_replay_free(self._native)
        os.close(self._null)
        self._native = ffi.NULL

    def stop(self) -> None:
        """End the replay early, from any thread."""
        lib.sentra_replay_stop(self._native)

    def diverging_tid(self) -> int:
        """The thread that differs, in our namespace; 0 when there is none."""
        return int(lib.sentra_replay_diverging(self._native))

    def _look_at_diverging_task(self) -> None:
        """Its stacks, for the report. What cannot be read is left out: the report stands without it."""
        tid = self.diverging_tid()
        task = next((item for item in self.tasks() if item.tid == tid and item.stopped), None)
        if task is None:
            return
        with contextlib.suppress(Unreadable), TaskMemory(task.tid, self._store, self._trace.files()) as memory:
            self._native_stack = native_stack(memory, task.registers)
            self._python_stack = python_stack(memory, task.registers, task.inner_tid)

    def _engine(self) -> None:
        self._result = lib.sentra_replay_loop(self._native, self._divergence, self._error)

    def feed(self) -> None:
        """Unpack block after block and hand over the records; the engine works meanwhile."""
        blocks = BlockFile(self._trace.path / EVENTS, unfinished=not self._trace.finished)
        end = 0
        try:
            for block in blocks.blocks():
                end = block.end
                if block.header.flags & BLOCK_RECOVERED:
                    continue  # calls that were not finished, and a note: nothing to replay
                packed = blocks.content(block)
                records = unpack_records(packed, self._blobs.get_many(codec.packed_hashes(packed)), block.header.record_bytes)
                if lib.sentra_replay_feed(self._native, ffi.from_buffer(records), len(records)):
                    return
            if self._trace.finished and end != self._trace.meta.sizes.get("events"):
                raise blocks.damaged("an end where the run's description does not expect it", end)
        except codec.CodecError as error:
            raise blocks.damaged(f"a block whose content breaks the layout ({error})", end) from error
        finally:
            blocks.close()
        lib.sentra_replay_feed_end(self._native)

    def _other_ending(self, status: int, seq: int) -> ReplayReport | None:
        """A difference that no event shows: the program's end. A run that was cut off has none."""
        recorded = self._trace.meta.exit_status
        if self._trace.meta.state != SEALED or recorded is None or recorded == status:
            return None
        text = f"the program ended with exit status {recorded} in the recording and with {status} now"
        return ReplayReport("end", seq, 0, 0, 0, -1, recorded, status, 0, text)

    def _differences(self, status: int, seq: int) -> list[ReplayReport]:
        """All differences in order: those that were passed, then the one that ended the replay or the program's other end."""
        count = lib.sentra_replay_passed(self._native, ffi.NULL, 0)
        passed = ffi.new("struct sentra_divergence[]", max(1, count))
        lib.sentra_replay_passed(self._native, passed, count)
        found = [self._report(passed[index]) for index in range(count)]
        if self._divergence.kind:
            last = replace(self._report(self._divergence), native_stack=self._native_stack, python_stack=self._python_stack)
            return [*found, last]
        ending = None if found else self._other_ending(status, seq)
        return [*found, ending] if ending else found

    def _report(self, found: Any) -> ReplayReport:
        kinds = ("none", "call", "argument", "bytes", "result", "stop", "task", "end", "hang", "trace", "unsupported")
        return ReplayReport(
            kind=kinds[found.kind] if found.kind < len(kinds) else str(int(found.kind)),
            seq=int(found.seq),
            task=int(found.task),
            expected_nr=int(found.expected_nr),
            actual_nr=int(found.actual_nr),
            argument=int(found.argument),
            expected=int(found.expected),
            actual=int(found.actual),
            offset=int(found.offset),
            text=ffi.string(found.text).decode("utf-8", "replace"),
        )


def _first_image(trace: Trace, files: list[ReplayFile]) -> ReplayFile:
    """The program that the run began with. Raises ``TraceError`` when the trace has none."""
    by_id = {item.file_id: item for item in files}
    for event in trace.events():
        if event.type == EventType.EXEC:
            for segment in event.segments:
                if segment.kind == 4 and segment.arg == 0:
                    found = by_id.get(int.from_bytes(segment.data[:4], "little"))
                    if found:
                        return found
        if event.seq > 100_000:
            break
    raise TraceError("The trace has no program that was executed, or not its content.", "It cannot be replayed.", path=str(trace.path))
