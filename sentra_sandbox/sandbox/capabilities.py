"""Capabilities by name (capabilities(7)), and which of them a sandboxed root keeps."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable

# Index = number in linux/capability.h.
_IN_ORDER = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
NAMES = tuple(_IN_ORDER.split())

# Docker's default set without NET_RAW (packet sockets would pass by the recorder's view of connections), MKNOD,
# AUDIT_WRITE and SYS_CHROOT: working with files and users behaves as it does for root outside.
ROOT_KEEPS = frozenset(
    {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "SETPCAP", "KILL", "NET_BIND_SERVICE", "SETFCAP"}
)


def capability_mask(names: Iterable[str]) -> int:
    """The bit mask of a set of names; ``KeyError`` names an unknown one."""
    mask = 0
    for name in names:
        if name not in NAMES:
            raise KeyError(name)
        mask |= 1 << NAMES.index(name)
    return mask


def capability_names(mask: int) -> frozenset[str]:
    """The names of a bit mask's known capabilities."""
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)
