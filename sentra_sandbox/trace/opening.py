"""From a RUN argument to a readable ``Trace``; a run that a killed recorder left behind is finished first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sentra_sandbox.errors import HostError, RecordingError
from sentra_sandbox.trace import run
from sentra_sandbox.trace.catalogue import Catalogue
from sentra_sandbox.trace.reader import Trace


def open_trace(ref: str | os.PathLike[str], *, home: Path | None = None) -> Trace:
    """The recorded run that ``ref`` names: an id, a unique beginning of one, a name, ``last``, or a directory (any
    ``Path``).

    ``home`` is the store to look in (default: the user's). A run whose recorder was killed is recovered first; where
    that is not possible (no space, no native part) it is opened as it is, and ``trace.finished`` is False, as for one
    that is still running. Use the result as a context manager or ``close()`` it.

    Raises ``UsageError`` when there is no such run or more than one, ``TraceError`` when it is damaged.
    """
    path = find_run(ref, home=home)
    with contextlib.suppress(HostError, RecordingError):
        recover_if_abandoned(path, home=home)
    return Trace(path)


def find_run(ref: str | os.PathLike[str], *, home: Path | None = None) -> Path:
    """The directory of the run that ``ref`` names. Raises ``UsageError``."""
    if not isinstance(ref, str):
        return Path(ref).absolute()
    with Catalogue(home) as catalogue:
        return catalogue.resolve(ref)


def recover_if_abandoned(path: Path, *, home: Path | None = None) -> bool:
    """Finish the run in ``path`` if it is incomplete and nobody is recording it; whether that was so.

    Raises ``HostError`` without the native part, ``RecordingError`` when the run cannot be written, ``TraceError``
    when it is damaged.
    """
    if run.read_metadata(path).state != run.INCOMPLETE or run.is_locked(path):
        return False
    from sentra_sandbox.trace.recovery import recover

    metadata = recover(path)
    with Catalogue(home) as catalogue:
        catalogue.add(metadata, path)
    return True
