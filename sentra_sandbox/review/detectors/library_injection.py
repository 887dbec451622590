"""A library is forced into programs: LD_PRELOAD or LD_AUDIT in the environment of a program, or /etc/ld.so.preload written.

Evidence: the exec whose environment first names the library, the write of that library if the run made it, the write of ld.so.preload.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import places
from sentra_sandbox.review.detectors.evidence import command, of_exec, of_file, ordered, shown, who
from sentra_sandbox.review.detectors.programs import base, executions
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Finding, FindingClass, Severity

INJECTED = FindingClass(
    "SEN-090",
    "A library is forced into programs",
    "defense-evasion",
    Severity.HIGH,
    "The environment of a program names a library that the loader puts into it before anything else (LD_PRELOAD, LD_AUDIT). Such a "
    "library can read what the program holds and "
    "change what it does, without a change to the program.",
    "Look at the library and at who set the variable. Take it out of the environment.",
    ("T1574.006",),
    ("ASI05",),
    "Allocators (jemalloc, tcmalloc), faketime, fakeroot, sanitizers and stdbuf work this way; libraries of system directories that "
    "the run did not write have a low severity. "
    "What was in the environment before the run began does not count.",
)
SYSTEM_WIDE = FindingClass(
    "SEN-091",
    "A library is forced into every program",
    "persistence",
    Severity.CRITICAL,
    "/etc/ld.so.preload was written: the loader puts the libraries it names into every program of the machine that starts from now "
    "on. Rootkits hide this way.",
    "Delete the file from a rescue system and look for the library it names.",
    ("T1574.006", "T1014"),
    ("ASI10",),
    "Nearly none: very few monitoring products use this file.",
)
_VARIABLES = ("LD_PRELOAD", "LD_AUDIT")
_KNOWN = (
    "libjemalloc",
    "libtcmalloc",
    "libmimalloc",
    "libfaketime",
    "libfakeroot",
    "libasan",
    "libtsan",
    "libubsan",
    "liblsan",
    "libstdbuf",
    "libeatmydata",
    "libgtk3-nocsd",
    "libdlfaker",
    "libvglfaker",
    "libsnoopy",
)


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    yield from _environment(facts)
    for tried, changes in ((False, places.written(facts)), (True, places.refused_writes(facts))):
        found = [access for access, path in changes if path == places.PRELOAD]
        if found:
            process = found[0].process
            summary = f"{who(facts, process)} {'tried to write' if tried else 'wrote'} {places.PRELOAD}."
            yield Finding(
                SYSTEM_WIDE,
                Severity.HIGH if tried else Severity.CRITICAL,
                Confidence.HIGH,
                summary,
                places.PRELOAD,
                ordered(of_file(facts, access) for access in found),
                process,
            )
            return


def _environment(facts: Facts) -> Iterable[Finding]:
    first = facts.processes.get(1)
    before = {name: first.images[0].env.get(name, "") for name in _VARIABLES} if first and first.images else {}
    written = {path: access for access, path in places.written(facts)} if facts.files else {}
    seen: set[str] = set()
    for fact, image in executions(facts):
        for variable in _VARIABLES:
            value = image.env.get(variable, "")
            if not value or value == before.get(variable):
                continue
            for library in value.replace(":", " ").split()[:16]:
                if library in seen:
                    continue
                seen.add(library)
                made = (
                    written.get(library)
                    if library.startswith("/")
                    else next((a for path, a in written.items() if path.endswith(f"/{library.lstrip('./')}")), None)
                )
                usual = base(library).startswith(_KNOWN) or ((places.is_system_program(library) or "/" not in library) and made is None)
                evidence = [of_file(facts, made)] if made is not None and made.seq < image.seq else []
                evidence.append(of_exec(facts, fact, image, f"{command(image.argv, 80)} begins with {variable}={shown(library)}"))
                name = places.home_relative(facts, library)
                severity = Severity.LOW if usual else Severity.HIGH
                confidence = Confidence.HIGH if made is not None or not usual else Confidence.MEDIUM
                yield Finding(
                    INJECTED,
                    severity,
                    confidence,
                    f"{who(facts, fact.number)} runs with {shown(name)} forced in by {variable}.",
                    shown(name),
                    ordered(evidence),
                    fact.number,
                )


DETECTOR = Detector("library_injection", (INJECTED, SYSTEM_WIDE), _detect)
