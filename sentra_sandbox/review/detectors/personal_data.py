"""Data about persons in prompts: mail addresses, telephone numbers, bank accounts, cards, national numbers. Counted, never shown.

Evidence: the prompts that hold them, with numbers of each kind. Numbers count when their check digits are right, several distinct ones
must be there, and examples, test cards and addresses of robots do not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sentra_sandbox.review.content.search import Sightings
from sentra_sandbox.review.detectors.evidence import of_exchange, ordered, shown, who
from sentra_sandbox.review.detectors.hosts import bare
from sentra_sandbox.review.detectors.llm import prompts
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.findings import Confidence, Detector, Evidence, Finding, FindingClass, Severity

PERSONAL = FindingClass(
    "SEN-180",
    "Data about persons is in prompts",
    "privacy",
    Severity.MEDIUM,
    "Texts that went to a language model hold data about several persons (counted by kind, check digits verified). The provider of "
    "the model processes them from then on, which may need a contract and a legal basis.",
    "Keep such data out of prompts, replace it by pseudonyms before sending, or use a provider and region that you have an agreement with.",
    ("T1213",),
    ("LLM02:2025",),
    "Mail addresses of authors in logs of version control: addresses alone have a low severity below fifty. Test numbers of cards and "
    "example domains do not count.",
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@((?:[\w-]{1,63}\.){1,4}[A-Za-z]{2,12})\b")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){2,3}|\(\d{3}\) \d{3}-\d{4}"
    r"|\d{3}-\d{3}-\d{4})(?![\w-])"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.-])(?:3[47]\d{2}[ -]?\d{6}[ -]?\d{5}|[2456]\d{3}(?:[ -]?\d{4}){3})(?![\d-])")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_EXAMPLES = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net)|example|test|invalid|localhost|local)$|noreply|no-reply|users\.noreply")
_ROBOTS = re.compile(
    r"(?i)^(?:no-?reply|git|root|admin|info|support|security|postmaster|dependabot|bot|user|me|you|name|foo|bar|test|example)@|\[bot\]"
)
_TEST_CARDS = {
    "4242424242424242",
    "4111111111111111",
    "5555555555554444",
    "4012888888881881",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "4000056655665556",
    "5105105105105100",
    "2223003122003222",
}
_TEST_NUMBERS = {
    "078-05-1120",
    "219-09-9999",
    "123-45-6789",
    "DE89370400440532013000",
    "GB29NWBK60161331926819",
    "GB82WEST12345698765432",
    "FR1420041010050500013M02606",
}
_SCAN_MAX = 1 << 20
_COUNT_MAX = 10_000


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    total = sum(d if at % 2 == 0 else d * 2 - 9 * (d > 4) for at, d in enumerate(reversed(digits)))
    return total % 10 == 0 and len(set(digits)) > 3 and "".join(map(str, digits)) not in _TEST_CARDS


def _iban(text: str) -> bool:
    text = text.replace(" ", "")
    if not 15 <= len(text) <= 34 or text in _TEST_NUMBERS:
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _email(text: str) -> bool:
    return not _EXAMPLES.search(text.rsplit("@", 1)[1]) and not _ROBOTS.search(text)


_Check = Callable[[str], bool]
_KINDS: tuple[tuple[str, re.Pattern[str], _Check], ...] = (
    ("mail address", _EMAIL, _email),
    ("card number", _CARD, _luhn),
    ("bank account (IBAN)", _IBAN, _iban),
    ("US social security number", _SSN, lambda text: text not in _TEST_NUMBERS),
    (
        "telephone number",
        _PHONE,
        lambda text: 9 <= sum(c.isdigit() for c in text) <= 15 and "555-01" not in text and "555-5555" not in text,
    ),
)
_STRONG = {"card number", "bank account (IBAN)", "US social security number"}


def personal(text: str) -> dict[str, set[str]]:
    """Kind → the distinct values in a text."""
    text = text[:_SCAN_MAX]
    found: dict[str, set[str]] = {}
    for kind, pattern, check in _KINDS:
        for match in pattern.finditer(text):
            if check(match.group()):
                values = found.setdefault(kind, set())
                values.add(re.sub(r"[ .()-]", "", match.group()).lower() if kind != "mail address" else match.group().lower())
                if len(values) >= _COUNT_MAX:
                    break
    return found


def _detect(facts: Facts, sightings: Sightings) -> Iterable[Finding]:
    servers: dict[str, tuple[dict[str, set[str]], list[Evidence], int]] = {}
    for prompt in prompts(facts):
        counts: dict[str, int] = {}
        values, evidence, process = servers.setdefault(
            bare(prompt.server), ({}, [], facts.process_of(prompt.exchange.task, prompt.seq) if prompt.exchange.task else 0)
        )
        for said in prompt.said:
            if said.role == "assistant":
                continue
            for kind, found in personal(said.text).items():
                new = found - values.setdefault(kind, set())
                values[kind] |= set(list(new)[:_COUNT_MAX])
                counts[kind] = counts.get(kind, 0) + len(new)
        if any(counts.values()):
            evidence.append(of_exchange(prompt.exchange, f"a prompt holds {_in_words(counts)}"))
    for server, (values, evidence, process) in servers.items():
        counts = {kind: len(found) for kind, found in values.items() if found}
        if (severity := _severity(counts)) is not None and evidence:
            summary = f"{who(facts, process)} put data about persons into prompts for {shown(server)}: {_in_words(counts)}."
            yield Finding(
                PERSONAL,
                severity,
                Confidence.HIGH if _STRONG & set(counts) else Confidence.MEDIUM,
                summary,
                f"prompts for {shown(server)}",
                ordered(evidence),
                process,
            )


def _severity(counts: dict[str, int]) -> Severity | None:
    """None below three values of all kinds."""
    strong = sum(count for kind, count in counts.items() if kind in _STRONG)
    mails, phones = counts.get("mail address", 0), counts.get("telephone number", 0)
    if strong >= 50 or mails >= 500:
        return Severity.HIGH
    if strong >= 3 or phones >= 10 or mails >= 50 or (phones >= 3 and mails >= 3) or (strong and mails >= 3):
        return Severity.MEDIUM
    return Severity.LOW if strong + phones + mails >= 3 else None


def _in_words(counts: dict[str, int]) -> str:
    plural = {"mail address": "mail addresses"}
    return ", ".join(f"{count} {plural.get(kind, kind + 's') if count > 1 else kind}" for kind, count in sorted(counts.items()) if count)


DETECTOR = Detector("personal_data", (PERSONAL,), _detect)
