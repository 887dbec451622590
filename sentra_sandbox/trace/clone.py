"""Copying a whole file the cheapest way the file system allows, and hashing the copy.

The copy is hashed, not the original: the original may change while we look at it, the copy is what the store keeps.
"""

from __future__ import annotations

import errno
import fcntl
import os

TYPE_CHECKING = False  # type checkers take it for true; loading typing and pathlib takes 11 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FICLONE = 0x40049409
_CHUNK = 4 << 20
# What a file system or a pair of them answers when it cannot share or copy ranges: then plain reading and writing is
# right.
_UNSUPPORTED = {
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EBADF,
    errno.EPERM,
    errno.ETXTBSY,
}


def copy_file(source: int, target: Path | str, between: Callable[[], object] | None = None) -> tuple[bytes, int]:
    """Copy all of descriptor ``source`` (its offset is not used) to the new file ``target``, mode 0600. Returns
    (SHA-256, size).

    ``between`` is called between chunks. Raises ``OSError``; the caller removes the target then.
    """
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not _reflink(source, fd) and not _copy_ranges(source, fd, between):
            os.ftruncate(fd, 0)
            _copy_bytes(source, fd, between)
        return _hash(fd, between)
    finally:
        os.close(fd)


def _reflink(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _copy_ranges(source: int, target: int, between: Callable[[], object] | None) -> bool:
    """False if the kernel cannot do it between these two, or does not know the size (files of /proc say 0)."""
    at = 0
    try:
        while count := os.copy_file_range(source, target, _CHUNK, at, at):
            at += count
            if between:
                between()
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return at > 0


def _copy_bytes(source: int, target: int, between: Callable[[], object] | None) -> None:
    at = 0
    while chunk := os.pread(source, _CHUNK, at):
        written = 0
        while written < len(chunk):
            written += os.pwrite(target, chunk[written:], at + written)
        at += len(chunk)
        if between:
            between()


def _hash(fd: int, between: Callable[[], object] | None) -> tuple[bytes, int]:
    import hashlib  # here the data are many; a run all of whose files are in the store never comes here

    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    at = 0
    while count := os.preadv(fd, [buffer], at):
        digest.update(buffer[:count])
        at += count
        if between and count == _CHUNK:
            between()
    return digest.digest(), at
