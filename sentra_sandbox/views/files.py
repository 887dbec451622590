"""The files of a run: which were read and written, by how much, and what else happened to them. A pure function of
the events.

``FileTable`` follows events one at a time. Only what succeeded counts. A file counts as written when it was opened
for writing, created, renamed, linked or removed, as in the summary; the bytes tell the rest.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.quoting import signed32
from sentra_sandbox.syscalls.table import Call
from sentra_sandbox.trace.events import Event, EventFlag, EventType
from sentra_sandbox.views.paths import call_paths
from sentra_sandbox.views.places import open_flags, register

O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC = 1, 2, 0o100, 0o200, 0o1000
PROT_WRITE, MAP_SHARED, MAP_TYPE, MAP_SHARED_VALIDATE = 2, 1, 15, 3

_READS = {"read", "pread64", "readv", "preadv", "preadv2", "getdents64"}
_WRITES = {"write", "pwrite64", "writev", "pwritev", "pwritev2"}
_OPENS = {"open", "openat", "openat2", "creat"}
# Calls that change what a path names or holds: what they do to each path they name, or to the last one only.
_CHANGES = {
    "creat": "created", "mkdir": "created", "mkdirat": "created", "mknod": "created", "mknodat": "created",
    "unlink": "removed", "unlinkat": "removed", "rmdir": "removed",
    "rename": "renamed", "renameat": "renamed", "renameat2": "renamed",
    "link": "linked", "linkat": "linked", "symlink": "linked", "symlinkat": "linked",
    "truncate": "resized",
    "chmod": "attributes", "fchmodat": "attributes", "fchmodat2": "attributes",
    "chown": "attributes", "lchown": "attributes", "fchownat": "attributes",
    "setxattr": "attributes", "lsetxattr": "attributes", "removexattr": "attributes", "lremovexattr": "attributes",
    "utime": "attributes", "utimes": "attributes", "futimesat": "attributes", "utimensat": "attributes",
}  # fmt: skip
_NOT_DONE = EventFlag.FOREIGN_ABI | EventFlag.IN_FLIGHT | EventFlag.REFUSED
_LAST_PATH_ONLY = {"link", "linkat", "symlink", "symlinkat"}

Action = Callable[[Event, Call], None]


@dataclass(slots=True)
class FileUse:
    """What a run did with one path. ``changes`` names what was done besides reading and writing bytes:
    ``created``, ``removed``, ...
    """

    path: str
    opens: int = 0
    opened_for_writing: bool = False
    read_bytes: int = 0
    written_bytes: int = 0
    mapped: bool = False
    changes: tuple[str, ...] = ()

    @property
    def written(self) -> bool:
        return bool(self.opened_for_writing or any(change != "attributes" for change in self.changes))

    def change(self, what: str) -> None:
        if what not in self.changes:
            self.changes = (*self.changes, what)


class FileTable:
    """Follows a run's events in order; ``descriptors`` must have been given all events before the one given here,
    and not that one.
    """

    def __init__(self, descriptors: DescriptorTable) -> None:
        self.files: dict[str, FileUse] = {}
        self._descriptors = descriptors
        self._actions: dict[int, list[tuple[Call, Action]]] = {}
        for names, action in (
            (_OPENS, self._open),
            (_READS, self._read),
            (_WRITES, self._write),
            (_CHANGES, self._change),
            (("mmap",), self._map),
            (("ftruncate", "fallocate"), self._resize),
        ):
            for name in names:
                call = table.call_named(name)
                assert call is not None, name
                self._actions.setdefault(call.number, []).append((call, action))

    def feed(self, event: Event) -> None:
        """Take the next event of the run."""
        if event.type != EventType.SYSCALL or event.result < 0 or event.flags & _NOT_DONE:
            return
        for call, action in self._actions.get(event.nr, ()):
            action(event, call)

    def _use(self, path: str) -> FileUse:
        path = posixpath.normpath(path)
        use = self.files.get(path)
        if use is None:
            use = self.files[path] = FileUse(path)
        return use

    def _behind(self, event: Event, argument: int = 0) -> FileUse | None:
        """The file behind a descriptor; None for what is no file (a pipe, a socket) or not known."""
        name = self._descriptors.describe(event.task, signed32(register(event, argument)))
        return self._use(name) if name and name.startswith("/") else None

    def _open(self, event: Event, call: Call) -> None:
        flags = open_flags(event)
        for _, path in call_paths(event, call, self._descriptors):
            use = self._use(path)
            use.opens += 1
            use.opened_for_writing |= bool(flags & (O_WRONLY | O_RDWR))
            if flags & O_TRUNC:
                use.change("emptied")
            if flags & O_CREAT and flags & O_EXCL:
                use.change("created")

    def _read(self, event: Event, call: Call) -> None:
        if (use := self._behind(event)) is not None:
            use.read_bytes += event.result

    def _write(self, event: Event, call: Call) -> None:
        if (use := self._behind(event)) is not None:
            use.written_bytes += event.result

    def _change(self, event: Event, call: Call) -> None:
        paths = [path for _, path in call_paths(event, call, self._descriptors)]
        for path in paths[-1:] if call.name in _LAST_PATH_ONLY else paths:
            self._use(path).change(_CHANGES[call.name])

    def _map(self, event: Event, call: Call) -> None:
        protection, flags, fd = register(event, 2), register(event, 3), signed32(register(event, 4))
        if fd < 0 or (use := self._behind(event, 4)) is None:
            return
        use.mapped = True
        if protection & PROT_WRITE and flags & MAP_TYPE in (MAP_SHARED, MAP_SHARED_VALIDATE):
            use.change("mapped for writing")

    def _resize(self, event: Event, call: Call) -> None:
        if (use := self._behind(event)) is not None:
            use.change("resized")


def file_uses(events: Iterable[Event]) -> list[FileUse]:
    """All files of a whole run, sorted by path."""
    descriptors = DescriptorTable()
    files = FileTable(descriptors)
    for event in events:
        files.feed(event)
        descriptors.apply(event)
    return sorted(files.files.values(), key=lambda use: use.path)
