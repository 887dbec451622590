"""The ``blobs`` file of a run: the hashes of all blobs it needs, so that garbage collection keeps them.

A hash is appended *before* the blob is looked up or stored (see blobs.py for why this order is what makes collection
safe). Layout: 16 bytes of header, then 32 bytes per hash. A crash may leave a cut last hash; it was not used yet and is
ignored.
"""

from __future__ import annotations

import os

from sentra_sandbox.errors import TraceError

TYPE_CHECKING = False  # type checkers take it for true; loading typing and pathlib takes 11 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "blobs"
HEADER = b"SENTRABL" + (1).to_bytes(4, "little") + bytes(4)


def read_references(run_dir: Path | str) -> set[bytes]:
    """All hashes a run refers to; empty if it has no list yet. Raises ``TraceError`` if the file is something else."""
    path = f"{run_dir}/{NAME}"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}.", path=path) from error
    if not data.startswith(HEADER) and data != HEADER[: len(data)]:
        raise TraceError(
            f"{path} is damaged or of another version.",
            "Remove the run it belongs to, or restore the file.",
            path=path,
            offset=0,
        )
    return {data[at : at + 32] for at in range(len(HEADER), len(data) - 31, 32)}


class References:
    """Appends to a run's list; remembers what is in it."""

    def __init__(self, run_dir: Path | str) -> None:
        self._known = read_references(run_dir)
        self._fd = os.open(f"{run_dir}/{NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._end = len(HEADER) + 32 * ((max(os.fstat(self._fd).st_size, len(HEADER)) - len(HEADER)) // 32)
        if self._end == len(HEADER):
            os.pwrite(self._fd, HEADER, 0)
        os.ftruncate(self._fd, self._end)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._known

    def __len__(self) -> int:
        return len(self._known)

    def add(self, digests: Sequence[bytes]) -> None:
        """Append those that are new. Raises ``OSError`` (no space) with the file as it was before."""
        fresh = list(dict.fromkeys(digest for digest in digests if digest not in self._known))
        if not fresh:
            return
        data = b"".join(fresh)
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._end + written)
        except OSError:
            os.ftruncate(self._fd, self._end)
            raise
        self._end += len(data)
        self._known.update(fresh)

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
