"""Where CPython keeps its threads, frames and code objects in memory, per version, on x86-64 Linux.

Up to 3.12 the numbers are ``offsetof`` of each version's own headers; they do not change within a minor version. From
3.13 on the interpreter states them itself, at the start of ``_PyRuntime``. ``instruction`` is ``f_lasti`` up to 3.10,
then a pointer into the code.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

COOKIE = b"xdebugpy"
COOKED_BYTES = 8 * 49


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes, except ``version`` (minor) and ``code_units`` (True: ``instruction`` is a pointer)."""

    version: int
    interpreters: int
    interpreter_next: int
    threads: int
    thread_next: int
    thread_id: int
    native_id: int | None
    frame: int
    frame_through: int | None  # 3.11, 3.12: `frame` leads to a _PyCFrame that has the frame here
    code: int
    instruction: int
    previous: int
    owner: int | None
    file: int
    name: int
    first_line: int
    lines: int
    first_instruction: int | None
    text: int  # of an ASCII string object
    wide_text: int

    @property
    def code_units(self) -> bool:
        return self.first_instruction is not None


def _old(version: int, instruction: int) -> Layout:
    return Layout(version, 32, 0, 8, 8, 176, None, 24, None, 32, instruction, 24, None, 104, 112, 40, 120, None, 48, 72)


LAYOUTS = {
    8: _old(8, 104),
    9: _old(9, 104),
    10: _old(10, 96),
    11: Layout(11, 40, 0, 16, 8, 152, 160, 56, 8, 32, 56, 48, 69, 112, 128, 72, 136, 184, 48, 72),
    12: Layout(12, 40, 0, 72, 8, 136, 144, 56, 0, 0, 56, 8, 70, 112, 128, 68, 136, 192, 40, 56),
}

# Index of the first word of each part of _Py_DebugOffsets: interpreter, thread, frame, code. (The runtime's is 3.)
_PARTS = {13: (6, 19, 28, 34), 14: (6, 22, 31, 39)}


def layout_of_offsets(content: bytes) -> Layout | None:
    """The layout that the ``_PyRuntime`` of 3.13 or later describes; None for a version we do not know, or one without
    a GIL.
    """
    if len(content) < COOKED_BYTES or content[:8] != COOKIE:
        return None
    words = struct.unpack(f"<{COOKED_BYTES // 8}Q", content[:COOKED_BYTES])
    version = words[1] >> 16 & 0xFF
    parts = _PARTS.get(version)
    if parts is None or words[1] >> 24 != 3 or words[2]:
        return None
    interpreter, thread, frame, code = parts
    return Layout(
        version=version,
        interpreters=words[5],
        interpreter_next=words[interpreter + 2],
        threads=words[interpreter + 3],
        thread_next=words[thread + 2],
        frame=words[thread + 4],
        frame_through=None,
        thread_id=words[thread + 5],
        native_id=words[thread + 6],
        previous=words[frame + 1],
        code=words[frame + 2],
        instruction=words[frame + 3],
        owner=words[frame + 5],
        file=words[code + 1],
        name=words[code + 3],
        lines=words[code + 4],
        first_line=words[code + 5],
        first_instruction=words[code + 9],
        text=40,
        wide_text=56,
    )
