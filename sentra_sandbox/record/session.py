"""Recording one run: plan, directory, engine thread, sealing, metadata. ``record`` is the whole of it.

Order matters for start-up: the program is launched as soon as the plan and the arena exist; what only the sealer needs (the blob store
and its database) is imported while the program already runs.
"""

from __future__ import annotations

import _thread
import os
import time

from sentra_sandbox.errors import HostError, RecordingError, SentraError
from sentra_sandbox.native import ffi, lib, new_error
from sentra_sandbox.record.options import RecordOptions, RunResult
from sentra_sandbox.record.supervise import Deadline, SignalWatch, supervise
from sentra_sandbox.record.terminal import TerminalKept
from sentra_sandbox.sandbox.native_plan import plan_to_native

TYPE_CHECKING = False  # type checkers take it for true; loading typing, pathlib and signal takes 13 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sentra_sandbox.record.own_network import NetworkChoice, OwnNetwork
    from sentra_sandbox.sandbox.plan import SandboxPlan
    from sentra_sandbox.trace.run import RunMetadata
    from sentra_sandbox.trace.writer import Sealer

MARKS_LEFT = 32  # so many ended runs wait to be entered in the catalogue, then one run enters them all
GO_SETTINGS = {"GODEBUG": "asyncpreemptoff=1"}  # Go's preemption signals come in the middle of computations


def record(options: RecordOptions, meanwhile: Callable[[], None] | None = None) -> RunResult:
    """Run the command to its end inside the sandbox and leave its trace on disk.

    ``meanwhile`` is called once while the program runs: for loading what the caller needs afterwards.

    Raises ``CommandNotFound`` or ``CommandNotExecutable``, ``SetupError`` or ``HostError`` when the sandbox cannot be built,
    ``RecordingError`` when the trace could not be written (the program is ended then, what was recorded is kept).
    """
    from sentra_sandbox.record.own_network import choose

    choice = choose(options)
    session = _Session(options, choice, _plan(options, choice), meanwhile)
    try:
        return session.run()
    finally:
        session.close()


def _plan(options: RecordOptions, choice: NetworkChoice) -> SandboxPlan:
    from sentra_sandbox.dataclass import replace
    from sentra_sandbox.policy.cache import cached_filter
    from sentra_sandbox.policy.profiles import profile_file
    from sentra_sandbox.sandbox.plan import default_plan
    from sentra_sandbox.trace.run import home_directory

    env = dict(os.environ if options.env is None else options.env)
    for name, value in GO_SETTINGS.items():
        env.setdefault(name, value)
    cpus = sorted(os.sched_getaffinity(0))
    plan = default_plan(
        options.command,
        env=env,
        cwd=options.cwd,
        net=choice.mode,  # type: ignore[arg-type]
        local_ports=choice.policy.local_ports,
        keep_fds=options.keep_fds,
        cpu=cpus[os.getpid() % len(cpus)],
    )
    stdio = tuple(-1 if fd is None else fd for fd in (options.stdin, options.stdout, options.stderr))
    kept = frozenset(f"CAP_{name}" for name in plan.capabilities)
    program = cached_filter(profile_file(options.profile), f"{home_directory()}/cache", capabilities=kept)
    return replace(plan, stdio=(stdio[0], stdio[1], stdio[2]), trap_tsc=True, filter=program)


class _Session:
    """One recording from the arena's creation to the sealed run."""

    def __init__(
        self, options: RecordOptions, choice: NetworkChoice, plan: SandboxPlan, meanwhile: Callable[[], None] | None
    ) -> None:
        from sentra_sandbox.trace import run as runs
        from sentra_sandbox.trace.arena import Arena

        self._options = options
        self._plan = plan
        self._meanwhile = meanwhile
        self._home = runs.home_directory()
        self._metadata = _metadata(options, plan)
        try:
            self._run_directory = runs.RunDirectory.create(_place(options, self._home, self._metadata.id), self._metadata)
        except HostError as error:
            from sentra_sandbox.sandbox.launch import nested_error

            raise nested_error() or error from None
        self._directory = self._run_directory.path
        self._arena = Arena.create(f"{self._directory}/{runs.ARENA}", rings=2 if choice.mode == "open" else 1)
        self._own_network: OwnNetwork | None = None
        if choice.mode == "open":
            from sentra_sandbox.record.own_network import OwnNetwork

            self._own_network = OwnNetwork(choice, plan, os.fspath(self._directory), self._arena)
            plan = self._own_network.plan
        self._plan = plan = self._hidden(plan)
        self._native_plan = plan_to_native(ffi, plan)
        self._native_run: Any = ffi.NULL
        self._changed_file = ""
        self._sealer: Sealer | None = None
        self._marked = False
        self._error = new_error()
        self._engine_result = 0
        self._affinity = os.sched_getaffinity(0)

    def _hidden(self, plan: SandboxPlan) -> SandboxPlan:
        from sentra_sandbox.dataclass import replace
        from sentra_sandbox.record.hidden import hiding_ops

        kept = "trust" if self._own_network is not None else ""
        in_use = (plan.cwd or "/", plan.path)
        return replace(plan, ops=(*plan.ops, *hiding_ops(self._home, os.fspath(self._directory), kept, in_use)))

    def run(self) -> RunResult:
        """Start the engine, supervise it, seal. See ``record``."""
        self._native_run = self._new_native_run()
        started = time.monotonic()
        deadline = Deadline(self._options.timeout_s)
        failure: SentraError | None = None
        with SignalWatch(self._options.forward_signals) as watch, TerminalKept():
            engine = _EngineThread(self._engine)
            try:
                self._leave_cpu()
                self._show_in_catalogue()
                network = self._own_network.network if self._own_network else None
                supervise(self._native_run, self._arena.eventfd(), self._round, self._arena.close, deadline, watch, network)
                if network is not None:
                    network.stop(self._round)
            except RecordingError as error:
                failure = error
            except BaseException:
                lib.sentra_run_stop(self._native_run)
                raise
            finally:
                self._arena.close()
                engine.join(lambda: lib.sentra_run_stop(self._native_run))
                os.sched_setaffinity(0, self._affinity)
        return self._end(time.monotonic() - started, deadline.expired, failure)

    def _new_native_run(self) -> Any:
        native = ffi.new("struct sentra_run_options *")
        native.launch = self._native_plan.options[0]
        native.arena = self._arena.pointer
        native.cpu = -1 if self._plan.cpu is None else self._plan.cpu
        native.one_cpu = native.hide_vdso = native.serialise = 1
        native.job_control = self._options.forward_signals
        native.max_capture = self._options.max_capture
        if self._own_network is not None:
            self._own_network.fill(ffi, native)
        made = lib.sentra_run_new(native, self._error)
        if made == ffi.NULL:
            raise HostError("The recorder could not be set up: out of memory or descriptors.")
        return made

    def _engine(self) -> None:
        self._engine_result = lib.sentra_run_loop(self._native_run, self._error)

    def _show_in_catalogue(self) -> None:
        """From now on ``ls`` and ``last`` know the run; should this process be killed, the next command recovers it.

        When the run has ended its mark is left for the next command that reads the catalogue (that enters the run and
        takes the mark away): opening another database would make every run 4 ms longer.
        """
        from sentra_sandbox.trace.run import mark_running

        try:
            mark_running(self._home, self._metadata.id, self._directory)
            self._marked = True
        except OSError:
            pass  # only an index; entering the run at its end will say what is wrong

    def _leave_cpu(self) -> None:
        """Sealing goes on beside the program, not in its place."""
        others = self._affinity - {self._plan.cpu}
        if others:
            os.sched_setaffinity(0, others)

    def _round(self) -> None:
        sealer = self._open_sealer()
        sealer.drain()
        self._take_files(sealer)
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()

    def _open_sealer(self) -> Sealer:
        if self._sealer is None:
            from sentra_sandbox.trace.blobs import BlobStore
            from sentra_sandbox.trace.writer import Sealer

            self._sealer = Sealer(self._directory, self._arena, BlobStore(f"{self._home}/blobs"))
            self._sealer.prepare()
        return self._sealer

    def _take_files(self, sealer: Sealer) -> None:
        from sentra_sandbox.trace.blobs import FileIdentity

        native = ffi.new("struct sentra_file *")
        while lib.sentra_run_take_file(self._native_run, native):
            identity = FileIdentity(int(native.dev), int(native.ino), int(native.mtime_ns), int(native.size))
            path = os.fsdecode(ffi.string(native.path)) if native.snapshot else ""
            entry = sealer.add_file(int(native.file_id), int(native.fd), identity, path, snapshot=bool(native.snapshot))
            if entry.changed and not self._changed_file:
                self._changed_file = entry.path

    # ---- the end

    def _end(self, seconds: float, timed_out: bool, failure: SentraError | None) -> RunResult:
        stats = ffi.new("struct sentra_run_stats *")
        lib.sentra_run_stats(self._native_run, stats)
        if self._engine_result < 0 and failure is None:
            failure = self._engine_failure()
        metadata = self._final_metadata(stats, seconds, timed_out)
        sealer = self._open_sealer()
        if failure is None or not isinstance(failure, RecordingError):
            try:
                self._take_files(sealer)
                if self._changed_file and metadata.grade == "exact":
                    from sentra_sandbox.dataclass import replace

                    reason = f"the mapped file {self._changed_file} was changed before its content could be kept"
                    metadata = replace(metadata, grade=f"inexact from seq 1: {reason}")
                metadata = sealer.finish(metadata)
            except RecordingError as error:
                failure = error
        if isinstance(failure, RecordingError):
            metadata = sealer.abandon(metadata, str(failure))
        try:
            self._add_to_catalogue(metadata, discard=failure is not None and not stats.syscalls)
        except (HostError, OSError) as error:  # only an index: it is made again from the run directories
            failure = failure or HostError(f"The run in {self._directory} is complete, but could not be entered in the catalogue: {error}.")
        if failure is not None:
            raise failure
        return self._result(metadata, stats, timed_out)

    def _engine_failure(self) -> SentraError:
        from sentra_sandbox.native import error_text
        from sentra_sandbox.sandbox.launch import launch_error

        step, _, _ = error_text(self._error)
        if step == "write to the trace":
            return RecordingError(
                "The trace could not be written any further; the program was ended.", "What was recorded up to then is kept."
            )
        return launch_error(self._error)

    def _final_metadata(self, stats: Any, seconds: float, timed_out: bool) -> RunMetadata:
        from sentra_sandbox.dataclass import replace

        counts = {
            name: int(getattr(stats, name))
            for name in ("syscalls", "refused", "processes", "threads", "signals", "tsc_traps", "preemptions")
        }
        return replace(
            self._metadata,
            exit_status=exit_status(int(stats.exit_status)),
            duration_ns=int(seconds * 1e9),
            grade=_grade(stats),
            counts=counts,
            note="; ".join(self._notes(timed_out)),
        )

    def _notes(self, timed_out: bool) -> list[str]:
        lost = self._own_network.network.problem if self._own_network is not None else ""
        return [note for note in ("ended by --timeout" if timed_out else "", lost) if note]

    def _add_to_catalogue(self, metadata: RunMetadata, discard: bool) -> None:
        if discard:  # nothing ran: no trace worth keeping
            import shutil

            shutil.rmtree(self._directory, ignore_errors=True)
            return
        marks = len(os.listdir(f"{self._home}/running")) if self._marked else 0
        if marks % MARKS_LEFT:
            return
        import sqlite3
        from pathlib import Path

        from sentra_sandbox.trace.catalogue import Catalogue

        try:
            with Catalogue(Path(self._home)) as catalogue:
                catalogue.add(metadata, Path(self._directory))
                catalogue.enter_ended()
        except sqlite3.Error as error:
            raise HostError(f"{error}", "Free some space.") from error

    def _result(self, metadata: RunMetadata, stats: Any, timed_out: bool) -> RunResult:
        return RunResult(
            run_id=metadata.id,
            directory=str(self._directory),
            wait_status=int(stats.exit_status),
            exit_status=exit_status(int(stats.exit_status)),
            timed_out=timed_out,
            duration_ns=metadata.duration_ns,
            events=metadata.counts["events"],
            processes=int(stats.processes),
            refused=int(stats.refused),
            grade=metadata.grade,
            size_bytes=sum(entry.stat().st_size for entry in os.scandir(self._directory) if entry.is_file()),
            note=metadata.note,
        )

    def close(self) -> None:
        """Free what is native; the run's files stay."""
        if self._native_run != ffi.NULL:
            lib.sentra_run_free(self._native_run)
            self._native_run = ffi.NULL
        if self._own_network is not None:
            self._own_network.close()
        self._arena.free()
        self._run_directory.close()


def _place(options: RecordOptions, home: str, run_id: str) -> str:
    return os.path.abspath(options.output) if options.output else f"{home}/runs/{run_id}"


def exit_status(wait_status: int) -> int:
    """What a shell would show for a wait status: the program's own, or 128+n for signal n."""
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)


def _grade(stats: Any) -> str:
    if not stats.inexact_seq:
        return "exact"
    return f"inexact from seq {int(stats.inexact_seq)}: {ffi.string(stats.inexact_reason).decode('utf-8', 'replace')}"


class _EngineThread:
    """A thread with just what is needed here: loading threading takes longer than the program's launch."""

    def __init__(self, loop: Callable[[], None]) -> None:
        self._loop = loop
        self._started, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._started.acquire()
        self._ended.acquire()
        _thread.start_new_thread(self._run, ())
        self._started.acquire()  # gives the interpreter up, which the thread would else wait 5 ms for

    def _run(self) -> None:
        try:
            self._started.release()
            self._loop()
        finally:
            self._ended.release()

    def join(self, stop: Callable[[], None]) -> None:
        """Wait for the end, whatever comes: what the thread uses is freed afterwards. An interrupt stops the run and is raised then."""
        interrupt: BaseException | None = None
        while True:
            try:
                self._ended.acquire()
                break
            except BaseException as error:  # KeyboardInterrupt, or what another signal handler raises
                interrupt = error
                stop()
        if interrupt is not None:
            raise interrupt


def _packed(program: bytes) -> str:
    import binascii
    import zlib

    return binascii.b2a_base64(zlib.compress(program, 1), newline=False).decode()


def _metadata(options: RecordOptions, plan: SandboxPlan) -> RunMetadata:
    from sentra_sandbox.record.host import host_description
    from sentra_sandbox.trace.run import RunMetadata, new_run_id

    now = time.time()
    return RunMetadata(
        id=new_run_id(now),
        argv=tuple(options.command),
        cwd=plan.cwd or "",
        created=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z",
        name=options.name or "",
        host=host_description(),
        options={
            "net": options.net,
            "allow_net": list(options.allow_net),
            "maps": list(options.maps),
            "policy": options.policy,
            "profile": options.profile,
            "timeout_s": options.timeout_s,
            "max_capture": options.max_capture,
            "filter": _packed(plan.filter),
            "ignored_signals": sorted(plan.ignored_signals),
            "blocked_signals": sorted(map(int, plan.blocked_signals)),
        },
    )
