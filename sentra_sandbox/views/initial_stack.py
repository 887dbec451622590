"""The stack a new image starts with: its arguments and environment, from the bytes an EXEC event holds.

Layout (System V ABI for x86-64, "Process Initialization"): argc, argv pointers, 0, envp pointers, 0, auxiliary
vector, strings. The bytes come from a trace, which is hostile: every pointer is checked, and what is not inside the
bytes is left out.
"""

from __future__ import annotations

_WORD = 8
_MOST_STRINGS = 65536


def arguments_and_environment(data: bytes, address: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``(argv, envp)`` of the stack bytes ``data`` that lay at ``address`` (the stack pointer).

    Bytes that are not UTF-8 become surrogate escapes, as in ``os.fsdecode``. A truncated stack gives the strings that
    are there.
    """
    count = _word(data, 0)
    if count is None or count > _MOST_STRINGS:
        return (), ()
    argv = _strings(data, address, _WORD)
    envp = _strings(data, address, _WORD * (count + 2))
    return argv[:count], envp


def _word(data: bytes, offset: int) -> int | None:
    word = data[offset : offset + _WORD]
    return int.from_bytes(word, "little") if len(word) == _WORD else None


def _strings(data: bytes, address: int, offset: int) -> tuple[str, ...]:
    """The strings of the zero-terminated array of pointers at ``offset``."""
    found: list[str] = []
    while len(found) < _MOST_STRINGS:
        pointer = _word(data, offset)
        if not pointer:
            break
        start = pointer - address
        end = data.find(b"\0", start) if 0 <= start < len(data) else -1
        if end < 0:
            break
        found.append(data[start:end].decode("utf-8", "surrogateescape"))
        offset += _WORD
    return tuple(found)
