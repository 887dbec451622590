"""Names and texts of error numbers, and of the restart codes that the kernel keeps to itself."""

from __future__ import annotations

import errno
import os

from .flag_names import all_flags

# Linux aliases: the name a manual page uses most.
_PREFERRED = {errno.EAGAIN: "EAGAIN", errno.EDEADLK: "EDEADLK", errno.EOPNOTSUPP: "EOPNOTSUPP"}

_RESTARTS = {
    512: "To be restarted if SA_RESTART is set",
    513: "To be restarted",
    514: "To be restarted if no handler",
    516: "Interrupted by signal",
}


def error_name(number: int) -> str:
    """ENOENT; a number without a name as it is."""
    name = _PREFERRED.get(number) or errno.errorcode.get(number) or all_flags()["restart"].name_of(number)
    return name or str(number)


def error_text(number: int) -> str:
    """ENOENT (No such file or directory)."""
    if number in _RESTARTS:
        return f"{error_name(number)} ({_RESTARTS[number]})"
    return f"{error_name(number)} ({os.strerror(number)})" if number in errno.errorcode else error_name(number)


def is_restart(number: int) -> bool:
    """Whether a (positive) error number is one of the restart codes that no program ever sees."""
    return number in _RESTARTS
