"""Who is who: processes by number (pids come again), the images they ran, how they ended."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from sentra_sandbox.review.facts import Execution, ProcessFact
from sentra_sandbox.syscalls.quoting import signed32
from sentra_sandbox.trace.events import Event, SegmentKind
from sentra_sandbox.trace.files import FileEntry
from sentra_sandbox.views.initial_stack import arguments_and_environment
from sentra_sandbox.views.places import register, text_argument

INFO_PATH, INFO_CWD, INFO_STACK = 0, 1, 2  # the INFO segments of an EXEC event (csrc/record/event.h)
ENV_MAX = 4096  # variables of one image
_DELETED = " (deleted)"


class Processes:
    """Follows TASK, EXEC and EXIT events, and the execve calls before them."""

    def __init__(self, files: Mapping[int, FileEntry]) -> None:
        self.by_number: dict[int, ProcessFact] = {}
        self._now: dict[int, int] = {}  # task → number
        self._began: dict[int, tuple[list[int], list[int]]] = {}  # task → seqs from which, numbers
        self._called: dict[int, str] = {}  # task → path of its execve that is under way
        self._files = files
        self._killers: dict[tuple[int, int], int] = {}  # (process, signal) → process that sent it

    def number(self, task: int, seq: int, time_ns: int) -> int:
        """The process of a task now; one that no event has introduced is a process of its own."""
        found = self._now.get(task)
        return self._start(task, 0, seq, time_ns) if found is None else found

    def known(self, task: int) -> int:
        """The process of a task now, 0 if no event has named it."""
        return self._now.get(task, 0)

    def at(self, task: int, seq: int) -> int:
        """The process a task belonged to at an event."""
        began = self._began.get(task)
        if began is None:
            return 0
        return began[1][max(bisect_right(began[0], seq) - 1, 0)]

    def task_event(self, event: Event) -> tuple[int, int]:
        """A new task: ``(parent, process)``; they are the same for a thread."""
        parent = self._now.get(signed32(register(event, 0)), 0)
        leader = signed32(register(event, 1))
        if leader != event.task and (owner := self._now.get(leader)):
            self._assign(event.task, owner, event.seq)
            return owner, owner
        return parent, self._start(event.task, parent, event.seq, event.time_ns)

    def calls_exec(self, event: Event, argument: int) -> None:
        """An execve that succeeds; its EXEC event follows."""
        self._called[event.task] = text_argument(event, argument)

    def exec_event(self, event: Event, stack: bytes | None, stdio: tuple[str, str, str]) -> tuple[int, Execution]:
        """A new image. ``stack`` is its initial stack if it was too large for the event itself."""
        old = signed32(register(event, 0))
        number = self._now.get(old) or self.number(event.task, event.seq, event.time_ns)
        if self._now.get(event.task) != number:
            self._assign(event.task, number, event.seq)
        info = {segment.arg: segment for segment in event.segments if segment.kind == SegmentKind.INFO}
        argv: tuple[str, ...] = ()
        environment: tuple[str, ...] = ()
        if INFO_STACK in info:
            argv, environment = arguments_and_environment(stack or info[INFO_STACK].data, info[INFO_STACK].addr)
        path = info[INFO_PATH].data.decode("utf-8", "surrogateescape") if INFO_PATH in info else ""
        cwd = info[INFO_CWD].data.decode("utf-8", "surrogateescape") if INFO_CWD in info else ""
        called = self._called.pop(event.task, None) or self._called.pop(old, "")
        entry = self._executable(event)
        fileless = path.startswith("/memfd:") or path.endswith(_DELETED)
        image = Execution(event.seq, event.time_ns, path, argv, _variables(environment), cwd, entry.sha256 if entry else "", fileless)
        image.stdio = stdio
        if called and _is_script(called, path, argv):
            image.interpreter, image.path = path, called if called.startswith("/") else f"{cwd}/{called.removeprefix('./')}"
        self.by_number[number].images.append(image)
        return number, image

    def exit_event(self, event: Event) -> None:
        number = self._now.get(event.task)
        if number is None or not register(event, 1):
            return
        process = self.by_number[number]
        process.ended_ns, process.wait_status = event.time_ns, register(event, 0)
        process.killed_by = self._killers.get((number, register(event, 0) & 0x7F), 0)

    def killed(self, target: int, signal: int, sender: int) -> None:
        """A signal was sent to another process."""
        self._killers[target, signal] = sender

    def _executable(self, event: Event) -> FileEntry | None:
        for segment in event.segments:
            if segment.kind == SegmentKind.FILE:
                return self._files.get(int.from_bytes(segment.data[:4], "little"))
        return None

    def _start(self, task: int, parent: int, seq: int, time_ns: int) -> int:
        number = len(self.by_number) + 1
        fact = self.by_number[number] = ProcessFact(number, task, parent, seq, time_ns)
        above = self.by_number.get(parent)
        fact.forked_from = (above.images[-1] if above.images else above.forked_from) if above else None
        self._assign(task, number, seq)
        return number

    def _assign(self, task: int, number: int, seq: int) -> None:
        self._now[task] = number
        seqs, numbers = self._began.setdefault(task, ([], []))
        seqs.append(seq)
        numbers.append(number)


def _variables(environment: tuple[str, ...]) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in environment[:ENV_MAX])


def _is_script(called: str, image: str, argv: tuple[str, ...]) -> bool:
    """The kernel puts the interpreter, at most one argument of it and the script's path in front (execve(2))."""
    return called in argv[1:3] and called.rsplit("/", 1)[-1] != image.rsplit("/", 1)[-1]
