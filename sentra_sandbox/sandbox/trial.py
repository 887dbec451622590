"""Tries one kernel feature in a forked child and reports what happened; doctor.py is built of such trials.

Rules of this file: a trial changes nothing outside its child, ends within a bounded time, and never guesses: it does
the thing and looks at the effect. Works as any user, without the C extension.
Sources: ptrace(2), user_namespaces(7), seccomp(2), process_vm_readv(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from errno import EPERM
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_LIBC.ptrace.restype = ctypes.c_long
_LIBC.process_vm_readv.restype = ctypes.c_ssize_t

_PTRACE_CONT, _PTRACE_GETREGS, _PTRACE_SETREGS = 7, 12, 13
_PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_GETEVENTMSG = 0x4206, 0x4207, 0x4201
_TRACESYSGOOD, _TRACESECCOMP, _EXITKILL = 0x1, 0x80, 0x100000
_EVENT_SECCOMP, _EVENT_STOP = 7, 128
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_TSC, _PR_SET_NO_NEW_PRIVS = 1, 22, 26, 38
_SYS_GETPPID, _SYS_PERSONALITY, _SYS_LANDLOCK_CREATE_RULESET = 110, 135, 444
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_NEW_USER, _NEW_PID, _NEW_MOUNT = 0x10000000, 0x20000000, 0x00020000
NAMESPACES = {
    "user": _NEW_USER,
    "mnt": _NEW_MOUNT,
    "pid": _NEW_PID,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "net": 0x40000000,
    "cgroup": 0x02000000,
}


@dataclass(frozen=True, slots=True)
class Result:
    """How a trial ended. ``errno`` is that of the failed step; 0 if it failed in another way, told in ``detail``."""

    ok: bool
    detail: str
    errno: int = 0


class StepFailed(Exception):
    """A step of a trial failed; ``errno`` 0 means that its effect was not the expected one."""

    def __init__(self, step: str, errno: int = 0) -> None:
        super().__init__(step)
        self.step = step
        self.errno = errno


def attempt(work: Callable[[], str], *, seconds: float = 5.0) -> Result:
    """Run ``work`` in a forked child: what it returns is the detail of a success, ``StepFailed`` and ``OSError`` fail.

    A child that dies or does not answer in time is a failure as well; it is killed together with its children.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(work, writer)
    os.close(writer)
    try:
        data = _read_until(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if data is None:
        return Result(False, f"no answer within {seconds:g} s")
    try:
        ok, detail, number = json.loads(data)
    except ValueError:
        return Result(False, f"the trial ended without an answer (wait status {status:#x})")
    return Result(bool(ok), str(detail), int(number))


def _child(work: Callable[[], str], writer: int) -> None:
    answer: tuple[bool, str, int]
    try:
        os.setpgid(0, 0)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        answer = (True, work(), 0)
    except StepFailed as error:
        reason = f": {os.strerror(error.errno)}" if error.errno else ""
        answer = (False, error.step + reason, error.errno)
    except OSError as error:
        answer = (False, str(error.strerror or error), error.errno or 0)
    except BaseException as error:  # whatever goes wrong in here must not go on as a second copy of the caller
        answer = (False, f"{type(error).__name__}: {error}", 0)
    with suppress(OSError):
        os.write(writer, json.dumps(answer).encode())
    os._exit(0)


def _read_until(reader: int, deadline: float) -> bytes | None:
    """All bytes up to the end, or None at the deadline."""
    data = b""
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(reader, 4096)
        if not chunk or len(data) > 65536:
            return data
        data += chunk
        with suppress(ValueError):  # complete: do not wait for grandchildren that hold the pipe open
            json.loads(data)
            return data


# ---- namespaces


def namespace(kind: str) -> str:
    """Unshare a user namespace and in it one of ``kind``, and see that it is another one."""
    before = os.readlink(f"/proc/self/ns/{kind}")
    _become_root_of_user_namespace()
    if kind != "user":
        _check(_LIBC.unshare(NAMESPACES[kind]), f"unshare the {kind} namespace")
    if kind == "pid":  # it is for children: the first of them is its process 1
        inside = attempt(lambda: str(os.getpid()), seconds=3.0)
        if inside.detail != "1":
            raise StepFailed(f"the first process of the new pid namespace is {inside.detail}")
    elif os.readlink(f"/proc/self/ns/{kind}") == before:
        raise StepFailed(f"the {kind} namespace is still the old one")
    return "created"


def unshare_network() -> None:
    """Go into a network namespace of our own, with the right to change it."""
    _become_root_of_user_namespace()
    _check(_LIBC.unshare(NAMESPACES["net"]), "unshare the net namespace")


def mount_proc() -> str:
    """Mount a fresh /proc in new user, mount and pid namespaces; it must show pid 1 to be us."""
    _become_root_of_user_namespace()
    _check(_LIBC.unshare(_NEW_MOUNT | _NEW_PID), "unshare the mount and pid namespaces")
    inner = attempt(_mount_proc_inside, seconds=3.0)
    if not inner.ok:
        raise StepFailed(inner.detail.split(": ")[0], inner.errno) if inner.errno else StepFailed(inner.detail)
    return inner.detail


def _mount_proc_inside() -> str:
    _check(_LIBC.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "make the mounts private")
    _check(_LIBC.mount(b"proc", b"/proc", b"proc", 0, None), "mount proc")
    if os.readlink("/proc/self") != "1":
        raise StepFailed("the new /proc shows the processes outside")
    return "mounted, shows only the processes inside"


def _become_root_of_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _check(_LIBC.unshare(_NEW_USER), "unshare the user namespace")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            Path(f"/proc/self/{name}").write_text(text)
        except OSError as error:
            raise StepFailed(f"write /proc/self/{name}", error.errno or 0) from error


# ---- tracing


def ptrace_seize() -> str:
    """Seize and stop a child of our own."""
    pid = _fork_sleeper()
    _seize(pid)
    _check(_ptrace(_PTRACE_INTERRUPT, pid, 0, 0), "ptrace interrupt")
    _wait_event(pid, _EVENT_STOP, "stop after PTRACE_INTERRUPT")
    return "a child was seized and stopped"


def seccomp_trace() -> str:
    """Let a traced child run into a SECCOMP_RET_TRACE filter and answer its call for it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reader, 1)  # until we are its tracer
        try:
            _install_filter(_trace_getppid())
        except StepFailed as error:
            os._exit(100 + min(error.errno, 99))
        _LIBC.syscall(ctypes.c_long(_SYS_GETPPID))
        os._exit(7 if ctypes.get_errno() == EPERM else 8)
    _seize(pid)
    os.write(writer, b"x")
    _wait_event(pid, _EVENT_SECCOMP, "stop at the filter")
    word = ctypes.c_ulong()
    _check(_ptrace(_PTRACE_GETEVENTMSG, pid, 0, ctypes.addressof(word)), "read the filter's data word")
    if word.value != 0x1001:
        raise StepFailed(f"the filter's data word is {word.value:#x} and should be 0x1001")
    registers = (ctypes.c_ulong * 27)()
    _check(_ptrace(_PTRACE_GETREGS, pid, 0, ctypes.addressof(registers)), "read registers")
    registers[15], registers[10] = ctypes.c_ulong(-1).value, ctypes.c_ulong(-EPERM).value  # orig_rax, rax
    _check(_ptrace(_PTRACE_SETREGS, pid, 0, ctypes.addressof(registers)), "write registers")
    _check(_ptrace(_PTRACE_CONT, pid, 0, 0), "ptrace continue")
    _, status = os.waitpid(pid, 0)
    if not os.WIFEXITED(status) or os.WEXITSTATUS(status) != 7:
        raise StepFailed(f"the child did not see our answer (wait status {status:#x})")
    return "a call was stopped by a filter and answered by its tracer"


def read_memory() -> str:
    """Read a child's memory with process_vm_readv."""
    secret = os.urandom(16)
    source = ctypes.create_string_buffer(secret, len(secret))
    pid = _fork_sleeper()
    target = ctypes.create_string_buffer(len(secret))
    local = struct.pack("=QQ", ctypes.addressof(target), len(secret))
    remote = struct.pack("=QQ", ctypes.addressof(source), len(secret))
    count = _LIBC.process_vm_readv(pid, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), ctypes.c_ulong(0))
    _check(-1 if count < 0 else 0, "process_vm_readv")
    if count != len(secret) or target.raw != secret:
        raise StepFailed("process_vm_readv returned other bytes than the child's")
    return "a child's memory was read"


def trap_tsc() -> str:
    """Ask for SIGSEGV at rdtsc, then execute one."""
    pid = os.fork()
    if pid == 0:
        if _LIBC.prctl(_PR_SET_TSC, 2, 0, 0, 0) < 0:
            os._exit(min(ctypes.get_errno(), 99))
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\x0f\x31\xc3")  # rdtsc; ret
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
        os._exit(100)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV:
        return "rdtsc is trapped"
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) < 100:
        raise StepFailed("prctl(PR_SET_TSC)", os.WEXITSTATUS(status))
    raise StepFailed("rdtsc ran although PR_SET_TSC forbids it")


def fixed_addresses() -> str:
    """Switch address randomisation off, as every recording does."""
    if _LIBC.syscall(ctypes.c_long(_SYS_PERSONALITY), ctypes.c_ulong(0x40000)) < 0:
        raise StepFailed("personality(ADDR_NO_RANDOMIZE)", ctypes.get_errno())
    return "address randomisation can be switched off"


def pin_cpu() -> str:
    """Pin ourselves to one of the CPUs we may use."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[:1])
    if os.sched_getaffinity(0) != set(cpus[:1]):
        raise StepFailed("the affinity mask did not change")
    return f"{len(cpus)} usable, pinning works"


def landlock() -> str:
    """The version of Landlock's interface."""
    version = _LIBC.syscall(ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET), None, ctypes.c_ulong(0), ctypes.c_ulong(1))
    if version < 0:
        raise StepFailed("landlock_create_ruleset", ctypes.get_errno())
    return f"ABI {version}"


# ---- steps


def _check(result: int, step: str) -> None:
    if result < 0:
        raise StepFailed(step, ctypes.get_errno())


def _ptrace(request: int, pid: int, address: int, data: int) -> int:
    ctypes.set_errno(0)
    arguments = (ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(address), ctypes.c_void_p(data))
    return int(_LIBC.ptrace(*arguments))


def _seize(pid: int) -> None:
    _check(_ptrace(_PTRACE_SEIZE, pid, 0, _TRACESYSGOOD | _TRACESECCOMP | _EXITKILL), "ptrace seize a child")


def _fork_sleeper() -> int:
    """A child that sleeps until it is killed; it is in our process group, so ``attempt`` ends it with us."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def _wait_event(pid: int, event: int, what: str) -> None:
    """Wait for a ptrace event stop; other stops (signals, group stops) are passed over, a bounded number of times."""
    for _ in range(20):
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
            raise StepFailed(f"install a filter before the {what}" if code > 100 else f"no {what}", max(0, code - 100))
        if status >> 16 == event:
            return
        _check(_ptrace(_PTRACE_CONT, pid, 0, 0), "ptrace continue")
    raise StepFailed(f"no {what}")


def _trace_getppid() -> bytes:
    """A filter that stops getppid with data word 0x1001 and allows everything else."""
    rows = [(0x20, 0, 0, 0), (0x15, 0, 1, _SYS_GETPPID), (0x06, 0, 0, 0x7FF01001), (0x06, 0, 0, 0x7FFF0000)]
    return b"".join(struct.pack("=HBBI", *row) for row in rows)


def _install_filter(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")
    _check(_LIBC.prctl(_PR_SET_SECCOMP, 2, header, 0, 0), "install a seccomp filter")
