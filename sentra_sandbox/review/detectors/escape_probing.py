"""The program tried the walls: namespaces, mounts, kernel modules, the host's root, the container engine's socket.

Evidence: the calls with their outcome (refused ones too: trying is what counts), and the uses of files that lead out. One call that a
program makes to find out what it may is a probe of low severity; several kinds are an attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.evidence import of_call, of_file, ordered, pid_of, shown, who
from sentra_sandbox.review.detectors.programs import family
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

ESCAPE = FindingClass(
    "SEN-120",
    "The sandbox's walls were tried",
    "defense-evasion",
    Severity.HIGH,
    "The program made calls, or touched files, that serve to leave a container or to get hold of the kernel: other namespaces, "
    "mounts, modules, the host's root through /proc, "
    "the container engine's socket, the kernel's helper programs.",
    "Find out which part of the program did it and why. An agent has no reason to. Keep the calls refused.",
    ("T1611", "T1547.006", "T1082"),
    ("ASI10", "ASI05"),
    "Browsers, bubblewrap and build tools make namespaces of their own: those programs have a low severity, and so has a single "
    "refused unshare or chroot.",
)
# call → weight: 3 by itself serious, 1 only with others
_WEIGHTS = {
    "init_module": 3, "finit_module": 3, "delete_module": 3, "kexec_load": 3, "kexec_file_load": 3, "pivot_root": 2, "mount": 2,
    "umount2": 1, "move_mount": 2, "fsopen": 2, "fsmount": 2,
    "open_tree": 2, "mount_setattr": 2, "setns": 3, "unshare": 1, "chroot": 1, "bpf": 2, "iopl": 3, "ioperm": 3, "open_by_handle_at": 3,
    "name_to_handle_at": 0, "userfaultfd": 1,
    "keyctl": 1, "add_key": 1, "request_key": 1, "reboot": 3, "swapon": 2, "swapoff": 2, "mknod": 1, "mknodat": 1, "perf_event_open": 1,
    "acct": 2, "quotactl": 1, "sethostname": 1, "modify_ldt": 1,
}  # fmt: skip
_FILES = tuple(
    (re.compile(pattern), weight, what)
    for pattern, weight, what in (
        (r"^/proc/(?:1|[2-9]\d*)/(?:root|ns/|cwd)(?:/|$)|^/proc/1/(?:environ|mem)$", 3, "the root or namespaces of another process"),
        (
            r"/(?:docker|containerd/containerd|crio/crio|podman/podman|buildkit/buildkitd)\.sock$",
            3,
            "the container engine's socket",
        ),
        (r"/(?:release_agent|notify_on_release)$", 3, "a cgroup's release agent"),
        (
            r"^/proc/sys/kernel/(?:core_pattern|modprobe|hotplug|usermodehelper/.*)$|^/proc/sysrq-trigger$"
            r"|^/sys/kernel/(?:uevent_helper|security/.*)$|^/proc/sys/fs/binfmt_misc/.*",
            3,
            "the kernel's helper programs",
        ),
        (
            r"^/dev/(?:mem|kmem|port|sd[a-z]\d*|nvme\d.*|vd[a-z]\d*|xvd[a-z]\d*|mapper/.*|dm-\d+|kmsg)$|^/proc/(?:kcore|kmem|kallsyms)$",
            2,
            "the machine's memory or disks",
        ),
        (r"^/(?:var/)?run/(?:systemd/private|dbus/system_bus_socket)$", 1, "the system's control sockets"),
    )
)
_READ_IS_FINE = re.compile(r"^/proc/sys/kernel/core_pattern$|/notify_on_release$|^/proc/kallsyms$|^/sys/kernel/security/")
_WALL_BUILDERS = frozenset({
    "bwrap", "chrome", "chromium", "chrome_crashpad", "firefox", "brave", "buildah", "podman", "runc",
    "crun", "unshare", "nsjail", "firejail", "flatpak", "sentra-sandbox", "playwright", "headless_shell", "electron", "code",
})  # fmt: skip
_NEW_NAMESPACES = {"unshare", "mount", "umount2", "pivot_root", "chroot", "sethostname", "setns"}


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    found: dict[int, list[tuple[int, str, Evidence]]] = {}
    for call in facts.calls:
        weight = _WEIGHTS.get(call.name, 0)
        if call.name in ("mknod", "mknodat") and not re.search(r"S_IFBLK|S_IFCHR", call.detail):
            continue
        if call.name == "mount" and re.search(r"release_agent|cgroup", call.detail):
            weight = 3
        if call.name == "connect":
            weight, _ = _file_weight(_unix_path(call.detail), reading=False)
        if weight:
            found.setdefault(call.process, []).append((weight, call.name, of_call(facts, call)))
    for access in facts.files:
        if access.kind == "stat" or not access.path.startswith(("/proc/", "/dev/", "/sys/", "/run/", "/var/run/")):
            continue
        weight, what = _file_weight(access.path, reading=access.kind in ("read", "map"))
        own = facts.processes.get(access.process)
        if weight and not (own is not None and access.path.startswith(f"/proc/{own.pid}/")):
            found.setdefault(access.process, []).append((weight, what, of_file(facts, access)))
    for problem in facts.network.refused_sockets:
        weight, what = _file_weight(problem.detail or problem.what, reading=False)
        if weight := weight or _file_weight(problem.what, reading=False)[0]:
            process = facts.process_of(problem.task, problem.seq) if problem.task else 0
            text = f"{who(facts, process)} tried to connect to {shown(problem.what)}, refused"
            found.setdefault(process, []).append(
                (weight, what or "the container engine's socket", Evidence(problem.seq, text, pid_of(facts, process), problem.time_ns))
            )
    for process, items in found.items():
        yield from _judge(facts, process, items)


def _judge(facts: Facts, process: int, items: list[tuple[int, str, Evidence]]) -> Iterable[Finding]:
    kinds = {what: weight for weight, what, _ in items}
    total = sum(kinds.values())
    builder = (
        any(family(image.path) in _WALL_BUILDERS for fact in facts.lineage(process) for image in fact.images)
        and set(kinds) <= _NEW_NAMESPACES
    )
    if builder or total < 2:
        severity, confidence = Severity.LOW, Confidence.LOW
    elif total < 3:
        severity, confidence = Severity.MEDIUM, Confidence.MEDIUM
    else:
        severity, confidence = Severity.HIGH, Confidence.HIGH
    names = ", ".join(sorted(kinds))
    yield Finding(
        ESCAPE,
        severity,
        confidence,
        f"{who(facts, process)} tried {shown(names)}.",
        shown(names),
        ordered(item for _, _, item in items),
        process,
    )


def _file_weight(path: str, *, reading: bool) -> tuple[int, str]:
    for pattern, weight, what in _FILES:
        if path and pattern.search(path):
            return (0, "") if reading and _READ_IS_FINE.search(path) else (weight, what)
    return 0, ""


def _unix_path(detail: str) -> str:
    found = re.search(r"(/[^\s\"',)}]+\.sock|/(?:var/)?run/[^\s\"',)}]+)", detail)
    return found.group(1) if found else ""


DETECTOR = Detector("escape_probing", (ESCAPE,), _detect)
