"""Programs that run without a file, under a false name, or from where programs do not belong.

Evidence: the exec, with the memfd_create or the write of the file before it; the prctl that renames a process; the arguments whose first
word is not the program's. ``sha256`` of the image where the trace keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import places
from sentra_sandbox.review.detectors.evidence import command, of_call, of_exec, of_file, ordered, shown, who
from sentra_sandbox.review.detectors.programs import base, executions, family, image_at, installer_above, is_shell
from sentra_sandbox.review.facts import Execution, Facts, FileAccess
from sentra_sandbox.review.findings import Confidence, Detector, Finding, FindingClass, Severity

FILELESS = FindingClass(
    "SEN-110",
    "A program was run from memory",
    "defense-evasion",
    Severity.HIGH,
    "The program that ran has no file: it was put into memory (memfd) or its file was deleted before it was run. Nothing is left on "
    "disk to find.",
    "The image is in the trace: look at it by its hash. Refuse executing memory files if the program does not need it.",
    ("T1620", "T1027.011"),
    ("ASI05",),
    "runc and a few launchers re-execute themselves from memory to protect themselves.",
)
MASQUERADING = FindingClass(
    "SEN-111",
    "A program runs under a false name",
    "defense-evasion",
    Severity.HIGH,
    "A process calls itself what it is not: a kernel thread ([kworker/...]) or a well-known system program, in its name or its first "
    "argument, or a program with such a name lies where none belongs.",
    "Compare the image's hash with the program whose name it bears. End it.",
    ("T1036.004", "T1036.005", "T1036.011"),
    ("ASI10",),
    "Login shells (-bash), busybox, symbolic links to interpreters, and setproctitle of servers do not count.",
)
DROPPED = FindingClass(
    "SEN-112",
    "A program was run from a temporary directory that the run had written",
    "execution",
    Severity.MEDIUM,
    "A program was written to a directory that anybody can write to (/tmp, /var/tmp, /dev/shm) and run from there.",
    "Look at what wrote it. Mount temporary directories without permission to execute.",
    ("T1059", "T1564.001"),
    ("ASI05",),
    "Builds and tests compile and run programs in temporary directories (configure, go run, cargo, pytest): what a compiler or linker "
    "wrote does not count.",
)
_KERNEL = re.compile(r"^\[?(?:kworker|kthreadd|ksoftirqd|migration|rcu_\w+|kswapd|kdevtmpfs|irq/|scsi_eh|jbd2|watchdog)[\w/:.\-]*\]?$")
_SYSTEM = frozenset(
    {
        "systemd",
        "init",
        "sshd",
        "cron",
        "crond",
        "dbus-daemon",
        "rsyslogd",
        "journald",
        "systemd-journald",
        "systemd-udevd",
        "udevd",
        "agetty",
        "login",
        "auditd",
        "containerd",
        "dockerd",
    }
)
_BUILDERS = frozenset({
    "ld", "gold", "lld", "mold", "collect2", "gcc", "g++", "cc", "c++", "cc1", "clang", "clang++", "rustc", "cargo", "go", "link", "as",
    "tcc", "ldc2", "ghc", "ocamlopt", "strip",
    "objcopy", "install", "make", "ninja", "cmake", "x86_64-linux-gnu-gcc", "x86_64-linux-gnu-ld", "ld.bfd", "ld.lld",
})  # fmt: skip
_PR_SET_NAME = re.compile(r"PR_SET_NAME[^\"]*\"([^\"]*)\"|^15, *\"?([^\"]*)\"?")


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    yield from _fileless(facts)
    yield from _masquerading(facts)
    yield from _dropped(facts)


def _fileless(facts: Facts) -> Iterator[Finding]:
    for fact, image in executions(facts):
        if not image.fileless and not image.path.startswith(("/memfd:", "memfd:")) and not image.path.endswith(" (deleted)"):
            continue
        if family(image.path) in {"runc", "crun"}:
            continue
        line = {one.number for one in facts.lineage(fact.number)}
        evidence = [
            of_call(facts, call) for call in facts.calls if call.name == "memfd_create" and call.process in line and call.seq < image.seq
        ][-3:]
        evidence.append(
            of_exec(
                facts,
                fact,
                image,
                f"{who(facts, fact.number)} runs a program without a file ({shown(image.path)}): {command(image.argv, 80)}",
            )
        )
        name = base(image.path).removesuffix(" (deleted)")
        yield Finding(
            FILELESS,
            Severity.HIGH,
            Confidence.HIGH,
            f"{who(facts, fact.number)} was run from memory.",
            f"memory: {shown(name)}",
            ordered(evidence),
            fact.number,
        )


def _masquerading(facts: Facts) -> Iterator[Finding]:
    seen: set[str] = set()
    for fact, image in executions(facts):
        if (why := _false_name(facts, image)) and why not in seen:
            seen.add(why)
            yield Finding(
                MASQUERADING,
                Severity.HIGH,
                Confidence.HIGH,
                f"Process {fact.number} is {why}.",
                why,
                (of_exec(facts, fact, image),),
                fact.number,
            )
    for call in facts.calls:
        found = _PR_SET_NAME.search(call.detail) if call.name == "prctl" else None
        name = (found.group(1) or found.group(2) or "") if found else ""
        now = image_at(facts, call.process, call.seq)
        if (
            not name
            or now is None
            or not (_KERNEL.match(name) or (name in _SYSTEM and family(now.path) != name and not places.is_system_program(now.path)))
        ):
            continue
        why = f"{base(now.path)} under the name {shown(name, 40)}"
        if why not in seen:
            seen.add(why)
            yield Finding(
                MASQUERADING,
                Severity.HIGH,
                Confidence.HIGH,
                f"{who(facts, call.process)} renamed itself to {shown(name, 40)}.",
                why,
                (of_call(facts, call),),
                call.process,
            )


def _false_name(facts: Facts, image: Execution) -> str:
    """What is false about the image's name, in words; ``""`` if nothing is."""
    first = image.argv[0] if image.argv else ""
    name = base(image.path)
    if _KERNEL.match(first.strip()) or (_KERNEL.match(name) and not places.is_system_program(image.path)):
        return f"{shown(name, 60)} under the name {shown(first, 60)}, which is a kernel thread's"
    called = base(first.split(" ", 1)[0]).rstrip(":")
    if called in _SYSTEM and called != name and name not in _SYSTEM and "systemd" not in name and not name.startswith("busybox"):
        return f"{shown(name, 60)} under the name {shown(called, 60)}"
    if name in _SYSTEM and not places.is_system_program(image.path):
        return f"{shown(places.home_relative(facts, image.path), 80)}, which bears a system program's name"
    if name.startswith(".") and len(name) > 1 and (places.is_temporary(image.path) or image.path.startswith("/dev/")):
        return f"{shown(image.path, 80)}, a hidden file in a temporary directory"
    return ""


def _dropped(facts: Facts) -> Iterator[Finding]:
    wrote: dict[str, FileAccess] = {}
    for access, path in places.written(facts):
        if places.is_temporary(path) or path.startswith("/dev/"):
            wrote.setdefault(path, access)
    seen: set[str] = set()
    for fact, image in executions(facts):
        written = wrote.get(image.path)
        if written is None or written.seq > image.seq or image.path in seen or image.fileless:
            continue
        access = written
        writer = facts.processes.get(access.process)
        built = writer is not None and any(family(one.path) in _BUILDERS for one in writer.images)
        if (
            built
            or installer_above(facts, access.process)
            or places.in_workspace(facts, image.path)
            or places.is_cache(image.path)
            or image.interpreter
        ):
            continue
        seen.add(image.path)
        by_shell = writer is not None and bool(writer.images) and is_shell(writer.images[-1])
        odd = image.path.startswith("/dev/")
        evidence = ordered([of_file(facts, access), of_exec(facts, fact, image)])
        summary = f"{shown(image.path)} was written by {who(facts, access.process)} and run."
        where = image.path.rsplit("/", 1)[0]
        yield Finding(
            DROPPED,
            Severity.HIGH if odd else Severity.MEDIUM,
            Confidence.MEDIUM if by_shell else Confidence.HIGH,
            summary,
            f"program in {shown(where)}",
            evidence,
            fact.number,
        )


DETECTOR = Detector("hidden_execution", (FILELESS, MASQUERADING, DROPPED), _detect)
