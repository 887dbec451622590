"""``Evidence`` made of facts, and how texts of the run are shown: control characters escaped, secrets masked, long ones cut.

Everything a finding shows of a run goes through here: a run may hold secrets, and may hold what a terminal would obey.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from sentra_sandbox.review.facts import CallFact, Execution, Facts, FileAccess, ProcessFact
from sentra_sandbox.review.findings import Evidence
from sentra_sandbox.views.connections import Connection, DnsQuery
from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.secrets import looks_secret, mask_url

SHOWN_MAX = 160  # characters of one text
EVIDENCE_MAX = 24  # of one finding
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]")
_ASSIGNED = re.compile(
    r"(?i)((?:[\w-]*(?:secret|token|passw(?:or)?d|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w-]*)[\"']?\s*[=:]\s*[\"']?)([^\s\"'&;,}]{4,})"
)
_LONG_WORD = re.compile(r"[\w.~+/=%-]{20,4096}")
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|$)", re.DOTALL)


def hint(value: bytes | str) -> str:
    """What of a secret may be shown: its first four and last two characters if that is little of it."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return f"{plain(text[:4])}…{plain(text[-2:])}" if len(text) >= 16 else "***"


def plain(text: str) -> str:
    """One line without characters that a terminal obeys or that hide."""
    return _UNPRINTABLE.sub(lambda found: "\\n" if found.group() == "\n" else f"\\u{{{ord(found.group()):x}}}", text)


def shown(text: str | bytes, limit: int = SHOWN_MAX) -> str:
    """A text of the run as a report may show it: masked, on one line, cut."""
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "replace")
    text = text[: 4 * limit]
    text = _PRIVATE_KEY.sub(r"\1***", text)
    text = mask_url(text) if "://" in text or "?" in text or "=" in text else text
    text = _ASSIGNED.sub(lambda found: found.group(1) + "***", text)
    text = _LONG_WORD.sub(lambda found: hint(found.group()) if looks_secret(found.group()) else found.group(), text)
    text = plain(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def command(argv: Iterable[str], limit: int = SHOWN_MAX) -> str:
    """A command line as one would type it, masked."""
    words, size = [], 0
    for word in argv:
        words.append(word[:limit])
        size += len(words[-1])
        if size > 2 * limit:
            break
    return shown(shlex.join(words), limit)


def who(facts: Facts, process: int) -> str:
    """``curl (process 3)``."""
    fact = facts.processes.get(process)
    return f"{shown(name_of(fact), 40)} (process {process})" if fact is not None else f"process {process}" if process else "a process"


def name_of(fact: ProcessFact) -> str:
    return fact.name or "a child"


def pid_of(facts: Facts, process: int) -> int:
    fact = facts.processes.get(process)
    return fact.pid if fact is not None else 0


def of_exec(facts: Facts, fact: ProcessFact, image: Execution, text: str = "") -> Evidence:
    """That a program began to run."""
    what = text or f"{who(facts, fact.number)} runs: {command(image.argv or (image.path,))}"
    return Evidence(image.seq, what, fact.pid, image.time_ns, sha256=image.sha256)


def of_file(facts: Facts, access: FileAccess, text: str = "") -> Evidence:
    """That a file was used."""
    to = f" → {shown(access.target)}" if access.target else ""
    done = f"{access.kind}{f' ({access.failed})' if access.failed else ''}"
    what = text or f"{who(facts, access.process)}: {done} {shown(access.path)}{to}{f', {access.size} bytes' if access.size else ''}"
    return Evidence(access.seq, what, pid_of(facts, access.process), access.time_ns)


def of_call(facts: Facts, call: CallFact, text: str = "") -> Evidence:
    """That a system call was made."""
    outcome = "refused" if call.refused else shown(str(call.result), 40) if call.result else "done"
    made = call.detail if call.detail.startswith(call.name) else f"{call.name}({call.detail})"
    what = text or f"{who(facts, call.process)}: {shown(made)} {outcome}"
    return Evidence(call.seq, what, pid_of(facts, call.process), call.time_ns)


def of_exchange(exchange: Exchange, text: str = "", *, answer: bool = False) -> Evidence:
    """That a request was sent, or its answer came."""
    message = exchange.response if answer else exchange.request
    what = text or f"{shown(exchange.request.method, 12)} {shown(exchange.url)}"
    return Evidence(
        message.seq or exchange.request.seq, what, exchange.task, message.time_ns or exchange.began_ns, exchange=exchange.number
    )


def of_connection(connection: Connection, text: str = "") -> Evidence:
    """That a connection was asked for."""
    refused = "" if connection.allowed else f", refused: {shown(connection.reason)}"
    return Evidence(connection.seq, text or f"connection to {shown(connection.target)}{refused}", connection.task, connection.opened_ns)


def of_query(query: DnsQuery, text: str = "") -> Evidence:
    """That a name was asked for."""
    refused = "" if query.allowed else f", refused: {shown(query.reason)}"
    return Evidence(query.seq, text or f"DNS {shown(query.type, 10)} {shown(query.name)}{refused}", query.task, query.time_ns)


def written_bytes(facts: Facts, access: FileAccess, limit: int = 1 << 16) -> bytes:
    """What was written (or read) by one use of a file, its beginning."""
    found, size = [], 0
    for seq in access.seqs:
        try:
            found.append(facts.bytes_of(seq)[: limit - size])
        except KeyError:
            continue
        size += len(found[-1])
        if size >= limit:
            break
    return b"".join(found)


def ordered(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """In the order of what happened, each event once, not too many: the first and the last ones."""
    by_seq = {(item.seq, item.text): item for item in evidence}
    items = sorted(by_seq.values(), key=lambda item: item.seq)
    if len(items) > EVIDENCE_MAX:
        items = [*items[: EVIDENCE_MAX - 4], *items[-4:]]
    return tuple(items)
