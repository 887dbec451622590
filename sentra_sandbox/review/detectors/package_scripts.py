"""A script of a package did more than install: a process below a package manager talked to a host that is no registry, or read credentials.

Evidence: the package manager's command, the script's program, the connection (or refused name) and the credential file. What package
managers themselves do does not count: only what they start, and setup.py, which is the package's own code.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import places
from sentra_sandbox.review.detectors.contacts import contacts
from sentra_sandbox.review.detectors.evidence import command, of_exec, of_file, of_query, ordered, shown, who
from sentra_sandbox.review.detectors.hosts import DOWNLOADS, REGISTRIES, bare, declared, ends_in, is_loopback
from sentra_sandbox.review.detectors.programs import base, executions, family, image_at, installer, installer_above
from sentra_sandbox.review.facts import Execution, Facts, ProcessFact
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

REACHES_OUT = FindingClass(
    "SEN-040",
    "A package's script talked to a host that is no registry",
    "supply-chain",
    Severity.HIGH,
    "While packages were being installed, code of a package (postinstall, setup.py, a build backend) contacted a host that is no "
    "package registry. Malicious packages "
    "act at this moment, before anything of them is imported.",
    "Install with scripts off (npm --ignore-scripts, pip --only-binary :all:), allow only registries in the network policy, and look "
    "at the package.",
    ("T1195.002", "T1059"),
    ("ASI04", "LLM03:2025"),
    "Packages that download prebuilt parts from code hosts, and node-gyp's headers: low severity. Declared hosts do not count.",
)
READS = FindingClass(
    "SEN-041",
    "A package's script read credentials",
    "supply-chain",
    Severity.HIGH,
    "Code of a package read a file that holds credentials while the package was being installed. No build needs that.",
    "Treat the credentials as stolen if anything left afterwards. Take the package out, report it to its registry, and install with "
    "scripts off.",
    ("T1195.002", "T1552.001"),
    ("ASI04", "LLM03:2025"),
    "npm reads .npmrc, git reads its own credentials for packages from repositories: those do not count.",
)
_OWN_TOOLS = {"git", "git-remote-https", "git-remote-http", "ssh"}
_SETUP_VERBS = {"install", "develop", "build", "build_ext", "bdist_wheel", "egg_info", "sdist", "bdist_egg", "editable_wheel"}


def script(facts: Facts, process: int, seq: int) -> tuple[ProcessFact, Execution, str] | None:
    """The installer that this process is a script of, None if it is none."""
    image = image_at(facts, process, seq)
    if image is None or family(image.path) in _OWN_TOOLS or installer(image):
        return None
    if _is_setup(image):
        return facts.processes[process], image, "setup.py"
    fact = facts.processes[process]
    if any(installer(own) for own in fact.images if own.seq <= seq):
        return None  # it was the package manager and became another program: a wrapper
    above = installer_above(facts, fact.parent)
    if above is not None and above[1].seq < seq:
        # A process that never began a program of its own is the installer's worker.
        return above if any(own.seq <= seq for own in fact.images) or image is not above[1] else None
    return next(((f, i, "setup.py") for f in facts.lineage(fact.parent) for i in f.images if _is_setup(i)), None)


def _is_setup(image: Execution) -> bool:
    return len(image.argv) > 2 and base(image.argv[1]) == "setup.py" and bool(_SETUP_VERBS & set(image.argv[2:]))


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    if not any(installer(image) or _is_setup(image) for _, image in executions(facts)):
        return
    yield from _reaching(facts)
    yield from _reading(facts)


def _reaching(facts: Facts) -> Iterable[Finding]:
    found: dict[str, tuple[int, tuple[ProcessFact, Execution, str], list[Evidence], bool]] = {}
    for contact in contacts(facts):
        above = script(facts, contact.process, contact.seq)
        refused = contact.connection is not None and not contact.connection.allowed
        if above is None or is_loopback(contact.host) or ends_in(contact.host, REGISTRIES) or contact.port == 53:
            continue
        if contact.connection is not None and declared(contact.connection):
            continue
        found.setdefault(bare(contact.host), (contact.process, above, [], refused))[2].append(contact.evidence(facts))
    for query in facts.network.dns:
        process = facts.process_of(query.task, query.seq) if query.task else 0
        above = script(facts, process, query.seq) if process and not query.allowed else None
        if above is not None and not ends_in(query.name, REGISTRIES):
            found.setdefault(bare(query.name), (process, above, [], True))[2].append(of_query(query))
    for host, (process, above, evidence, refused) in found.items():
        usual = ends_in(host, DOWNLOADS)
        summary = (
            f"{who(facts, process)}, started by {above[2]}, {'tried to contact' if refused else 'contacted'} {shown(host)}, which is "
            f"no package registry."
        )
        yield Finding(
            REACHES_OUT,
            Severity.LOW if usual else Severity.HIGH,
            Confidence.MEDIUM if usual else Confidence.HIGH,
            summary,
            f"{above[2]} script → {shown(host)}",
            ordered([*_begin(facts, above, process), *evidence]),
            process,
        )


def _begin(facts: Facts, above: tuple[ProcessFact, Execution, str], process: int) -> list[Evidence]:
    evidence = [of_exec(facts, above[0], above[1], f"{above[2]} begins: {command(above[1].argv)}")]
    fact = facts.processes[process]
    return evidence + [of_exec(facts, fact, image) for image in fact.images[-2:]]


def _reading(facts: Facts) -> Iterable[Finding]:
    done: dict[str, tuple[int, tuple[ProcessFact, Execution, str], list[Evidence]]] = {}
    for access in facts.files:
        if access.kind not in ("read", "map") or access.failed or not places.is_credential(access.path) or places.is_cache(access.path):
            continue
        above = script(facts, access.process, access.seq)
        if above is not None:
            done.setdefault(access.path, (access.process, above, []))[2].append(of_file(facts, access))
    for path, (process, above, evidence) in done.items():
        name = places.home_relative(facts, path)
        summary = f"{who(facts, process)}, started by {above[2]}, read {shown(name)}."
        yield Finding(
            READS,
            Severity.HIGH,
            Confidence.HIGH,
            summary,
            f"{above[2]} script: {shown(name)}",
            ordered([*_begin(facts, above, process), *evidence]),
            process,
        )


DETECTOR = Detector("package_scripts", (REACHES_OUT, READS), _detect)
