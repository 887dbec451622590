"""A recording of the network alone, as a directory with one text file: for tests, beside which it is kept and committed.

A run holds everything that its program did, keys in the environment included. What answers a test is only the network's events,
and these are kept without secrets: the values of headers such as ``Authorization``, ``Cookie`` and ``X-Api-Key``, and of parameters
such as ``key`` and ``token`` in queries, are masked. Bodies are kept as they are. ``exchanges.jsonl``: a line that says what it is,
then an event a line.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentra_sandbox.errors import TraceError
from sentra_sandbox.network.decision import policy_of
from sentra_sandbox.network.recording_place import FILE, FORMAT, VERSION, is_recording_file
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.network_events import MAX_BYTES, NetworkEvent, NetworkType, from_event, to_event
from sentra_sandbox.trace.opening import open_trace
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.secrets import MASK, mask_headers

_NUMBERS = ("connection", "exchange", "direction", "flags", "size", "time_ns")
_KEPT = frozenset(
    (
        *(NetworkType.DNS, NetworkType.OPEN, NetworkType.TLS, NetworkType.REQUEST, NetworkType.RESPONSE, NetworkType.BODY),
        *(NetworkType.END, NetworkType.MESSAGE),
    )
)
_SECRET_PARAMETER = re.compile(
    r"(?P<name>(?:^|&)(?:key|api[-_]?key|(?:access|auth|id|refresh)?[-_]?token|sig|signature|x-amz-signature|x-amz-security-token|client_secret"
    r"|password)=)[^&]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """A recording that can be read until it is closed."""

    network: Network
    masked: bool
    close: Callable[[], None]


def open_recording(path: Path) -> Source:
    """A run, or what ``save_recording`` wrote. Raises ``TraceError``, ``UsageError``."""
    if is_recording_file(path):
        return Source(Network.from_events(_read(path / FILE)), True, lambda: None)
    trace = open_trace(path)
    try:
        return Source(Network.of(trace), False, trace.close)
    except BaseException:
        trace.close()
        raise


def save_recording(run: Path, path: Path) -> int:
    """Keep what the recorded world needs of a run in a new directory, or in place of an older recording there; the number of exchanges."""
    with open_trace(run) as trace:
        lines = list(_lines(trace.events()))
        allowed = trace.meta.options.get("allow_net", [])
    first = {"format": FORMAT, "version": VERSION, "masked": True, "local_ports": list(policy_of(allowed).local_ports)}
    path.mkdir(parents=True, exist_ok=True)
    temporary = path / f".{FILE}.{os.getpid()}"
    temporary.write_text("\n".join([json.dumps(first), *lines, ""]), "utf-8")
    temporary.replace(path / FILE)
    return sum('"type":"REQUEST"' in line[:20] for line in lines)


def mask_query(query: str) -> str:
    """A query with the values of secret parameters masked."""
    return _SECRET_PARAMETER.sub(lambda found: found["name"] + MASK, query)


def _lines(events: Iterable[Event]) -> Iterator[str]:
    start: int | None = None
    for event in events:
        found = from_event(event)
        if found is None or found.type not in _KEPT:
            continue
        start = found.time_ns if start is None else start
        found.time_ns -= start
        yield json.dumps(_as_json(found), ensure_ascii=False, separators=(",", ":"))


def _as_json(event: NetworkEvent) -> dict[str, Any]:
    kept: dict[str, Any] = {"type": NetworkType(event.type).name}
    kept.update((name, getattr(event, name)) for name in _NUMBERS if getattr(event, name))
    if event.size == len(event.data):
        kept.pop("size", None)
    fields = dict(event.fields)
    data = event.data
    for name in ("headers", "trailers"):
        if isinstance(fields.get(name), list):
            fields[name] = [list(pair) for pair in mask_headers([(str(each[0]), str(each[1])) for each in fields[name] if len(each) == 2])]
    if event.type in (NetworkType.REQUEST, NetworkType.RESPONSE):
        data = b""  # the head as it came: with its secrets
        kept.pop("size", None)
    if event.type == NetworkType.REQUEST and isinstance(fields.get("path"), str):
        path, mark, query = fields["path"].partition("?")
        fields["path"] = path + mark + mask_query(query)
    fields.pop("certificate", None)
    if fields:
        kept["fields"] = fields
    if data:
        try:
            kept["text"] = data.decode("utf-8")
        except UnicodeDecodeError:
            kept["base64"] = base64.b64encode(data).decode()
    return kept


def _read(path: Path) -> Iterator[Event]:
    number = 0
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                event = _parsed(line, number)
                if event is not None:
                    yield event
        if not number:
            raise ValueError("it is empty")
    except (ValueError, TypeError, KeyError, RecursionError, OSError, binascii.Error) as error:
        raise TraceError(f"{path} is no recording of a network: {error}.", "Record it again.") from error


def _parsed(line: str, number: int) -> Event | None:
    kept = json.loads(line)
    if number == 1:
        if kept["format"] != FORMAT or kept["version"] != VERSION:
            raise ValueError(f"its first line is not that of version {VERSION}")
        return None
    data = base64.b64decode(kept["base64"], validate=True) if "base64" in kept else str(kept.get("text", "")).encode("utf-8")
    if len(data) > MAX_BYTES:
        raise ValueError(f"line {number} holds {len(data)} bytes")
    numbers = {name: kept.get(name, len(data) if name == "size" else 0) for name in _NUMBERS}
    if not all(isinstance(each, int) and 0 <= each < 1 << 63 for each in numbers.values()):
        raise ValueError(f"line {number} has numbers that are none")
    fields = kept.get("fields", {})
    event = NetworkEvent(NetworkType[kept["type"]], fields if isinstance(fields, dict) else {}, data, seq=number, **numbers)
    return to_event(event)
