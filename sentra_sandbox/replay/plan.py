"""The sandbox of a replay: an empty root with the recorded files' contents, no network, nothing of the host.

Pure. The root is a temporary file system in memory that ends with the replay; ``/.blobs`` in it is the blob store, read-only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sentra_sandbox.errors import TraceError
from sentra_sandbox.sandbox.plan import Namespace, SandboxPlan, id_maps
from sentra_sandbox.sandbox.setup_op import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    SetupKind,
    SetupOp,
    bind,
    mount,
)
from sentra_sandbox.trace.files import FileEntry

_ROOT = "/proc"  # exists everywhere, and no blob store lies in it
BLOBS = "/.blobs"


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """A recorded file's content inside the replay's root."""

    file_id: int
    dev: int
    ino: int
    size: int
    path: str


def replay_files(entries: dict[int, FileEntry]) -> list[ReplayFile]:
    """Where each recorded file is found inside."""
    return [
        ReplayFile(item.file_id, item.dev, item.ino, item.size, f"{BLOBS}/{item.sha256[:2]}/{item.sha256[2:]}") for item in entries.values()
    ]


def recorded_signals(options: Mapping[str, object], name: str) -> frozenset[int]:
    """The signals that the recorded program found ignored (under nohup) or blocked. What a program does about a signal is its own state,
    which no
    event tells: it must begin as it did. Anything else than signal numbers in the run's metadata is left out.
    """
    listed = options.get(name)
    return frozenset(each for each in listed if isinstance(each, int) and 0 < each <= 64) if isinstance(listed, list) else frozenset()


def replay_plan(
    blob_files: Path, first_image: ReplayFile, program: bytes, cpu: int | None, options: Mapping[str, object]
) -> SandboxPlan:
    """The plan under which ``first_image`` is executed. ``blob_files`` is the store's directory of whole files, ``options`` the recorded
    run's.

    Raises ``TraceError`` when the store has no files at all.
    """
    if not blob_files.is_dir():
        raise TraceError(
            f"The blob store {blob_files} is missing.", "Replay needs the contents of the executed programs.", path=str(blob_files)
        )
    maps = id_maps()
    inside = _ROOT + BLOBS
    ops = (
        mount("none", "/", None, MS_REC | MS_PRIVATE),
        mount("sentra-replay", _ROOT, "tmpfs", MS_NOSUID | MS_NODEV),
        SetupOp(SetupKind.MKDIR, value=0o700, a=inside),
        SetupOp(SetupKind.MKDIR, value=0o700, a=f"{_ROOT}/.shared"),
        bind(str(blob_files), inside),
        mount(None, inside, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV),
        SetupOp(SetupKind.PIVOT_ROOT, a=_ROOT),
    )
    return SandboxPlan(
        path=first_image.path,
        argv=("replay",),
        env={},
        cwd="/",
        namespaces=Namespace.USER | Namespace.MNT | Namespace.PID | Namespace.IPC | Namespace.UTS | Namespace.NET | Namespace.CGROUP,
        uid_map=maps.uid_map,
        gid_map=maps.gid_map,
        deny_setgroups=maps.deny_setgroups,
        capabilities=frozenset(),
        ops=ops,
        blocked_signals=recorded_signals(options, "blocked_signals"),
        ignored_signals=recorded_signals(options, "ignored_signals"),
        trap_tsc=True,
        cpu=cpu,
        filter=program,
    )


def blob_file_path(root: Path, entry: FileEntry) -> Path:
    """The blob of a recorded file, outside."""
    return root / "files" / entry.sha256[:2] / entry.sha256[2:]


def make_executable(root: Path, entries: dict[int, FileEntry]) -> None:
    """Blobs are executed and mapped executable: their owner must have that right. Raises ``TraceError`` for a missing one."""
    for entry in entries.values():
        path = blob_file_path(root, entry)
        try:
            if not path.stat().st_mode & 0o100:
                os.chmod(path, 0o500)
        except FileNotFoundError:
            raise TraceError(
                f"The content of {entry.path} is missing from the blob store.",
                "It was removed; the run cannot be replayed.",
                path=str(path),
            ) from None
