"""What to record and how: the options of ``record`` and its result. No logic."""

from __future__ import annotations

from sentra_sandbox.dataclass import dataclass

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """One recording. ``env`` is the whole environment (None: this process's); ``cwd`` where the program starts (None: here).

    ``net`` is ``open`` (a network of its own, carried by our broker), ``none``, ``host``, or ``recorded:RUN`` (answered from that run
    only; ``match``, ``match_order`` and ``match_ignore`` say which requests count as the same, see ``network.match_rules``);
    ``allow_net``, ``maps`` and ``policy`` (a file) say what ``open`` reaches, see ``network.decision``; ``output`` the directory that
    becomes the run (None: in the store); ``profile`` a seccomp profile's name or path; ``max_capture`` bytes kept of one buffer,
    0 = all; ``stdin``, ``stdout``, ``stderr`` descriptors, None = inherit; ``forward_signals`` makes this process stand for the program
    towards signals and the terminal (the command line sets it); ``keep_fds`` are descriptors from 3 up that the program inherits.
    """

    command: tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] | None = None
    net: str = "open"
    allow_net: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    policy: str | None = None
    match: str | Mapping[str, object] | None = None
    match_order: str | None = None
    match_ignore: tuple[str, ...] = ()
    output: Path | str | None = None
    name: str | None = None
    timeout_s: float | None = None
    profile: str = "default"
    max_capture: int = 0
    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    forward_signals: bool = False
    keep_fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a recording ended. ``exit_status`` is the program's own, 128+n for signal n;
    ``grade`` is ``exact`` or ``inexact from seq N: reason``.
    """

    run_id: str
    directory: str
    wait_status: int
    exit_status: int
    timed_out: bool
    duration_ns: int
    events: int
    processes: int
    refused: int
    grade: str
    size_bytes: int
    note: str

    @property
    def path(self) -> Path:
        """The run's directory."""
        from pathlib import Path

        return Path(self.directory)
