"""Files were destroyed: deleted in numbers outside the workspace, whole repositories removed, or many files replaced by encrypted ones.

Evidence: the deletions (first and last ones, and their number), the command, the writes with the entropy of what was written. Temporary
files, caches, build results and what the run itself had created do not count.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import places
from sentra_sandbox.review.detectors.evidence import of_exec, of_file, ordered, shown, who, written_bytes
from sentra_sandbox.review.detectors.outgoing import is_opaque
from sentra_sandbox.review.detectors.programs import executions, family, installer_above
from sentra_sandbox.review.facts import Facts, FileAccess
from sentra_sandbox.review.findings import Confidence, Detector, Finding, FindingClass, Severity

DELETED = FindingClass(
    "SEN-130",
    "Files outside the workspace were destroyed",
    "impact",
    Severity.HIGH,
    "The program deleted or emptied many files that it had not made and that are outside of its workspace, or a whole repository.",
    "Restore from a backup. Make everything but the workspace read-only for agents (policy preset workspace-write).",
    ("T1485",),
    ("ASI02",),
    "Temporary files, caches, build directories, and files that the run created itself do not count; neither does deleting inside the "
    "workspace, except for its .git directory.",
)
ENCRYPTED = FindingClass(
    "SEN-131",
    "Many files were replaced by encrypted ones",
    "impact",
    Severity.CRITICAL,
    "Many files were read, and written again or replaced with content that looks encrypted: the pattern of ransomware.",
    "Stop the machine, keep the trace: it holds what was written, and often the key. Restore from a backup.",
    ("T1486",),
    ("ASI10", "ASI02"),
    "Backup and archive programs write encrypted or compressed files, but leave the originals; known compressed formats do not count.",
)
_MANY, _MANY_ENCRYPTED = 10, 5
_SAMPLE = 500
_VCS = re.compile(r"/\.(?:git|hg|svn)(?:/(?:HEAD|config|objects|refs)(?:/.*)?)?$")
_WIPES = re.compile(r"^(?:-[a-zA-Z]*r[a-zA-Z]*|--recursive)$")
_FORCES = frozenset({"--force", "-f", "--mirror", "--delete", "-d", "--prune"})
_NOTE = re.compile(
    r"(?i)/(?:read_?me|how_?to|recover|restore|decrypt|!+)[^/]*(?:decrypt|recover|restore|files|ransom|encrypted)[^/]*\.(?:txt|html|hta|md)$"
)


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    yield from _deleted(facts)
    yield from _encrypted(facts)
    yield from _forced(facts)


def _forced(facts: Facts) -> Iterator[Finding]:
    """Pushes that replace or remove what the server has. Low: people rebase and force their own branches every day."""
    for fact, image in executions(facts):
        words = image.argv[1:]
        if family(image.path) != "git" or "push" not in words:
            continue
        after = words[words.index("push") + 1 :]
        forced = [word for word in after if word in _FORCES or (len(word) > 1 and word[0] in "+:")]
        if forced:
            summary = f"{who(facts, fact.number)} made a remote repository drop what it had: git push {shown(forced[0], 60)}."
            evidence = (of_exec(facts, fact, image),)
            yield Finding(DELETED, Severity.LOW, Confidence.MEDIUM, summary, "git push by force", evidence, fact.number)


def _deleted(facts: Facts) -> Iterator[Finding]:
    made = _made(facts)
    written = {(access.process, access.path) for access in facts.files if access.kind == "write" and access.seqs}
    found: dict[int, list[FileAccess]] = {}
    repository: dict[int, list[FileAccess]] = {}
    for access in facts.files:
        if access.kind not in ("delete", "truncate") or access.failed or access.path in made:
            continue
        path = access.path
        if (
            _VCS.search(path)
            and access.kind == "delete"
            and not _by_git(facts, access.process)
            and not places.is_temporary(path, facts.home)
            and not places.is_cache(path)
        ):
            repository.setdefault(access.process, []).append(access)
        if not path.startswith("/") or path.startswith(("/proc/", "/dev/", "/sys/")):
            continue
        if places.in_workspace(facts, path) or places.is_temporary(path, facts.home) or places.is_cache(path) or "/.cache/" in path:
            continue
        if access.kind == "truncate" and (access.process, path) in written:
            continue  # emptied to be written anew: what every program does that saves a file
        found.setdefault(access.process, []).append(access)
    for process, accesses in repository.items():
        if len(accesses) >= 3 or any(access.path.endswith("/HEAD") or access.path.endswith(".git") for access in accesses):
            root = re.split(r"/\.(?:git|hg|svn)", accesses[0].path)[0]
            yield _finding(
                facts,
                process,
                accesses,
                f"destroyed the repository {shown(places.home_relative(facts, root))}",
                f"repository {places.home_relative(facts, root)}",
            )
    for process, accesses in found.items():
        names = {access.path for access in accesses}
        if len(names) < _MANY or installer_above(facts, process) or _packager(facts, process):
            continue
        root = os.path.commonpath(sorted(names)) or "/"
        shorter = places.home_relative(facts, root)
        yield _finding(
            facts,
            process,
            accesses,
            f"deleted or emptied {len(names)} files outside of the workspace, below {shown(shorter)}",
            f"below {shorter}",
        )


def _finding(facts: Facts, process: int, accesses: list[FileAccess], what: str, subject: str) -> Finding:
    evidence = [of_file(facts, access) for access in (*accesses[:20], *accesses[-4:])]
    fact = facts.processes.get(process)
    for image in fact.images if fact is not None else ():
        wipes = any(_WIPES.match(word) or word == "-delete" for word in image.argv)
        if fact is not None and wipes and family(image.path) in ("rm", "shred", "find", "git", "srm", "wipe"):
            evidence.append(of_exec(facts, fact, image))
    return Finding(DELETED, Severity.HIGH, Confidence.HIGH, f"{who(facts, process)} {what}.", shown(subject), ordered(evidence), process)


def _made(facts: Facts) -> set[str]:
    """Files that the run created, by all their names."""
    return {
        access.target or access.path for access in facts.files if access.kind in ("create", "rename", "link", "mkdir") and not access.failed
    }


def _by_git(facts: Facts, process: int) -> bool:
    fact = facts.processes.get(process)
    return fact is not None and bool(fact.images) and family(fact.images[-1].path) in ("git", "hg", "svn", "git-remote-https")


def _packager(facts: Facts, process: int) -> bool:
    names = {"apt", "apt-get", "dpkg", "rpm", "dnf", "apk", "pacman", "brew", "conda", "mamba", "nix"}
    return any(family(image.path) in names for fact in facts.lineage(process) for image in fact.images)


def _encrypted(facts: Facts) -> Iterator[Finding]:
    """By process: files whose old content went and whose new content looks encrypted."""
    made = _made(facts)
    read: dict[int, set[str]] = {}
    gone: dict[int, set[str]] = {}
    wrote: dict[int, list[tuple[FileAccess, str]]] = {}
    notes: dict[int, list[FileAccess]] = {}
    for access in facts.files:
        if access.failed:
            continue
        if access.kind in ("read", "map"):
            read.setdefault(access.process, set()).add(access.path)
        elif access.kind == "delete":
            gone.setdefault(access.process, set()).add(access.path)
        elif access.kind == "write" and access.seqs:
            wrote.setdefault(access.process, []).append((access, access.path))
            if _NOTE.search(access.path):
                notes.setdefault(access.process, []).append(access)
        elif access.kind == "rename":
            gone.setdefault(access.process, set()).add(access.path)
    for process, writes in wrote.items():
        if len(writes) < _MANY_ENCRYPTED:
            continue
        had, lost = read.get(process, set()), gone.get(process, set())
        replacing = [access for access, path in writes if _replaces(path, had, lost, made)]
        looked_at = replacing[:: max(len(replacing) // _SAMPLE, 1)][:_SAMPLE]  # in a run of a million writes a sample tells as much
        hits = [access for access in looked_at if is_opaque(written_bytes(facts, access, 4096))]
        if len(looked_at) < len(replacing) and len(hits) * 2 > len(looked_at):
            hits = [access for access in replacing if access.seqs]
        if len({access.path for access in hits}) < _MANY_ENCRYPTED:
            continue
        evidence = [of_file(facts, access) for access in (*hits[:20], *notes.get(process, ())[:4])]
        summary = (
            f"{who(facts, process)} replaced {len(hits)} files by content that looks "
            f"encrypted{' and left a note' if process in notes else ''}."
        )
        root = os.path.commonpath(sorted({access.path for access in hits})) or "/"
        yield Finding(
            ENCRYPTED,
            Severity.CRITICAL,
            Confidence.HIGH,
            summary,
            f"below {shown(places.home_relative(facts, root))}",
            ordered(evidence),
            process,
        )


def _replaces(path: str, read: set[str], gone: set[str], made: set[str]) -> bool:
    """Written over itself after it was read, or beside an original (``x.locked`` for ``x``) that was read and is gone. What the
    run made is its own.
    """
    before = path.rsplit(".", 1)[0]
    if path in read:
        return path not in made
    return before in read and before in gone and before not in made


DETECTOR = Detector("destruction", (DELETED, ENCRYPTED), _detect)
