"""Shows arguments that are plain values: descriptors, flags, commands, numbers."""

from __future__ import annotations

from collections.abc import Callable

from .context import Context
from .flag_names import all_flags, flag_text
from .network import socket_protocol, sockopt_name
from .quoting import address, signed32, signed64
from .signals import clone_flags_text, signal_name
from .structures import device, mode_text

AT_FDCWD = -100
MAP_ANONYMOUS = 0x20
FUTEX_PRIVATE = 0x80
HUGE_SHIFT = 26  # MAP_HUGE_*, MFD_HUGE_*: log2 of the page size in the upper 6 bits

_Show = Callable[[int, Context], str]


def dirfd(value: int, context: Context) -> str:
    """AT_FDCWD or a descriptor."""
    if signed32(value) != AT_FDCWD:
        return context.fd(value)
    what = context.describe_fd(AT_FDCWD) if context.describe_fd else None
    return f"AT_FDCWD<{what}>" if what else "AT_FDCWD"


def command(value: int, context: Context) -> str:
    """The selector of a multiplexed call by its name in commands.tbl, and the bits outside its mask."""
    found = context.command
    if found is None:
        return _ioctl_number(value) if context.call.name == "ioctl" else hex(value & 0xFFFFFFFF)
    rest = value & 0xFFFFFFFF & ~found.selector_mask
    if not rest:
        return found.name
    if context.call.name == "futex":
        name = f"{found.name}_PRIVATE" if rest & FUTEX_PRIVATE else found.name
        rest &= ~FUTEX_PRIVATE
        return f"{name}|{flag_text('futex_op_rest', rest)}" if rest else name
    return f"{found.name}|{rest:#x}"


def _ioctl_number(value: int) -> str:
    """An unknown ioctl taken apart as by the _IOC macros."""
    value &= 0xFFFFFFFF
    direction = ("_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE")[value >> 30]
    return f"_IOC({direction}, {value >> 8 & 0xFF:#x}, {value & 0xFF:#x}, {value >> 16 & 0x3FFF:#x})"


def _mmap_flags(value: int, context: Context) -> str:
    huge = value >> HUGE_SHIFT & 0x3F if value & 0x40000 else 0
    shown = flag_text("mmap_flags", value & ~(huge << HUGE_SHIFT))
    return f"{shown}|{huge}<<MAP_HUGE_SHIFT" if huge else shown


def _ipc_flags(section: str) -> _Show:
    def show(value: int, context: Context) -> str:
        flags, permissions = flag_text(section, value & 0xFFFFFE00), value & 0o777
        if not permissions:
            return flags
        return f"0{permissions:o}" if flags == "0" else f"{flags}|0{permissions:o}"

    return show


def _clock(value: int, context: Context) -> str:
    """A clock; negative numbers are the CPU clocks of processes and threads, or clock devices."""
    number = signed32(value)
    if number >= 0:
        return flag_text("clockid", number)
    if number & 7 == 3:
        return f"FD_TO_CLOCKID({~number >> 3})"
    which = ("PROF", "VIRT", "SCHED")[number & 3] if number & 3 < 3 else "3"
    return f"MAKE_{'THREAD' if number & 4 else 'PROCESS'}_CPUCLOCK({~(number >> 3)}, CPUCLOCK_{which})"


_SHOW: dict[str, _Show] = {
    "fd": lambda value, context: context.fd(value),
    "dirfd": dirfd,
    "addr": lambda value, context: address(value),
    "hex": lambda value, context: hex(value) if value > 9 else str(value),
    "u64": lambda value, context: str(value),
    "size": lambda value, context: str(value),
    "long": lambda value, context: str(signed64(value)),
    "offset": lambda value, context: str(signed64(value)),
    "time": lambda value, context: str(signed64(value)),
    "int": lambda value, context: str(signed32(value)),
    "pid": lambda value, context: str(signed32(value)),
    "uid": lambda value, context: _identity(value),
    "gid": lambda value, context: _identity(value),
    "mode": lambda value, context: mode_text(value & 0xFFFFFFFF),
    "dev": lambda value, context: device(value),
    "signal": lambda value, context: signal_name(signed32(value)),
    "clone_flags": lambda value, context: clone_flags_text(value),
    "mmap_flags": _mmap_flags,
    "clockid": _clock,
    "ipc_flags": _ipc_flags("ipc_flags"),
    "shmget_flags": _ipc_flags("shmget_flags"),
    "socket_protocol": socket_protocol,
    "sockopt_name": sockopt_name,
}


def _identity(value: int) -> str:
    """A user or group id; -1 means "leave it"."""
    number = value & 0xFFFFFFFF
    return "-1" if number == 0xFFFFFFFF else str(number)


def format_value(kind: str, value: int, width: int, context: Context) -> str:
    """Show a register as its kind says; ``width`` = how many of its bytes the kernel looks at."""
    show = _SHOW.get(kind)
    if show:
        return show(value, context)
    if width == 4:
        value &= 0xFFFFFFFF
    section = all_flags().get(kind)
    if section is None:
        return str(value)
    return section.render(value if section.bits or kind == "key" else signed32(value))
