"""The paths that a call names, made absolute: from the event's strings, its directory descriptors and the
descriptor table.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.quoting import escape, signed32
from sentra_sandbox.syscalls.table import Call
from sentra_sandbox.trace.events import Event, SegmentKind
from sentra_sandbox.views.places import register

AT_FDCWD = -100


def call_paths(event: Event, call: Call, descriptors: DescriptorTable) -> Iterator[tuple[int, str]]:
    """``(argument number, absolute path)`` of each path that the call names, in the order of its arguments.

    Bytes that are not printable are escaped, as in the descriptor table. A path relative to a directory that no event
    has told us stays relative. An empty path (``AT_EMPTY_PATH``) is not yielded.
    """
    texts = {s.arg: s.data for s in event.segments if s.kind == SegmentKind.IN}
    dirfd = AT_FDCWD
    for number, argument in enumerate(call.args):
        if argument.kind == "dirfd":
            dirfd = signed32(register(event, number))
        elif argument.kind == "path":
            if texts.get(number):
                yield number, resolve(escape(texts[number]), event.task, dirfd, descriptors)
            dirfd = AT_FDCWD


def resolve(path: str, task: int, dirfd: int, descriptors: DescriptorTable) -> str:
    """``path`` as the task sees it from ``dirfd``; ``.`` and ``..`` are folded without looking at symbolic links."""
    base = "" if path.startswith("/") else descriptors.describe(task, dirfd) or ""
    return posixpath.normpath(posixpath.join(base, path))
