"""An instruction in untrusted content was followed: it came in, was in a prompt, the model called a tool with it, and it was done.

Evidence, in order: where the text came from (an answer of a host, a file, a tool's result), the prompt that holds it, the answer of the
model with the tool call whose arguments repeat it, and the action (a command with that text, a request to that host). Text that the user
or the system prompt had also said does not count. Seen and not followed is only information.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors import instructions
from sentra_sandbox.review.detectors.contacts import contacts
from sentra_sandbox.review.detectors.derived import once
from sentra_sandbox.review.detectors.evidence import of_exchange, of_exec, of_file, of_query, ordered, shown
from sentra_sandbox.review.detectors.hosts import bare
from sentra_sandbox.review.detectors.llm import Prompt, prompts
from sentra_sandbox.review.detectors.programs import executions
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity
from sentra_sandbox.views.json_values import parse
from sentra_sandbox.views.llm_requests import ToolCall

FOLLOWED = FindingClass(
    "SEN-170",
    "An injected instruction was followed",
    "prompt-injection",
    Severity.CRITICAL,
    "Content that the agent had fetched or read gave it an order; the order was in a prompt, the model called a tool with its words, "
    "and the action was carried out. "
    "Somebody who writes what the agent reads decides what it does.",
    "Undo the action. Let actions that come from fetched content be confirmed by a person; keep reading and acting in different "
    "agents; allow hosts and commands by list.",
    ("T1059", "T1204"),
    ("LLM01:2025", "ASI01", "ASI02"),
    "Instructions for use in the documentation of what the user asked for look alike (install commands in a README). What the user's "
    "own prompt says does not count.",
)
SEEN = FindingClass(
    "SEN-171",
    "A prompt holds an injected instruction",
    "prompt-injection",
    Severity.INFO,
    "Content that the agent had fetched or read gives orders to agents. It was in a prompt; nothing shows that it was followed.",
    "Nothing was done. Consider filtering such content, and note its source.",
    ("T1566",),
    ("LLM01:2025", "ASI01"),
    "Security documentation that quotes attacks.",
)
_GRAM, _STEP = 16, 4
_UNTRUSTED_MAX = 4 << 20
_SEARCHED_MAX = 256 << 20
_TOLD_MAX = 20
_URL = re.compile(r"(?:https?://|wss?://)([\w.-]+\.[a-z]{2,}|\d+\.\d+\.\d+\.\d+)", re.IGNORECASE)
_TRUSTED_ROLES = frozenset({"system", "developer"})


@dataclass(slots=True)
class _Untrusted:
    """A text in a prompt that did not come from the user: a tool's result, or text that an answer of a host or a file also holds."""

    text: str
    prompt: Prompt


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    grams: dict[int, int] = {}
    untrusted: list[_Untrusted] = []
    trusted: list[str] = []
    followed: set[int] = set()
    room = _UNTRUSTED_MAX
    for prompt in prompts(facts):
        for said in prompt.said:
            if said.role == "tool" or (
                said.role not in _TRUSTED_ROLES
                and said.role != "assistant"
                and _commands_in(said.text)
                and _came_in(facts, said.text, prompt.seq)
            ):
                text = said.text[: max(room, 0)]
                room -= len(text)
                untrusted.append(_Untrusted(text, prompt))
                for at in range(0, len(text) - _GRAM + 1, _STEP):
                    grams.setdefault(hash(text[at : at + _GRAM]), len(untrusted) - 1)
            elif said.role != "assistant":
                trusted.append(said.text)
        for call in prompt.tool_calls:
            for number, shared in _shared(call, grams, untrusted):
                if number in followed or any(shared in text for text in trusted):
                    continue
                finding = _followed(facts, untrusted[number], prompt, call, shared)
                if finding is not None:
                    followed.add(number)
                    yield finding
    told: set[str] = set()
    for number, one in enumerate(untrusted):
        order = _commands_in(one.text)
        if number not in followed and order and order not in told and len(told) < _TOLD_MAX:
            told.add(order)
            evidence = [*_origin(facts, order, one.prompt.seq), of_exchange(one.prompt.exchange, f"the prompt holds: {shown(order, 100)}")]
            yield Finding(
                SEEN,
                Severity.INFO,
                Confidence.MEDIUM,
                f"A prompt holds an instruction from untrusted content: {shown(order, 80)}.",
                f"seen: {shown(order, 60)}",
                ordered(evidence),
            )


def _commands_in(text: str) -> str:
    return instructions.imperative(text) or instructions.hidden(text)


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value[:20_000]
    elif isinstance(value, (list, dict)) and depth < 6:
        for inner in list(value.values() if isinstance(value, dict) else value)[:200]:
            yield from _strings(inner, depth + 1)


def _shared(call: ToolCall, grams: dict[int, int], untrusted: list[_Untrusted]) -> Iterator[tuple[int, str]]:
    """Untrusted texts that the call's arguments repeat, with the longest common piece found."""
    best: dict[int, str] = {}
    for text in _strings(parse(call.arguments) if call.arguments[:1] in "{[" else call.arguments):
        for at in range(max(len(text) - _GRAM + 1, 0)):
            number = grams.get(hash(text[at : at + _GRAM]))
            if number is None or text[at : at + _GRAM] not in untrusted[number].text or len(best.get(number, "")) > len(text) - at:
                continue
            piece = _extend(text, at, untrusted[number].text)
            if len(piece) > len(best.get(number, "")):
                best[number] = piece
    yield from best.items()


def _extend(text: str, at: int, other: str) -> str:
    """The longest piece of ``text`` around ``at`` that ``other`` holds."""
    low, high = at + _GRAM, len(text)
    while low < high:  # how far it goes right
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text[at:middle] in other else (low, middle - 1)
    end = low
    low, high = 0, at
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if text[middle:end] in other else (middle + 1, high)
    return text[low:end]


def _followed(facts: Facts, source: _Untrusted, prompt: Prompt, call: ToolCall, shared: str) -> Finding | None:
    """A finding if the text around the shared piece gives an order, and what is shared is something to be done."""
    at = source.text.find(shared)
    around = source.text[max(at - 3000, 0) : at + len(shared) + 3000]
    order = _commands_in(around) or _commands_in(source.text)
    harmful = instructions.dangerous(call.arguments) or instructions.sensitive(call.arguments)
    hosts = [found.group(1) for found in _URL.finditer(shared)]
    if not order and not (instructions.dangerous(shared) and instructions.dangerous(around)):
        return None
    if not (harmful or hosts or len(shared) >= 24):
        return None
    actions = _actions(facts, prompt, shared, hosts)
    answered = of_exchange(prompt.exchange, f"the model calls {shown(call.name, 40)} with it: {shown(shared, 100)}", answer=True)
    evidence = [
        *_origin(facts, shared, source.prompt.seq),
        of_exchange(source.prompt.exchange, f"it is in a prompt for {shown(source.prompt.server)}"),
        answered,
        *actions,
    ]
    severity = Severity.CRITICAL if actions else Severity.HIGH
    done = "and it was carried out" if actions else "but nothing shows that it was carried out"
    summary = f"The model called {shown(call.name, 40)} as untrusted content had told it ({shown(shared, 60)}), {done}."
    confidence = Confidence.HIGH if actions and order else Confidence.MEDIUM
    return Finding(
        FOLLOWED, severity, confidence, summary, f"{shown(call.name, 40)}: {shown(hosts[0] if hosts else shared, 60)}", ordered(evidence)
    )


def _actions(facts: Facts, prompt: Prompt, shared: str, hosts: list[str]) -> list[Evidence]:
    """What happened after the answer and bears the words."""
    since = prompt.last_seq
    words = shared.strip()
    found = []
    for fact, image in executions(facts):
        if image.seq > since:
            text = " ".join(image.argv)
            if words in text or (len(text) >= _GRAM and len(image.argv) > 1 and text in words):
                found.append(of_exec(facts, fact, image))
    names = {bare(host) for host in hosts}
    for contact in contacts(facts):
        if contact.seq > since and bare(contact.host) in names:
            found.append(contact.evidence(facts))
    found += [of_query(query) for query in facts.network.dns if query.seq > since and bare(query.name) in names]
    for exchange in facts.network.exchanges.values():
        if exchange.request.seq > since and bare(exchange.authority) in names:
            found.append(of_exchange(exchange))
    for access in facts.files:
        if (
            access.seq > since
            and not access.failed
            and access.kind in ("read", "write", "delete")
            and len(access.path) >= 8
            and (access.path in words or _home(facts, access.path) in words)
        ):
            found.append(of_file(facts, access))
    return found[:12]


def _home(facts: Facts, path: str) -> str:
    home = facts.home.rstrip("/")
    return "~" + path[len(home) :] if home and path.startswith(f"{home}/") else path


def _origin(facts: Facts, piece: str, before: int) -> list[Evidence]:
    """The answer of a host, or the file, that the text came from."""
    needle = piece[:200].encode()
    models = {prompt.exchange.number for prompt in prompts(facts)}
    room = once(facts, "bytes left to look for origins in", lambda facts: [_SEARCHED_MAX])
    for exchange in facts.network.exchanges.values():
        response = exchange.response
        if room[0] < 0:
            break
        if exchange.number in models or response.seq >= before or not len(needle) <= response.size <= 4 << 20:
            continue
        data = response.decoded(4 << 20).data
        room[0] -= len(data)
        if (at := _find(data, needle)) >= 0:
            item = of_exchange(exchange, f"it comes from {shown(exchange.host)}", answer=True)
            return [Evidence(item.seq, item.text, item.task, item.time_ns, at, len(needle), exchange.number)]
    looked = 0
    for access in facts.files:
        if (
            access.kind != "read"
            or access.seq >= before
            or not access.seqs
            or access.path.startswith(("/usr/", "/lib", "/etc/ld", "/proc/", "/sys/"))
        ):
            continue
        looked += 1
        if looked > 200 or room[0] < 0:
            break
        room[0] -= 1 << 18  # fetching takes longer than looking
        for seq in access.seqs[:16]:
            if (at := _find(facts.bytes_of(seq), needle)) >= 0:
                item = of_file(facts, access, f"it comes from the file {shown(access.path)}")
                return [Evidence(item.seq, item.text, item.task, item.time_ns, at, len(needle))]
    return []


def _find(data: bytes, needle: bytes) -> int:
    """As it is, or as JSON writes it."""
    at = data.find(needle)
    return at if at >= 0 else data.find(needle.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n"))


def _came_in(facts: Facts, text: str, before: int) -> bool:
    """Whether the order in a user's turn is also in something that came from a host or a file."""
    return bool(_origin(facts, _commands_in(text), before))


DETECTOR = Detector("prompt_injection", (FOLLOWED, SEEN), _detect)
