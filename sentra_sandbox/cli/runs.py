"""RUN arguments of commands: find the run, finish it if a crash left it behind (saying so), open it."""

from __future__ import annotations

from sentra_sandbox.cli.messages import say
from sentra_sandbox.errors import HostError, RecordingError
from sentra_sandbox.trace.opening import find_run, recover_if_abandoned
from sentra_sandbox.trace.reader import Trace


def open_run(ref: str) -> Trace:
    """The trace of the run that ``ref`` names. Raises what ``open_trace`` does."""
    path = find_run(ref)
    try:
        if recover_if_abandoned(path):
            say(f"run {path.name} was cut off while recording; it has been recovered")
    except (HostError, RecordingError) as error:
        say(f"run {path.name} was cut off while recording and is shown as it was left: {error}")
    return Trace(path)
