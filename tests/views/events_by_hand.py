"""Events as the engine records them, written by hand: one function for each kind a test needs."""

from __future__ import annotations

import itertools
import socket
import struct

from sentra_sandbox.syscalls.table import call_named
from sentra_sandbox.trace.events import Event, EventType, Segment, SegmentFlag, SegmentKind

AT_FDCWD = 0xFFFFFFFFFFFFFF9C
O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC = 1, 2, 0o100, 0o200, 0o1000
SP = 0x7FFD_0000_0000
SIGCHLD = 17
CLONE_THREAD = 0x10F00  # with CLONE_VM, FS, FILES and SIGHAND, as threads are made


class Script:
    """Makes events with rising seq and time."""

    def __init__(self) -> None:
        self._seq = itertools.count(1)

    def event(
        self,
        type: EventType,
        task: int,
        *,
        nr: int = 0,
        result: int = 0,
        args: tuple[int, ...] = (),
        segments: tuple[Segment, ...] = (),
        flags: int = 0,
        duration_ns: int = 0,
    ) -> Event:
        seq = next(self._seq)
        return Event(seq, type, flags, task, seq * 1000, duration_ns, nr, result, args, segments)

    def call(
        self, task: int, name: str, *args: int | bytes | str, result: int = 0, flags: int = 0, duration_ns: int = 0
    ) -> Event:
        """A system call; str and bytes arguments become pointers to IN memory (str: NUL-terminated text)."""
        row = call_named(name)
        assert row is not None
        registers: list[int] = []
        segments = []
        for number, argument in enumerate(args):
            if isinstance(argument, int):
                registers.append(argument)
                continue
            address = 0x10000 * (number + 1)
            is_text = isinstance(argument, str)
            data = argument.encode() if isinstance(argument, str) else argument
            segments.append(Segment(address, SegmentKind.IN, number, SegmentFlag.STRING if is_text else 0, data))
            registers.append(address)
        return self.event(
            EventType.SYSCALL,
            task,
            nr=row.number,
            result=result,
            args=tuple(registers),
            segments=tuple(segments),
            flags=flags,
            duration_ns=duration_ns,
        )

    def started(self, task: int, parent: int, tgid: int | None = None) -> Event:
        """A new process, or with ``tgid`` a new thread of that process."""
        flags = SIGCHLD if tgid is None else CLONE_THREAD
        return self.event(EventType.TASK, task, args=(parent, task if tgid is None else tgid, flags))

    def became(self, task: int, path: str, *argv: str, cwd: str = "/work dir", old_tid: int | None = None) -> Event:
        segments = (
            Segment(0, SegmentKind.INFO, 0, 0, path.encode()),
            Segment(0, SegmentKind.INFO, 1, 0, cwd.encode()),
            Segment(SP, SegmentKind.INFO, 2, 0, initial_stack(argv, ("HOME=/root",))),
        )
        return self.event(EventType.EXEC, task, args=(task if old_tid is None else old_tid, SP), segments=segments)

    def ended(self, task: int, wait_status: int, *, last: bool = True) -> Event:
        return self.event(EventType.EXIT, task, args=(wait_status, int(last)))


def initial_stack(argv: tuple[str, ...], env: tuple[str, ...]) -> bytes:
    """argc, argv, 0, envp, 0, AT_NULL, strings: as the kernel lays it out at ``SP``."""
    words = 1 + len(argv) + 1 + len(env) + 1 + 2
    strings = b""
    pointers = []
    for text in (*argv, *env):
        pointers.append(SP + 8 * words + len(strings))
        strings += text.encode("utf-8", "surrogateescape") + b"\0"
    layout = [len(argv), *pointers[: len(argv)], 0, *pointers[len(argv) :], 0, 0, 0]
    return struct.pack(f"<{words}Q", *layout) + strings


def ipv4(address: str, port: int) -> bytes:
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8)


def ipv6(address: str, port: int) -> bytes:
    return (
        struct.pack("<H", socket.AF_INET6)
        + struct.pack(">H", port)
        + bytes(4)
        + socket.inet_pton(socket.AF_INET6, address)
        + bytes(4)
    )
