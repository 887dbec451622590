"""What a sandbox will be, decided before anything is done: a ``SandboxPlan`` that can be printed, compared and tested.

Pure: reads the state of this process and of /proc, changes nothing, needs no native code.
``native_plan.plan_to_native`` turns a plan into what the launcher takes; ``launch.launch_untraced`` or a recording
session carries it out.
"""

from __future__ import annotations

import os

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import UsageError
from sentra_sandbox.sandbox.capabilities import ROOT_KEEPS
from sentra_sandbox.sandbox.command import needs_shell, resolve_command
from sentra_sandbox.sandbox.one_cpu import one_cpu_ops
from sentra_sandbox.sandbox.setup_op import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    SetupKind,
    SetupOp,
    bind,
    loopback_up,
    mount,
)

__all__ = ["Namespace", "SandboxPlan", "SetupKind", "SetupOp", "default_plan", "describe", "resolve_command"]

TYPE_CHECKING = False  # type checkers take it for true; loading typing or signal takes 2 to 4 ms
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
    from typing import Literal

    NetMode = Literal["host", "none", "open"]
else:
    import _signal as signal  # the same calls, without the enums of signal.py

_KERNEL_QUIET = MS_NOSUID | MS_NODEV | MS_NOEXEC
_CAP_SETGID, _CAP_SETUID = 6, 7


class Namespace:
    """CLONE_NEW* of clone(2). Plain numbers: loading enum takes 2 ms at every start."""

    MNT = 0x00020000
    CGROUP = 0x02000000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


@dataclass(frozen=True, slots=True)
class IdMaps:
    """How the ids inside are those outside: the texts for /proc/PID/{uid_map,gid_map}."""

    uid_map: str
    gid_map: str
    deny_setgroups: bool


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """Everything the launcher needs to start one program in its sandbox."""

    path: str  # as execve gets it; relative ones count from cwd
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None  # None: where the caller is
    namespaces: int  # of Namespace
    uid_map: str | None  # None without a user namespace
    gid_map: str | None
    deny_setgroups: bool
    capabilities: frozenset[str]  # kept by the program, without the CAP_ prefix
    ops: tuple[SetupOp, ...]
    stdio: tuple[int, int, int] = (-1, -1, -1)  # -1: the caller's own
    keep_fds: tuple[int, ...] = ()  # descriptors from 3 up that the program inherits under their numbers
    blocked_signals: frozenset[int] = frozenset()  # as the program would have found them without us
    ignored_signals: frozenset[int] = frozenset()
    no_aslr: bool = True
    trap_tsc: bool = False
    cpu: int | None = None  # pin to this CPU
    filter: bytes = b""  # struct sock_filter[], installed last
    network_fd: int = -1  # SOCK_SEQPACKET: where the listeners of a network of its own go; -1: nobody will answer


def default_plan(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    net: NetMode = "host",
    hide_cpus: bool = True,
    protect_kernel: bool = True,
    keep_fds: Sequence[int] = (),
    cpu: int | None = None,
    local_ports: Sequence[int] = (),
    network_fd: int = -1,
    tproxy: bool = True,
) -> SandboxPlan:
    """The plan for ``command`` (program and arguments): the user's files, namespaces of its own for everything else.

    ``env`` and ``cwd`` default to this process's. ``net="none"`` gives an empty network namespace with loopback,
    ``net="open"`` one whose connections all arrive at listeners that are sent over ``network_fd`` (``network.sockets.Listeners``):
    those to ``local_ports`` of loopback too. ``tproxy=False`` builds it as on a kernel without TPROXY (see own_network.py).
    ``hide_cpus`` shows one CPU. ``protect_kernel`` makes the kernel's settings (/proc/sys, /sys) read-only when we
    are root: a root inside that is the same number as root outside could otherwise set core_pattern and run anything
    on the host.

    Raises ``CommandNotFound``, ``CommandNotExecutable``, or ``UsageError`` for a working directory that does not exist.
    """
    if not command:
        raise UsageError("No command was given.", "Give a program after '--', for example: -- python agent.py")
    env = dict(os.environ if env is None else env)
    where = _working_directory(cwd)
    path = resolve_command(command[0], env, where or ".")
    argv = tuple(command)
    if needs_shell(path, where or "."):
        path, argv = "/bin/sh", ("/bin/sh", path, *command[1:])
    namespaces = Namespace.USER | Namespace.MNT | Namespace.PID | Namespace.IPC | Namespace.UTS | Namespace.CGROUP
    if net != "host":
        namespaces |= Namespace.NET
    ops = _default_ops(hide_cpus, protect_kernel and os.geteuid() == 0)
    if net == "none":
        ops.append(loopback_up())
    elif net == "open":
        from sentra_sandbox.sandbox.own_network import network_ops  # a millisecond that the other modes save

        ops += network_ops(local_ports, tproxy)
    maps = id_maps()
    is_root = os.geteuid() == 0
    return SandboxPlan(
        path=path,
        argv=argv,
        env=env,
        cwd=where,
        namespaces=namespaces,
        uid_map=maps.uid_map,
        gid_map=maps.gid_map,
        deny_setgroups=maps.deny_setgroups,
        capabilities=ROOT_KEEPS if is_root else frozenset(),
        ops=tuple(ops),
        keep_fds=tuple(keep_fds),
        blocked_signals=frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        ignored_signals=inherited_ignored_signals(),
        cpu=cpu,
        network_fd=network_fd,
    )


def describe(plan: SandboxPlan) -> list[str]:
    """The plan in words, one line a step, in the order of its execution."""
    names = [name.lower() for name, bit in vars(Namespace).items() if name.isupper() and plan.namespaces & bit]
    lines = [f"create namespaces: {', '.join(names) or 'none'}"]
    if plan.uid_map is not None:
        denied = "; setgroups denied" if plan.deny_setgroups else ""
        maps = ", gids ".join(" + ".join(text.strip().splitlines()) for text in (plan.uid_map, plan.gid_map or ""))
        lines.append(f"map ids (inside, outside, count): uids {maps}{denied}")
    lines += [str(op) for op in plan.ops if op.kind != SetupKind.RLIMIT]
    lines.append("fork the program's process and wait until it is let go")
    lines += [str(op) for op in plan.ops if op.kind == SetupKind.RLIMIT]
    lines.append(f"keep capabilities: {', '.join(sorted(plan.capabilities)) or 'none'}")
    lines.append("set no_new_privs")
    if plan.cwd is not None:
        lines.append(f"enter {plan.cwd}")
    if plan.no_aslr:
        lines.append("turn address randomisation off")
    if plan.cpu is not None:
        lines.append(f"pin to CPU {plan.cpu}")
    kept = ", ".join(map(str, plan.keep_fds))
    lines.append(f"close descriptors from 3 up{f' except {kept}' if kept else ''}")
    if plan.trap_tsc:
        lines.append("trap the time stamp counter")
    if plan.filter:
        lines.append(f"install a seccomp filter of {len(plan.filter) // 8} instructions")
    lines.append(f"execute {plan.path} with arguments {list(plan.argv)}")
    return lines


def id_maps() -> IdMaps:
    """Maps under which every file and process keeps its owner's number.

    Root that may set ids maps all that is mapped where we are (in the initial namespace everything); anybody else
    only itself, for which the kernel demands that setgroups be denied.
    """
    wanted = 1 << _CAP_SETUID | 1 << _CAP_SETGID
    if os.geteuid() == 0 and _effective_capabilities() & wanted == wanted:
        return IdMaps(_identity("/proc/self/uid_map"), _identity("/proc/self/gid_map"), deny_setgroups=False)
    uid, gid = os.geteuid(), os.getegid()
    return IdMaps(f"{uid} {uid} 1", f"{gid} {gid} 1", deny_setgroups=True)


def inherited_ignored_signals() -> frozenset[int]:
    """Signals ignored since this Python started (nohup, a shell's trap '' HUP): the program finds them ignored too.

    Call it before changing handlers. Python itself ignores SIGPIPE and SIGXFSZ, so what they were before is unknown;
    they count as not ignored.
    """
    mask = int(_status_field("SigIgn"), 16)
    ignored = {number for number in range(1, 65) if mask >> (number - 1) & 1}
    return frozenset(ignored - {signal.SIGPIPE, signal.SIGXFSZ})


def _default_ops(hide_cpus: bool, protect_kernel: bool) -> list[SetupOp]:
    ops = [
        mount("none", "/", None, MS_REC | MS_PRIVATE),
        mount("proc", "/proc", "proc", _KERNEL_QUIET),
    ]
    if hide_cpus:
        ops += one_cpu_ops()
    if protect_kernel:
        for path in ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"):
            if os.path.exists(path):
                ops += [bind(path, path), mount(None, path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | _KERNEL_QUIET)]
        if os.path.ismount("/sys"):
            ops.append(mount(None, "/sys", None, MS_REMOUNT | MS_BIND | MS_RDONLY | _KERNEL_QUIET))
    return ops


def _working_directory(cwd: str | None) -> str | None:
    if cwd is None:
        try:
            return os.getcwd()
        except FileNotFoundError:  # it was removed; the program starts in it all the same, as it would natively
            return None
    path = os.path.abspath(cwd)
    if not os.path.isdir(path):
        reason = "is not a directory" if os.path.exists(path) else "does not exist"
        raise UsageError(f"The working directory '{cwd}' {reason}.", "Name an existing directory.")
    return path


def _identity(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        ranges = [line.split() for line in file]
    return "\n".join(f"{inside} {inside} {count}" for inside, _, count in ranges) + "\n"


def _effective_capabilities() -> int:
    return int(_status_field("CapEff"), 16)


def _status_field(name: str) -> str:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(f"{name}:"))
