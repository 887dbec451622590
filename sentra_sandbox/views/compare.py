"""Where two runs differ in what they did: pure functions of their events, independent of any replay.

``behaviour`` reads one run; ``differences`` compares two of them: processes (commands, ends), files that were opened or
changed, hosts, bytes on standard output and error. Values that vary from run to run are taken for equal unless
``strict``: process ids, addresses, times, temporary names. Two texts are compared word by word: a word may differ if
in both runs it is of the same such kind. A number is a process id only if it belongs to the run, and both must then be
the same process of their trees.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest

from sentra_sandbox.syscalls.decode import format_exit
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.trace.events import Event, EventType
from sentra_sandbox.views.files import FileTable, FileUse
from sentra_sandbox.views.hosts import HostTable, HostUse
from sentra_sandbox.views.lines import quote_command
from sentra_sandbox.views.output import OutputTable, Stream
from sentra_sandbox.views.places import Places
from sentra_sandbox.views.processes import Image, Process, ProcessTable, walk
from sentra_sandbox.views.spilled import rejoined

DIFFERENCES_MAX = 200
TEXT_MAX = 300
_STANDARD_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}

_WORDS = re.compile(
    r"""(?P<address>\b0x[0-9a-fA-F]{6,16}\b)
      | (?P<moment>\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?)
      | (?P<clock>\b\d?\d:\d\d(?::\d\d(?:[.,]\d+)?)?\b)
      | (?P<epoch>\b1[5-9]\d{8}(?:\.\d+|\d{3}|\d{6}|\d{9})?\b)
      | (?P<duration>\b\d+(?:\.\d+)?\ ?(?:ns|us|µs|ms|s|sec|seconds)\b)
      | (?P<number>\b\d{1,10}\b)
      | (?P<other>\w+|\W)""",
    re.VERBOSE,
)
_VARYING = {"address", "moment", "clock", "epoch", "duration"}
_TEMPORARY_PLACES = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/")
# mktemp's tmp.XXXXXXXXXX, Python's tmpxxxxxxxx, endings such as -3fTq9Z or .12345, plain numbers
_TEMPORARY_NAME = re.compile(r"tmp\.\w{6,12}|tmp[a-z0-9_]{8}|(?<=[-._])(?=\w*\d|\w*[A-Z])\w{5,16}|\d+")
_PROCESS_PATH = re.compile(r"^/proc/\d+(/task/\d+)?")
_TEMPORARY_FILE = re.compile(r"(?<=\.)\d{5,20}$")  # written beside its target, then renamed: file.pyc.140234520


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the runs did not do alike. ``kind``: process, file, network, output. ``left`` and ``right`` say
    what each did; ``left_seq`` and ``right_seq`` are the events where, 0 where there is none.
    """

    kind: str
    what: str
    left: str
    right: str
    left_seq: int
    right_seq: int


@dataclass(slots=True)
class Behaviour:
    """What one run did. ``files`` and ``hosts`` have the event that named each first."""

    processes: list[tuple[int, Process]] = field(default_factory=list)
    ordinals: dict[str, int] = field(default_factory=dict)
    files: dict[str, tuple[FileUse, int]] = field(default_factory=dict)
    hosts: dict[str, tuple[HostUse, int]] = field(default_factory=dict)
    output: dict[str, Stream] = field(default_factory=dict)


def behaviour(events: Iterable[Event]) -> Behaviour:
    """Read a whole run, given all its events in order."""
    descriptors = DescriptorTable(_STANDARD_STREAMS)
    outputs, places, processes, files = OutputTable(descriptors), Places(), ProcessTable(), FileTable(descriptors)
    hosts = HostTable(places)
    found = Behaviour(output=outputs.streams)

    def seen(originals: Iterable[Event]) -> Iterable[Event]:
        for event in originals:
            outputs.feed(event)
            yield event

    for event in rejoined(seen(events)):
        files.feed(event)
        if event.type == EventType.SYSCALL:
            hosts.feed(event)
        _note_new(found, files, hosts, event.seq)
        processes.feed(event)
        places.feed(event)
        descriptors.apply(event)
    found.processes = list(walk(processes.roots))
    found.ordinals = {str(process.pid): number for number, (_, process) in enumerate(found.processes)}
    return found


def _note_new(found: Behaviour, files: FileTable, hosts: HostTable, seq: int) -> None:
    """Both tables only grow, by their ends."""
    if len(files.files) > len(found.files):
        for path in islice(reversed(files.files), len(files.files) - len(found.files)):
            found.files[path] = (files.files[path], seq)
    if len(hosts.hosts) > len(found.hosts):
        for address in islice(reversed(hosts.hosts), len(hosts.hosts) - len(found.hosts)):
            found.hosts[address] = (hosts.hosts[address], seq)


def differences(left: Behaviour, right: Behaviour, *, strict: bool = False) -> list[Difference]:
    """What the runs did not do alike, the earliest first, at most ``DIFFERENCES_MAX``. Empty: they behaved the same."""
    comparison = _Comparison(left, right, strict)
    found = [*comparison.processes(), *comparison.files(), *comparison.hosts(), *comparison.output()]
    found.sort(key=lambda item: min(seq for seq in (item.left_seq, item.right_seq, 1 << 62) if seq))
    return found[:DIFFERENCES_MAX]


class _Comparison:
    def __init__(self, left: Behaviour, right: Behaviour, strict: bool) -> None:
        self._left = left
        self._right = right
        self._strict = strict

    # ---- texts

    def _same(self, left: str, right: str) -> bool:
        """Whether two texts are the same but for words that vary."""
        if left == right or self._strict:
            return left == right
        words = zip_longest(_WORDS.finditer(_temporary(left)), _WORDS.finditer(_temporary(right)))
        return all(one is not None and other is not None and self._same_word(one, other) for one, other in words)

    def _same_word(self, one: re.Match[str], other: re.Match[str]) -> bool:
        if one[0] == other[0]:
            return True
        if one.lastgroup != other.lastgroup:
            return False
        if one.lastgroup == "number":
            process = self._left.ordinals.get(one[0])
            return process is not None and process == self._right.ordinals.get(other[0])
        return one.lastgroup in _VARYING

    # ---- processes

    def processes(self) -> Iterable[Difference]:
        """The trees side by side, parents before children, up to the first process that only one of them has."""
        for one, other in zip_longest(self._left.processes, self._right.processes):
            if one is None or other is None or one[0] != other[0]:
                texts = (_process_text(one), _process_text(other))
                yield _difference("process", "another process", texts, (_start(one), _start(other)))
                return
            yield from self._process(one[1], other[1])

    def _process(self, one: Process, other: Process) -> Iterable[Difference]:
        for first, second in zip_longest(one.images, other.images):
            texts = (_image_text(first), _image_text(second))
            if not self._same(*texts):
                seqs = (first.seq if first else 0, second.seq if second else 0)
                yield _difference("process", "another command", texts, seqs)
                break
        if one.wait_status != other.wait_status:
            name = quote_command(one.command) if one.command else "?"
            seqs = (_start((0, one)), _start((0, other)))
            yield _difference("process", f"another ending of {name}", (_ending(one), _ending(other)), seqs)

    # ---- files and hosts

    def files(self) -> Iterable[Difference]:
        """By path: opened or not, read or written, what else was done to it."""
        left, right = self._by_path(self._left), self._by_path(self._right)
        for path in dict.fromkeys([*left, *right]):
            one, other = left.get(path), right.get(path)
            texts = (_file_text(one, self._strict), _file_text(other, self._strict))
            if texts[0] != texts[1]:
                yield _difference("file", path, texts, (one[1] if one else 0, other[1] if other else 0))

    def _by_path(self, side: Behaviour) -> dict[str, tuple[FileUse, int]]:
        if self._strict:
            return side.files
        kept = {path: item for path, item in side.files.items() if not _passing(path, item[0])}
        return {_general_path(path): item for path, item in kept.items()}

    def hosts(self) -> Iterable[Difference]:
        """By address and port: contacted, refused, or not."""
        for address in dict.fromkeys([*self._left.hosts, *self._right.hosts]):
            one, other = self._left.hosts.get(address), self._right.hosts.get(address)
            texts = (_host_text(one, self._strict), _host_text(other, self._strict))
            if texts[0] != texts[1]:
                yield _difference("network", address, texts, (one[1] if one else 0, other[1] if other else 0))

    # ---- output

    def output(self) -> Iterable[Difference]:
        """The first line of each stream that differs."""
        for name, one in self._left.output.items():
            other = self._right.output[name]
            if (one.size, one.digest()) != (other.size, other.digest()):
                yield from self._stream(name, one, other)

    def _stream(self, name: str, one: Stream, other: Stream) -> Iterable[Difference]:
        at = [0, 0]
        for number, (left, right) in enumerate(zip_longest(_lines(one.data), _lines(other.data)), 1):
            texts = (_line_text(left), _line_text(right))
            if left is None or right is None or (left != right and not self._same(*texts)):
                seqs = (one.seq_at(at[0]), other.seq_at(at[1]))
                yield _difference("output", f"{name}, line {number:,}", texts, seqs)
                return
            at = [at[0] + len(left), at[1] + len(right)]
        if one.size > len(one.data) or other.size > len(other.data):
            texts = (_rest_text(one), _rest_text(other))
            seqs = (one.seq_at(len(one.data)), other.seq_at(len(other.data)))
            yield _difference("output", f"{name}, after the beginning", texts, seqs)


def _difference(kind: str, what: str, texts: tuple[str, str], seqs: tuple[int, int]) -> Difference:
    return Difference(kind, _cut(what), *_around(*texts), *seqs)


def _around(left: str, right: str) -> tuple[str, str]:
    """Two long texts, cut so that what differs is in what is left."""
    start = len(posixpath.commonprefix([left, right]))
    if max(len(left), len(right)) <= TEXT_MAX or start < TEXT_MAX // 2:
        return _cut(left), _cut(right)
    begin = start - TEXT_MAX // 4
    return _cut("..." + left[begin:]), _cut("..." + right[begin:])


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 3] + "..."


def _start(item: tuple[int, Process] | None) -> int:
    """The event of a process's first image, or of its nearest ancestor with one."""
    process = item[1] if item else None
    while process and not process.images:
        process = process.parent
    return process.images[0].seq if process else 0


def _process_text(item: tuple[int, Process] | None) -> str:
    if item is None:
        return "(none)"
    command = quote_command(item[1].command, 4096) if item[1].command else "?"
    return command if item[1].images else f"({command})"


def _image_text(image: Image | None) -> str:
    return quote_command(image.argv or (image.path,), 4096) if image else "(none)"


def _ending(process: Process) -> str:
    return "still running" if process.wait_status is None else format_exit(process.wait_status).strip("+ ")


def _line_text(line: bytes | None) -> str:
    return "(end)" if line is None else line.decode("utf-8", "backslashreplace")


def _rest_text(stream: Stream) -> str:
    return f"{stream.size:,} bytes, SHA-256 {stream.digest()}"


def _file_text(item: tuple[FileUse, int] | None, strict: bool) -> str:
    if item is None:
        return "not opened"
    use = item[0]
    done = "written" if use.written else "read"
    changes = f" ({', '.join(sorted(use.changes))})" if use.changes else ""
    size = f", {use.written_bytes} bytes" if use.written_bytes else ""
    figures = f", {use.opens} times opened, {use.read_bytes} bytes read" if strict else ""
    return f"{done}{changes}{size}{figures}"


def _host_text(item: tuple[HostUse, int] | None, strict: bool) -> str:
    if item is None:
        return "not contacted"
    use = item[0]
    outcome = "refused" if use.failed == use.uses else "contacted"
    return f"{outcome}, {use.uses} times, {use.failed} failed" if strict else outcome


def _passing(path: str, use: FileUse) -> bool:
    """A device, or a temporary file that was there only for a while."""
    gone = {"created", "removed"} <= set(use.changes)
    return path.startswith("/dev/") or (gone and path.startswith(_TEMPORARY_PLACES))


def _general_path(path: str) -> str:
    """A path without what varies: process ids below /proc, temporary names."""
    path = _PROCESS_PATH.sub("/proc/PID", path)
    if path.startswith(_TEMPORARY_PLACES):
        return _TEMPORARY_NAME.sub("*", path)
    return _TEMPORARY_FILE.sub("*", path)


def _temporary(text: str) -> str:
    """A text with the temporary names in it made alike."""
    if not any(place in text for place in _TEMPORARY_PLACES):
        return text
    return re.sub(
        r"/(?:tmp|var/tmp|dev/shm|run/user)/[^\s'\":;,]+", lambda found: _TEMPORARY_NAME.sub("*", found[0]), text
    )


def _lines(data: bytes | bytearray) -> Sequence[bytes]:
    return bytes(data).splitlines(keepends=True)
