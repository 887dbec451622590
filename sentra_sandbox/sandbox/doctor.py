"""What works on this machine, proved by doing it, and for everything that does not: the cause and the remedy.

Rules of this file: every probe tries the real thing (trial.py) or reads the one file that decides it; nothing is
concluded from a kernel version alone. Runs without the C extension, as any user, in well under a second. A probe is
``required`` when no run can be recorded without it.
"""

from __future__ import annotations

import json
import mmap
import os
import platform
import re
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from errno import EACCES, EINVAL, ENOSPC, ENOSYS, EPERM, EUSERS
from importlib.util import find_spec
from pathlib import Path

from sentra_sandbox.sandbox import own_network_trial, trial
from sentra_sandbox.sandbox.trial import Result, attempt

MIN_KERNEL = (5, 11)  # close_range(CLOSE_RANGE_CLOEXEC)
MIN_FREE_BYTES = 1 << 30
_CAP_SYS_PTRACE = 19
_DOCKER = "start the container with --security-opt seccomp=unconfined"
_INSIDE = "This is already inside a sandbox of sentra-sandbox: start it outside."
_NEEDED = ("user", "mnt", "pid", "ipc", "uts", "cgroup")  # net: not for --net host


@dataclass(frozen=True, slots=True)
class Probe:
    """One question and its answer. ``remedy`` is empty when ``ok``; ``required``: recording needs it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """What /proc says about this process and the settings that refuse things; None: there is no such setting."""

    euid: int
    tracer_pid: int
    seccomp_filters: int
    effective_capabilities: int
    in_container: bool
    in_our_sandbox: bool
    yama_scope: int | None
    max_user_namespaces: int | None
    unprivileged_userns_clone: int | None
    apparmor_restricts_userns: int | None


def read_host() -> Host:
    """Read the facts that explain failures."""
    status = dict(re.findall(r"(?m)^(\w+):\s*(\S+)", Path("/proc/self/status").read_text()))
    mode = int(status.get("Seccomp", "0"))
    return Host(
        euid=os.geteuid(),
        tracer_pid=int(status.get("TracerPid", "0")),
        seccomp_filters=int(status.get("Seccomp_filters", "1")) if mode else 0,
        effective_capabilities=int(status.get("CapEff", "0"), 16),
        in_container=any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv")),
        in_our_sandbox=_first_process() == "sentra-init",
        yama_scope=_setting("kernel/yama/ptrace_scope"),
        max_user_namespaces=_setting("user/max_user_namespaces"),
        unprivileged_userns_clone=_setting("kernel/unprivileged_userns_clone"),
        apparmor_restricts_userns=_setting("kernel/apparmor_restrict_unprivileged_userns"),
    )


def probe(data_directory: Path | None = None) -> list[Probe]:
    """Try everything a recording needs. ``data_directory`` is where runs go (default: a temporary directory).

    Never raises for something that does not work: that is what the probes say.
    """
    host = read_host()
    where = _existing(data_directory or Path(tempfile.gettempdir()))
    return [
        _kernel(),
        _native(),
        _nested(host),
        *(_namespace(kind, host) for kind in trial.NAMESPACES),
        _tried("proc", trial.mount_proc, lambda result: proc_remedy(result, host)),
        _tried("ptrace", trial.ptrace_seize, lambda result: ptrace_remedy(result, host)),
        _tried("seccomp trace", trial.seccomp_trace, lambda result: seccomp_remedy(result, host)),
        _tried("read memory", trial.read_memory, lambda result: ptrace_remedy(result, host)),
        _tried("time stamp counter", trial.trap_tsc, lambda result: filtered_remedy("prctl(PR_SET_TSC)", host)),
        _tried("fixed addresses", trial.fixed_addresses, lambda result: filtered_remedy("personality", host)),
        _tried("cpu", trial.pin_cpu, lambda result: filtered_remedy("sched_setaffinity", host)),
        _yama(host),
        _mapped_files(where),
        _free_disk(where),
        _tried("network", own_network_trial.own_network, lambda result: network_remedy(result, host), required=False),
        _tried("landlock", trial.landlock, landlock_remedy, required=False),
        _cgroups(),
    ]


def render(probes: Sequence[Probe], *, width: int = 100) -> str:
    """A table for people: mark, name, detail; below each failure what to do."""
    column = max(len(one.name) for one in probes) + 2
    lines: list[str] = []
    told: dict[str, str] = {}
    for one in probes:
        mark = "ok " if one.ok else "NO " if one.required else "-  "
        lines += _wrapped(f"{mark} {one.name:<{column}}", one.detail, width)
        if one.remedy:
            remedy = f"as for {told[one.remedy]}" if one.remedy in told else one.remedy
            told.setdefault(one.remedy, one.name)
            lines += _wrapped(f"{'':4}{'':<{column}}remedy: ", remedy, width)
    failed = [one.name for one in probes if one.required and not one.ok]
    verdict = f"Recording cannot work here; missing: {', '.join(failed)}." if failed else "Recording works here."
    return "\n".join([*lines, "", verdict]) + "\n"


def as_json(probes: Sequence[Probe]) -> str:
    """The same for programs: ``{"ok": bool, "probes": [...]}``."""
    ok = all(one.ok or not one.required for one in probes)
    return json.dumps({"ok": ok, "probes": [asdict(one) for one in probes]}, indent=2)


def _wrapped(start: str, text: str, width: int) -> list[str]:
    """``text`` behind ``start``, continued below itself; commands in the text are not broken at hyphens."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
        break_long_words=False,
    )


# ---- remedies: pure functions of what happened and what /proc says


def namespace_remedy(kind: str, result: Result, host: Host) -> str:
    """Why a namespace was refused, most specific cause first."""
    if host.in_our_sandbox:
        return _INSIDE
    setting = f"sysctl -w user.max_{kind}_namespaces=15000"
    if kind == "user" and host.max_user_namespaces == 0:
        return f"User namespaces are switched off (user.max_user_namespaces is 0): {setting}"
    if result.errno in (ENOSPC, EUSERS):
        return f"The limit of {kind} namespaces is reached: {setting}"
    if result.errno == EINVAL:
        return f"This kernel is built without {kind} namespaces: use a distribution's standard kernel."
    if host.unprivileged_userns_clone == 0 and host.euid != 0:
        return "Users may not create user namespaces here: sysctl -w kernel.unprivileged_userns_clone=1"
    if host.apparmor_restricts_userns and host.euid != 0:
        return (
            "AppArmor takes the privileges out of user namespaces (Ubuntu 23.10 and later): "
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if host.seccomp_filters:
        return f"A container's seccomp profile refuses namespaces: {_DOCKER} or with --cap-add SYS_ADMIN."
    if host.in_container:
        return "The container refuses namespaces: start it with --security-opt apparmor=unconfined or --privileged."
    return "Something forbids namespaces (a security module, a chroot): look at the kernel's log (dmesg)."


def proc_remedy(result: Result, host: Host) -> str:
    """Why /proc could not be mounted in new namespaces."""
    if host.in_our_sandbox:
        return _INSIDE
    if result.errno in (EPERM, EACCES) and "mount" in result.detail and (host.in_container or host.seccomp_filters):
        return f"The container hides parts of /proc: {_DOCKER} --security-opt systempaths=unconfined."
    return namespace_remedy("user", result, host)


def ptrace_remedy(result: Result, host: Host) -> str:
    """Why a child of our own could not be traced or read."""
    if host.in_our_sandbox:
        return _INSIDE
    if host.tracer_pid:
        return f"Process {host.tracer_pid} traces this one: start without strace, a debugger or another sandbox."
    if host.yama_scope == 3:
        return "Yama forbids all tracing (ptrace_scope 3, which holds until the next boot): set it to 1 and reboot."
    if host.yama_scope == 2:
        return "Yama leaves tracing to administrators: sysctl -w kernel.yama.ptrace_scope=1"
    return f"Tracing is refused; if this is a container, {_DOCKER} or with --cap-add SYS_PTRACE."


def seccomp_remedy(result: Result, host: Host) -> str:
    """Why a tracing filter did not work."""
    if result.errno == EINVAL:
        return "This kernel is built without CONFIG_SECCOMP_FILTER: use a distribution's standard kernel."
    if "install" in result.detail:
        return filtered_remedy("prctl(PR_SET_SECCOMP)", host)
    return ptrace_remedy(result, host)


def filtered_remedy(call: str, host: Host) -> str:
    """For calls that every Linux allows unless a filter is in the way."""
    if host.in_our_sandbox:
        return _INSIDE
    if host.seccomp_filters or host.in_container:
        return f"A seccomp filter around this process refuses {call}: {_DOCKER}."
    return f"This kernel refuses {call}: look at the kernel's log (dmesg)."


def network_remedy(result: Result, host: Host) -> str:
    """Why the sandbox could not have a network of its own."""
    otherwise = "Until then record with --net host (the host's network, unrestricted) or --net none."
    if "namespace" in result.detail or "_map" in result.detail:
        return f"{namespace_remedy('net', result, host)} {otherwise}"
    if host.seccomp_filters or host.in_container:
        return f"{filtered_remedy('netlink sockets or IP_TRANSPARENT', host)} {otherwise}"
    return f"Look at the kernel's log (dmesg). {otherwise}"


def landlock_remedy(result: Result) -> str:
    """Landlock is a second wall, not needed to record."""
    if result.errno == ENOSYS:
        return "Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK has it; recording does not need it."
    return "Add landlock to the kernel's lsm= parameter; recording does not need it."


# ---- probes


def _tried(name: str, work: Callable[[], str], remedy: Callable[[Result], str], *, required: bool = True) -> Probe:
    result = attempt(work)
    return Probe(name, result.ok, result.detail, "" if result.ok else remedy(result), required)


def _namespace(kind: str, host: Host) -> Probe:
    def work() -> str:
        return trial.namespace(kind)

    return _tried(
        f"{kind} namespace", work, lambda result: namespace_remedy(kind, result, host), required=kind in _NEEDED
    )


def _kernel() -> Probe:
    system = os.uname()
    match = re.match(r"(\d+)\.(\d+)", system.release)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    detail = f"{system.sysname} {system.release} {system.machine}"
    if system.machine != "x86_64" or platform.architecture()[0] != "64bit":
        return Probe("kernel", False, detail, "Only x86-64 is supported: use a 64-bit Python on an x86-64 machine.")
    if version < MIN_KERNEL:
        return Probe("kernel", False, detail, f"Linux {MIN_KERNEL[0]}.{MIN_KERNEL[1]} or later is needed.")
    return Probe("kernel", True, detail)


def _native() -> Probe:
    if find_spec("sentra_sandbox._native") is None:
        remedy = "Run 'pip install .' in the source tree with this Python; it needs a C compiler."
        return Probe("native part", False, "the C extension is not built for this Python", remedy)
    try:
        __import__("sentra_sandbox._native")
    except ImportError as error:
        return Probe("native part", False, str(error), "Build it again: 'pip install --force-reinstall .'")
    return Probe("native part", True, "the C extension loads")


def _nested(host: Host) -> Probe:
    if host.in_our_sandbox:
        return Probe("not nested", False, "process 1 is the init of a sandbox of ours", _INSIDE)
    if host.tracer_pid:
        detail = f"this process is traced by process {host.tracer_pid}"
        return Probe("not nested", False, detail, ptrace_remedy(Result(False, detail), host))
    if host.seccomp_filters:
        count = f"{host.seccomp_filters} seccomp filter{'s' * (host.seccomp_filters > 1)}"
        return Probe("not nested", True, f"not traced; {count} around us: what it refuses itself leaves no event")
    return Probe("not nested", True, "not traced, no seccomp filter around us")


def _yama(host: Host) -> Probe:
    scope = host.yama_scope
    if scope is None:
        return Probe("yama", True, "not active", required=False)
    allowed = scope <= 1 or (scope == 2 and bool(host.effective_capabilities >> _CAP_SYS_PTRACE & 1))
    remedy = "" if allowed else ptrace_remedy(Result(False, ""), host)
    return Probe("yama", allowed, f"ptrace_scope {scope}", remedy, required=False)


def _mapped_files(where: Path) -> Probe:
    """Recordings live in memory-mapped files: what is stored through the mapping must be in the file."""
    remedy = f"Runs cannot be kept in {where}: set SENTRA_SANDBOX_HOME to a directory on a local disk."
    try:
        with tempfile.NamedTemporaryFile(dir=where, prefix=".sentra-doctor-") as file:
            os.posix_fallocate(file.fileno(), 0, mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE, flags=mmap.MAP_SHARED) as memory:
                memory[100:108] = b"recorded"
                if os.pread(file.fileno(), 8, 100) != b"recorded":
                    return Probe("mapped files", False, f"a shared mapping in {where} does not reach the file", remedy)
    except OSError as error:
        return Probe("mapped files", False, f"{where}: {error.strerror}", remedy)
    return Probe("mapped files", True, f"work in {where}")


def _free_disk(where: Path) -> Probe:
    try:
        status = os.statvfs(where)
    except OSError as error:
        return Probe("free disk", False, f"{where}: {error.strerror}", "Set SENTRA_SANDBOX_HOME to another directory.")
    free = status.f_bavail * status.f_frsize
    detail = f"{free / (1 << 30):.1f} GiB free in {where}"
    if free < MIN_FREE_BYTES:
        remedy = "Remove runs ('sentra-sandbox rm', 'sentra-sandbox gc') or set SENTRA_SANDBOX_HOME to a larger disk."
        return Probe("free disk", False, detail, remedy, required=False)
    return Probe("free disk", True, detail, required=False)


def _cgroups() -> Probe:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return Probe("cgroups", True, "version 2", required=False)
    if (root / "unified" / "cgroup.controllers").exists() or any(root.glob("*/cgroup.procs")):
        return Probe("cgroups", True, "version 1", required=False)
    remedy = "Mount one on /sys/fs/cgroup; recording does not need it, limits for a whole run will."
    return Probe("cgroups", False, "none is mounted", remedy, required=False)


def _first_process() -> str:
    """The name of process 1; "" where /proc does not show it."""
    with suppress(OSError):
        return Path("/proc/1/comm").read_text().strip()
    return ""


def _setting(name: str) -> int | None:
    with suppress(OSError, ValueError):
        return int(Path(f"/proc/sys/{name}").read_text())
    return None


def _existing(path: Path) -> Path:
    """The directory itself, or the nearest one above it that exists (runs create the rest)."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
