"""Server-sent events (``text/event-stream``, WHATWG HTML section 9.2) with the time at which each was complete. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sentra_sandbox.views.content_codings import Chunk

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """``time_ns``: when its closing blank line came. ``complete`` is false for what the end of the stream cut off, which clients ignore."""

    time_ns: int
    event: str
    data: str
    id: str = ""
    retry: str = ""
    complete: bool = True


def lines_of(chunks: Iterable[Chunk]) -> Iterator[tuple[int, bytes, bool]]:
    """``(time, line, whether it was ended)``; lines end with LF, CR LF or CR, and a chunk may end anywhere."""
    rest: list[bytes] = []  # of a line that has not ended
    after_cr = False
    time_ns = 0
    for time_ns, data in chunks:
        if after_cr and data:
            data = data[data.startswith(b"\n") :]
            after_cr = False
        if b"\n" not in data and b"\r" not in data:
            rest.append(data)
            continue
        after_cr = data.endswith(b"\r")
        parts = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        yield time_ns, b"".join((*rest, parts[0])), True
        for line in parts[1:-1]:
            yield time_ns, line, True
        rest = [parts[-1]]
    last = b"".join(rest)
    if last:
        yield time_ns, last, False


def events_of(chunks: Iterable[Chunk]) -> Iterator[ServerSentEvent]:
    """The events of a stream, in order. Events without data are left out unless they have a name: comments keep connections alive."""
    fields: dict[str, str] = {}
    data: list[str] = []
    seen = False
    first = True
    time_ns = 0
    for time_ns, raw, _ in lines_of(chunks):
        if first:
            raw = raw.removeprefix(_BOM)
            first = False
        if not raw:
            if seen:
                yield _event(time_ns, fields, data)
            fields, data, seen = {}, [], False
            continue
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value[value.startswith(" ") :]
        if name == "data":
            data.append(value)
            seen = True
        elif name in ("event", "id", "retry"):
            fields[name] = value
            seen = seen or name == "event"
    if seen:
        yield _event(time_ns, fields, data, complete=False)


def _event(time_ns: int, fields: dict[str, str], data: list[str], complete: bool = True) -> ServerSentEvent:
    return ServerSentEvent(
        time_ns, fields.get("event", "message"), "\n".join(data), fields.get("id", ""), fields.get("retry", ""), complete
    )
