"""What happened in a run, without judgement: ``Facts``. Pure functions of a trace; importable without native code.

Everything carries the event (``seq``) that proves it. Files are identified by device and inode where the trace knows them, by path
otherwise.
Collected in one pass over the events (``collect``); what needs content later fetches it by seq.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentra_sandbox.review.following.event_store import EventStore
    from sentra_sandbox.review.following.processes import Processes
    from sentra_sandbox.trace.events import Event
    from sentra_sandbox.trace.reader import Trace
    from sentra_sandbox.trace.run import RunMetadata
    from sentra_sandbox.views.network import Network


@dataclass(slots=True)
class Execution:
    """A program image that a process began to run. ``sha256`` of the executable if the trace keeps it; ``fileless``: memfd or deleted.
    ``stdio``: what descriptors 0, 1 and 2 were then (``socket:HOST:PORT``, ``pipe:NAME``, ``/dev/pts/3``, a path, ``""`` if unknown).
    """

    seq: int
    time_ns: int
    path: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    sha256: str = ""
    fileless: bool = False
    interpreter: str = ""  # of a script; ``sha256`` is then the interpreter's
    stdio: tuple[str, str, str] = ("", "", "")


@dataclass(slots=True)
class ProcessFact:
    """A process. ``number`` counts processes of the run from 1: pids come again. ``parent`` is a number, 0 for the first."""

    number: int
    pid: int
    parent: int
    started_seq: int
    started_ns: int
    images: list[Execution] = field(default_factory=list)
    ended_ns: int | None = None
    wait_status: int | None = None
    killed_by: int = 0  # number of the process whose kill ended it, if known
    forked_from: Execution | None = None  # the image of its parent that it began with

    @property
    def name(self) -> str:
        """The program's base name, as comm would be (15 bytes)."""
        image = self.image
        return image.path.rsplit("/", 1)[-1][:15] if image else ""

    @property
    def image(self) -> Execution | None:
        """Its newest image; that of its parent at the time of fork if it never called exec."""
        return self.images[-1] if self.images else self.forked_from

    def image_at(self, seq: int) -> Execution | None:
        """What it ran at an event."""
        return next((image for image in reversed(self.images) if image.seq <= seq), self.forked_from)


@dataclass(slots=True)
class FileAccess:
    """One use of a file by a process, from open to close or by name. ``kind``: ``read``, ``write``, ``create``, ``delete``, ``rename``,
    ``link``, ``chmod``, ``chown``, ``mkdir``, ``map``, ``stat``, ``list`` (a directory), ``exec`` (failed), ``truncate``; ``failed`` is an
    errno name. ``path`` is absolute, links and ``/proc/self/fd`` resolved as far as the trace knows; ``target`` for renames and links.
    ``origin`` is another name of the same file: before a rename, the first of a hard link's. ``seq`` is of the open; ``seqs`` are the calls
    that moved bytes (reads, writes), in order.
    """

    process: int
    kind: str
    path: str
    seq: int
    time_ns: int
    failed: str = ""
    target: str = ""
    size: int = 0
    mode: int = 0
    dev: int = 0
    ino: int = 0
    seqs: list[int] = field(default_factory=list)
    origin: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """``path``, and the earlier name of the same file if there is one."""
        return (self.path, self.origin) if self.origin else (self.path,)


@dataclass(slots=True)
class Flow:
    """Bytes that one process could hand to another. ``kind``: ``pipe``, ``file``, ``socket``, ``argv``, ``env``, ``fork``, ``memory``.
    ``first_seq`` is of the writing, ``last_seq`` of the
    latest reading.
    """

    source: int
    target: int
    kind: str
    name: str
    first_seq: int
    last_seq: int
    size: int = 0


@dataclass(slots=True)
class Transfer:
    """Bytes that left the sandbox or came in by a socket of a process, not through the broker's HTTP: raw connections, or runs with the
    host's network.
    ``seqs`` of the calls; ``host`` is a name where DNS told one.
    """

    process: int
    outgoing: bool
    host: str
    address: str
    port: int
    protocol: str
    size: int
    seqs: list[int] = field(default_factory=list)
    connection: int = 0


@dataclass(slots=True)
class CallFact:
    """A single call worth knowing: refused or denied calls, ptrace, process_vm_*, kill of others, memfd, setuid attempts, mount, unshare,
    module loading, prctl renames, ...
    ``name`` is the system call's, ``detail`` its arguments in words, ``result`` 0 or an errno name.
    """

    process: int
    seq: int
    time_ns: int
    name: str
    detail: str
    result: str = ""
    refused: bool = False


@dataclass(slots=True)
class Facts:
    """Everything about one run. ``gaps`` says in words what the trace does not show (completeness)."""

    run: RunMetadata
    processes: dict[int, ProcessFact]
    files: list[FileAccess]
    flows: list[Flow]
    transfers: list[Transfer]
    calls: list[CallFact]
    network: Network
    gaps: list[str]
    events: int
    workspace: str  # the directory the program was started in
    home: str
    trace: Trace
    connection_calls: dict[int, list[int]] = field(default_factory=dict)  # connection → the program's calls that sent, in order
    store: EventStore | None = None  # fetches events again
    numbers: Processes | None = None  # which task was of which process when

    def lineage(self, process: int) -> Iterator[ProcessFact]:
        """The process, its parent, and so on to the first."""
        seen: set[int] = set()
        while process in self.processes and process not in seen:
            seen.add(process)
            fact = self.processes[process]
            yield fact
            process = fact.parent

    def process_of(self, task: int, seq: int) -> int:
        """Number of the process that thread id ``task`` belonged to at event ``seq``, 0 if unknown."""
        return self.numbers.at(task, seq) if self.numbers else 0

    def event(self, seq: int) -> Event:
        """The event itself, with its bytes. ``KeyError`` if the trace has none."""
        if self.store is None:
            raise KeyError(seq)
        return self.store.event(seq)

    def bytes_of(self, seq: int) -> bytes:
        """What a read, write, send or receive call moved: all of its buffers in order, spilled ones whole (64 MiB at most); of a
        mapping the part of the file, of the network's events their bytes. Empty where the trace has none.
        """
        return self.store.bytes_of(seq) if self.store else b""

    def content_hash(self, access: FileAccess) -> str:
        """SHA-256 of all bytes that an access moved, in the order of its calls; ``""`` if it moved none."""
        if not access.seqs:
            return ""
        digest = hashlib.sha256()
        for seq in access.seqs:
            digest.update(self.bytes_of(seq))
        return digest.hexdigest()


def collect(trace: Trace) -> Facts:
    """All facts of a run. Works on unfinished and damaged traces as far as they go. Raises ``TraceError`` only when nothing can be read."""
    from sentra_sandbox.review.following.one_pass import OnePass

    return OnePass(trace).run()
