"""Carries out a plan without recording, and explains what the kernel refused.

``launch_untraced`` runs a program behind the walls alone. ``launch_error`` is for every user of the native launcher:
it turns the step and errno of a failed launch into the exception, with the remedy, that a person can act on.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from sentra_sandbox.errors import CommandNotExecutable, CommandNotFound, HostError, SentraError, SetupError
from sentra_sandbox.native import error_text, ffi, lib, new_error
from sentra_sandbox.sandbox.native_plan import plan_to_native
from sentra_sandbox.sandbox.plan import SandboxPlan

_USER_NAMESPACES_REFUSED = (
    "The system refuses user namespaces to this user. Ubuntu 24.04 and later: "
    "'sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0' or an AppArmor profile with 'userns,' for this "
    "Python; Debian: 'sudo sysctl kernel.unprivileged_userns_clone=1'; in a container: run it with "
    "'--security-opt seccomp=unconfined --security-opt apparmor=unconfined'. "
    "'sentra-sandbox doctor' shows what works here."
)
_TOO_MANY_NAMESPACES = (
    "The limit on namespaces is reached, or is 0 here: see /proc/sys/user/max_*_namespaces and raise the exhausted one."
)
_PROC_REFUSED = (
    "The kernel allows a new /proc only where the present one is fully visible; inside a container, or inside another "
    "sandbox, parts of it are covered. Start the container with '--security-opt systempaths=unconfined' (Docker) or "
    "'--privileged', or run sentra-sandbox outside of it."
)


def launch_untraced(plan: SandboxPlan) -> int:
    """Run the plan's program to its end without tracing it; returns its wait status (see ``os.WIFEXITED`` and friends).

    Blocks this thread; the sandbox is killed when the thread ends. Raises what ``launch_error`` makes of a failed step.
    """
    native = plan_to_native(ffi, plan)
    status = ffi.new("int32_t *")
    error = new_error()
    if lib.sentra_launch_untraced(native.options, status, error) < 0:
        raise launch_error(error)
    return int(status[0])


def launch_error(error: Any) -> SentraError:
    """The exception for a failed launch (a filled ``struct sentra_error *``)."""
    return explain(*error_text(error))


def explain(step: str, detail: str, number: int) -> SentraError:
    """The exception for a failed step of a launch: whose fault it is, and what to do."""
    if step == "execute":
        return _explain_execute(detail, number)
    if number in (errno.EPERM, errno.EACCES) and (nested := nested_error()):
        return nested
    reason = f": {os.strerror(number)}" if number else ""
    message = f"Could not {step}{f' ({detail})' if detail else ''}{reason}."
    if step in ("create namespaces", "write uid_map", "write gid_map", "write setgroups"):
        return HostError(message, _namespace_remedy(step, number))
    if step == "mount proc" and number == errno.EPERM:
        return HostError(message, _PROC_REFUSED)
    if number in (errno.EPERM, errno.EACCES) and step.startswith(("mount", "remount", "bind", "set mount")):
        return SetupError(message, _USER_NAMESPACES_REFUSED, step=step, errno=number)
    return SetupError(message, _REMEDIES.get(step, ""), step=step, errno=number)


def nested_error() -> HostError | None:
    """The error for a recording inside of a recording; None if this process is in no sandbox of ours."""
    if not inside_our_sandbox():
        return None
    return HostError(
        "This is already inside a sentra-sandbox: a program can be traced by one recorder only.",
        "The outer recording has everything that runs in it; start the inner command without sentra-sandbox, or outside.",
    )


def inside_our_sandbox() -> bool:
    """Whether process 1 here is ours: this process runs in a sandbox already."""
    try:
        with open("/proc/1/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip() == "sentra-init"
    except OSError:
        return False


_OWN_NETWORK = (
    "The kernel refused a part of the sandbox's own network; 'sentra-sandbox doctor' shows which. Without it: '--net none' (no "
    "network at all) or '--net host' (the host's network, unrestricted)."
)

_REMEDIES = {
    "set up the sandbox's network": _OWN_NETWORK,
    "set up the sandbox's network (IPv6)": _OWN_NETWORK,
    "send connections to the broker": _OWN_NETWORK,
    "open the listeners and hand them out": _OWN_NETWORK,
    "enter the working directory": "Name an existing directory that this user may enter.",
    "close descriptors": "Linux 5.11 or later is needed.",
    "install the seccomp filter": (
        "The kernel needs CONFIG_SECCOMP_FILTER; in a container its own profile may forbid seccomp(2)."
    ),
    "trap the time stamp counter": "The kernel or the hypervisor does not offer PR_SET_TSC.",
    "set resource limit": "A limit cannot be raised above the caller's own hard limit.",
}


def _namespace_remedy(step: str, number: int) -> str:
    if number in (errno.ENOSPC, errno.EUSERS):
        return _TOO_MANY_NAMESPACES
    if number in (errno.EPERM, errno.EACCES):
        return _USER_NAMESPACES_REFUSED
    if step == "create namespaces" and number == errno.EINVAL:
        return "The kernel was built without one of these namespaces."
    return ""


def _explain_execute(path: str, number: int) -> SentraError:
    reason = os.strerror(number)
    if number == errno.ENOENT and os.path.exists(path):
        return CommandNotExecutable(
            f"'{path}' exists, but the interpreter or program loader that it names does not.",
            "Install it; a binary for another C library (musl on glibc, or the reverse) needs that library's loader.",
        )
    if number == errno.ENOENT:
        return CommandNotFound(f"The command '{path}' does not exist inside the sandbox.", "Check the path.")
    if number == errno.ENOEXEC:
        return CommandNotExecutable(
            f"'{path}' is not a program that this machine can execute ({reason}).",
            "It may be for another processor, or cut off.",
        )
    if number == errno.E2BIG:
        return CommandNotExecutable(
            f"Could not execute '{path}': {reason}.", "Arguments and environment together are too large; pass less."
        )
    return CommandNotExecutable(
        f"Could not execute '{path}': {reason}.", "Check its permissions and those of its directories."
    )
