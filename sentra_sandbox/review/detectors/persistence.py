"""Something was installed that runs again when the agent is gone: shell start-up files, cron, systemd, autostart, SSH keys, Python.

Evidence: the write (or rename, or link) with the path it ended at and what was written; the programs ``crontab``, ``systemctl enable``,
``at``. A write that was refused counts as tried. Files of the workspace are not the owner's start-up files, and what package installers put
into a virtual environment is theirs to put.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import places
from sentra_sandbox.review.detectors.evidence import of_exec, of_file, ordered, shown, who, written_bytes
from sentra_sandbox.review.detectors.instructions import is_python_code
from sentra_sandbox.review.detectors.programs import executions, family, installer_above
from sentra_sandbox.review.facts import Facts, FileAccess
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

_REMEDY = "Look at what was written and take it out. Make the place read-only for agents (filesystem.denyWrite, or a read-only home)."
STARTUP = FindingClass(
    "SEN-020",
    "A start-up place was written",
    "persistence",
    Severity.HIGH,
    "A file was written that the system or the user's shell runs by itself at the next login, boot or moment of a schedule (rc file, "
    "cron, systemd unit, autostart, "
    "accounts). Code there outlives the agent and runs outside the sandbox.",
    _REMEDY,
    ("T1546.004", "T1053.003", "T1543.002", "T1547.013"),
    ("ASI10", "ASI05"),
    "Installers of version managers (nvm, rustup, conda) add lines to rc files; dotfile managers write them. Files of these names "
    "inside the workspace do not count.",
)
AUTHORIZED = FindingClass(
    "SEN-021",
    "SSH access was opened",
    "persistence",
    Severity.HIGH,
    "A file that decides who may log in by SSH was written (authorized_keys, sshd's configuration). Whoever holds the private key can "
    "come in from then on.",
    "Compare the keys in the file with those you know and take the others out. Deny agents writing below ~/.ssh.",
    ("T1098.004",),
    ("ASI03", "ASI10"),
    "Provisioning tools write these files on purpose. ssh-keygen, known_hosts and registering a public key at a service do not count.",
)
PYTHON = FindingClass(
    "SEN-022",
    "Code was put where every Python start runs it",
    "persistence",
    Severity.HIGH,
    "sitecustomize.py, usercustomize.py and lines of .pth files that begin with 'import' run at every start of that Python, whatever "
    "program it runs.",
    "Look at the file, take it out, and reinstall the packages of that environment.",
    ("T1546", "T1574"),
    ("ASI04", "ASI05"),
    "Installers write .pth files (editable installs, setuptools) into environments: those do not count, nor .pth files that only name "
    "directories.",
)
_SCHEDULERS = {"crontab", "at", "batch", "systemctl", "update-rc.d", "chkconfig", "loginctl", "useradd", "usermod", "visudo"}
_SYSTEMCTL = {"enable", "link", "reenable", "preset", "add-wants"}
_PLACES = (
    (places.STARTUP, "a start-up file of shells", STARTUP),
    (places.CRON, "a schedule of cron", STARTUP),
    (places.SYSTEMD, "a systemd unit", STARTUP),
    (places.AUTOSTART, "an autostart entry", STARTUP),
    (places.ACCOUNTS, "the accounts of the system", STARTUP),
    (places.AUTHORIZED_KEYS, "SSH access", AUTHORIZED),
    (places.PYTHON_START, "Python's start-up", PYTHON),
)
_SYSTEM_PACKAGERS = {"apt", "apt-get", "dpkg", "rpm", "dnf", "yum", "apk", "pacman", "adduser", "useradd", "groupadd"}


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    groups: dict[tuple[str, str], list[tuple[FileAccess, str, bool]]] = {}
    for tried, changes in ((False, places.written(facts)), (True, places.refused_writes(facts))):
        for access, path in changes:
            for pattern, what, kind in _PLACES:
                if pattern.search(path) and _counts(facts, access, path, kind):
                    groups.setdefault((kind.id, path), []).append((access, what, tried))
                    break
    kinds = {kind.id: kind for kind in DETECTOR.kinds}
    for (kind_id, path), found in groups.items():
        yield _finding(facts, kinds[kind_id], path, found)
    yield from _schedulers(facts)


def _counts(facts: Facts, access: FileAccess, path: str, kind: FindingClass) -> bool:
    if kind is PYTHON:
        if installer_above(facts, access.process):
            return False
        data = written_bytes(facts, access)
        return not path.endswith(".pth") or not data or is_python_code(data)
    if kind is STARTUP and _under(facts, access.process, _SYSTEM_PACKAGERS):
        return False
    return not places.in_workspace(facts, path) and not places.is_temporary(path, facts.home)


def _under(facts: Facts, process: int, names: set[str]) -> bool:
    return any(family(image.path) in names for fact in facts.lineage(process) for image in fact.images)


def _finding(facts: Facts, kind: FindingClass, path: str, found: list[tuple[FileAccess, str, bool]]) -> Finding:
    evidence: list[Evidence] = []
    for access, _, _ in found:
        item = of_file(facts, access)
        data = written_bytes(facts, access, 4096)
        evidence.append(
            Evidence(item.seq, item.text, item.task, item.time_ns, size=access.size or None, excerpt=shown(data) if data else "")
        )
    tried = all(refused for _, _, refused in found)
    name = places.home_relative(facts, path)
    process = found[0][0].process
    return Finding(
        kind,
        Severity.MEDIUM if tried else kind.severity,
        Confidence.HIGH,
        f"{who(facts, process)} {'tried to change' if tried else 'changed'} {found[0][1]}: {shown(name)}.",
        shown(re.sub(r"/python3\.\d+/", "/python3/", name)),
        ordered(evidence),
        process,
    )


def _schedulers(facts: Facts) -> Iterable[Finding]:
    for fact, image in executions(facts):
        name, words = family(image.path), image.argv[1:]
        if name not in _SCHEDULERS or (name == "crontab" and not [word for word in words if word not in ("-l", "-u", "-i")]):
            continue
        if (name == "systemctl" and not _SYSTEMCTL & set(words)) or (name == "loginctl" and "enable-linger" not in words):
            continue
        if _under(facts, fact.parent, _SYSTEM_PACKAGERS):
            continue
        summary = f"{who(facts, fact.number)} was run to install something that starts by itself."
        yield Finding(STARTUP, Severity.HIGH, Confidence.MEDIUM, summary, f"program {name}", (of_exec(facts, fact, image),), fact.number)


DETECTOR = Detector("persistence", (STARTUP, AUTHORIZED, PYTHON), _detect)
