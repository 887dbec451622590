"""A shell was handed to somebody outside: its input and output are a connection, or what a connection said was run as commands.

Evidence, any of: a shell began with a TCP socket as its standard input and output (with the dup2 calls that put it there); the bytes of a
raw connection reach a shell's input by pipes, a FIFO or a pseudo-terminal and the shell's output reaches the connection; a command that ran
is word for word a line that a connection had sent. Agents that drive a shell themselves talk HTTP to their model: that does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.contacts import Contact, contacts
from sentra_sandbox.review.detectors.derived import once
from sentra_sandbox.review.detectors.evidence import command, of_call, of_exchange, of_exec, ordered, pid_of, shown, who
from sentra_sandbox.review.detectors.hosts import bare, declared_hosts, is_loopback
from sentra_sandbox.review.detectors.llm import prompts
from sentra_sandbox.review.detectors.outgoing import CHANNELS, ancestors, way
from sentra_sandbox.review.detectors.programs import NETWORK_TOOLS, executions, family, is_interpreter, is_shell, runs_as
from sentra_sandbox.review.facts import Execution, Facts, ProcessFact
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

_REMEDY = (
    "Stop the machine's network, look for what was run through the shell (the connection's bytes are in the trace), and replace every "
    "credential in reach."
)
SHELL = FindingClass(
    "SEN-050",
    "A shell is connected to a host outside",
    "command-and-control",
    Severity.CRITICAL,
    "A shell took its commands from a network connection and gave its output back there. Somebody outside had a command line in the "
    "sandbox.",
    _REMEDY,
    ("T1059.004", "T1095", "T1571"),
    ("ASI05", "ASI10"),
    "Servers that start a shell for each connection (inetd), ssh, and debuggers on loopback. Shells in pipelines without sockets, and "
    "agents that drive a shell, do not count.",
)
COMMANDS = FindingClass(
    "SEN-051",
    "Commands that a host sent were run",
    "command-and-control",
    Severity.HIGH,
    "A command that ran is word for word what a host, which is no language model, had sent before: the host decides what runs here.",
    _REMEDY,
    ("T1059.004", "T1071.001"),
    ("ASI05", "ASI10"),
    "Build agents and task runners that fetch their jobs from a server do this by design: declare the host.",
)
_SOCKET = re.compile(r"^socket:(?:tcp|udp|sctp)?6?\s*:?\s*(?:.*->)?\s*(.*)$")
_TALKERS = NETWORK_TOOLS - {"curl", "wget", "ssh", "scp", "sftp", "rsync"}
_PAIRS_MAX, _FETCHED_MAX = 20_000, 3000
_LINES_MAX = 20_000
_SENT_MAX = 1 << 20


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    seen: set[str] = set()
    for finding in (*_on_sockets(facts), *_bridged(facts), *_dictated(facts)):
        key = f"{finding.kind.id} {finding.process}"
        if finding.subject not in seen and key not in seen:
            seen |= {finding.subject, key}
            yield finding


def _on_sockets(facts: Facts) -> Iterator[Finding]:
    for fact, image in executions(facts):
        peer = _socket(image.stdio[0])
        output = _socket(image.stdio[1]) or _socket(image.stdio[2])
        if peer is None or output is None or not (is_shell(image) or _is_interactive(image)):
            continue
        host = _name_of(facts, peer)
        if is_loopback(host) or runs_as(facts, fact.parent, frozenset({"sshd", "inetd", "xinetd", "systemd"})):
            continue
        evidence = [contact.evidence(facts) for contact in _raw(facts) if bare(contact.host) == bare(host) and contact.seq <= image.seq]
        line = {one.number for one in facts.lineage(fact.number)}
        evidence += [
            of_call(facts, call) for call in facts.calls if call.name in ("dup2", "dup3") and call.process in line and call.seq < image.seq
        ]
        evidence.append(
            of_exec(
                facts, fact, image, f"{command(image.argv)} begins with a connection to {shown(host) or 'a host'} as its input and output"
            )
        )
        yield _finding(facts, fact, image, host, evidence, Confidence.PROVEN)


def _socket(text: str) -> str | None:
    """The peer of an internet socket, ``""`` if it is not known; None for anything else."""
    if not text.startswith("socket:") or text.startswith(("socket:unix", "socket:netlink", "socket:packet")):
        return None
    found = _SOCKET.match(text)
    return found.group(1).strip() if found else ""


def _name_of(facts: Facts, peer: str) -> str:
    """The host's name, where the broker knows it by the address."""
    host, _, port = peer.rpartition(":")
    address = host.strip("[]") or peer
    for connection in facts.network.connections.values():
        if connection.server[0] == address and (not port.isdigit() or connection.server[1] == int(port)):
            return connection.host
    return address


def _is_interactive(image: Execution) -> bool:
    """An interpreter that takes its program from its input."""
    return is_interpreter(image) and not [word for word in image.argv[1:] if word not in ("-i", "-u", "-q", "-")]


def _raw(facts: Facts) -> list[Contact]:
    """Connections of processes to hosts outside in which bytes are exchanged as programs like: no HTTP, no TLS but of network tools."""

    def wanted(contact: Contact) -> bool:
        if not contact.process or is_loopback(contact.host) or contact.port == 53:
            return False
        if contact.connection is not None and contact.connection.protocol != "tcp":
            return False
        own = frozenset({"git", "ssh", "sshd"})
        return (contact.is_raw and not runs_as(facts, contact.process, own)) or runs_as(facts, contact.process, _TALKERS)

    return once(facts, "raw contacts", lambda facts: [contact for contact in contacts(facts) if wanted(contact)])


def _takes_commands(image: Execution) -> bool:
    """A shell that reads its commands from its input, not from an argument or a script."""
    words = [
        word for word in image.argv[1:] if word not in ("-i", "-s", "-l", "--noprofile", "--norc", "-li", "-il", "--login", "-p", "+m")
    ]
    return not words


def _bridged(facts: Facts) -> Iterator[Finding]:
    shells = [(fact, image) for fact, image in executions(facts) if is_shell(image) and _takes_commands(image)]
    if not shells:
        return
    by_process = {contact.process: contact for contact in reversed(_raw(facts))}
    for contact, (fact, image) in islice(((contact, shell) for shell in shells for contact in by_process.values()), _PAIRS_MAX):
        above = ancestors(facts, fact.number)
        there = way(facts, contact.process, fact.number, contact.seq, facts.events, CHANNELS, above)
        back = way(facts, fact.number, contact.process, image.seq, facts.events, CHANNELS, above) if there else []
        terminal = image.stdio[0].startswith(("/dev/pts/", "pty")) and _is_terminal_of(facts, fact, contact)
        encrypted = contact.connection is not None and contact.connection.tls is not None
        if not ((there and back) or terminal) or (encrypted and not runs_as(facts, contact.process, NETWORK_TOOLS)):
            continue
        evidence = [contact.evidence(facts), of_exec(facts, fact, image)]
        for flow in (*there, *back):
            text = f"{who(facts, flow.source)} hands {flow.size} bytes to {who(facts, flow.target)} ({flow.kind} {shown(flow.name, 60)})"
            evidence.append(Evidence(flow.first_seq, text, pid_of(facts, flow.source)))
        yield _finding(facts, fact, image, contact.host, evidence, Confidence.HIGH)


def _is_terminal_of(facts: Facts, shell: ProcessFact, contact: Contact) -> bool:
    """Whether the process with the connection started the shell on a pseudo-terminal of its own, which nothing but it can bridge."""
    above = [fact.number for fact in facts.lineage(shell.number)][1:3]
    return contact.process in above and contact.is_raw


def _finding(facts: Facts, fact: ProcessFact, image: Execution, host: str, evidence: list[Evidence], confidence: Confidence) -> Finding:
    summary = (
        f"{command(image.argv, 60)} (process {fact.number}) took its input from {shown(host) or 'a connection'} and gave its output "
        f"back there."
    )
    return Finding(
        SHELL, Severity.CRITICAL, confidence, summary, f"{family(image.path)} ↔ {shown(bare(host)) or '?'}", ordered(evidence), fact.number
    )


def _dictated(facts: Facts) -> Iterator[Finding]:
    """Commands that are word for word what came from a host."""
    commands = [(fact, image, text) for fact, image in executions(facts) if (text := _command_text(image))]
    if not commands:
        return
    lines = _lines_received(facts)
    for fact, image, text in commands:
        for seq, host, item in lines.get(text, ()):
            if seq < image.seq:
                evidence = ordered([item, of_exec(facts, fact, image, f"{who(facts, fact.number)} runs that line: {command(image.argv)}")])
                severity = Severity.CRITICAL if item.exchange == 0 else Severity.HIGH
                summary = f"{who(facts, fact.number)} ran a command that {shown(host)} had sent."
                yield Finding(
                    COMMANDS, severity, Confidence.PROVEN, summary, f"commands of {shown(bare(host))}", evidence, fact.parent or fact.number
                )
                break


def _command_text(image: Execution) -> str:
    """What a shell is told to run by ``-c``; a program's own arguments, joined."""
    if is_shell(image) and "-c" in image.argv[1:4]:
        at = image.argv.index("-c") + 1
        return image.argv[at].strip()[:4096] if at < len(image.argv) else ""
    text = " ".join(image.argv)[:4096]
    return text if len(image.argv) > 1 else ""


def _lines_received(facts: Facts) -> dict[str, list[tuple[int, str, Evidence]]]:
    found: dict[str, list[tuple[int, str, Evidence]]] = {}
    fetched = 0

    def add(data: bytes, least: int, seq: int, host: str, item: Evidence) -> None:
        text = data.decode("utf-8", "replace").strip()
        for line in [text[:4096], *text.splitlines()[:1000]]:
            line = line.strip()
            if len(line) >= least and len(found) < _LINES_MAX:
                found.setdefault(line, []).append((seq, host, item))

    for transfer in facts.transfers:
        host = transfer.host or transfer.address
        if transfer.outgoing or is_loopback(host) or transfer.port in (22, 53):
            continue
        room = _SENT_MAX
        fetched += min(len(transfer.seqs), 500)
        if fetched > _FETCHED_MAX:
            break
        for seq in transfer.seqs[:500]:
            data = facts.bytes_of(seq)[:room] if room > 0 else b""
            room -= len(data)
            add(
                data,
                2,
                seq,
                host,
                Evidence(seq, f"{shown(host)} sends: {shown(data, 100)}", pid_of(facts, transfer.process), size=len(data)),
            )
    models = {prompt.exchange.number for prompt in prompts(facts)}
    known = declared_hosts(facts)
    for exchange in facts.network.exchanges.values():
        response = exchange.response
        if exchange.number in models or bare(exchange.host) in known or not 8 <= response.size <= 8192 or response.source:
            continue
        data = response.decoded(8192).data
        item = of_exchange(exchange, f"{shown(exchange.host)} answers: {shown(data, 100)}", answer=True)
        add(data, 8, response.seq, exchange.host, item)
        for word in re.findall(rb'"(?:cmd|command|exec|run|shell|task)"\s*:\s*"((?:[^"\\]|\\.){2,2000})"', data):
            add(word.replace(b'\\"', b'"'), 2, response.seq, exchange.host, item)
    return found


DETECTOR = Detector("reverse_shell", (SHELL, COMMANDS), _detect)
