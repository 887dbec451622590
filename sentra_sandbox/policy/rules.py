"""What a seccomp profile says: actions, conditions on arguments, rules and when they are in force.

Rules of this file: plain data in Docker's terms and pure questions about it; no reading of files (oci.py), no deciding
between rules (decision.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

NATIVE_ARCH = "amd64"  # as includes.arches and excludes.arches name it

# In the order of their numbers (linux/capability.h).
_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES: tuple[str, ...] = tuple(f"CAP_{name}" for name in _CAPABILITIES.split())


class Action(Enum):
    """What a profile does with a call; ``strictness`` orders them."""

    ALLOW = "SCMP_ACT_ALLOW"
    LOG = "SCMP_ACT_LOG"
    TRACE = "SCMP_ACT_TRACE"
    NOTIFY = "SCMP_ACT_NOTIFY"
    ERRNO = "SCMP_ACT_ERRNO"
    TRAP = "SCMP_ACT_TRAP"
    KILL = "SCMP_ACT_KILL"
    KILL_THREAD = "SCMP_ACT_KILL_THREAD"
    KILL_PROCESS = "SCMP_ACT_KILL_PROCESS"

    @property
    def strictness(self) -> int:
        return _STRICTNESS[self]


_STRICTNESS = {action: index for index, action in enumerate(Action)}


class Comparison(Enum):
    """How an argument is compared, as an unsigned 64-bit number."""

    NE = "SCMP_CMP_NE"
    LT = "SCMP_CMP_LT"
    LE = "SCMP_CMP_LE"
    EQ = "SCMP_CMP_EQ"
    GE = "SCMP_CMP_GE"
    GT = "SCMP_CMP_GT"
    MASKED_EQ = "SCMP_CMP_MASKED_EQ"


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one argument. For ``MASKED_EQ``: ``(argument & value) == value_two``; else ``argument OP value``."""

    index: int
    op: Comparison
    value: int
    value_two: int = 0

    def holds(self, args: Sequence[int]) -> bool:
        """Whether the condition is met by these six unsigned 64-bit values."""
        actual = args[self.index]
        if self.op is Comparison.MASKED_EQ:
            return actual & self.value == self.value_two
        return {
            Comparison.NE: actual != self.value,
            Comparison.LT: actual < self.value,
            Comparison.LE: actual <= self.value,
            Comparison.EQ: actual == self.value,
            Comparison.GE: actual >= self.value,
            Comparison.GT: actual > self.value,
        }[self.op]


@dataclass(frozen=True, slots=True)
class Scope:
    """``includes`` or ``excludes`` of a rule; empty fields say nothing."""

    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    min_kernel: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``syscalls``: the calls it names get ``action`` when all ``conditions`` hold.

    ``names`` are x86-64 calls only. ``errno`` is what ``ERRNO`` answers.
    """

    names: tuple[str, ...]
    action: Action
    errno: int
    conditions: tuple[Condition, ...] = ()
    includes: Scope = Scope()
    excludes: Scope = Scope()
    comment: str = ""

    def applies(self, capabilities: frozenset[str], kernel: tuple[int, int]) -> bool:
        """Whether the rule is in force for a program with these capabilities on this kernel (and x86-64)."""
        wanted, unwanted = self.includes, self.excludes
        if not set(wanted.caps) <= capabilities or capabilities & set(unwanted.caps):
            return False
        if (wanted.arches and NATIVE_ARCH not in wanted.arches) or NATIVE_ARCH in unwanted.arches:
            return False
        if wanted.min_kernel is not None and kernel < wanted.min_kernel:
            return False
        return unwanted.min_kernel is None or kernel < unwanted.min_kernel


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole profile. ``source`` is the file's name, for messages.

    ``flags`` have no effect: LOG asks for a log line (every refusal is an event), TSYNC is about threads that exist
    when the filter is installed (there is one), SPEC_ALLOW and WAIT_KILLABLE_RECV do not change what is allowed.
    """

    source: str
    default_action: Action
    default_errno: int
    rules: tuple[Rule, ...]
    flags: tuple[str, ...] = ()
