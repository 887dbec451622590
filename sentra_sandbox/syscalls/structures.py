"""Shows structures of files, time, processes and terminals, each from its bytes. Layouts are those of x86-64 Linux.

A decoder takes (bytes, Context) and returns text; ShortData from it means "show the raw bytes".
"""

from __future__ import annotations

from collections.abc import Callable

from .context import MAX_ITEMS, Context, items
from .flag_names import flag_text
from .memory import Fields, ShortData
from .quoting import address, quote
from .signals import (
    clone_flags_text,
    exit_signal,
    sigaction,
    sigevent,
    siginfo,
    signal_stack,
    sigset,
    sigset_argpack,
    wait_status,
)

Decoder = Callable[[bytes, Context], str]


def struct_text(**fields: object) -> str:
    """{a=1, b=2}"""
    return "{" + ", ".join(f"{name}={value}" for name, value in fields.items()) + "}"


def mode_text(mode: int) -> str:
    """Permission bits in octal: 0644."""
    return f"{mode:#o}".replace("0o", "0") if mode else "000"


def file_mode(mode: int) -> str:
    """st_mode: S_IFREG|0644."""
    kind = mode & 0xF000
    permissions = f"0{mode & 0o7777:03o}"
    return f"{flag_text('file_type', kind)}|{permissions}" if kind else permissions


def device(number: int) -> str:
    """makedev(0x8, 0x1), from the number as stat returns it."""
    major = (number >> 8 & 0xFFF) | (number >> 32 & ~0xFFF)
    minor = (number & 0xFF) | (number >> 12 & ~0xFF)
    return f"makedev({major:#x}, {minor & 0xFFFFFFFF:#x})"


def stat(data: bytes, context: Context) -> str:
    fields = Fields(data)
    mode = fields.u32(24)
    size: dict[str, object] = {"st_size": fields.i64(48)}
    if mode & 0xF000 in (0x2000, 0x6000):
        size = {"st_rdev": device(fields.u64(40))}
    return struct_text(st_mode=file_mode(mode), **size).removesuffix("}") + ", ...}"


def statx(data: bytes, context: Context) -> str:
    fields = Fields(data)
    mask = flag_text("statx_mask", fields.u32(0))
    size = fields.u64(40)
    mode = file_mode(fields.u16(28))
    return struct_text(stx_mask=mask, stx_mode=mode, stx_size=size).removesuffix("}") + ", ...}"


def statfs(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(
        f_type=flag_text("fs_magic", fields.u64(0)),
        f_bsize=fields.u64(8),
        f_blocks=fields.u64(16),
        f_bfree=fields.u64(24),
        f_files=fields.u64(40),
    ).replace("}", ", ...}")


def dirents64(data: bytes, context: Context) -> str:
    return _dirents(data, name_offset=19)


def dirents32(data: bytes, context: Context) -> str:
    return _dirents(data, name_offset=18)


def _dirents(data: bytes, name_offset: int) -> str:
    """Names of directory entries; a record length that leads nowhere ends the list."""
    names: list[str] = []
    offset = count = 0
    while offset + name_offset < len(data):
        length = Fields(data).u16(offset + 16)
        if length <= name_offset or offset + length > len(data):
            break
        count += 1
        if len(names) < 4:
            names.append(quote(data[offset + name_offset : offset + length].split(b"\0", 1)[0]))
        offset += length
    return f"{items(names, count)} /* {count} {'entry' if count == 1 else 'entries'} */"


def timespec(data: bytes, context: Context) -> str:
    return _times(data, "tv_nsec")


def timeval(data: bytes, context: Context) -> str:
    return _times(data, "tv_usec")


def _times(data: bytes, fraction: str) -> str:
    """One pair of seconds and fraction; two of them (times of a file, a timer's interval and value) in brackets."""
    fields = Fields(data)
    if len(data) < 32:
        return struct_text(**{"tv_sec": fields.i64(0), fraction: _fraction(fields.i64(8))})
    first = struct_text(**{"tv_sec": fields.i64(0), fraction: _fraction(fields.i64(8))})
    second = struct_text(**{"tv_sec": fields.i64(16), fraction: _fraction(fields.i64(24))})
    return f"[{first}, {second}]"


def _fraction(value: int) -> object:
    return {0x3FFFFFFF: "UTIME_NOW", 0x3FFFFFFE: "UTIME_OMIT"}.get(value, value)


def timezone(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(tz_minuteswest=fields.i32(0), tz_dsttime=fields.i32(4))


def time_t(data: bytes, context: Context) -> str:
    fields = Fields(data)
    if len(data) >= 16:
        return struct_text(actime=fields.i64(0), modtime=fields.i64(8))
    return f"[{fields.i64(0)}]"


def timex(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(modes=hex(fields.u32(0)), offset=fields.i64(8), freq=fields.i64(16)).replace("}", ", ...}")


def tms(data: bytes, context: Context) -> str:
    names = ("tms_utime", "tms_stime", "tms_cutime", "tms_cstime")
    return struct_text(**{name: Fields(data).i64(8 * index) for index, name in enumerate(names)})


def rusage(data: bytes, context: Context) -> str:
    user, system = timeval(data[0:16], context), timeval(data[16:32], context)
    return struct_text(ru_utime=user, ru_stime=system).removesuffix("}") + ", ...}"


def rlimit(data: bytes, context: Context) -> str:
    return struct_text(rlim_cur=_limit(Fields(data).u64(0)), rlim_max=_limit(Fields(data).u64(8)))


def _limit(value: int) -> str:
    if value == 0xFFFFFFFFFFFFFFFF:
        return "RLIM64_INFINITY"
    return f"{value // 1024}*1024" if value > 1024 and value % 1024 == 0 else str(value)


def sysinfo(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(
        uptime=fields.i64(0), totalram=fields.u64(32), freeram=fields.u64(40), procs=fields.u16(80)
    ).replace("}", ", ...}")


def utsname(data: bytes, context: Context) -> str:
    parts = [data[start : start + 65].split(b"\0", 1)[0] for start in (0, 65, 130)]
    return struct_text(sysname=quote(parts[0]), nodename=quote(parts[1]), release=quote(parts[2])).replace(
        "}", ", ...}"
    )


def clone_args(data: bytes, context: Context) -> str:
    fields = Fields(data)
    shown: dict[str, object] = {"flags": clone_flags_text(fields.u64(0))}
    for name, offset in (("pidfd", 8), ("child_tid", 16), ("parent_tid", 24)):
        if fields.u64(offset):
            shown[name] = address(fields.u64(offset))
    shown["exit_signal"] = exit_signal(fields.u64(32))
    shown |= {"stack": address(fields.u64(40)), "stack_size": hex(fields.u64(48))}
    if fields.u64(56):
        shown["tls"] = address(fields.u64(56))
    return struct_text(**shown)


def open_how(data: bytes, context: Context) -> str:
    fields = Fields(data)
    shown: dict[str, object] = {"flags": flag_text("open_flags", fields.u64(0))}
    if fields.u64(8):
        shown["mode"] = mode_text(fields.u64(8))
    return struct_text(**shown, resolve=flag_text("resolve_flags", fields.u64(16)))


def mount_attr(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(
        attr_set=flag_text("mount_attr", fields.u64(0)),
        attr_clr=flag_text("mount_attr", fields.u64(8)),
        propagation=flag_text("mount_flags", fields.u64(16)),
        userns_fd=fields.u64(24),
    )


def flock(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(
        l_type=flag_text("lock_type", fields.u16(0)),
        l_whence=flag_text("whence", fields.u16(2)),
        l_start=fields.i64(8),
        l_len=fields.i64(16),
        **({"l_pid": fields.i32(24)} if context.command and "GETLK" in context.command.name else {}),
    )


def pollfd(data: bytes, context: Context) -> str:
    return _array(data, 8, lambda one: _pollfd(one, context))


def _pollfd(one: Fields, context: Context) -> str:
    if one.i32(0) < 0:
        return struct_text(fd=one.i32(0))
    return struct_text(fd=context.fd(one.u32(0)), events=flag_text("poll_events", one.u16(4)))


def pollfd_ready(data: bytes, context: Context) -> str:
    """The descriptors of poll that have something: shown behind its result."""
    ready = []
    for start in range(0, len(data) - 7, 8):
        one = Fields(data[start : start + 8])
        if one.u16(6):
            revents = flag_text("poll_events", one.u16(6))
            ready.append(struct_text(fd=context.fd(one.u32(0)), revents=revents))
    return items(ready[:MAX_ITEMS], len(ready))


def epoll_event(data: bytes, context: Context) -> str:
    def one_event(one: Fields) -> str:
        return struct_text(events=flag_text("epoll_events", one.u32(0)), data=hex(one.u64(4)))

    if context.call.name == "epoll_ctl":
        return one_event(Fields(data))
    return _array(data, 12, one_event)


def _array(data: bytes, unit: int, show: Callable[[Fields], str]) -> str:
    total = len(data) // unit
    shown = [show(Fields(data[index * unit : (index + 1) * unit])) for index in range(min(total, MAX_ITEMS))]
    return items(shown, total)


def bitmask(data: bytes, context: Context) -> str:
    """A CPU or node mask as the list of its members."""
    bits = [8 * index + bit for index, byte in enumerate(data) for bit in range(8) if byte >> bit & 1]
    return "[" + " ".join(map(str, bits[: 4 * MAX_ITEMS])) + ("..." if len(bits) > 4 * MAX_ITEMS else "") + "]"


def termios(data: bytes, context: Context) -> str:
    fields = Fields(data)
    names = ("c_iflag", "c_oflag", "c_cflag", "c_lflag")
    return struct_text(**{name: hex(fields.u32(4 * i)) for i, name in enumerate(names)}).replace("}", ", ...}")


def winsize(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(ws_row=fields.u16(0), ws_col=fields.u16(2), ws_xpixel=fields.u16(4), ws_ypixel=fields.u16(6))


def capabilities(data: bytes, context: Context) -> str:
    fields = Fields(data)
    if len(data) < 24:
        raise ShortData
    sets = [fields.u32(4 * index) | fields.u32(12 + 4 * index) << 32 for index in range(3)]
    return struct_text(effective=hex(sets[0]), permitted=hex(sets[1]), inheritable=hex(sets[2]))


def cap_header(data: bytes, context: Context) -> str:
    return struct_text(version=hex(Fields(data).u32(0)), pid=Fields(data).i32(4))


def sched_attr(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(
        size=fields.u32(0), sched_policy=flag_text("sched_policy", fields.u32(4)), sched_nice=fields.i32(16)
    ).replace("}", ", ...}")


def sock_fprog(data: bytes, context: Context) -> str:
    return struct_text(len=Fields(data).u16(0), filter=address(Fields(data).u64(8)))


def sembuf(data: bytes, context: Context) -> str:
    def one_operation(one: Fields) -> str:
        return struct_text(sem_num=one.u16(0), sem_op=one.i16(2), sem_flg=flag_text("ipc_flags", one.u16(4)))

    return _array(data, 6, one_operation)


def msgbuf(data: bytes, context: Context) -> str:
    return struct_text(mtype=Fields(data).i64(0), mtext=context.quote(data[8:]))


def file_handle(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(handle_bytes=fields.u32(0), handle_type=fields.i32(4), f_handle="0x" + data[8:].hex())


def mq_attr(data: bytes, context: Context) -> str:
    names = ("mq_flags", "mq_maxmsg", "mq_msgsize", "mq_curmsgs")
    return struct_text(**{name: Fields(data).i64(8 * index) for index, name in enumerate(names)})


def futex_waitv(data: bytes, context: Context) -> str:
    def one_waiter(one: Fields) -> str:
        return struct_text(val=hex(one.u64(0)), uaddr=address(one.u64(8)), flags=flag_text("futex2_flags", one.u32(16)))

    return _array(data, 24, one_waiter)


def id_request(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(size=fields.u32(0), mnt_id=hex(fields.u64(8)), param=hex(fields.u64(16)))


def remote_iovec(data: bytes, context: Context) -> str:
    """An iovec array whose addresses belong to another process."""
    return _array(data, 16, lambda one: struct_text(iov_base=address(one.u64(0)), iov_len=one.u64(8)))


def landlock_path_beneath(data: bytes, context: Context) -> str:
    fields = Fields(data)
    return struct_text(allowed_access=hex(fields.u64(0)), parent_fd=context.fd(fields.u32(8)))


def text(data: bytes, context: Context) -> str:
    """Text in a fixed-size or counted buffer: up to its NUL, if it has one."""
    return context.quote(data.split(b"\0", 1)[0])


def path_text(data: bytes, context: Context) -> str:
    """A path that the kernel wrote: in full."""
    return quote(data.removesuffix(b"\0"))


DECODERS: dict[str, Decoder] = {
    "bitmask": bitmask,
    "cap_data": capabilities,
    "cap_header": cap_header,
    "clone_args": clone_args,
    "dirents32": dirents32,
    "dirents64": dirents64,
    "epoll_event": epoll_event,
    "file_handle": file_handle,
    "flock": flock,
    "futex_waitv": futex_waitv,
    "iovec": remote_iovec,
    "landlock_path_beneath": landlock_path_beneath,
    "linktext": path_text,
    "mnt_id_req": id_request,
    "mount_attr": mount_attr,
    "mq_attr": mq_attr,
    "msgbuf": msgbuf,
    "open_how": open_how,
    "pathbuf": path_text,
    "pollfd": pollfd,
    "rlimit": rlimit,
    "rusage": rusage,
    "sched_attr": sched_attr,
    "sembuf": sembuf,
    "sigaction": lambda data, context: sigaction(data),
    "sigevent": lambda data, context: sigevent(data),
    "siginfo": lambda data, context: siginfo(data),
    "sigset": lambda data, context: sigset(data),
    "sigset_argpack": sigset_argpack,
    "sock_fprog": sock_fprog,
    "stack": lambda data, context: signal_stack(data),
    "stat": stat,
    "statfs": statfs,
    "statx": statx,
    "sysinfo": sysinfo,
    "termios": termios,
    "text": text,
    "time": time_t,
    "timespec": timespec,
    "timeval": timeval,
    "timex": timex,
    "timezone": timezone,
    "tms": tms,
    "utsname": utsname,
    "wait_status": lambda data, context: wait_status(Fields(data).u32(0)),
    "winsize": winsize,
}
