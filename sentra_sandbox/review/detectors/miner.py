"""A cryptocurrency miner: the mining protocol in what was sent, the name of a pool, or a miner's command line.

Evidence: the bytes of the stratum protocol (``mining.subscribe``, ``login`` with a wallet), the connection or DNS query to the pool, the
program's arguments. A port alone is no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.contacts import contacts
from sentra_sandbox.review.detectors.evidence import of_exec, of_query, ordered, pid_of, shown, who
from sentra_sandbox.review.detectors.hosts import POOL_WORDS, bare, is_loopback
from sentra_sandbox.review.detectors.programs import executions, family
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

MINER = FindingClass(
    "SEN-060",
    "A cryptocurrency miner runs",
    "impact",
    Severity.HIGH,
    "The program spoke the protocol of mining pools, or was told to: it uses the machine to earn money for somebody else.",
    "End it, find out how it came in (a package, a download, an instruction), and deny the pool's host.",
    ("T1496.001",),
    ("ASI10", "LLM10:2025"),
    "JSON-RPC in general does not count: the methods must be those of mining. Names of pools in text that is only read do not count.",
)
_PROTOCOL = re.compile(
    rb'"method"\s*:\s*"(?:mining\.(?:subscribe|authorize|submit|extranonce\.subscribe)|eth_submitLogin|eth_submitHashrate)"|"method"\s*:\s*"login"[^}]{0,400}"(?:agent|pass|algo)"'
)
_ARGUMENT = re.compile(
    r"stratum(?:\+|2\+)?(?:tcp|ssl|tls)?://|^--(?:donate-level|coin=|algo=(?:rx|cn|kawpow|randomx|ethash)|cpu-max-threads-hint"
    r"|randomx-)|^-a$"
)
_PROGRAMS = {
    "xmrig",
    "minerd",
    "cpuminer",
    "ethminer",
    "cgminer",
    "bfgminer",
    "t-rex",
    "nbminer",
    "lolMiner",
    "phoenixminer",
    "xmr-stak",
    "nanominer",
    "xmrig-notls",
    "kdevtmpfsi",
    "kinsing",
}
_PORTS = {3333, 4444, 5555, 7777, 8333, 9999, 14433, 14444, 45560, 45700}
_FETCHED_MAX = 500  # connections whose beginnings are looked at
_LONG_NS = 60_000_000_000


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    evidence: list[Evidence] = []
    processes: list[int] = []
    protocol = named = False
    for process, seq, host, data, exchange in _sent(facts):
        if found := _PROTOCOL.search(data):
            protocol = True
            text = f"{who(facts, process)} speaks the mining protocol to {shown(host)}"
            evidence.append(
                Evidence(
                    seq,
                    text,
                    pid_of(facts, process),
                    offset=found.start(),
                    size=len(found.group()),
                    exchange=exchange,
                    excerpt=shown(found.group()),
                )
            )
            processes.append(process)
    for fact, image in executions(facts):
        stratum = any(re.match(r"stratum", word) or "stratum+" in word for word in image.argv[:64])
        if family(image.path) in _PROGRAMS or stratum or sum(bool(_ARGUMENT.search(word)) for word in image.argv[:64]) > 1:
            named = True
            evidence.append(of_exec(facts, fact, image))
            processes.append(fact.number)
    pools = False
    for query in facts.network.dns:
        if _is_pool(query.name):
            pools = True
            evidence.append(of_query(query))
    for contact in contacts(facts):
        if _is_pool(contact.host):
            pools = True
            evidence.append(contact.evidence(facts))
            processes.append(contact.process)
        elif contact.process in processes and contact.port in _PORTS:
            evidence.append(contact.evidence(facts))
    if not evidence:
        return
    process = next((number for number in processes if number), 0)
    fact_of = facts.processes.get(process)
    lasted = fact_of is not None and (fact_of.ended_ns or facts.run.duration_ns) - fact_of.started_ns > _LONG_NS
    confidence = Confidence.PROVEN if protocol else Confidence.HIGH if (named and pools) or (pools and lasted) else Confidence.MEDIUM
    severity = Severity.HIGH if protocol or named or lasted else Severity.MEDIUM
    summary = (
        f"{who(facts, process)} "
        f"{'speaks the protocol of mining pools' if protocol else 'looks like a miner' if named else 'contacted a mining pool'}."
    )
    yield Finding(MINER, severity, confidence, summary, "miner", ordered(evidence), process)


def _is_pool(host: str) -> bool:
    return any(word in bare(host) for word in POOL_WORDS)


def _sent(facts: Facts) -> Iterable[tuple[int, int, str, bytes, int]]:
    """The beginnings of what went out: process, event, host, bytes, exchange."""
    fetched = 0
    for transfer in facts.transfers:
        if transfer.outgoing and not is_loopback(transfer.host or transfer.address):
            fetched += 1
            for seq in transfer.seqs[: 4 if fetched < _FETCHED_MAX else 0]:
                yield transfer.process, seq, transfer.host or transfer.address, facts.bytes_of(seq)[:8192], 0
    for exchange in facts.network.exchanges.values():
        process = facts.process_of(exchange.task, exchange.request.seq) if exchange.task else 0
        if 20 <= exchange.request.size <= 4096 and exchange.request.pieces:
            yield process, exchange.request.pieces[0].seq, exchange.host, exchange.request.body, exchange.number
        for message in [m for m in exchange.messages[:8] if not m.to_client and m.size < 8192 and m.pieces]:
            yield process, message.pieces[0].seq, exchange.host, message.data, exchange.number


DETECTOR = Detector("miner", (MINER,), _detect)
