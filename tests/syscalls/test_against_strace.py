"""The names of flags and commands, compared with those that strace prints for the same numbers.

A small program makes calls that fail at once (descriptor -1, NULL pointers) with all values of a flag; strace prints
numbers with their names, the decoder gets the numbers and must find the same names.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Iterator

from needed import missing, need

from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.decode import format_call
from sentra_sandbox.syscalls.flag_names import all_flags

PROGRAM = """
import ctypes, json, sys
libc = ctypes.CDLL(None)
for number, args in json.load(sys.stdin):
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(arg) for arg in args])
"""
LINE = re.compile(r"^(\w+)\((.*)\) += -?\d+ ?.*$")
NUMBER = r"-?(?:0x[0-9a-f]+|\d+)"
# Two names for one number: ours and strace's.
ALIASES = {
    "IPV6_JOIN_GROUP": "IPV6_ADD_MEMBERSHIP",
    "IPV6_LEAVE_GROUP": "IPV6_DROP_MEMBERSHIP",
    "MSG_PROXY": "MSG_PROBE",
    "O_NOTIFICATION_PIPE": "O_EXCL",
    "SO_ATTACH_FILTER": "SO_GET_FILTER",
    "IN_ALL_EVENTS": "|".join(list(all_flags()["inotify_mask"].names.values())[1:13]),
}
MAX_UNNAMED = 20  # numbers that only strace has a name for (sub-options of rare levels)


def values(section: str) -> list[int]:
    """Every single value of a section, and all bits together."""
    names = all_flags()[section]
    single = [*names.names, *(value for _, pairs in names.fields for value in pairs)]
    return [value for value in single if value >= 0]


def calls() -> Iterator[tuple[str, list[int]]]:
    """Calls that cannot do anything: the kernel refuses a descriptor of -1, a NULL path or a length of 0."""
    for flags in values("open_flags"):
        yield "openat", [-1, 0, flags, 0]
    for section, name, template in (
        ("unlinkat_flags", "unlinkat", [-1, 0, None]),
        ("rename_flags", "renameat2", [-1, 0, -1, 0, None]),
        ("mmap_prot", "mmap", [0, 0, None, 2, -1, 0]),
        ("mmap_flags", "mmap", [0, 0, 0, None, -1, 0]),
        ("mremap_flags", "mremap", [0, 0, 0, None, 0]),
        ("msync_flags", "msync", [0, 0, None]),
        ("madvise", "madvise", [0, 0, None]),
        ("whence", "lseek", [-1, 0, None]),
        ("fallocate_mode", "fallocate", [-1, None, 0, 0]),
        ("fadvise", "fadvise64", [-1, 0, 0, None]),
        ("flock_op", "flock", [-1, None]),
        ("pipe_flags", "pipe2", [0, None]),
        ("memfd_flags", "memfd_create", [0, None]),
        ("shutdown_how", "shutdown", [-1, None]),
        ("sockopt_level", "getsockopt", [-1, None, 1, 0, 0]),
        ("sockopt_socket", "getsockopt", [-1, 1, None, 0, 0]),
        ("sockopt_tcp", "getsockopt", [-1, 6, None, 0, 0]),
        ("sockopt_ip", "getsockopt", [-1, 0, None, 0, 0]),
        ("sockopt_ipv6", "getsockopt", [-1, 41, None, 0, 0]),
        ("socket_domain", "socket", [None, 15, 0]),
        ("socket_type", "socket", [999, None, 0]),
        ("msg_flags", "sendto", [-1, 0, 0, None, 0, 0]),
        ("clockid", "clock_gettime", [None, 0]),
        ("itimer_which", "getitimer", [None, 0]),
        ("rlimit_resource", "getrlimit", [None, 0]),
        ("rusage_who", "getrusage", [None, 0]),
        ("epoll_op", "epoll_ctl", [-1, None, -1, 0]),
        ("splice_flags", "splice", [-1, 0, -1, 0, 0, None]),
        ("sync_range_flags", "sync_file_range", [-1, 0, 0, None]),
        ("inotify_mask", "inotify_add_watch", [-1, 0, None]),
        ("sigmask_how", "rt_sigprocmask", [None, 0, 0, 0]),
        ("umount_flags", "umount2", [0, None]),
        ("statx_mask", "statx", [-1, 0, 0, None, 0]),
        ("statx_flags", "statx", [-1, 0, None, 0, 0]),
        ("xattr_flags", "fsetxattr", [-1, 0, 0, 0, None]),
        ("mlockall_flags", "mlockall", [None]),
        ("timerfd_settime_flags", "timerfd_settime", [-1, None, 0, 0]),
    ):
        if section == "mlockall_flags":  # would lock the tester's memory
            continue
        for value in values(section):
            yield name, [value if word is None else word for word in template]
    for number in range(1, 65):
        yield "tgkill", [-1, -1, number]
    for command in table.all_commands():
        if command.call in ("ioctl", "fcntl"):
            yield command.call, [-1, command.value, 0]


def arguments(text: str) -> list[tuple[int, str | None]] | None:
    """strace's "0x2 /* A */|0x8 /* B */" into (10, "A|B"), for every argument; None if some argument is no number."""
    found: list[tuple[int, str | None]] = []
    for word in text.split(", "):
        parts = re.findall(rf"({NUMBER}|NULL)(?: /\* (.*?) \*/)?", word.split(" or ", 1)[0])
        if not parts:
            return None
        value = 0
        for number, _ in parts:
            value |= 0 if number == "NULL" else int(number, 8 if re.match("0[0-7]", number) else 0)
        names = [name for _, name in parts if name and not name.endswith("_???")]
        complete = len(names) == len(parts)
        found.append((value & (2**64 - 1), "|".join(names) if complete else None))
    return found


def same(ours: str, theirs: str) -> bool:
    ours = ALIASES.get(ours, ours)
    return sorted(ours.split("|")) == sorted(theirs.removesuffix("_OLD").split("|"))


def test_names_are_those_of_strace() -> None:
    strace = need("strace")
    todo = []
    for name, args in calls():
        row = table.call_named(name)
        assert row is not None
        todo.append([row.number, [ctypes.c_long(arg).value for arg in args]])
    command = [strace, "-X", "verbose", "-o", "/dev/stderr", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, input=json.dumps(todo), capture_output=True, text=True, timeout=60)
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        missing("ptrace is not permitted here")
    assert done.returncode == 0, done.stderr[-2000:]
    wrong, unnamed, compared = [], [], 0
    made = {row.name for name, _ in calls() if (row := table.call_named(name))}
    for line in done.stderr.splitlines():
        match = LINE.match(line)
        parsed = arguments(match[2]) if match and match[1] in made else None
        row = table.call_named(match[1]) if match else None
        if not match or not parsed or not row or len(parsed) > len(row.args):
            continue
        ours = format_call(row.number, [value for value, _ in parsed], -1, ())
        shown = ours.split("(", 1)[1].split(") = ", 1)[0].split(", ")
        for (_, theirs), mine in zip(parsed, shown, strict=False):
            if not theirs or "??" in theirs or same(mine, theirs):
                compared += bool(theirs)
            elif re.fullmatch(NUMBER, mine):
                unnamed.append(f"{theirs}: {line}")
            else:
                wrong.append(f"{mine!r} but strace says {theirs!r}: {line}")
    assert not wrong, "\n".join(wrong)
    assert len(unnamed) <= MAX_UNNAMED, "\n".join(unnamed)
    assert compared > 500
