"""Descriptors followed through sequences of events."""

from __future__ import annotations

import random
import socket
import struct
from dataclasses import dataclass

from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.decode import format_call
from sentra_sandbox.syscalls.descriptors import DescriptorTable

SYSCALL, SIGNAL, TASK, EXEC, EXIT = 1, 2, 3, 4, 5
IN, OUT, INFO = 1, 2, 3
CLONE_FS, CLONE_FILES, CLONE_PIDFD = 0x200, 0x400, 0x1000
O_CLOEXEC = 0x80000
AT_FDCWD = 0xFFFFFF9C


@dataclass(frozen=True, slots=True)
class Bytes:
    addr: int
    kind: int
    arg: int
    flags: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    type: int
    task: int
    nr: int = 0
    result: int = 0
    args: tuple[int, ...] = ()
    segments: tuple[Bytes, ...] = ()
    flags: int = 0


def call(task: int, name: str, args: tuple[int, ...], result: int = 0, *segments: Bytes, flags: int = 0) -> Event:
    row = table.call_named(name)
    assert row is not None
    return Event(SYSCALL, task, row.number, result, args, segments, flags)


def path(arg: int, text: bytes) -> Bytes:
    return Bytes(0x1000 + arg, IN, arg, 1, text)


def opened(task: int, name: bytes, fd: int, flags: int = 0, dirfd: int = AT_FDCWD) -> Event:
    return call(task, "openat", (dirfd, 0x1001, flags, 0), fd, path(1, name))


def inet(port: int, host: str = "127.0.0.1") -> bytes:
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)


def played(*events: Event, cwd: str | None = "/home/me") -> DescriptorTable:
    descriptors = DescriptorTable({0: "/dev/pts/1"}, cwd)
    for event in events:
        descriptors.apply(event)
    return descriptors


def test_paths_are_made_absolute() -> None:
    table_ = played(
        opened(1, b"/etc", 3, 0x10000),
        opened(1, b"notes.txt", 4),
        opened(1, b"passwd", 5, 0, dirfd=3),
        opened(1, b"./x", 6),
        opened(1, b"/nope", -2),
        call(1, "chdir", (0x1000,), 0, path(0, b"src")),
        opened(1, b"main.c", 7),
        call(1, "fchdir", (3,)),
        opened(1, b"hosts", 8),
    )
    known = {fd: table_.describe(1, fd) for fd in (0, 3, 4, 5, 6, 7, 8, 9)}
    assert known == {
        0: "/dev/pts/1",
        3: "/etc",
        4: "/home/me/notes.txt",
        5: "/etc/passwd",
        6: "/home/me/x",
        7: "/home/me/src/main.c",
        8: "/etc/hosts",
        9: None,
    }
    assert table_.describe(1, -100) == "/etc"


def test_duplicates_share_and_close_forgets() -> None:
    table_ = played(
        call(1, "socket", (2, 1, 0), 3),
        call(1, "dup", (3,), 4),
        call(1, "fcntl", (3, 1030, 10), 10),
        call(1, "dup2", (3, 0), 0),
        call(1, "close", (3,)),
        call(1, "connect", (4, 0x1001, 16), -115, Bytes(0x1001, IN, 1, 0, inet(80))),
    )
    assert table_.describe(1, 3) is None
    assert {table_.describe(1, fd) for fd in (0, 4, 10)} == {"socket:tcp 127.0.0.1:80"}


def test_failed_and_unfinished_calls_change_nothing() -> None:
    table_ = played(
        opened(1, b"/a", 3),
        call(1, "close", (3,), -9),
        call(1, "close", (3,), 0, flags=4),
        call(1, "dup2", (7, 3), -9),
    )
    assert table_.describe(1, 3) == "/a"


def test_fork_copies_threads_share_and_exec_closes() -> None:
    table_ = played(
        opened(1, b"/keep", 3),
        opened(1, b"/secret", 4, O_CLOEXEC),
        Event(TASK, 2, args=(1, 2, 0)),
        Event(TASK, 3, args=(1, 1, CLONE_FILES | CLONE_FS)),
        opened(3, b"/by-thread", 5),
        opened(2, b"/by-child", 5),
        Event(EXEC, 2, args=(2, 0), segments=(Bytes(0, INFO, 0, 0, b"/bin/ls"), Bytes(0, INFO, 1, 0, b"/tmp"))),
    )
    assert table_.describe(1, 5) == table_.describe(3, 5) == "/by-thread"
    assert [table_.describe(2, fd) for fd in (3, 4, 5)] == ["/keep", None, "/by-child"]
    assert table_.describe(2, -100) == "/tmp"
    assert table_.describe(1, 4) == "/secret"


def test_exec_by_a_thread_keeps_its_descriptors_under_the_process_id() -> None:
    table_ = played(
        opened(1, b"/a", 3),
        Event(TASK, 9, args=(1, 1, CLONE_FILES)),
        call(9, "unshare", (CLONE_FILES,)),
        opened(9, b"/mine", 4),
        Event(EXEC, 1, args=(9, 0)),
    )
    assert table_.describe(1, 4) == "/mine"
    assert table_.describe(9, 4) is None


def test_close_on_exec_flags_follow_fcntl_and_ioctl() -> None:
    table_ = played(
        opened(1, b"/a", 3),
        opened(1, b"/b", 4, O_CLOEXEC),
        opened(1, b"/c", 5),
        opened(1, b"/d", 6),
        call(1, "fcntl", (3, 2, 1)),
        call(1, "ioctl", (4, 0x5450, 0)),
        call(1, "close_range", (6, 2**32 - 1, 4)),
        Event(EXEC, 1, args=(1, 0)),
    )
    assert [table_.describe(1, fd) for fd in (3, 4, 5, 6)] == [None, "/b", "/c", None]


def test_close_range() -> None:
    table_ = played(*(opened(1, b"/a", fd) for fd in (3, 4, 5)), call(1, "close_range", (4, 2**32 - 1, 0)))
    assert [table_.describe(1, fd) for fd in (3, 4, 5)] == ["/a", None, None]


def test_sockets() -> None:
    address = Bytes(0x1001, OUT, 1, 0, inet(5000, "10.0.0.9"))
    table_ = played(
        call(1, "socket", (2, 0x80001, 0), 3),
        call(1, "bind", (3, 0x1001, 16), 0, Bytes(0x1001, IN, 1, 0, inet(8080, "0.0.0.0"))),
        call(1, "listen", (3, 5)),
        call(1, "accept4", (3, 0x1001, 0x1002, 0), 4, address),
        call(1, "socket", (16, 3, 0), 5),
        call(1, "socket", (1, 1, 0), 6),
        call(1, "connect", (6, 0x1001, 10), 0, Bytes(0x1001, IN, 1, 0, b"\1\0/run/dbus\0")),
        call(1, "socket", (10, 2, 0), 7),
        call(1, "getsockname", (7, 0x1001, 0x1002), 0, address),
    )
    assert [table_.describe(1, fd) for fd in range(3, 8)] == [
        "socket:tcp listening 0.0.0.0:8080",
        "socket:tcp 10.0.0.9:5000",
        "socket:netlink",
        "socket:unix /run/dbus",
        "socket:udp bound 10.0.0.9:5000",
    ]


def test_pipes_and_anonymous_descriptors() -> None:
    table_ = played(
        call(1, "pipe2", (0x1000, 0), 0, Bytes(0x1000, OUT, 0, 0, struct.pack("<ii", 3, 4))),
        call(1, "epoll_create1", (0,), 5),
        call(1, "eventfd2", (0, 0), 6),
        call(1, "memfd_create", (0x1000, 1), 7, path(0, b"cache")),
        call(1, "pidfd_open", (77, 0), 8),
        call(1, "clone", (CLONE_PIDFD | 17, 0, 0x1002, 0, 0), 78, Bytes(0x1002, OUT, 2, 0, struct.pack("<i", 9))),
        call(1, "landlock_create_ruleset", (0, 0, 1), 4),
        call(1, "signalfd4", (2**64 - 1, 0, 8, 0), 10),
    )
    assert [table_.describe(1, fd) for fd in range(3, 11)] == [
        "pipe:[1]",
        "pipe:[1]",
        "anon_inode:[eventpoll]",
        "anon_inode:[eventfd]",
        "memfd:cache",
        "pidfd:77",
        "pidfd:78",
        "anon_inode:[signalfd]",
    ]


def message(control: int, fds: tuple[int, ...], kind: int) -> tuple[Bytes, Bytes]:
    rights = struct.pack(f"<Qii{len(fds)}I", 16 + 4 * len(fds), socket.SOL_SOCKET, socket.SCM_RIGHTS, *fds)
    header = struct.pack("<QIIQQQQII", 0, 0, 0, 0, 0, control, len(rights), 0, 0)
    return Bytes(0x2000, kind, 1, 0, header), Bytes(control, kind, 1, 0, rights)


def test_descriptors_travel_through_a_socket_pair() -> None:
    table_ = played(
        call(1, "socketpair", (1, 1, 0, 0x1003), 0, Bytes(0x1003, OUT, 3, 0, struct.pack("<ii", 3, 4))),
        Event(TASK, 2, args=(1, 2, 0)),
        opened(1, b"/gift", 5),
        call(1, "sendmsg", (3, 0x2000, 0), 1, *message(0x3000, (5,), IN)),
        call(2, "recvmsg", (4, 0x2000, 0), 1, *message(0x3000, (9,), OUT)),
        call(2, "recvmsg", (4, 0x2000, 0), 1, *message(0x3000, (10,), OUT)),
    )
    assert table_.describe(2, 9) == "/gift"
    assert table_.describe(2, 10) == "received from socket:unix:[1]"


def test_annotating_knows_closed_and_new_descriptors() -> None:
    descriptors = played(opened(1, b"/a", 3))
    closing = call(1, "close", (3,))
    line = format_call(closing.nr, closing.args, 0, (), describe_fd=descriptors.annotate(closing))
    assert line == "close(3</a>) = 0"
    opening = opened(1, b"b", 3)
    line = format_call(opening.nr, opening.args, 3, opening.segments, describe_fd=descriptors.annotate(opening))
    assert line == 'openat(AT_FDCWD</home/me>, "b", O_RDONLY) = 3</home/me/b>'


def test_ends_and_late_starts() -> None:
    table_ = played(opened(1, b"/a", 3), Event(EXIT, 1), Event(TASK, 5, args=(99, 5, 0)), call(5, "close", (3,)))
    assert table_.describe(1, 3) is None
    assert table_.describe(5, 3) is None


def test_hostile_events_never_fail() -> None:
    rng = random.Random(4)
    descriptors = DescriptorTable({0: "/dev/null"}, "/")
    rows = table.all_calls()
    for _ in range(20000):
        args = tuple(
            rng.choice([0, 1, 3, 0x2000, 2**32 - 1, 2**64 - 1, rng.getrandbits(64)]) for _ in range(rng.randrange(7))
        )
        segments = tuple(
            Bytes(
                rng.choice([*args, 0]),
                rng.randrange(5),
                rng.randrange(7),
                rng.randrange(16),
                rng.randbytes(rng.choice([0, 2, 4, 8, 60])),
            )
            for _ in range(rng.randrange(4))
        )
        kind = rng.choice([SYSCALL] * 10 + [SIGNAL, TASK, EXEC, EXIT, 64])
        result = rng.choice([0, 3, 4, 2**63 - 1, -2, -115])
        event = Event(kind, rng.randrange(6), rng.choice(rows).number, result, args, segments, rng.randrange(64))
        describe = descriptors.annotate(event)
        for fd in (-100, -1, 0, 3, 2**31):
            text = describe(fd)
            assert text is None or (text.isascii() and text.isprintable())
