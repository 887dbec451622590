"""What the program must not see of its own recording: the run's directory and the store of all runs.

The program runs as the same user, so without this it could overwrite the rings that the recorder reads and the evidence of earlier runs,
or read the secrets in them. In the sandbox these directories are an empty read-only file system, but for the certificates that it is shown.
Rule of this file: no module that costs time to load.
"""

from __future__ import annotations

import os

from sentra_sandbox.record.trust import mount_flags
from sentra_sandbox.sandbox.one_cpu import STAGES
from sentra_sandbox.sandbox.setup_op import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    SetupOp,
    bind,
    make_directory,
    mount,
    unmount,
)

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator


def hiding_ops(store: str, run: str, kept: str, in_use: tuple[str, ...]) -> Iterator[SetupOp]:
    """Operations that hide ``store`` and ``run``; the directory ``kept`` of ``run`` ("" for none) stays visible. A directory that holds
    one of
    ``in_use`` (the program's working directory, its executable) is left as it is.
    """
    store, run = os.path.realpath(store), os.path.realpath(run)
    used = [os.path.realpath(each) for each in in_use]
    targets = [path for path in ((store,) if _holds(store, run) else (store, run)) if not any(_holds(path, each) for each in used)]
    if store not in targets and not any(_holds(run, each) for each in used):
        targets = [run]
    if not targets:
        return
    stage = next((each for each in STAGES if os.path.isdir(each) and not any(_holds(each, path) for path in targets)), None)
    if stage is None:  # they lie in all of them
        return
    yield mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=0")
    for number, target in enumerate(targets):
        place = f"{stage}/{number}"
        yield make_directory(place)
        if kept and _holds(target, run):
            yield from _keep(f"{run}/{kept}", target, place)
    yield mount(None, stage, None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    for number, target in enumerate(targets):
        yield bind(f"{stage}/{number}", target, MS_REC)
    yield unmount(stage)


def _keep(directory: str, target: str, place: str) -> Iterator[SetupOp]:
    for name in directory[len(target) + 1 :].split("/"):
        place = f"{place}/{name}"
        yield make_directory(place)
    yield bind(directory, place)
    yield mount(None, place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | mount_flags(directory))


def _holds(directory: str, path: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")
