"""Lines that the decoder must write, and hostile input that it must survive."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.decode import format_call, format_exit, format_signal
from sentra_sandbox.syscalls.flag_names import all_flags, parse_flags
from sentra_sandbox.syscalls.signals import siginfo, sigset, wait_status
from sentra_sandbox.syscalls.table_format import TableError
from sentra_sandbox.syscalls.values import _SHOW

AT_FDCWD = 0xFFFFFF9C
IN, OUT = 1, 2
STRING, SPILLED, TRUNCATED, UNREADABLE = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Bytes:
    """A segment as the trace's reader gives it."""

    addr: int
    kind: int
    arg: int
    flags: int
    data: bytes


def text(arg: int, addr: int, data: bytes) -> Bytes:
    return Bytes(addr, IN, arg, STRING, data)


def into(arg: int, addr: int, data: bytes) -> Bytes:
    return Bytes(addr, IN, arg, 0, data)


def out(arg: int, addr: int, data: bytes) -> Bytes:
    return Bytes(addr, OUT, arg, 0, data)


def show(
    name: str,
    args: Sequence[int],
    result: int,
    *memory: Bytes,
    flags: int = 0,
    max_string: int = 32,
    describe_fd: Callable[[int], str | None] | None = None,
) -> str:
    row = table.call_named(name)
    assert row is not None
    return format_call(row.number, args, result, memory, flags=flags, max_string=max_string, describe_fd=describe_fd)


def inet(port: int, host: str = "127.0.0.1") -> bytes:
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)


def inet6(port: int, host: str) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, host)
    return struct.pack("<H", socket.AF_INET6) + struct.pack(">HI", port, 0) + packed + bytes(4)


def msghdr(name: int, name_length: int, iov: int, count: int, control: int = 0, length: int = 0) -> bytes:
    return struct.pack("<QIIQQQQII", name, name_length, 0, iov, count, control, length, 0, 0)


RIGHTS = struct.pack("<QiiI", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS, 5)
FILES = {3: "/etc/ld.so.cache", 4: "socket:tcp 127.0.0.1:80", -100: "/home/me"}.get


def test_the_line_of_the_manual() -> None:
    line = show(
        "openat",
        (AT_FDCWD, 0x10, 0x80000, 0),
        3,
        text(1, 0x10, b"/etc/ld.so.cache"),
        describe_fd={3: "/etc/ld.so.cache"}.get,
    )
    assert line == 'openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>'


GOLDEN: list[tuple[str, str]] = [
    (
        show("openat", (AT_FDCWD, 0x10, 0x241, 0o644), 3, text(1, 0x10, b"out\n"), describe_fd=FILES),
        'openat(AT_FDCWD</home/me>, "out\\n", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 3</etc/ld.so.cache>',
    ),
    (
        show("open", (0x10, 0, 0), -2, text(0, 0x10, b"/nope")),
        'open("/nope", O_RDONLY) = -1 ENOENT (No such file or directory)',
    ),
    (
        show(
            "openat2",
            (AT_FDCWD, 0x10, 0x20, 24),
            3,
            text(1, 0x10, b"x"),
            into(2, 0x20, struct.pack("<QQQ", 0x80000, 0, 8)),
        ),
        'openat2(AT_FDCWD, "x", {flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_BENEATH}, 24) = 3',
    ),
    (
        show("read", (3, 0x10, 9), 4, out(1, 0x10, b"\x7fE\x012"), describe_fd=FILES),
        'read(3</etc/ld.so.cache>, "\\177E\\0012", 9) = 4',
    ),
    (show("read", (3, 0x10, 9), 0), 'read(3, "", 9) = 0'),
    (show("read", (3, 0x10, 9), -4), "read(3, 0x10, 9) = -1 EINTR (Interrupted system call)"),
    (
        show("read", (3, 0x10, 9), -512, flags=8),
        "read(3, 0x10, 9) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
    ),
    (show("read", (3, 0x10, 9), 0, flags=4), "read(3, 0x10, 9) = ?".replace("0x10", '""')),
    (show("write", (1, 0x10, 40), 40, into(1, 0x10, b"a" * 40)), f'write(1, "{"a" * 32}"..., 40) = 40'),
    (show("write", (1, 0x10, 40), 40, into(1, 0x10, b"a" * 40), max_string=64), f'write(1, "{"a" * 40}", 40) = 40'),
    (
        show("write", (1, 0x10, 1 << 20), 1 << 20, Bytes(0x10, IN, 1, SPILLED, struct.pack("<Q", 1 << 20))),
        "write(1, 0x10 /* 1048576 bytes */, 1048576) = 1048576",
    ),
    (
        show("mmap", (0, 8192, 3, 0x22, 0xFFFFFFFF, 0), 0x7F0000000000),
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000",
    ),
    (
        show("mmap", (0, 8192, 5, 0x802, 3, 0x1000), -13, describe_fd=FILES),
        "mmap(NULL, 8192, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_DENYWRITE, 3</etc/ld.so.cache>, 0x1000) = "
        "-1 EACCES (Permission denied)",
    ),
    (show("mprotect", (0x1000, 4096, 0), 0), "mprotect(0x1000, 4096, PROT_NONE) = 0"),
    (
        show("socket", (2, 0x80801, 6), 3),
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_TCP) = 3",
    ),
    (show("socket", (16, 3, 0), 3), "socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) = 3"),
    (show("socket", (1, 1, 0), 3), "socket(AF_UNIX, SOCK_STREAM, 0) = 3"),
    (
        show("connect", (4, 0x10, 16), -115, into(1, 0x10, inet(80)), describe_fd=FILES),
        "connect(4<socket:tcp 127.0.0.1:80>, {sa_family=AF_INET, sin_port=htons(80), "
        'sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EINPROGRESS (Operation now in progress)',
    ),
    (
        show("connect", (3, 0x10, 28), 0, into(1, 0x10, inet6(443, "2001:db8::1"))),
        'connect(3, {sa_family=AF_INET6, sin6_port=htons(443), sin6_addr="2001:db8::1"}, 28) = 0',
    ),
    (
        show("bind", (3, 0x10, 8), 0, into(1, 0x10, b"\x01\0/run/x")),
        'bind(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 8) = 0',
    ),
    (
        show("bind", (3, 0x10, 5), 0, into(1, 0x10, b"\x01\0\0ab")),
        'bind(3, {sa_family=AF_UNIX, sun_path=@"ab"}, 5) = 0',
    ),
    (
        show("bind", (3, 0x10, 12), 0, into(1, 0x10, struct.pack("<HHII", 16, 0, 7, 1))),
        "bind(3, {sa_family=AF_NETLINK, nl_pid=7, nl_groups=0x1}, 12) = 0",
    ),
    (
        show(
            "accept4",
            (3, 0x10, 0x20, 0x80000),
            5,
            out(1, 0x10, inet(9)),
            into(2, 0x20, b"\x80\0\0\0"),
            out(2, 0x20, b"\x10\0\0\0"),
        ),
        'accept4(3, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("127.0.0.1")}, [128 => 16], '
        "SOCK_CLOEXEC) = 5",
    ),
    (
        show("setsockopt", (3, 6, 1, 0x10, 4), 0, into(3, 0x10, b"\1\0\0\0")),
        "setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0",
    ),
    (
        show(
            "getsockopt",
            (3, 1, 4, 0x10, 0x20),
            0,
            out(3, 0x10, b"\x6f\0\0\0"),
            into(4, 0x20, b"\4\0\0\0"),
            out(4, 0x20, b"\4\0\0\0"),
        ),
        "getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0",
    ),
    (
        show(
            "poll",
            (0x10, 2, 100),
            1,
            into(0, 0x10, struct.pack("<ihhihh", 3, 1, 0, 4, 4, 0)),
            out(0, 0x10, struct.pack("<ihhihh", 3, 1, 17, 4, 4, 0)),
        ),
        "poll([{fd=3, events=POLLIN}, {fd=4, events=POLLOUT}], 2, 100) = 1 ([{fd=3, revents=POLLIN|POLLHUP}])",
    ),
    (show("poll", (0, 0, 5), 0), "poll(NULL, 0, 5) = 0 (Timeout)"),
    (
        show(
            "select",
            (4, 0x10, 0, 0, 0x20),
            1,
            into(1, 0x10, b"\x0a" + bytes(7)),
            out(1, 0x10, b"\x08" + bytes(7)),
            into(4, 0x20, struct.pack("<qq", 1, 0)),
            out(4, 0x20, struct.pack("<qq", 0, 9)),
        ),
        "select(4, [1 3], NULL, NULL, {tv_sec=1, tv_usec=0}) = 1 (in [3], left {tv_sec=0, tv_usec=9})",
    ),
    (
        show("epoll_ctl", (3, 1, 4, 0x10), 0, into(3, 0x10, struct.pack("<IQ", 0x80000001, 4))),
        "epoll_ctl(3, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, data=0x4}) = 0",
    ),
    (
        show("epoll_wait", (3, 0x10, 8, 0xFFFFFFFF), 1, out(1, 0x10, struct.pack("<IQ", 1, 4))),
        "epoll_wait(3, [{events=EPOLLIN, data=0x4}], 8, -1) = 1",
    ),
    (show("epoll_wait", (3, 0x10, 8, 0), 0), "epoll_wait(3, [], 8, 0) = 0"),
    (
        show("futex", (0x70, 0x80, 2, 0x30, 0, 0), -110, into(3, 0x30, struct.pack("<qq", 1, 5))),
        "futex(0x70, FUTEX_WAIT_PRIVATE, 2, {tv_sec=1, tv_nsec=5}, NULL, 0) = -1 ETIMEDOUT (Connection timed out)",
    ),
    (
        show("futex", (0x70, 0x7F, 1, 0, 0, 0), -38),
        "futex(0x70, 0x7f, 1, NULL, NULL, 0) = -1 ENOSYS (Function not implemented)",
    ),
    (
        show("ioctl", (0, 0x5413, 0x40), 0, out(2, 0x40, struct.pack("<HHHH", 24, 80, 0, 0))),
        "ioctl(0, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0",
    ),
    (
        show("ioctl", (0, 0xC0104701, 0x40), -25),
        "ioctl(0, _IOC(_IOC_READ|_IOC_WRITE, 0x47, 0x1, 0x10), 0x40) = -1 ENOTTY (Inappropriate ioctl for device)",
    ),
    (show("ioctl", (3, 0x5451, 0x99), 0), "ioctl(3, FIOCLEX) = 0"),
    (show("fcntl", (3, 3, 0), 0x8002), "fcntl(3, F_GETFL) = 0x8002 (flags O_RDWR|O_LARGEFILE)"),
    (show("fcntl", (3, 2, 1), 0), "fcntl(3, F_SETFD, FD_CLOEXEC) = 0"),
    (show("fcntl", (3, 1030, 10), 11, describe_fd={11: "x"}.get), "fcntl(3, F_DUPFD_CLOEXEC, 10) = 11<x>"),
    (
        show("fcntl", (3, 6, 0x10), 0, into(2, 0x10, struct.pack("<hhiqqii", 1, 0, 0, 5, 6, 0, 0))),
        "fcntl(3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=5, l_len=6}) = 0",
    ),
    (show("clone", (0x11, 0, 0, 0, 0), 9), "clone(SIGCHLD, NULL, NULL, NULL, NULL) = 9"),
    (
        show(
            "clone3", (0x50, 88), 9, into(0, 0x50, struct.pack("<11Q", 0x4100, 0, 0, 0, 17, 0x7000, 0x1000, 0, 0, 0, 0))
        ),
        "clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7000, stack_size=0x1000}, 88) = 9",
    ),
    (
        show("wait4", (0xFFFFFFFF, 0x10, 1, 0), 9, out(1, 0x10, struct.pack("<I", 0x100))),
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 1}], WNOHANG, NULL) = 9",
    ),
    (
        show(
            "execve",
            (0x10, 0x20, 0x30),
            0,
            text(0, 0x10, b"/bin/ls"),
            text(1, 0x100, b"ls"),
            text(1, 0x108, b"-l"),
            text(2, 0x200, b"A=B"),
        ),
        'execve("/bin/ls", ["ls", "-l"], 0x30 /* 1 vars */) = 0',
    ),
    (
        show(
            "writev",
            (1, 0x10, 2),
            6,
            into(1, 0x10, struct.pack("<4Q", 0x100, 3, 0x200, 3)),
            into(1, 0x100, b"abc"),
            into(1, 0x200, b"de\n"),
        ),
        'writev(1, [{iov_base="abc", iov_len=3}, {iov_base="de\\n", iov_len=3}], 2) = 6',
    ),
    (
        show(
            "readv",
            (1, 0x10, 2),
            4,
            into(1, 0x10, struct.pack("<4Q", 0x100, 3, 0x200, 3)),
            out(1, 0x100, b"abc"),
            out(1, 0x200, b"d"),
        ),
        'readv(1, [{iov_base="abc", iov_len=3}, {iov_base="d", iov_len=3}], 2) = 4',
    ),
    (
        show(
            "sendmsg",
            (4, 0x10, 0x4000),
            2,
            into(1, 0x10, msghdr(0, 0, 0x80, 1, 0x90, 20)),
            into(1, 0x80, struct.pack("<QQ", 0x100, 2)),
            into(1, 0x100, b"hi"),
            into(1, 0x90, RIGHTS),
        ),
        'sendmsg(4, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="hi", iov_len=2}], msg_iovlen=1, '
        "msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[5]}], "
        "msg_controllen=20, msg_flags=0}, MSG_NOSIGNAL) = 2",
    ),
    (
        show(
            "recvmsg",
            (4, 0x10, 0),
            2,
            into(1, 0x10, msghdr(0x70, 128, 0x80, 1)),
            out(1, 0x10, msghdr(0x70, 16, 0x80, 1)),
            into(1, 0x80, struct.pack("<QQ", 0x100, 9)),
            out(1, 0x100, b"hi"),
            out(1, 0x70, inet(53, "8.8.8.8")),
        ),
        'recvmsg(4, {msg_name={sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, msg_namelen=16, '
        'msg_iov=[{iov_base="hi", iov_len=9}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0) = 2',
    ),
    (
        show(
            "sendmmsg",
            (4, 0x10, 1, 0),
            1,
            into(1, 0x10, msghdr(0, 0, 0x80, 1) + bytes(8)),
            out(1, 0x48, b"\2\0\0\0"),
            into(1, 0x80, struct.pack("<QQ", 0x100, 2)),
            into(1, 0x100, b"hi"),
        ),
        'sendmmsg(4, [{msg_hdr={msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="hi", iov_len=2}], msg_iovlen=1, '
        "msg_controllen=0, msg_flags=0}, msg_len=2}], 1, 0) = 1",
    ),
    (
        show(
            "newfstatat",
            (AT_FDCWD, 0x10, 0x20, 0x100),
            0,
            text(1, 0x10, b"/a"),
            out(2, 0x20, bytes(24) + struct.pack("<I", 0o100644) + bytes(20) + struct.pack("<q", 7) + bytes(88)),
        ),
        'newfstatat(AT_FDCWD, "/a", {st_mode=S_IFREG|0644, st_size=7, ...}, AT_SYMLINK_NOFOLLOW) = 0',
    ),
    (
        show("rt_sigprocmask", (2, 0x10, 0x20, 8), 0, into(1, 0x10, b"\x02\x40" + bytes(6)), out(2, 0x20, bytes(8))),
        "rt_sigprocmask(SIG_SETMASK, [INT TERM], [], 8) = 0",
    ),
    (show("kill", (9, 64), -3), "kill(9, SIGRT_32) = -1 ESRCH (No such process)"),
    (show("prctl", (15, 0x10, 1, 2, 3), 0, text(1, 0x10, b"worker")), 'prctl(PR_SET_NAME, "worker") = 0'),
    (show("pipe2", (0x10, 0x80000), 0, out(0, 0x10, struct.pack("<ii", 3, 4))), "pipe2([3, 4], O_CLOEXEC) = 0"),
    (
        show(
            "nanosleep",
            (0x10, 0x20),
            -516,
            into(0, 0x10, struct.pack("<qq", 1, 0)),
            out(1, 0x20, struct.pack("<qq", 0, 5)),
        ),
        "nanosleep({tv_sec=1, tv_nsec=0}, {tv_sec=0, tv_nsec=5}) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)",
    ),
    (
        show("io_uring_setup", (8, 0x10), -38, flags=1),
        "io_uring_setup(8, 0x10) = -1 ENOSYS (Function not implemented) [refused]",
    ),
    # A vector's bytes as the recorder keeps them: one segment after the array, with the array's address.
    (
        show(
            "writev", (1, 0x10, 2), 6, into(1, 0x10, struct.pack("<4Q", 0x100, 3, 0x200, 3)), into(1, 0x10, b"abcde\n")
        ),
        'writev(1, [{iov_base="abc", iov_len=3}, {iov_base="de\\n", iov_len=3}], 2) = 6',
    ),
    (
        show("readv", (1, 0x10, 2), 4, into(1, 0x10, struct.pack("<4Q", 0x100, 3, 0x200, 9)), out(1, 0x10, b"abcd")),
        'readv(1, [{iov_base="abc", iov_len=3}, {iov_base="d", iov_len=9}], 2) = 4',
    ),
    (
        show(
            "recvmsg",
            (4, 0x10, 0),
            2,
            into(1, 0x10, msghdr(0, 0, 0x80, 1)),
            into(1, 0x80, struct.pack("<QQ", 0x100, 9)),
            out(1, 0x10, msghdr(0, 0, 0x80, 1)),
            out(1, 0x80, b"hi"),
        ),
        'recvmsg(4, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="hi", iov_len=9}], msg_iovlen=1, '
        "msg_controllen=0, msg_flags=0}, 0) = 2",
    ),
    (show("read", (3, 0x10, 9), 4, Bytes(0x10, OUT, 1, UNREADABLE, b"ab")), 'read(3, "ab", 9) = 4'),
    (show("read", (3, 0x10, 9), 4, Bytes(0x10, OUT, 1, UNREADABLE, b"")), "read(3, 0x10, 9) = 4"),
    (show("exit_group", (1,), 0), "exit_group(1) = ?"),
    (show("umask", (0o22,), 0o2), "umask(022) = 02"),
    (show("lseek", (3, 2**64 - 5, 2), 7), "lseek(3, -5, SEEK_END) = 7"),
    (
        show("getxattr", (0x10, 0x20, 0, 0), 5, text(0, 0x10, b"/x"), text(1, 0x20, b"user.a")),
        'getxattr("/x", "user.a", NULL, 0) = 5',
    ),
    (
        show("prlimit64", (0, 7, 0, 0x10), 0, out(3, 0x10, struct.pack("<QQ", 1024, 2**64 - 1))),
        "prlimit64(0, RLIMIT_NOFILE, NULL, {rlim_cur=1024, rlim_max=RLIM64_INFINITY}) = 0",
    ),
    (
        show(
            "getdents64",
            (3, 0x10, 512),
            48,
            out(
                1,
                0x10,
                struct.pack("<QqHB", 1, 1, 24, 4)
                + b".\0"
                + bytes(3)
                + struct.pack("<QqHB", 2, 2, 24, 8)
                + b"a\0"
                + bytes(3),
            ),
        ),
        'getdents64(3, [".", "a"] /* 2 entries */, 512) = 48',
    ),
    (
        show(
            "name_to_handle_at",
            (3, 0x10, 0x20, 0x30, 0x1001),
            -75,
            into(2, 0x20, bytes(8)),
            out(2, 0x20, b"\x08" + bytes(7)),
        ),
        "name_to_handle_at(3, 0x10, {handle_bytes=0, handle_type=0, f_handle=0x} => {handle_bytes=8, handle_type=0, "
        "f_handle=0x}, 0x30, AT_EMPTY_PATH|AT_HANDLE_MNT_ID_UNIQUE) = "
        "-1 EOVERFLOW (Value too large for defined data type)",
    ),
    (show("getcwd", (0x10, 9), 6, out(0, 0x10, b"/home\0")), 'getcwd("/home", 9) = 6'),
    (show("chown", (0x10, 0xFFFFFFFF, 5), 0, text(0, 0x10, b"f")), 'chown("f", -1, 5) = 0'),
    (format_call(999, (1, 2), -38, ()), "syscall_0x3e7(0x1, 0x2) = -1 ENOSYS (Function not implemented)"),
    (format_call(11, (1, 2), 3, (), flags=16), "foreign_abi_11(0x1, 0x2) = 3"),
]


@pytest.mark.parametrize(("line", "expected"), GOLDEN, ids=[expected.split("(")[0] for _, expected in GOLDEN])
def test_golden_line(line: str, expected: str) -> None:
    assert line == expected


def test_signals_and_ends() -> None:
    info = struct.pack("<iiiiii", signal.SIGTERM, 0, 0, 0, 7, 1000).ljust(128, b"\0")
    assert format_signal(15, info, handled=True) == (
        "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=1000} (handler) ---"
    )
    fault = struct.pack("<iiiiQ", signal.SIGSEGV, 0, 1, 0, 0x10).ljust(128, b"\0")
    assert siginfo(fault) == "{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10}"
    child = struct.pack("<iiiiiii", signal.SIGCHLD, 0, 2, 0, 9, 0, signal.SIGKILL).ljust(128, b"\0")
    assert siginfo(child) == "{si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=9, si_uid=0, si_status=SIGKILL}"
    assert format_signal(15, b"\1", handled=False) == '--- SIGTERM "\\1" ---'
    assert format_exit(0x300) == "+++ exited with 3 +++"
    assert format_exit(0x8B) == "+++ killed by SIGSEGV (core dumped) +++"
    assert sigset(b"\xff" * 7 + b"\x7f") == "~[RT_32]"


@pytest.mark.parametrize("status", [0, 0x100, 0xFF00, 9, 0x8B, 0x137F, 0x57F, 0xFFFF])
def test_wait_status_agrees_with_the_c_library(status: int) -> None:
    line = wait_status(status)
    assert ("WIFEXITED" in line) == os.WIFEXITED(status)
    assert ("WIFSTOPPED" in line) == os.WIFSTOPPED(status)
    assert ("WIFSIGNALED" in line) == os.WIFSIGNALED(status)
    assert ("WIFCONTINUED" in line) == os.WIFCONTINUED(status)
    assert ("WCOREDUMP" in line) == (os.WIFSIGNALED(status) and os.WCOREDUMP(status))


def test_every_kind_of_value_has_a_way_to_be_shown() -> None:
    by_command = {
        "ioctl_cmd",
        "fcntl_cmd",
        "prctl_option",
        "arch_prctl_code",
        "keyctl_op",
        "quotactl_cmd",
        "fsconfig_cmd",
    }
    by_command |= {"landlock_rule_type", "semctl_cmd", "msgctl_cmd", "shmctl_cmd", "futex_op", "seccomp_op"}
    plain = {"uint", "socklen", "u32"}
    for kind in table.kinds().values():
        if kind.form == "value":
            known = kind.name in _SHOW or kind.name in all_flags() or kind.name in by_command | plain
            assert known, kind.name


def test_flag_values_are_pythons() -> None:
    """The standard library knows hundreds of these constants from the same headers."""
    import fcntl
    import mmap
    import resource
    import select
    import stat
    import termios

    modules = (os, socket, signal, fcntl, mmap, resource, select, stat, termios)
    compared = 0
    for section in all_flags().values():
        for names in (section.names, *(names for _, names in section.fields)):
            for value, name in names.items():
                if name in ("O_LARGEFILE", "O_ACCMODE") or section.name in ("signal", "key"):
                    continue
                for module in modules:
                    theirs = getattr(module, name, None)
                    if isinstance(theirs, int):
                        assert int(theirs) & 0xFFFFFFFF == value & 0xFFFFFFFF, name
                        compared += 1
    assert compared > 300
    assert all(
        signal.Signals[name] == number for number, name in all_flags()["signal"].names.items() if hasattr(signal, name)
    )


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        ("A=1", "must come first"),
        ("[a sets]", "a section is"),
        ("[a bits]\n[a enum]", "a section is"),
        ("[a bits]\nA", "NAME=NUMBER"),
    ],
)
def test_wrong_flag_files_are_refused(content: str, mistake: str) -> None:
    with pytest.raises(TableError, match=re.escape(mistake)):
        parse_flags(content)


INTERESTING = (0, 1, 3, 0x10, 0x1000, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def random_event(rng: random.Random, row: table.Call, command: table.Command | None) -> str:
    """Decode a call with arguments, memory and flags that no kernel would produce."""
    args = [rng.choice([*INTERESTING, rng.getrandbits(64)]) for _ in range(rng.choice([0, 3, 6, 6, 6]))]
    if command and len(args) == 6:
        args[command.selector_arg] = command.value | rng.getrandbits(32) << 32
    memory = [
        Bytes(
            rng.choice(args or [0]),
            rng.randrange(5),
            rng.randrange(8),
            rng.randrange(16),
            rng.randbytes(rng.choice([0, 1, 2, 4, 7, 8, 12, 16, 56, 64, 88, 144, 256, 400])),
        )
        for _ in range(rng.randrange(6))
    ]
    result = rng.choice([0, 1, 8, 100, -2, -512, -5000, 2**63 - 1, -(2**63)])
    return format_call(row.number, args, result, memory, flags=rng.randrange(64), max_string=rng.choice([0, 8, 32]))


def test_hostile_events_never_fail_and_stay_on_one_line() -> None:
    rng = random.Random(20)
    commands: dict[str, list[table.Command]] = {}
    for command in table.all_commands():
        commands.setdefault(command.call, []).append(command)
    for row in table.all_calls():
        for command in [None] * 30 + commands.get(row.name, []) * 3:
            line = random_event(rng, row, command)
            assert line.isascii() and line.isprintable(), line
            assert line.startswith((row.name, "foreign_abi")) and ") = " in line


def test_huge_counts_take_no_time() -> None:
    """Lengths come from the trace: none may decide how much work there is."""
    huge = 2**63
    line = show(
        "readv", (3, 0x10, huge - 1), huge - 1, into(1, 0x10, struct.pack("<QQ", 0x20, huge)), out(1, 0x20, b"x")
    )
    assert "iov_len=9223372036854775808" in line
    header = msghdr(0x200, 2**32 - 1, 0x300, huge, 0x400, huge)
    assert show("recvmsg", (3, 0x10, 0), 5, into(1, 0x10, header), out(1, 0x10, header)).startswith(
        "recvmsg(3, {msg_name=0x200"
    )
    assert show("recvmmsg", (3, 0x10, 2**32 - 1, 0, 0), 2**31 - 1, out(1, 0x10, header + bytes(8))).startswith(
        "recvmmsg(3, ["
    )
