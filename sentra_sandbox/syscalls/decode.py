"""Shows a recorded call as one line of text, like strace:

    openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>

The table says what each argument is; structures.py, network.py, signals.py and values.py know how to show it. Rules:
the input comes from a trace and may be hostile, so nothing here fails on strange numbers, short structures or missing
memory: it shows raw bytes, an address or a number instead. The output is one line of printable ASCII (apart from what
describe_fd adds).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import network, structures
from .context import MAX_ITEMS, Context, items
from .flag_names import all_flags
from .memory import FLAG_SPILLED, FLAG_TRUNCATED, SEGMENT_IN, SEGMENT_OUT, Fields, Memory, Segment, ShortData
from .quoting import address, quote, signed64
from .results import EVENT_FOREIGN_ABI, descriptor_set, format_result
from .signals import siginfo, signal_name
from .table import call as call_of
from .table import command_for, kinds
from .table_format import Argument, Call, Command, Direction, SizeRule, Treatment
from .values import command as command_name
from .values import format_value

_DECODERS = structures.DECODERS | network.DECODERS
_MASK64 = 0xFFFFFFFFFFFFFFFF


def format_call(
    nr: int,
    args: Sequence[int],
    result: int,
    memory: Sequence[Segment],
    *,
    flags: int = 0,
    max_string: int = 32,
    describe_fd: Callable[[int], str | None] | None = None,
) -> str:
    """Show one system call.

    ``args`` are the registers at entry (as many as there are), ``result`` what the program sees, ``memory`` the event's
    segments, ``flags`` those of the event (enum sentra_event_flags). ``max_string`` limits how many bytes of a buffer
    are shown; paths are always whole. ``describe_fd`` says what a descriptor refers to (AT_FDCWD asks for the working
    directory), or None.
    """
    values = tuple(value & _MASK64 for value in args)
    row = None if flags & EVENT_FOREIGN_ABI else call_of(nr)
    if row is None:
        return _unknown(nr, values, result, flags)
    command = command_for(row, values)
    context = Context(
        row, command, _arguments(row, command), values, signed64(result), Memory(memory), max_string, describe_fd
    )
    shown = (_argument(context, index) for index in _shown_arguments(context))
    return f"{row.name}({', '.join(shown)}) = {format_result(context, flags)}"


def call_name(nr: int) -> str:
    """The name of a call, or syscall_0x1f4 if there is none."""
    row = call_of(nr)
    return row.name if row else f"syscall_{nr:#x}"


def _unknown(nr: int, values: tuple[int, ...], result: int, flags: int) -> str:
    name = f"foreign_abi_{nr}" if flags & EVENT_FOREIGN_ABI else f"syscall_{nr:#x}"
    row = Call(name, nr, ("system",), Treatment.RECORD, 0, None, "emulate", frozenset(), ())
    context = Context(row, None, (), values, signed64(result), Memory(()), 0, None)
    return f"{name}({', '.join(map(hex, values))}) = {format_result(context, flags)}"


def _arguments(row: Call, command: Command | None) -> tuple[Argument, ...]:
    """The call's arguments with those that the command describes in their place."""
    if command is None:
        return row.args
    replaced = dict(command.args)
    return tuple(replaced.get(index, argument) for index, argument in enumerate(row.args))


def _shown_arguments(context: Context) -> range:
    """Arguments that mean nothing are left out: a mode without O_CREAT, what a command does not take."""
    count = min(len(context.arguments), len(context.args))
    if context.call.name in ("open", "openat") and not context.value("flags") & (0x40 | 0x400000):
        return range(count - 1)
    if context.command is None:
        return range(count)
    used = [context.command.selector_arg, *(index for index, _ in context.command.args)]
    if context.call.name in ("ioctl", "fcntl", "prctl", "keyctl", "arch_prctl", "semctl") and count:
        return range(min(count, max(used) + 1))
    return range(count)


def _argument(context: Context, index: int) -> str:
    argument, value = context.arguments[index], context.args[index]
    if context.command and index == context.command.selector_arg and argument.kind not in all_flags():
        return command_name(value, context)
    if argument.memory == "none":
        if argument.kind.endswith("_cmd") or argument.kind in ("prctl_option", "keyctl_op", "futex_op"):
            return command_name(value, context)
        return format_value(argument.kind, value, kinds()[argument.kind].width, context)
    if value == 0:
        return "NULL"
    try:
        return _pointed(context, index, argument, value)
    except ShortData:
        segment = _any_segment(context, index, value)
        return quote(segment.data, context.max_string) if segment else address(value)


def _any_segment(context: Context, index: int, value: int) -> Segment | None:
    memory = context.memory
    return memory.segment(index, value, SEGMENT_OUT) or memory.segment(index, value, SEGMENT_IN)


def _pointed(context: Context, index: int, argument: Argument, value: int) -> str:
    """Show the memory an argument points at; it is one of the shapes of enum sentra_memory."""
    if argument.memory == "string":
        return _string(context, index, argument, value)
    if argument.memory == "strings":
        return _strings(context, index, value)
    if argument.memory == "iovec":
        return _iovec(context, index, argument, value)
    if argument.memory == "msghdr":
        return _msghdr(context, index, argument, value)
    if argument.memory == "mmsghdr":
        return _mmsghdr(context, index, argument, value)
    if argument.memory == "fdset" and argument.kind != "bitmask":
        segment = context.memory.segment(index, value, SEGMENT_IN)
        return descriptor_set(segment.data, context) if segment else address(value)
    return _bytes(context, index, argument, value)


def _string(context: Context, index: int, argument: Argument, value: int) -> str:
    segment = context.memory.segment(index, value, SEGMENT_IN)
    if segment is None:
        return address(value)
    limit = None if argument.kind == "path" else context.max_string
    return quote(segment.data, limit, more=bool(segment.flags & FLAG_TRUNCATED))


def _strings(context: Context, index: int, value: int) -> str:
    """argv or envp: the strings among the argument's segments; the array of pointers itself is skipped."""
    found = [segment for segment in context.memory.of_arg(index, SEGMENT_IN) if segment.addr != value]
    if not found:
        return address(value)
    if context.arguments[index].name == "envp":
        return f"{address(value)} /* {len(found)} vars */"
    return items([context.quote(segment.data) for segment in found[:MAX_ITEMS]], len(found))


def _moved(context: Context) -> int:
    """How many bytes a call that returns a count has moved."""
    return max(context.result, 0)


def _iovec(context: Context, index: int, argument: Argument, value: int) -> str:
    out = not argument.direction & Direction.IN
    if out and context.result < 0:
        return address(value)
    count = context.args[argument.size_arg] if argument.size_arg < len(context.args) else 0
    limit = _moved(context) if out else None
    shown = network.iovec(value, count & 0xFFFFFFFF, context, out=out, limit=limit)
    if shown is not None:
        return shown
    parts = context.memory.of_arg(index, SEGMENT_OUT if out else SEGMENT_IN)
    if not parts:
        return address(value)
    vectors = [structures.struct_text(iov_base=context.quote(s.data), iov_len=len(s.data)) for s in parts[:MAX_ITEMS]]
    return items(vectors, len(parts))


def _header(context: Context, index: int, value: int, size: int, *, out: bool) -> bytes | None:
    """A message header: after a receive as the kernel left it, else as the program wrote it."""
    return context.read(value, size, out=out)


def _msghdr(context: Context, index: int, argument: Argument, value: int) -> str:
    out = argument.direction == Direction.OUT
    header = _header(context, index, value, network.MSGHDR_SIZE, out=out)
    if header is None or (out and context.result < 0):
        return address(value)
    return network.msghdr(header, context, out=out, limit=_moved(context) if out else None)


def _mmsghdr(context: Context, index: int, argument: Argument, value: int) -> str:
    out = argument.direction == Direction.OUT
    given = context.args[argument.size_arg] & 0xFFFFFFFF if argument.size_arg < len(context.args) else 0
    count = min(_moved(context), given) if out else given
    shown = []
    for number in range(min(count, MAX_ITEMS)):
        at = value + number * network.MMSGHDR_SIZE
        header = _header(context, index, at, network.MMSGHDR_SIZE, out=out)
        if header is None:
            break
        length = context.read(at + network.MSGHDR_SIZE, 4, out=True) or b""
        moved = int.from_bytes(length, "little")
        text = network.msghdr(header[: network.MSGHDR_SIZE], context, out=out, limit=moved if out else None)
        shown.append(structures.struct_text(msg_hdr=text, msg_len=moved))
    return items(shown, count) if shown or not count else address(value)


def _bytes(context: Context, index: int, argument: Argument, value: int) -> str:
    before = context.memory.segment(index, value, SEGMENT_IN) if argument.direction & Direction.IN else None
    after = context.memory.segment(index, value, SEGMENT_OUT) if argument.direction & Direction.OUT else None
    if before is None and after is None:
        return _missing(context, argument, value)
    shown = [_segment(context, argument, segment) for segment in (before, after) if segment is not None]
    # poll and select show what came back behind the result
    if len(shown) == 2 and (shown[0] == shown[1] or argument.name in ("fds", "timeout")):
        return shown[0]
    if len(shown) == 2 and all(text.startswith("[") and text.endswith("]") and "," not in text for text in shown):
        return f"[{shown[0][1:-1]} => {shown[1][1:-1]}]"
    return " => ".join(shown)


def _missing(context: Context, argument: Argument, value: int) -> str:
    """No bytes: an empty buffer if the call succeeded and its size is the result, 0; otherwise the address."""
    counted = argument.size in (SizeRule.RESULT, SizeRule.RESULT_CAPPED)
    if not counted or context.result != 0:
        return address(value)
    return "[]" if argument.unit > 1 or argument.kind.startswith("dirents") else '""'


def _segment(context: Context, argument: Argument, segment: Segment) -> str:
    """One buffer: by the decoder of its kind, as an array of values, or as quoted bytes."""
    data = segment.data
    if segment.flags & FLAG_SPILLED:
        return f"{address(segment.addr)} /* {int.from_bytes(data[:8], 'little')} bytes */"
    decoder = _DECODERS.get(argument.kind)
    try:
        if decoder:
            return decoder(data, context)
        kind = kinds()[argument.kind]
        if kind.form == "value":
            return _values(context, argument, data, kind.width)
    except ShortData:
        return quote(data, context.max_string)
    return quote(data, context.max_string, more=bool(segment.flags & FLAG_TRUNCATED))


def _values(context: Context, argument: Argument, data: bytes, width: int) -> str:
    """Numbers in memory: [3, 4]. hex and long stand for whatever size the memory has."""
    if len(data) < width:
        width = 4 if len(data) >= 4 else 1
    fields = Fields(data)
    read = {1: fields.u8, 4: fields.u32, 8: fields.u64}[width]
    total = len(data) // width
    shown = [format_value(argument.kind, read(width * at), width, context) for at in range(min(total, MAX_ITEMS))]
    return items(shown, total)


def format_signal(signo: int, info: bytes, *, handled: bool) -> str:
    """A delivered signal: --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, ...} ---"""
    try:
        text = siginfo(info)
    except ShortData:
        text = quote(info, 32)
    return f"--- {signal_name(signo)} {text}{' (handler)' if handled else ''} ---"


def format_exit(status: int) -> str:
    """The end of a task from its wait status: +++ exited with 0 +++, +++ killed by SIGKILL +++"""
    if status & 0x7F == 0:
        return f"+++ exited with {status >> 8 & 0xFF} +++"
    core = " (core dumped)" if status & 0x80 else ""
    return f"+++ killed by {signal_name(status & 0x7F)}{core} +++"
