"""A process reached into another one: ptrace, process_vm_readv and _writev, /proc/PID/mem, descriptors taken by pidfd_getfd.

Evidence: the call with its arguments and outcome (also where it was refused), or the opening of the memory file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.evidence import of_call, of_file, ordered, who
from sentra_sandbox.review.detectors.programs import DEBUGGERS, family
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

MEMORY = FindingClass(
    "SEN-100",
    "The memory of another process was reached for",
    "credential-access",
    Severity.HIGH,
    "The program attached to another process, or read or wrote its memory or took its descriptors. Secrets that are nowhere on disk "
    "are stolen this way, and code is put into programs that are trusted.",
    "Find out which process was meant. Keep ptrace refused (the sandbox does), and run agents as a user of their own.",
    ("T1055.008", "T1055.009", "T1003.007"),
    ("ASI03", "ASI05"),
    "Debuggers, profilers (py-spy, perf) and crash handlers do this to their own children: low severity. A process that looks at "
    "itself does not count.",
)
_CALLS = {"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "process_madvise"}
_MEM_FILE = re.compile(r"^/proc/(self|thread-self|\d+)(?:/task/\d+)?/(mem|maps|environ)$")


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    found: dict[int, list[tuple[str, Evidence, bool]]] = {}
    for call in facts.calls:
        if call.name in _CALLS and not re.search(r"PTRACE_TRACEME|ptrace\(0[,)]|^0[,)]", call.detail):
            found.setdefault(call.process, []).append((call.name, of_call(facts, call), call.refused or bool(call.result)))
    for access in facts.files:
        match = _MEM_FILE.match(access.path) if access.path.startswith("/proc/") and access.kind in ("read", "write", "map") else None
        if match is None or match.group(2) == "maps":
            continue
        own = facts.processes.get(access.process)
        if match.group(1) in ("self", "thread-self") or (own is not None and match.group(1) == str(own.pid)):
            continue
        kind = "/proc/PID/mem" if match.group(2) == "mem" else "/proc/PID/environ"
        found.setdefault(access.process, []).append((kind, of_file(facts, access), bool(access.failed)))
    for process, items in found.items():
        names = sorted({name for name, _, _ in items})
        if names == ["/proc/PID/environ"] and (len(items) < 2 or _is_process_lister(facts, process)):
            continue
        debugger = _is_debugger(facts, process)
        failed = all(refused for _, _, refused in items)
        severity = Severity.LOW if debugger else Severity.MEDIUM if names == ["/proc/PID/environ"] else Severity.HIGH
        summary = f"{who(facts, process)} {'tried to reach' if failed else 'reached'} into other processes by {', '.join(names)}."
        fact = facts.processes.get(process)
        program = family(fact.images[-1].path) if fact and fact.images else "?"
        yield Finding(
            MEMORY, severity, Confidence.HIGH, summary, f"{program}: {', '.join(names)}", ordered(item for _, item, _ in items), process
        )


def _is_debugger(facts: Facts, process: int) -> bool:
    return any(family(image.path) in DEBUGGERS for fact in facts.lineage(process) for image in fact.images[-1:])


def _is_process_lister(facts: Facts, process: int) -> bool:
    fact = facts.processes.get(process)
    return fact is not None and any(
        family(image.path) in {"ps", "pgrep", "pkill", "top", "htop", "lsof", "pidof", "killall"} for image in fact.images
    )


DETECTOR = Detector("process_memory", (MEMORY,), _detect)
