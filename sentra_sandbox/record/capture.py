"""``run``: record a program from Python, capturing its output if asked. The command line's ``exec`` as a function."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, overload

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import UsageError
from sentra_sandbox.record.options import RecordOptions, RunResult
from sentra_sandbox.record.session import record


@dataclass(frozen=True, slots=True)
class CapturedResult(RunResult):
    """A ``RunResult`` with what the program wrote."""

    stdout: bytes
    stderr: bytes


@overload
def run(
    command: Sequence[str],
    *,
    capture_output: Literal[True],
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    net: str = "open",
    allow_net: Sequence[str] = (),
    maps: Sequence[str] = (),
    policy: str | Path | None = None,
    match: str | Mapping[str, object] | None = None,
    output: str | Path | None = None,
    name: str | None = None,
    timeout_s: float | None = None,
    profile: str = "default",
    stdin: int | None = None,
) -> CapturedResult: ...


@overload
def run(
    command: Sequence[str],
    *,
    capture_output: Literal[False] = False,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    net: str = "open",
    allow_net: Sequence[str] = (),
    maps: Sequence[str] = (),
    policy: str | Path | None = None,
    match: str | Mapping[str, object] | None = None,
    output: str | Path | None = None,
    name: str | None = None,
    timeout_s: float | None = None,
    profile: str = "default",
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> RunResult: ...


def run(
    command: Sequence[str],
    *,
    capture_output: bool = False,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    net: str = "open",
    allow_net: Sequence[str] = (),
    maps: Sequence[str] = (),
    policy: str | Path | None = None,
    match: str | Mapping[str, object] | None = None,
    output: str | Path | None = None,
    name: str | None = None,
    timeout_s: float | None = None,
    profile: str = "default",
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> RunResult:
    """Run ``command`` in a sandbox, record it, and return when it and all its children are gone.

    ``env`` is the whole environment (None: this process's). ``net`` is ``open``, ``none``, ``host`` or
    ``recorded:RUN``; ``allow_net``, ``maps``, ``policy`` and ``match`` are the command line's ``--allow-net``, ``--map``,
    ``--policy`` and ``--match`` (a file, or its content as a mapping). ``output`` is a new
    directory for the run instead of the store. ``timeout_s`` ends the program; then ``timed_out`` is set. ``profile``
    is a seccomp profile's name or file. ``stdin``, ``stdout``, ``stderr`` are file descriptors (None: this
    process's). With ``capture_output`` the result is a ``CapturedResult`` that holds all the program wrote; do not
    give ``stdout`` or ``stderr`` then.

    Returns also when the program failed: look at ``exit_status``. Raises ``CommandNotFound`` and
    ``CommandNotExecutable`` for the program, ``UsageError`` for an option, ``PolicyError`` for a profile,
    ``HostError`` and ``SetupError`` for what this machine does not allow (``remedy`` says what to do),
    ``RecordingError`` when recording had to stop (what was recorded is kept).
    """
    if isinstance(command, str):
        raise UsageError("The command must be a sequence of words, not one string.", "For a shell line: ['sh', '-c', line].")
    if capture_output and (stdout is not None or stderr is not None):
        raise UsageError("capture_output captures stdout and stderr itself.", "Leave out stdout and stderr.")

    def options(out: int | None, err: int | None) -> RecordOptions:
        return RecordOptions(
            command=tuple(command),
            cwd=cwd,
            env=env,
            net=net,
            allow_net=tuple(allow_net),
            maps=tuple(maps),
            policy=None if policy is None else str(policy),
            match=match,
            output=None if output is None else Path(output),
            name=name,
            timeout_s=timeout_s,
            profile=profile,
            stdin=stdin,
            stdout=out,
            stderr=err,
        )

    if not capture_output:
        return record(options(stdout, stderr))
    with _Capture() as out, _Capture() as err:
        result = record(options(out.write_fd, err.write_fd))
        fields = {name: getattr(result, name) for name in RunResult.__slots__}
        return CapturedResult(**fields, stdout=out.finish(), stderr=err.finish())


class _Capture:
    """A pipe and the thread that reads it to its end, so that the program never waits for us."""

    def __init__(self) -> None:
        self._read_fd, self.write_fd = os.pipe()
        self._chunks: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> _Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _read(self) -> None:
        with open(self._read_fd, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                self._chunks.append(chunk)

    def finish(self) -> bytes:
        """Close our writing end and return all that was written; the program and its children must be gone."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1
        self._thread.join()
        return b"".join(self._chunks)
