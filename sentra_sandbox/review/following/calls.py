"""Single calls worth knowing, in words: what was refused, what concerns other processes, namespaces, privileges, memory, descriptors."""

from __future__ import annotations

from sentra_sandbox.review.facts import CallFact
from sentra_sandbox.syscalls.decode import format_call
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.error_numbers import error_name
from sentra_sandbox.trace.events import Event, EventFlag

CALLS_MAX = 50_000
TEXT_MAX = 512

ALWAYS = frozenset({
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "kcmp",
    "memfd_create", "memfd_secret", "execveat", "userfaultfd", "io_uring_setup", "io_setup", "bpf", "perf_event_open",
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
    "mount", "umount2", "pivot_root", "move_mount", "fsopen", "fsmount", "fsconfig", "open_tree", "mount_setattr", "chroot", "unshare",
    "setns",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct",
    "keyctl", "add_key", "request_key", "seccomp", "personality", "iopl", "ioperm", "modify_ldt", "syslog", "quotactl",
    "open_by_handle_at", "name_to_handle_at", "fanotify_init", "sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex",
    "clock_adjtime", "mknod", "mknodat", "setxattr", "lsetxattr", "fsetxattr", "vmsplice", "splice", "tee", "bind", "listen",
    "connect", "prctl", "kill", "tkill", "tgkill",
})  # fmt: skip
DUPLICATES = frozenset({"dup2", "dup3"})
_PRCTL = {4: "PR_SET_DUMPABLE", 15: "PR_SET_NAME", 22: "PR_SET_SECCOMP", 24: "PR_CAPBSET_DROP", 35: "PR_SET_MM", 38: "PR_SET_NO_NEW_PRIVS",
          47: "PR_CAP_AMBIENT", 59: "PR_SET_SYSCALL_USER_DISPATCH", 0x59616D61: "PR_SET_PTRACER"}  # fmt: skip


class Calls:
    """``take`` before the descriptor table took the event."""

    def __init__(self, descriptors: DescriptorTable) -> None:
        self.calls: list[CallFact] = []
        self.left_out = 0
        self._descriptors = descriptors
        self._often: dict[tuple[int, str, int], int] = {}

    def take(self, event: Event, process: int, name: str) -> None:
        """Note it, the same call of a process with the same result at most a hundred times."""
        key = process, name, event.result
        seen = self._often[key] = self._often.get(key, 0) + 1
        if len(self.calls) >= CALLS_MAX or seen > 100:
            self.left_out += 1
            return
        text = format_call(
            event.nr, event.args, event.result, event.segments, flags=event.flags, max_string=TEXT_MAX,
            describe_fd=lambda fd: self._descriptors.describe(event.task, fd),
        )  # fmt: skip
        refused = bool(event.flags & EventFlag.REFUSED)
        result = error_name(-event.result) if -4096 < event.result < 0 else ""
        detail = text.rpartition(" = ")[0] or text
        self.calls.append(CallFact(process, event.seq, event.time_ns, name or f"foreign_abi_{event.nr}", detail, result, refused))


def of_interest(event: Event, name: str, own_pid: int) -> bool:
    """Whether a call of one of the names in ``ALWAYS`` is worth noting: not kill of oneself, not prctl that all programs do."""
    first = event.args[0] & 0xFFFFFFFF if event.args else 0
    if name == "prctl":
        return first in _PRCTL
    if name in ("kill", "tkill", "tgkill"):
        return first != own_pid and len(event.args) > 1
    if name == "ptrace":
        return True
    return True
