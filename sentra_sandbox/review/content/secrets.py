"""What counts as a secret of a run: credential files it read, secret-looking environment, answers of metadata services, canaries, and
tokens that show by their form in whatever it read.

Reading one is no finding; that is for the search and the detectors. Public keys and placeholders are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sentra_sandbox.review.content.channels import host_of
from sentra_sandbox.review.content.entropy import entropy_bits
from sentra_sandbox.review.content.search import Secret
from sentra_sandbox.review.content.secret_files import (
    SHORTEST,
    Value,
    named_secret,
    private_keys_of,
    tokens_of,
    url_passwords,
    values_of,
)
from sentra_sandbox.review.content.secret_places import CREDENTIAL_FILES, GENERIC_NAMES, METADATA_HOSTS, METADATA_OWNERS, OWNERS_BY_NAME

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Facts, FileAccess

SECRETS_MAX = 3000
_FILE_MAX = 4 << 20  # bytes of one file
_PLAIN_FILE_MAX = 1 << 20  # of a file that is searched for tokens by their form
_PLAIN_TOTAL_MAX = 256 << 20
_ANSWER_MAX = 1 << 20
_SYSTEM = re.compile(
    r"/(?:usr|lib|lib64|bin|sbin|proc|sys|dev)/|.*/(?:site-packages|dist-packages|node_modules|\.venv|__pycache__|\.pyenv|lib/python3[^/]*)/"
)


def secrets_of(facts: Facts, canaries: tuple[tuple[str, bytes], ...] = (), notes: list[str] | None = None) -> list[Secret]:
    """All secrets that the run got, each value once, as it was got first. What was left out is said in ``notes``."""
    notes = [] if notes is None else notes
    found: dict[bytes, Secret] = {}
    for secret in (*_canaries(canaries, notes), *_got(facts)):
        known = found.get(secret.value)
        if known is not None:
            owners = tuple(dict.fromkeys((*known.owners, *secret.owners)))
            if secret.owners and not known.owners and known.kind == "token":
                owners = secret.owners
            found[secret.value] = replace(known, owners=owners)
        elif len(found) < SECRETS_MAX:
            found[secret.value] = secret
        elif not any("secrets" in note for note in notes):
            notes.append(f"More than {SECRETS_MAX} secrets: the rest was not looked for.")
    return list(found.values())


def _canaries(canaries: tuple[tuple[str, bytes], ...], notes: list[str]) -> Iterator[Secret]:
    for name, value in canaries:
        if len(value) < SHORTEST:
            notes.append(f"The canary {name} is shorter than {SHORTEST} bytes: it cannot be told from chance and was not looked for.")
        else:
            yield Secret(name, "canary", value, 0, 0, (), max(entropy_bits(value), 64.0))


def _got(facts: Facts) -> list[Secret]:
    got = [*_from_files(facts), *_from_environment(facts), *_from_metadata(facts), *_from_answers(facts)]
    return sorted(got, key=lambda secret: (secret.source_seq, secret.kind == "token"))


@lru_cache(maxsize=65536)
def credential_form(path: str) -> tuple[str, tuple[str, ...]] | None:
    """How a credential file is written and whose it is; None for other files, ``public`` for those that only look like one."""
    for pattern, form, owners in CREDENTIAL_FILES:
        if pattern.fullmatch(path):
            return form, owners
    return None


def _from_files(facts: Facts) -> Iterator[Secret]:
    readings: dict[tuple[int, str], list[FileAccess]] = {}
    same: dict[tuple[int, int], str] = {}
    for access in facts.files:
        name = next((name for name in access.names if (form := credential_form(name)) and form[0] != "public"), "")
        if access.ino and name:
            same.setdefault((access.dev, access.ino), name)
        if access.kind in ("read", "map") and access.seqs and not access.failed:
            readings.setdefault((access.process, access.path), []).append(access)
    room = _PLAIN_TOTAL_MAX
    for (process, path), accesses in readings.items():
        known = next((same[access.dev, access.ino] for access in accesses if (access.dev, access.ino) in same), "")
        known = known or next((name for access in accesses for name in access.names if credential_form(name)), path)
        form = credential_form(known)
        if form and form[0] != "public":
            data = _bytes(facts, accesses, _FILE_MAX)
            for value in values_of(data, form[0]):
                yield _secret(_shown(known, facts.home), value, accesses[0].seqs[0], process, form[1], _env_owners(value.label))
        elif not _SYSTEM.match(path) and room > 0:
            data = _bytes(facts, accesses, _PLAIN_FILE_MAX)
            room -= len(data)
            for value in (*tokens_of(data), *private_keys_of(data)):
                yield _secret(_shown(path, facts.home), value, accesses[0].seqs[0], process)


def _bytes(facts: Facts, accesses: list[FileAccess], limit: int) -> bytes:
    data = bytearray()
    for access in accesses:
        for seq in access.seqs:
            if len(data) >= limit:
                return bytes(data[:limit])
            try:
                data += facts.bytes_of(seq)
            except KeyError:
                continue
        data += b"\n"
    return bytes(data[:limit])


def _secret(where: str, value: Value, seq: int, process: int, *owners: tuple[str, ...]) -> Secret:
    bits = entropy_bits(value.value[value.prefix :])
    if value.kind == "private-key":
        bits = 128.0
    theirs = value.owners or next((hosts for hosts in owners if hosts), ())
    return Secret(f"{where} {value.label}".strip(), value.kind, value.value, seq, process, theirs, bits)


def _shown(path: str, home: str) -> str:
    return f"~{path[len(home) :]}" if home and home != "/" and path.startswith(home + "/") else path


def _env_owners(name: str) -> tuple[str, ...]:
    """Whom a variable belongs to, by its name: a known service, or domains that are called as it begins (``ACME_TOKEN``: acme.com)."""
    name = name.rsplit(" ", 1)[-1].upper()
    known = next((owners for beginning, owners in OWNERS_BY_NAME if name.startswith(beginning)), ())
    service, underscore, _ = name.lower().partition("_")
    if known or not underscore or len(service) < 4 or service in GENERIC_NAMES or not service.isalnum():
        return known
    return tuple(
        f"{start}{service}.{end}" for end in ("com", "io", "ai", "dev", "net", "org", "app", "cloud", "co") for start in ("", "*.")
    )


def _from_environment(facts: Facts) -> Iterator[Secret]:
    seen: set[tuple[str, str]] = set()
    for process in facts.processes.values():
        for image in process.images:
            hosts = _configured_hosts(image.env)
            for name, text in image.env.items():
                if (name, text) in seen or len(text) > 20_000:
                    continue
                seen.add((name, text))
                for value in _of_variable(name, text.encode("utf-8", "surrogateescape")):
                    owners = tuple(dict.fromkeys((*value.owners, *_env_owners(name), *hosts.get(name.split("_")[0], ()))))
                    yield _secret(f"${name}", replace(value, label="", kind="environment", owners=owners), image.seq, process.number)


def _of_variable(name: str, data: bytes) -> Iterator[Value]:
    keys = list(private_keys_of(data))
    yield from keys
    tokens = list(tokens_of(data))
    yield from tokens
    yield from url_passwords(data)
    if not keys and not any(token.value == data for token in tokens) and named_secret(name, data):
        yield Value("", data)


def _configured_hosts(env: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """``OPENAI_BASE_URL`` says where keys of ``OPENAI_...`` belong."""
    hosts: dict[str, tuple[str, ...]] = {}
    for name, text in env.items():
        if name.endswith(("_URL", "_BASE", "_ENDPOINT", "_HOST", "_URI", "_API", "_SERVER")):
            try:
                host = urlsplit(text if "//" in text else f"//{text}").hostname
            except ValueError:
                continue
            if host and len(host) < 254:
                first = name.split("_")[0]
                hosts[first] = (*hosts.get(first, ()), host)
    return hosts


def _from_metadata(facts: Facts) -> Iterator[Secret]:
    for exchange in facts.network.exchanges.values():
        host = host_of(exchange)
        if host in METADATA_HOSTS or exchange.server[0] in METADATA_HOSTS:
            seq = exchange.response.seq
            process = facts.process_of(exchange.task, exchange.request.seq)
            yield from _metadata(exchange.response.decoded(_ANSWER_MAX).data, f"{host}{exchange.path}", seq, process)
    for transfer in facts.transfers:
        if not transfer.outgoing and transfer.seqs and (transfer.address in METADATA_HOSTS or transfer.host in METADATA_HOSTS):
            data = b"".join(_of_event(facts, seq) for seq in transfer.seqs[:64])
            body = data.partition(b"\r\n\r\n")[2] or data
            yield from _metadata(body, transfer.host or transfer.address, transfer.seqs[0], transfer.process)


def _of_event(facts: Facts, seq: int) -> bytes:
    try:
        return facts.bytes_of(seq)
    except KeyError:
        return b""


def _metadata(body: bytes, where: str, seq: int, process: int) -> Iterator[Secret]:
    values = values_of(body[:_ANSWER_MAX], "whole")
    for value in values:
        yield _secret(where[:120], replace(value, kind="metadata", owners=METADATA_OWNERS), seq, process)


def _from_answers(facts: Facts) -> Iterator[Secret]:
    """Tokens that came from a host belong to it too."""
    room = _PLAIN_TOTAL_MAX // 4
    for exchange in facts.network.exchanges.values():
        response = exchange.response
        host = host_of(exchange)
        if not response.size or response.size > _ANSWER_MAX or room < 0 or host in METADATA_HOSTS:
            continue
        room -= response.size
        process = facts.process_of(exchange.task, exchange.request.seq)
        for value in (*tokens_of(data := response.decoded(_ANSWER_MAX).data), *private_keys_of(data)):
            yield _secret(f"answer of {host}", replace(value, owners=(*value.owners, host)), response.seq, process)
