"""Names of files: absolute, with symbolic links, hard links and ``/proc/self/fd`` resolved as far as the trace knows them.

Text is escaped as in the descriptor table (identical for printable ASCII). A link that neither was made nor read in the run is not
known; device and inode (``inodes``, from stat calls) then still tell that two names are one file.
"""

from __future__ import annotations

import posixpath
import re

from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.quoting import escape

AT_FDCWD = -100
_LINKS_MAX = 40  # as the kernel's
_CACHE_MAX = 65536
_PROC_FD = re.compile(r"^/(?:proc/(?:self|thread-self|\d+)(?:/task/\d+)?|dev)/fd/(\d+)(/.*)?$")
_PROC_PLACE = re.compile(r"^/proc/(?:self|thread-self|\d+)(?:/task/\d+)?/(root|cwd)(?=/|$)")
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}

Inode = tuple[int, int]


class Paths:
    """What is known of names at this point of the run."""

    def __init__(self, descriptors: DescriptorTable) -> None:
        self._descriptors = descriptors
        self._links: dict[str, str] = {}  # symbolic link → what it leads to, absolute
        self._same: dict[str, str] = {}  # hard link → the name it was made of
        self._moved: dict[str, str] = {}  # new name → first name
        self.inodes: dict[str, Inode] = {}
        self._first: dict[Inode, str] = {}
        self._followed: dict[tuple[str, bool], str] = {}

    def of(self, task: int, dirfd: int, raw: bytes, *, follow_last: bool = True) -> str:
        """An argument of a call as an absolute path; ``""`` for an empty one. Relative if its directory is not known."""
        if not raw:
            return ""
        text = escape(raw)
        if not text.startswith("/"):
            base = self._descriptors.describe(task, dirfd)
            text = posixpath.join(base, text) if base else text
        return self.follow(posixpath.normpath(text), task, follow_last=follow_last)

    def follow(self, path: str, task: int = 0, *, follow_last: bool = True) -> str:
        """A path with what is known of links in it resolved."""
        if path.startswith(("/proc/", "/dev/")):
            path = self._special(path, task)
        if not self._links:
            return path
        key = path, follow_last
        found = self._followed.get(key)
        if found is None:
            if len(self._followed) >= _CACHE_MAX:
                self._followed.clear()
            found = self._followed[key] = self._resolve(path, follow_last)
        return found

    def _special(self, path: str, task: int) -> str:
        match = _PROC_FD.match(path)
        number = int(match[1]) if match and len(match[1]) < 10 else _STREAMS.get(path)
        if number is not None:
            what = self._descriptors.describe(task, number)
            rest = (match[2] or "") if match else ""
            return posixpath.normpath(what + rest) if what and what.startswith("/") else path
        if place := _PROC_PLACE.match(path):
            base = "/" if place[1] == "root" else self._descriptors.describe(task, AT_FDCWD) or ""
            return posixpath.normpath(base + "/" + path[place.end() :]).replace("//", "/") if base else path
        return path

    def _resolve(self, path: str, follow_last: bool) -> str:
        for _ in range(_LINKS_MAX):
            at = 0
            while (at := path.find("/", at + 1)) >= 0 and path[:at] not in self._links:
                pass
            if at >= 0:
                path = posixpath.normpath(self._links[path[:at]] + path[at:])
            elif follow_last and path in self._links:
                path = self._links[path]
            else:
                break
        return path

    def origin(self, path: str) -> str:
        """Another name of the same file, from before: what it was called before a rename, or what it is a hard link to; else ``""``."""
        found = self._moved.get(path) or self._same.get(path)
        if found is None and path in self.inodes:
            first = self._first.get(self.inodes[path], "")
            found = first if first != path else ""
        if not found and self._moved:  # a directory above was renamed
            above = path
            while not found and len(above) > 1:
                above = posixpath.dirname(above)
                if above in self._moved:
                    found = self._moved[above] + path[len(above) :]
                if above == posixpath.dirname(above):
                    break
        return found or ""

    # ---- what calls change

    def seen_inode(self, path: str, inode: Inode) -> None:
        """A stat call told what is behind a name."""
        self.inodes[path] = inode
        self._first.setdefault(inode, path)

    def linked(self, path: str, target: str) -> None:
        """A symbolic link was made or read; ``target`` as it is in the link."""
        absolute = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if absolute != path and not target.startswith(("pipe:", "socket:", "anon_inode:")):
            self._links[path] = absolute
            self._followed.clear()

    def hard_linked(self, old: str, new: str) -> None:
        self._same[new] = self._same.get(old, old)
        if old in self.inodes:
            self.inodes[new] = self.inodes[old]

    def renamed(self, old: str, new: str) -> None:
        self.removed(new)
        self._moved[new] = self._moved.pop(old, old)
        if old in self._same:
            self._same[new] = self._same.pop(old)
        if (inode := self.inodes.pop(old, None)) is not None:
            self.inodes[new] = inode
        if old in self._links:
            self._links[new] = self._links.pop(old)
            self._followed.clear()

    def removed(self, path: str) -> None:
        """The name is gone; a new file may take its inode."""
        self._moved.pop(path, None)
        self._same.pop(path, None)
        inode = self.inodes.pop(path, None)
        if inode is not None and self._first.get(inode) == path:
            del self._first[inode]
        if self._links.pop(path, None) is not None:
            self._followed.clear()
