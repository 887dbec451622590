"""Shows what a call returned: descriptors, addresses, errors, and the out-parameters that belong behind the result."""

from __future__ import annotations

from .context import MAX_ITEMS, Context
from .error_numbers import error_text, is_restart
from .flag_names import flag_text
from .memory import SEGMENT_OUT
from .quoting import address
from .structures import mode_text, pollfd_ready, timespec, timeval

MAX_ERRNO = 4095
EVENT_REFUSED, EVENT_IN_FLIGHT, EVENT_RESTARTED, EVENT_FOREIGN_ABI = 1, 4, 8, 16

_ADDRESS_RESULTS = frozenset({"mmap", "mremap", "brk", "shmat"})
_TIMED = {"select": timeval, "pselect6": timespec, "ppoll": timespec}


def format_result(context: Context, event_flags: int) -> str:
    """Everything behind the equals sign."""
    if event_flags & EVENT_IN_FLIGHT or "no_return" in context.call.flags:
        return "?"
    result = context.result
    error = -result
    if is_restart(error):
        return f"? {error_text(error)}{_marks(event_flags & ~EVENT_RESTARTED)}"
    if 0 < error <= MAX_ERRNO:
        return f"-1 {error_text(error)}{_behind_error(context)}{_marks(event_flags)}"
    return _success(context, result) + _marks(event_flags)


def _marks(event_flags: int) -> str:
    marks = [(EVENT_REFUSED, "refused"), (EVENT_RESTARTED, "restarted")]
    shown = [word for bit, word in marks if event_flags & bit]
    return f" [{', '.join(shown)}]" if shown else ""


def _success(context: Context, result: int) -> str:
    name = context.call.name
    flags = context.call.flags | (context.command.flags if context.command else frozenset())
    if "fd_result" in flags:
        return context.fd(result) if 0 <= result < 1 << 31 else str(result)
    if name in _ADDRESS_RESULTS:
        return address(result & 0xFFFFFFFFFFFFFFFF)
    if name == "umask":
        return mode_text(result)
    if context.command and context.command.name in ("F_GETFL", "F_GETFD", "F_GET_SEALS"):
        section = {"F_GETFL": "open_flags", "F_GETFD": "fd_flags", "F_GET_SEALS": "seals"}[context.command.name]
        return f"{result:#x} (flags {flag_text(section, result)})" if result else "0"
    if name in ("poll", "ppoll", "select", "pselect6"):
        return str(result) + _ready(context, result)
    return str(result)


def _ready(context: Context, result: int) -> str:
    """What poll and select report, and the time that is left."""
    if result == 0:
        return " (Timeout)"
    name = context.call.name
    parts = []
    for index, argument in enumerate(context.arguments[: len(context.args)]):
        if not context.args[index]:
            continue
        segment = context.memory.segment(index, context.args[index], SEGMENT_OUT)
        if segment is None:
            continue
        if argument.kind == "pollfd":
            parts.append(pollfd_ready(segment.data, context))
        elif argument.memory == "fdset":
            word = {"readfds": "in", "writefds": "out"}.get(argument.name, "except")
            members = descriptor_set(segment.data, context)
            if members != "[]":
                parts.append(f"{word} {members}")
        elif argument.name == "timeout" and name in _TIMED and len(segment.data) >= 16:
            parts.append(f"left {_TIMED[name](segment.data, context)}")
    return f" ({', '.join(parts)})" if parts else ""


def _behind_error(context: Context) -> str:
    """What a failing poll or select wrote all the same: the time that is left."""
    return "" if context.call.name not in _TIMED else _ready(context, -1)


def descriptor_set(data: bytes, context: Context) -> str:
    """The members of an fd_set."""
    members = [8 * index + bit for index, byte in enumerate(data[:8192]) for bit in range(8) if byte >> bit & 1]
    shown = [context.fd(member) for member in members[:MAX_ITEMS]]
    return "[" + " ".join(shown) + (" ..." if len(members) > MAX_ITEMS else "") + "]"
