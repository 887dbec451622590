"""What came from the network was run: piped into a shell, or written to a file that was then executed.

Evidence: the request or connection, the pipe or the write, the exec. Where the response's bytes and the file's are the same, their hash
proves it. What package managers and git bring does not count here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import places
from sentra_sandbox.review.detectors.contacts import Contact, contacts
from sentra_sandbox.review.detectors.evidence import of_exchange, of_exec, of_file, ordered, pid_of, shown, who, written_bytes
from sentra_sandbox.review.detectors.hosts import REGISTRIES, bare, declared, ends_in, is_loopback
from sentra_sandbox.review.detectors.llm import prompts
from sentra_sandbox.review.detectors.outgoing import CHANNELS, ancestors, may_be_piped, way
from sentra_sandbox.review.detectors.programs import FETCHERS, executions, family, installer_above, is_interpreter, is_shell, runs_as
from sentra_sandbox.review.facts import Execution, Facts, FileAccess, ProcessFact
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity
from sentra_sandbox.views.exchanges import Exchange

PIPED = FindingClass(
    "SEN-151",
    "A download was piped into a shell",
    "execution",
    Severity.HIGH,
    "The output of a program that talked to a host was the input of a shell or interpreter (curl | sh): whatever the host sends is "
    "run, unseen and unverified.",
    "Download, look, then run; verify a checksum or signature. Deny the host if nobody asked for it.",
    ("T1105", "T1059.004"),
    ("ASI05", "LLM05:2025"),
    "Installers that are documented this way (rustup, nvm): declare their host. Agents that write commands to a shell of theirs do "
    "not count.",
)
RUN = FindingClass(
    "SEN-150",
    "A download was run",
    "execution",
    Severity.HIGH,
    "A file that came from the network was executed, or given to an interpreter, in the same run.",
    "Verify what was downloaded; look the hash up. Deny the host if nobody asked for it.",
    ("T1105", "T1204.002"),
    ("ASI05", "LLM05:2025"),
    "Installers that download what they run: declare their hosts. What package managers and git bring does not count, nor code that a "
    "model wrote.",
)
_RAW_TOOLS = frozenset({"nc", "ncat", "netcat", "socat", "openssl", "ftp", "scp", "sftp", "tftp"})
_BODY_MAX = 32 << 20
_PAIRS_MAX = 50_000  # of a download and a shell that might have run it


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    yield from _piped(facts)
    yield from _run(facts)


def _piped(facts: Facts) -> Iterator[Finding]:
    fetchers: dict[int, Contact] = {}
    for contact in contacts(facts):
        if contact.process and not is_loopback(contact.host) and runs_as(facts, contact.process, FETCHERS | _RAW_TOOLS):
            fetchers.setdefault(contact.process, contact)
    if not fetchers:
        return
    tried = 0
    for fact, image in executions(facts):
        if not (is_shell(image) or is_interpreter(image)) or not _reads_program(image) or not may_be_piped(facts, fact.number):
            continue
        above = ancestors(facts, fact.number)
        for process, contact in islice(fetchers.items(), max(_PAIRS_MAX - tried, 0)):
            tried += 1
            hops = way(facts, process, fact.number, contact.seq, facts.events, CHANNELS, above)
            if not hops or way_is_commands(facts, contact):
                continue
            evidence = [contact.evidence(facts), of_exec(facts, fact, image)]
            if contact.connection is not None:
                evidence += [
                    of_exchange(facts.network.exchanges[number])
                    for number in contact.connection.exchanges[:4]
                    if number in facts.network.exchanges
                ]
            evidence += [
                Evidence(flow.last_seq, f"{flow.size} bytes by {flow.kind} to {who(facts, flow.target)}", pid_of(facts, flow.target))
                for flow in hops
            ]
            summary = f"{who(facts, fact.number)} ran what {who(facts, process)} got from {shown(contact.host)}."
            yield Finding(
                PIPED,
                _severity(contact),
                Confidence.HIGH,
                summary,
                f"{shown(bare(contact.host))} | {family(image.path)}",
                ordered(evidence),
                fact.number,
            )
            break


def way_is_commands(facts: Facts, contact: Contact) -> bool:
    """A raw connection whose shell answers is a reverse shell, which another detector tells."""
    return contact.is_raw and any(flow.target == contact.process and flow.kind in ("pipe", "file") for flow in facts.flows)


def _reads_program(image: Execution) -> bool:
    """Whether the shell or interpreter takes its program from its input."""
    words = [word for word in image.argv[1:] if word not in ("-", "-s", "-i", "-u", "-x", "-e", "-ex", "/dev/stdin")]
    return not words or ("-s" in image.argv and "-c" not in image.argv) or image.argv[1:2] == ("-",) or image.argv[1:2] == ("-s",)


def _severity(contact: Contact | None) -> Severity:
    if contact is None:
        return Severity.HIGH
    if (contact.connection is not None and declared(contact.connection)) or ends_in(contact.host, REGISTRIES):
        return Severity.LOW
    return Severity.HIGH


def _run(facts: Facts) -> Iterator[Finding]:
    wrote: dict[str, FileAccess] = {}
    names: dict[str, str] = {}
    for access, path in places.written(facts):
        if access.kind == "write" and access.seqs:
            wrote[path] = access
        elif access.kind in ("rename", "link"):
            names[path] = access.path
    seen: set[str] = set()
    bodies: dict[int, list[Exchange]] | None = None
    for fact, image in executions(facts):
        for path in _programs(image):
            found = wrote.get(path) or wrote.get(names.get(path, ""))
            if found is None or found.seq > image.seq or path in seen:
                continue
            if installer_above(facts, found.process) or runs_as(facts, found.process, frozenset({"git"})):
                continue
            seen.add(path)
            if bodies is None:
                bodies = _bodies(facts)
            finding = _proven(facts, fact, image, path, found, bodies) or _by_lineage(facts, fact, image, path, found)
            if finding is not None:
                yield finding


def _programs(image: Execution) -> list[str]:
    """Files that this exec runs: the image, or the script of an interpreter."""
    found = [image.path]
    if is_shell(image) or is_interpreter(image):
        script = next((word for word in image.argv[1:] if not word.startswith("-")), "")
        if script and "-c" not in image.argv[1:3] and "-m" not in image.argv[1:3]:
            found.append(script if script.startswith("/") else f"{image.cwd.rstrip('/')}/{script.removeprefix('./')}")
    return found


def _bodies(facts: Facts) -> dict[int, list[Exchange]]:
    """Answers by size, of hosts that are no models."""
    models = {prompt.exchange.number for prompt in prompts(facts)}
    found: dict[int, list[Exchange]] = {}
    for exchange in facts.network.exchanges.values():
        if exchange.number not in models and 8 <= exchange.response.size <= _BODY_MAX and not exchange.response.source:
            size = exchange.response.size if not exchange.response.header("content-encoding") else 0
            found.setdefault(size, []).append(exchange)
    return found


def _proven(
    facts: Facts, fact: ProcessFact, image: Execution, path: str, access: FileAccess, bodies: dict[int, list[Exchange]]
) -> Finding | None:
    candidates = [*bodies.get(access.size, []), *bodies.get(0, [])[:50]]
    if not candidates or access.size > _BODY_MAX:
        return None
    data = written_bytes(facts, access, _BODY_MAX + 1)
    if not data:
        return None
    digest = hashlib.sha256(data).hexdigest()
    for exchange in candidates:
        if exchange.response.seq < image.seq and exchange.response.decoded(_BODY_MAX).data == data:
            connection = facts.network.connections.get(exchange.connection)
            low = (connection is not None and declared(connection)) or ends_in(exchange.host, REGISTRIES)
            got = of_exchange(exchange, f"{shown(exchange.host)} answers with {len(data)} bytes", answer=True)
            evidence = [
                of_exchange(exchange),
                Evidence(got.seq, got.text, got.task, got.time_ns, 0, len(data), exchange.number, digest),
                of_file(facts, access, f"{who(facts, access.process)} writes the same bytes to {shown(access.path)}"),
                of_exec(facts, fact, image),
            ]
            return _finding(facts, fact, path, exchange.host, evidence, Severity.LOW if low else Severity.HIGH, Confidence.PROVEN)
    return None


def _by_lineage(facts: Facts, fact: ProcessFact, image: Execution, path: str, access: FileAccess) -> Finding | None:
    """Written by a tool that does nothing but fetch."""
    if not runs_as(facts, access.process, FETCHERS | _RAW_TOOLS):
        return None
    contact = next(
        (one for one in contacts(facts) if one.process == access.process and one.seq < image.seq and not is_loopback(one.host)), None
    )
    if contact is None:
        return None
    evidence = [contact.evidence(facts), of_file(facts, access), of_exec(facts, fact, image)]
    return _finding(facts, fact, path, contact.host, evidence, _severity(contact), Confidence.HIGH)


def _finding(
    facts: Facts, fact: ProcessFact, path: str, host: str, evidence: list[Evidence], severity: Severity, confidence: Confidence
) -> Finding:
    summary = f"{who(facts, fact.number)} ran {shown(places.home_relative(facts, path))}, which came from {shown(host)}."
    return Finding(RUN, severity, confidence, summary, f"from {shown(bare(host))}", ordered(evidence), fact.number)


DETECTOR = Detector("download_and_run", (RUN, PIPED), _detect)
