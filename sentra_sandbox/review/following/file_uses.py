"""Uses of files: from open to close, and by name. A file that is opened and never read or written is no access."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from sentra_sandbox.review.facts import FileAccess
from sentra_sandbox.review.following.paths import AT_FDCWD, Paths
from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.error_numbers import error_name
from sentra_sandbox.syscalls.open_files import OpenFile
from sentra_sandbox.syscalls.quoting import escape, signed32
from sentra_sandbox.trace.events import Event, SegmentKind
from sentra_sandbox.views.places import open_flags, register

ACCESSES_MAX = 600_000
O_ACCMODE, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_TMPFILE = 3, 1, 2, 0o100, 0o200, 0o1000, 0o20000000
PROT_WRITE, MAP_SHARED, MAP_TYPE, MAP_SHARED_VALIDATE = 2, 1, 15, 3
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_EMPTY_PATH = 0x100, 0x200, 0x1000
S_IFMT, S_IFLNK = 0o170000, 0o120000

# call → (argument with the directory or None, argument with the path)
OPENS: dict[str, tuple[int | None, int]] = {"open": (None, 0), "creat": (None, 0), "openat": (0, 1), "openat2": (0, 1)}
_LOOKS: dict[str, tuple[int | None, int]] = {
    "stat": (None, 0), "lstat": (None, 0), "newfstatat": (0, 1), "statx": (0, 1), "access": (None, 0), "faccessat": (0, 1),
    "faccessat2": (0, 1), "readlink": (None, 0), "readlinkat": (0, 1),
}  # fmt: skip
_CHANGES: dict[str, tuple[str, int | None, int]] = {
    "mkdir": ("mkdir", None, 0), "mkdirat": ("mkdir", 0, 1), "mknod": ("create", None, 0), "mknodat": ("create", 0, 1),
    "unlink": ("delete", None, 0), "unlinkat": ("delete", 0, 1), "rmdir": ("delete", None, 0), "truncate": ("truncate", None, 0),
    "chmod": ("chmod", None, 0), "fchmodat": ("chmod", 0, 1), "fchmodat2": ("chmod", 0, 1), "chown": ("chown", None, 0),
    "lchown": ("chown", None, 0), "fchownat": ("chown", 0, 1), "execve": ("exec", None, 0), "execveat": ("exec", 0, 1),
}  # fmt: skip
_PAIRS: dict[str, tuple[str, int | None, int, int | None, int]] = {
    "rename": ("rename", None, 0, None, 1), "renameat": ("rename", 0, 1, 2, 3), "renameat2": ("rename", 0, 1, 2, 3),
    "link": ("link", None, 0, None, 1), "linkat": ("link", 0, 1, 2, 3),
}  # fmt: skip
_SYMLINKS: dict[str, tuple[int | None, int]] = {"symlink": (None, 1), "symlinkat": (1, 2)}
_DESCRIPTORS = {"fchmod": "chmod", "fchown": "chown", "ftruncate": "truncate", "fallocate": "write"}
_NOFOLLOW = frozenset({"lstat", "readlink", "readlinkat", "unlink", "unlinkat", "rmdir", "lchown"})
_MODE = {"chmod": 1, "fchmodat": 2, "fchmodat2": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2}

Handler = Callable[[Event, int], None]


class Use:
    """What an open file description is kept with: its name and the accesses through it, by process."""

    __slots__ = ("accesses", "flags", "mode", "path", "seq", "time_ns")

    def __init__(self, path: str, seq: int, time_ns: int, flags: int, mode: int = 0) -> None:
        self.path, self.seq, self.time_ns, self.flags, self.mode = path, seq, time_ns, flags, mode
        self.accesses: dict[tuple[int, str], FileAccess] = {}


class FileUses:
    """Fed by ``one_pass``: ``opened`` after the descriptor table took the event, everything else before."""

    def __init__(self, descriptors: DescriptorTable, paths: Paths) -> None:
        self.accesses: list[FileAccess] = []
        self.left_out = 0
        self._descriptors, self._paths = descriptors, paths
        self._looked: set[tuple[object, ...]] = set()
        self._missing: set[str] = set()  # names that were looked for and not there
        self._names = {call.number: call.name for call in table.all_calls()}

    def handlers(self) -> dict[str, Handler]:
        """Call → what takes its events before the descriptor table does."""
        found: dict[str, Handler] = {}
        found.update(dict.fromkeys(_LOOKS, self._look))
        found.update(dict.fromkeys(_CHANGES, self._change))
        found.update(dict.fromkeys(_PAIRS, self._pair))
        found.update(dict.fromkeys(_SYMLINKS, self._symlink))
        found.update(dict.fromkeys(_DESCRIPTORS, self._by_descriptor))
        found["fstat"] = self._fstat
        found["mmap"] = self._map
        return found

    # ---- descriptors

    def opened(self, event: Event, process: int) -> None:
        """An open call: of what succeeded the name is remembered, what failed is an access."""
        dirfd, argument = OPENS[self._names[event.nr]]
        flags = open_flags(event)
        if event.result < 0:
            writing = flags & O_ACCMODE or flags & O_CREAT
            path = self._path(event, dirfd, argument)
            if event.result == -2:
                self._missing.add(path)
            if self._once(process, "open", bool(writing), path, event.result):
                self._add(process, "write" if writing else "read", path, event, failed=error_name(-event.result))
            return
        file = self._descriptors.open_file(event.task, event.result)
        if file is None:
            return
        path = self._path(event, dirfd, argument)
        use = file.kept = Use(path, event.seq, event.time_ns, flags, register(event, argument + 2) & 0o7777 if flags & O_CREAT else 0)
        if path.startswith("/"):
            file.path = path  # links resolved: what paths relative to it start from
        if flags & O_TMPFILE == O_TMPFILE:
            return
        if flags & O_CREAT and (flags & O_EXCL or path in self._missing):
            self._missing.discard(path)
            self._paths.removed(path)
            self._add(process, "create", path, event, mode=use.mode)
        elif flags & O_TRUNC:
            self._add(process, "truncate", path, event)
        if flags & O_ACCMODE and not path.startswith(("/dev/", "/proc/")):
            self.moved(event, process, file, 0, writing=True)

    def moved(self, event: Event, process: int, file: OpenFile, size: int, *, writing: bool, kind: str = "") -> FileAccess | None:
        """Bytes were read from or written to an open file, or it was mapped. The access, if it is a file."""
        use = file.kept
        if not isinstance(use, Use):
            if not file.path or not file.path.startswith("/"):
                return None
            use = file.kept = Use(self._paths.follow(file.path, event.task), event.seq, event.time_ns, 0)
        key = process, kind or ("write" if writing else "read")
        access = use.accesses.get(key)
        if access is None:
            access = self._add(process, key[1], use.path, event, seq=use.seq, mode=use.mode if writing else 0)
            if access is None:
                return None
            use.accesses[key] = access
        access.size += size
        if size or kind:
            access.seqs.append(event.seq)
        return access

    def _map(self, event: Event, process: int) -> None:
        if event.result < 0 and event.result > -4096:
            return
        fd = signed32(register(event, 4))
        file = self._descriptors.open_file(event.task, fd) if fd >= 0 else None
        if file is None:
            return
        shared = register(event, 3) & MAP_TYPE in (MAP_SHARED, MAP_SHARED_VALIDATE)
        if shared and register(event, 2) & PROT_WRITE:
            self.moved(event, process, file, 0, writing=True)
        self.moved(event, process, file, register(event, 1), writing=False, kind="map")

    def _by_descriptor(self, event: Event, process: int) -> None:
        file = self._descriptors.open_file(event.task, signed32(register(event, 0)))
        use = file.kept if file else None
        if isinstance(use, Use):
            kind = _DESCRIPTORS[self._names[event.nr]]
            mode = register(event, 1) & 0o7777 if kind == "chmod" else 0
            self._add(process, kind, use.path, event, failed=_failed(event), mode=mode)

    def _fstat(self, event: Event, process: int) -> None:
        file = self._descriptors.open_file(event.task, signed32(register(event, 0)))
        self._inode_of(event, file)

    def _inode_of(self, event: Event, file: OpenFile | None) -> None:
        use = file.kept if file else None
        if isinstance(use, Use) and event.result == 0 and use.path not in self._paths.inodes:
            found = _inode(event, self._names[event.nr])
            if found and found[1] & S_IFMT == 0o100000:
                self._paths.seen_inode(use.path, found[0])

    # ---- names

    def _look(self, event: Event, process: int) -> None:
        name = self._names[event.nr]
        dirfd, argument = _LOOKS[name]
        raw = _raw(event, argument)
        if not raw:
            if dirfd is not None and not name.startswith("readlink"):
                self._inode_of(event, self._descriptors.open_file(event.task, signed32(register(event, dirfd))))
            return
        if raw.startswith(b"/") and event.result <= 0 and not self._once(process, event.nr, raw, event.result):
            return
        follow = name not in _NOFOLLOW and not (dirfd is not None and register(event, 3) & AT_SYMLINK_NOFOLLOW)
        path = self._path(event, dirfd, argument, follow_last=follow)
        if event.result >= 0:
            self._learn(event, name, path)
        elif event.result == -2:
            self._missing.add(path)
        if self._once(process, "stat", path, event.result < 0):
            self._add(process, "stat", path, event, failed=_failed(event))

    def _learn(self, event: Event, name: str, path: str) -> None:
        if name.startswith("readlink"):
            text = next((s.data for s in event.segments if s.kind == SegmentKind.OUT), b"")
            if text and not path.startswith("/proc/"):
                self._paths.linked(path, escape(text))
        elif path not in self._paths.inodes:
            found = _inode(event, name)
            if found and found[1] & S_IFMT == 0o100000:
                self._paths.seen_inode(path, found[0])

    def _change(self, event: Event, process: int) -> None:
        name = self._names[event.nr]
        kind, dirfd, argument = _CHANGES[name]
        if kind == "exec" and event.result >= 0:
            return  # the EXEC event tells more
        path = self._path(event, dirfd, argument, follow_last=name not in _NOFOLLOW)
        mode = register(event, _MODE[name]) & 0o7777 if name in _MODE else 0
        self._add(process, kind, path, event, failed=_failed(event), mode=mode)
        if kind == "delete" and event.result >= 0:
            self._paths.removed(path)

    def _pair(self, event: Event, process: int) -> None:
        kind, old_dir, old_path, new_dir, new_path = _PAIRS[self._names[event.nr]]
        follows = kind == "link" and register(event, 4) & 0x400  # AT_SYMLINK_FOLLOW
        old = self._path(event, old_dir, old_path, follow_last=bool(follows))
        new = self._path(event, new_dir, new_path, follow_last=False)
        self._add(process, kind, old, event, failed=_failed(event), target=new)
        if event.result >= 0:
            (self._paths.renamed if kind == "rename" else self._paths.hard_linked)(old, new)

    def _symlink(self, event: Event, process: int) -> None:
        dirfd, argument = _SYMLINKS[self._names[event.nr]]
        new = self._path(event, dirfd, argument, follow_last=False)
        target = escape(_raw(event, 0))
        leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(new), target))
        self._add(process, "link", leads_to, event, failed=_failed(event), target=new)
        if event.result >= 0 and target:
            self._paths.linked(new, target)

    # ----

    def _path(self, event: Event, dirfd: int | None, argument: int, *, follow_last: bool = True) -> str:
        base = AT_FDCWD if dirfd is None else signed32(register(event, dirfd))
        raw = _raw(event, argument)
        if not raw:
            file = self._descriptors.open_file(event.task, base)
            return file.path or file.name if file else ""
        return self._paths.of(event.task, base, raw, follow_last=follow_last)

    def _once(self, *key: object) -> bool:
        """Whether this was not seen before: looks are repeated by the thousand."""
        if key in self._looked:
            return False
        self._looked.add(key)
        return True

    def _add(
        self, process: int, kind: str, path: str, event: Event, *, failed: str = "", target: str = "", mode: int = 0, seq: int = 0
    ) -> FileAccess | None:
        if len(self.accesses) >= ACCESSES_MAX:
            self.left_out += 1
            return None
        dev, ino = self._paths.inodes.get(path, (0, 0))
        origin = self._paths.origin(path)
        access = FileAccess(process, kind, path, seq or event.seq, event.time_ns, failed, target, 0, mode, dev, ino, [], origin)
        self.accesses.append(access)
        return access


def _failed(event: Event) -> str:
    return error_name(-event.result) if event.result < 0 else ""


def _raw(event: Event, argument: int) -> bytes:
    for segment in event.segments:
        if segment.arg == argument and segment.kind == SegmentKind.IN:
            return segment.data
    return b""


def _inode(event: Event, name: str) -> tuple[tuple[int, int], int] | None:
    """``((dev, ino), mode)`` from what a stat call wrote: struct stat, struct statx."""
    data = next((s.data for s in event.segments if s.kind == SegmentKind.OUT), b"")
    if name == "statx":
        if len(data) < 144:
            return None
        major, minor = int.from_bytes(data[136:140], "little"), int.from_bytes(data[140:144], "little")
        device = (major & 0xFFF) << 8 | minor & 0xFF | (minor & ~0xFF) << 12
        return (device, int.from_bytes(data[32:40], "little")), int.from_bytes(data[28:30], "little")
    if len(data) < 48 or name.startswith(("access", "faccess")):
        return None
    return (int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little")), int.from_bytes(data[24:28], "little")
