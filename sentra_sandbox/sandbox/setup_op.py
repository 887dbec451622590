"""One operation of building a sandbox: what pid 1 does inside the new namespaces, as data to be printed and compared.

The kinds and the meaning of the fields are those of ``struct sentra_setup_op`` (csrc/sentra.cdef.h); the functions
here make the common ones. A plan is an ordered tuple of them (plan.py).
"""

from __future__ import annotations

from sentra_sandbox.dataclass import dataclass

# mount(2). Only what plans use; the names are the manual's.
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2

_FLAG_WORDS = (
    (MS_RDONLY, "ro"),
    (MS_NOSUID, "nosuid"),
    (MS_NODEV, "nodev"),
    (MS_NOEXEC, "noexec"),
)


class SetupKind:
    """enum sentra_setup_kind. Plain numbers: loading enum takes 2 ms at every start."""

    MOUNT = 1
    WRITE_FILE = 2
    MKDIR = 3
    HOSTNAME = 4
    LOOPBACK_UP = 5
    RLIMIT = 6
    PIVOT_ROOT = 7
    UMOUNT = 8
    NETLINK = 9
    LISTENERS = 10


@dataclass(frozen=True, slots=True)
class SetupOp:
    """``struct sentra_setup_op``; ``None`` is NULL."""

    kind: int  # of SetupKind
    flags: int = 0
    value: int = 0
    a: str | None = None
    b: str | None = None
    c: str | None = None
    d: str | None = None
    data: bytes = b""

    def __str__(self) -> str:
        """The operation in words, for a person."""
        if self.kind == SetupKind.MOUNT:
            return self._mount_text()
        texts = {
            SetupKind.WRITE_FILE: f"write {self.a} ({len(self.b or '')} characters, mode {self.value:o})",
            SetupKind.MKDIR: f"make directory {self.a} (mode {self.value:o})",
            SetupKind.HOSTNAME: f"set the host name to {self.a}",
            SetupKind.LOOPBACK_UP: "bring the loopback interface up",
            SetupKind.RLIMIT: f"limit {_limit_name(self.flags)} to {self.value}",
            SetupKind.PIVOT_ROOT: f"make {self.a} the root directory",
            SetupKind.UMOUNT: f"unmount {self.a}",
            SetupKind.NETLINK: f"{self.a}: {'; '.join((self.b or '').splitlines())}",
            SetupKind.LISTENERS: f"{self.a}: {', '.join((self.b or '').splitlines())}",
        }
        return texts[self.kind]

    def _mount_text(self) -> str:
        words = [word for flag, word in _FLAG_WORDS if self.flags & flag]
        if self.d:
            words.append(self.d)
        options = f" ({','.join(words)})" if words else ""
        deep = " and everything below" if self.flags & MS_REC else ""
        if self.flags & MS_REMOUNT:
            return f"remount {self.b}{options}"
        if self.flags & (MS_PRIVATE | MS_SLAVE):
            return f"keep mounts at {self.b}{deep} {'private' if self.flags & MS_PRIVATE else 'from reaching the host'}"
        if self.flags & MS_BIND:
            return f"show {self.a}{deep} at {self.b}{options}"
        return f"mount {self.c} on {self.b}{options}"


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> SetupOp:
    """mount(source, target, kind, flags, data)."""
    return SetupOp(SetupKind.MOUNT, flags=flags, a=source, b=target, c=kind, d=data)


def bind(source: str, target: str, more_flags: int = 0) -> SetupOp:
    """Show ``source`` (a file or directory) at the existing path ``target``."""
    return SetupOp(SetupKind.MOUNT, flags=MS_BIND | more_flags, a=source, b=target)


def write_file(path: str, content: str, mode: int = 0o444) -> SetupOp:
    """Create or overwrite a file."""
    return SetupOp(SetupKind.WRITE_FILE, value=mode, a=path, b=content)


def make_directory(path: str, mode: int = 0o755) -> SetupOp:
    """Create a directory; an existing one is fine."""
    return SetupOp(SetupKind.MKDIR, value=mode, a=path)


def unmount(path: str) -> SetupOp:
    """Take a mount out of sight; what was bound from it elsewhere stays."""
    return SetupOp(SetupKind.UMOUNT, flags=MNT_DETACH, a=path)


def loopback_up() -> SetupOp:
    """Bring ``lo`` up in a new network namespace."""
    return SetupOp(SetupKind.LOOPBACK_UP)


def limit(which: int, value: int) -> SetupOp:
    """Soft and hard limit ``resource.RLIMIT_*`` of the program."""
    return SetupOp(SetupKind.RLIMIT, flags=which, value=value)


def _limit_name(number: int) -> str:
    import resource

    names = (name for name in dir(resource) if name.startswith("RLIMIT_") and getattr(resource, name) == number)
    return next(names, f"resource {number}")
