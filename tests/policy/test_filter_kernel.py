"""The real kernel against the simulator: forked children install a compiled filter and make calls.

Without a tracer SECCOMP_RET_TRACE answers ENOSYS, so the returns are translated first: record → allow, refuse → the
kernel's own ERRNO, trap → TRAP, kill → KILL_PROCESS. Everything else of the program runs as it was compiled.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from sentra_sandbox.policy import bpf, filter
from sentra_sandbox.policy.oci import load_profile
from sentra_sandbox.policy.profiles import find_profile
from sentra_sandbox.syscalls import table

HERE = Path(__file__).parent
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
LIBC = ctypes.CDLL(None, use_errno=True)


class SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def translated(program: bytes) -> bytes:
    instructions = []
    for one in bpf.decode(program):
        if one.code == bpf.RET and one.k & bpf.RET_ACTION_FULL == bpf.RET_TRACE:
            number = one.k & filter.FILTER_ERRNO
            value = {
                filter.FILTER_RECORD: bpf.RET_ALLOW,
                filter.FILTER_REFUSE: bpf.RET_ERRNO | number,
                filter.FILTER_TRAP: bpf.RET_TRAP,
                filter.FILTER_KILL: bpf.RET_KILL_PROCESS,
            }[one.k & filter.FILTER_WHAT]
            one = bpf.Instruction(one.code, 0, 0, value)
        instructions.append(one)
    return bpf.encode(instructions)


def install(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = SockFprog(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def call(number: int, *args: int) -> int:
    """The raw result: -errno on failure."""
    ctypes.set_errno(0)
    LIBC.syscall.restype = ctypes.c_long
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_ulong(one & (1 << 64) - 1) for one in args))
    return -ctypes.get_errno() if result == -1 else result


def in_child(work: Callable[[], object]) -> tuple[int, object]:
    """Run ``work`` in a forked child: its wait status and its result as JSON (None if it died)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(20)
            answer = json.dumps(work()).encode()
            os.write(writer, answer)
            os._exit(0)
        finally:
            os._exit(99)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    return status, json.loads(data) if data else None


def number(name: str) -> int:
    row = table.call_named(name)
    assert row is not None
    return row.number


# What the kernel itself says to these harmless calls (bad descriptors and addresses) differs from what the filters say.
CALLS = [
    ("lseek", -1, 0x100000004, 0),
    ("lseek", -1, 0x100000005, 0),
    ("lseek", -1, 0xFFFFFFFF, 0),
    ("lseek", -1, -1, 0),
    ("dup2", -1, 0x100000005),
    ("dup2", -1, 0x100000006),
    ("dup2", -1, 7),
    ("dup3", -1, 6, 0x100000006),
    ("dup3", -1, 6, 0),
    ("listen", -1, 0x100000005),
    ("listen", -1, 5),
    ("fcntl", -1, 0xFF00000007, -1),
    ("fcntl", -1, 7, 0),
    ("ioctl", -1, 0x5401, 0),
    ("ioctl", -1, 0x5412, 0),
    ("ioctl", -1, 0x100005412, 0),
    ("ioctl", -1, 0x541C, 0),
    ("socket", 1, 1, 0),
    ("socket", 2, 1, 0),
    ("socket", 2, 2, 17),
    ("socket", 2, 3, 255),
    ("socket", 16, 3, 0),
    ("socket", 16, 3, 9),
    ("socket", 38, 5, 0),
    ("socket", 40, 1, 0),
    ("socket", 0x100000028, 1, 0),
    ("unshare", 0x10000000),
    ("unshare", 0x400),
    ("clone", 0x10000011, 0, 0, 0, 0),
    ("setns", -1, 0),
    ("personality", 0xFFFFFFFF),
    ("personality", 0x400000),
    ("keyctl", 0, -1, 0),
    ("bpf", 99, 0, 0),
    ("io_uring_setup", 0, 0),
    ("mount", 0, 0, 0, 0, 0),
    ("umount2", 0, 0),
    ("chroot", 0),
    ("open_by_handle_at", -1, 0, 0),
    ("chmod", 0, 0o4755),
    ("chmod", 0, 0o755),
    ("memfd_create", 0, 0),
    ("rseq", 0, 0, 0),
    ("mprotect", 1, 4096, 4),
]
NUMBERS = [400, 470, 547, 5000, 0x40000000 | 39, 0x40000000 | 16]


@cache
def unfiltered(one: tuple[int, ...]) -> int:
    """The kernel's own answer, from a child without a filter."""
    status, result = in_child(lambda: call(*one))
    assert status == 0 and isinstance(result, int), one
    return result


@pytest.mark.parametrize("name", ["default", "offline", "strict", "none", "comparisons", "docker_shaped"])
def test_kernel_and_simulator_agree(name: str) -> None:
    path = HERE / "profiles" / f"{name}.json"
    program = translated(filter.compile_filter(load_profile(path if path.exists() else find_profile(name))))
    if name == "docker_shaped":  # it does not list what Python itself needs between two calls
        program = with_allowed(program, ["mmap", "munmap", "mprotect", "futex", "rt_sigaction", "rt_sigprocmask"])
    calls = [(number(one[0]), *one[1:]) for one in CALLS] + [(one,) for one in NUMBERS]
    expected = {one: bpf.simulate(program, one[0], one[1:]) for one in calls}
    # An allowed clone would go on here as a second process; allowed namespaces would change what later calls say.
    skipped = {number("clone"), number("unshare")}
    calls = [one for one in calls if expected[one][0] == bpf.RET_ERRNO or one[0] not in skipped]
    calls = [one for one in calls if expected[one][0] != bpf.RET_KILL_PROCESS]
    assert len(calls) > 40

    def work() -> list[int]:
        install(program)
        return [call(*one) for one in calls]

    status, results = in_child(work)
    assert status == 0
    assert isinstance(results, list) and len(results) == len(calls)
    for one, result in zip(calls, results, strict=True):
        action, data = expected[one]
        if action == bpf.RET_ERRNO:
            assert result == -data, one
        else:
            assert action == bpf.RET_ALLOW, one
            assert result == unfiltered(one) or min(result, unfiltered(one)) >= 0, one


def with_allowed(program: bytes, names: list[str]) -> bytes:
    """The program with tests in front that allow these calls."""
    count = len(names)
    front = [bpf.Instruction(bpf.LOAD, 0, 0, bpf.OFFSET_NR)]
    front += [bpf.Instruction(bpf.JEQ, count - index, 0, number(name)) for index, name in enumerate(names)]
    front += [bpf.Instruction(bpf.JA, 0, 0, 1), bpf.Instruction(bpf.RET, 0, 0, bpf.RET_ALLOW)]
    return bpf.encode(front) + program


@pytest.mark.parametrize(
    ("call_name", "args"),
    [("shutdown", (-1, 0x100000005)), ("accept", (-1, 0, 5)), ("ioctl", (-1, 0x1000000F5)), ("kill", (1, 0))],
)
def test_trap_and_kill_end_the_child(call_name: str, args: tuple[int, ...]) -> None:
    program = translated(filter.compile_filter(load_profile(HERE / "profiles" / "comparisons.json")))

    def work() -> int:
        install(program)
        return call(number(call_name), *args)

    status, result = in_child(work)
    assert result is None
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGSYS


def test_32_bit_entry_is_refused() -> None:
    """int $0x80 enters the kernel with the 32-bit table: getpid is 20 there."""

    def enter() -> int:
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        # push rbx; mov eax, 20; int 0x80; movsxd rax, eax; pop rbx; ret
        code.write(bytes.fromhex("53 b8 14 00 00 00 cd 80 48 63 c0 5b c3"))
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        return int(ctypes.CFUNCTYPE(ctypes.c_long)(address)())

    status, free = in_child(enter)
    if status or not isinstance(free, int) or free < 0:
        pytest.skip("this kernel has no 32-bit entry")
    program = translated(filter.compile_filter(load_profile(find_profile("default"))))

    def work() -> int:
        install(program)
        return enter()

    assert in_child(work) == (0, -errno.ENOSYS)


def test_a_whole_python_program_runs_under_the_default_profile() -> None:
    program = translated(filter.compile_filter(load_profile(find_profile("default"))))
    script = (
        "import os, socket, subprocess, tempfile, threading, hashlib, json, asyncio, concurrent.futures as f\n"
        "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n"
        "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); s.accept()\n"
        "assert subprocess.run(['sh', '-c', 'set -m; (sleep 0 & wait); exit 3']).returncode == 3\n"
        "assert sum(f.ThreadPoolExecutor(4).map(int, '1234')) == 10\n"
        "open(tempfile.mkstemp()[1], 'w').close(); socket.getaddrinfo('localhost', 80)\n"
        "asyncio.run(asyncio.to_thread(json.dumps, 1)); print('done')\n"
    )

    def work() -> None:
        install(program)
        os.execvp("python3", ["python3", "-c", script])

    status, _ = in_child(work)
    assert status == 0
