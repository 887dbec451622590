"""Where a finding points to: a file and line of the workspace if there is one, else nothing but the program. Pure.

The line of the responsible call, where the command line found it by replaying; else the file of the workspace that the evidence is about;
else the agent's own script.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from sentra_sandbox.review.facts import Facts, FileAccess
from sentra_sandbox.review.findings import Finding
from sentra_sandbox.review.report.shown import Shown

_FRAME = re.compile(r'(?:File "([^"]+)", line (\d+)|(\S[^:]*):(\d+))')


@dataclass(frozen=True, slots=True)
class Place:
    """``path`` is relative to the workspace; ``line`` 0 if unknown."""

    path: str
    line: int = 0


class Places:
    """Finds the places of a review's findings with one look at all files."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._facts = shown.facts
        findings = [*shown.findings, *(finding for finding, _ in shown.review.suppressed)]
        self._accesses = accesses_of(self._facts, (item.seq for finding in findings for item in finding.evidence))
        self._script = self._find_script()

    def of(self, finding: Finding) -> Place | None:
        """The place, or None if nothing of the workspace has to do with it."""
        for frame in reversed(self._shown.review.where.get(finding.fingerprint, [])[:50]):
            found = _FRAME.search(frame[:500])
            path = self._inside(found[1] or found[3]) if found else ""
            if found and path:
                return Place(path, min(int((found[2] or found[4])[:9]), 1 << 30))
        for item in finding.evidence:
            access = self._accesses.get(item.seq)
            path = self._inside(access.path) if access else ""
            if path:
                return Place(path)
        return Place(self._script) if self._script else None

    def _inside(self, path: str) -> str:
        """The path relative to the workspace, ``""`` if it is not in it."""
        root = self._facts.workspace.rstrip("/") or "/"
        whole = posixpath.normpath(posixpath.join(root, path))
        if not whole.startswith(root.rstrip("/") + "/"):
            return ""
        return str(PurePosixPath(whole).relative_to(root))

    def _find_script(self) -> str:
        for word in self._facts.run.argv[:4]:
            path = self._inside(word) if "." in word or "/" in word else ""
            if path and any(use.path == posixpath.join(self._facts.workspace, path) for use in self._shown.does.read):
                return path
        return ""


def accesses_of(facts: Facts, seqs: Iterable[int]) -> dict[int, FileAccess]:
    """Which use of a file each of these events belongs to."""
    wanted = set(seqs)
    found: dict[int, FileAccess] = {}
    for access in facts.files:
        if access.seq in wanted:
            found.setdefault(access.seq, access)
        if access.seqs and not wanted.isdisjoint(access.seqs):
            found.update((seq, access) for seq in access.seqs if seq in wanted)
    return found
