"""Drives the followers over the events of a run, once. Calls are looked up by number in one table; most events cost one lookup."""

from __future__ import annotations

from collections.abc import Callable

from sentra_sandbox.errors import TraceError
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.review.following import calls, gaps, sockets
from sentra_sandbox.review.following.channels import Channels
from sentra_sandbox.review.following.event_store import EventStore
from sentra_sandbox.review.following.file_uses import OPENS, FileUses
from sentra_sandbox.review.following.name_answers import NameAnswers
from sentra_sandbox.review.following.paths import Paths
from sentra_sandbox.review.following.processes import Processes
from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.descriptor_steps import STEPS
from sentra_sandbox.syscalls.descriptors import DescriptorTable
from sentra_sandbox.syscalls.open_files import OpenFile
from sentra_sandbox.syscalls.quoting import signed32
from sentra_sandbox.trace.events import Event, EventFlag, EventType
from sentra_sandbox.trace.network_events import FIRST, NetworkType
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.places import register

STANDARD_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}
_SYSCALL, _TASK, _EXEC, _EXIT, _DATA, _NOTE = (
    EventType.SYSCALL.value, EventType.TASK.value, EventType.EXEC.value, EventType.EXIT.value, EventType.DATA.value, EventType.NOTE.value
)  # fmt: skip
_REFUSED, _FOREIGN, _IN_FLIGHT = EventFlag.REFUSED.value, EventFlag.FOREIGN_ABI.value, EventFlag.IN_FLIGHT.value
_ENDPOINT = NetworkType.ENDPOINT.value
_PEEK = 2  # MSG_PEEK
_NOT_CONNECTED_YET = -115  # EINPROGRESS

_READS = ("read", "pread64", "readv", "preadv", "preadv2")
_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "vmsplice")
_RECEIVES = {"recvfrom": 3, "recvmsg": 2, "recvmmsg": 3}  # call → argument with the flags
_SENDS = ("sendto", "sendmsg", "sendmmsg")
_MOVES = {"sendfile": (1, 0), "splice": (0, 2), "copy_file_range": (0, 2), "tee": (0, 1)}  # call → arguments: from, to

Handler = Callable[[Event, int], None]


class OnePass:
    """``run`` reads everything; ``facts`` is the result."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._descriptors = DescriptorTable(STANDARD_STREAMS, trace.meta.cwd)
        self._paths = Paths(self._descriptors)
        try:
            entries = trace.files()
            self._gaps = gaps.of_run(trace)
        except TraceError as error:
            entries, self._gaps = {}, [*gaps.of_run(trace), f"The table of files is damaged: {error}"]
        self._processes = Processes(entries)
        self._files = FileUses(self._descriptors, self._paths)
        self._channels = Channels()
        self._sockets = sockets.Sockets(self._channels)
        self._calls = calls.Calls(self._descriptors)
        self._names = NameAnswers()
        self._network = Network.unread(trace)
        self.store = EventStore(trace)
        self._notes: list[Event] = []
        self._spilled: dict[int, int] = {}  # task → seq of the first DATA event of its next call
        self._count = 0
        self._plan = self._make_plan()

    def _make_plan(self) -> dict[int, tuple[str, Handler | None, bool, Handler | None]]:
        """Call number → its name, what to do before the descriptor table takes it, whether that takes it, what to do after."""
        before: dict[str, Handler] = dict(self._files.handlers())
        before.update(dict.fromkeys(_READS, self._read))
        before.update(dict.fromkeys(_WRITES, self._write))
        before.update(dict.fromkeys(_RECEIVES, self._receive))
        before.update(dict.fromkeys(_SENDS, self._send))
        before.update(dict.fromkeys(_MOVES, self._move))
        before["getdents64"] = self._list
        before.update(dict.fromkeys(calls.DUPLICATES, self._duplicate))
        for name in ("kill", "tgkill"):
            before[name] = self._kill
        for name in ("process_vm_readv", "process_vm_writev"):
            before[name] = self._memory
        after: dict[str, Handler] = dict.fromkeys(OPENS, self._files.opened)
        after["listen"] = self._listen
        plan = {}
        for call in table.all_calls():
            name = call.name
            if name in before or name in after or name in STEPS or name in calls.ALWAYS:
                plan[call.number] = name, before.get(name), name in STEPS, after.get(name)
        return plan

    def run(self) -> Facts:
        try:
            for event in self._trace.events():
                self._count += 1
                if event.type == _SYSCALL:
                    self._call(event)
                else:
                    self._other(event)
        except TraceError as error:
            if not self._count:
                raise
            self._gaps.append(f"The trace is damaged after event {self._count}: {error}")
        return self._facts()

    # ---- events

    def _call(self, event: Event) -> None:
        flags = event.flags
        if event.task in self._spilled:
            self.store.spilled_from[event.seq] = self._spilled.pop(event.task)
        row = self._plan.get(event.nr)
        if flags & (_REFUSED | _FOREIGN | _IN_FLIGHT):
            if not flags & _IN_FLIGHT:
                self._refused(event)
            return
        if row is None:
            return
        name, before, step, after = row
        process = self._processes.known(event.task) or self._processes.number(event.task, event.seq, event.time_ns)
        if name in calls.ALWAYS:
            own = self._processes.by_number[process].pid
            wanted = event.result < 0 and event.result != _NOT_CONNECTED_YET if name == "connect" else calls.of_interest(event, name, own)
            if wanted or (name == "connect" and self._is_unix(event)):
                self._calls.take(event, process, name)
        if before is not None:
            before(event, process)
        if step:
            self._descriptors.apply(event)
        if after is not None:
            after(event, process)
        if name in ("execve", "execveat") and event.result >= 0:
            self._processes.calls_exec(event, 0 if name == "execve" else 1)

    def _other(self, event: Event) -> None:
        kind = event.type
        if kind == _DATA:
            self._spilled.setdefault(event.task, event.seq)
        elif kind >= FIRST:
            self._network.feed(event)
            if kind == _ENDPOINT:
                self._endpoint(event)
        elif kind == _TASK:
            parent, process = self._processes.task_event(event)
            self._descriptors.apply(event)
            if parent and parent != process:
                self._channels.add(parent, process, "fork", "", event.seq, event.seq, 0)
        elif kind == _EXEC:
            self._exec(event)
        elif kind == _EXIT:
            self._processes.exit_event(event)
            self._descriptors.apply(event)
        elif kind == _NOTE:
            self._notes.append(event)

    def _exec(self, event: Event) -> None:
        stack = None
        if event.task in self._spilled:
            self.store.spilled_from[event.seq] = self._spilled.pop(event.task)
            stack = self.store.stack_of(event)
        self._descriptors.apply(event)
        stdio = (self._stream(event.task, 0), self._stream(event.task, 1), self._stream(event.task, 2))
        number, image = self._processes.exec_event(event, stack, stdio)
        parent = self._processes.by_number[number].parent
        if parent:
            self._channels.add(parent, number, "argv", image.path, event.seq, event.seq, sum(map(len, image.argv)))
            self._channels.add(parent, number, "env", image.path, event.seq, event.seq, sum(map(len, image.env.values())))
        self._channels.read(("file", image.path), number, event.seq, 0, "file", image.path)

    def _stream(self, task: int, fd: int) -> str:
        file = self._descriptors.open_file(task, fd)
        if file is not None and file.name.startswith("socket:"):
            return f"socket:{file.peer or file.local or ''}" if sockets.is_inet(file) else file.describe().removeprefix("socket:")
        return self._descriptors.describe(task, fd) or ""

    def _endpoint(self, event: Event) -> None:
        fields_fd = sockets.endpoint_descriptor(event)
        self._sockets.endpoint(event, self._descriptors.open_file(event.task, fields_fd))

    def _refused(self, event: Event) -> None:
        process = self._processes.number(event.task, event.seq, event.time_ns)
        call = None if event.flags & _FOREIGN else table.call(event.nr)
        self._calls.take(event, process, call.name if call else "")

    # ---- bytes

    def _file(self, event: Event, argument: int) -> OpenFile | None:
        return self._descriptors.open_file(event.task, signed32(register(event, argument)))

    def _read(self, event: Event, process: int) -> None:
        if event.result > 0:
            self._moved(event, process, self._file(event, 0), event.result, outgoing=False)

    def _list(self, event: Event, process: int) -> None:
        file = self._file(event, 0)
        if event.result > 0 and file is not None:
            self._files.moved(event, process, file, event.result, writing=False, kind="list")

    def _write(self, event: Event, process: int) -> None:
        if event.result > 0:
            self._moved(event, process, self._file(event, 0), event.result, outgoing=True)

    def _receive(self, event: Event, process: int) -> None:
        name = self._plan[event.nr][0]
        if event.result > 0 and not register(event, _RECEIVES[name]) & _PEEK:
            self._moved(event, process, self._file(event, 0), event.result, outgoing=False, name=name)

    def _send(self, event: Event, process: int) -> None:
        if event.result > 0:
            self._moved(event, process, self._file(event, 0), event.result, outgoing=True, name=self._plan[event.nr][0])

    def _move(self, event: Event, process: int) -> None:
        if event.result > 0:
            source, target = _MOVES[self._plan[event.nr][0]]
            self._moved(event, process, self._file(event, source), event.result, outgoing=False)
            self._moved(event, process, self._file(event, target), event.result, outgoing=True)

    def _moved(self, event: Event, process: int, file: OpenFile | None, size: int, *, outgoing: bool, name: str = "") -> None:
        if file is None:
            return
        if file.path:
            access = self._files.moved(event, process, file, size, writing=outgoing)
            if access is not None:
                channel = "file", access.path
                if outgoing:
                    self._channels.write(channel, process, event.seq, size)
                else:
                    self._channels.read(channel, process, event.seq, size, "file", access.path)
        elif sockets.is_inet(file):
            if name.endswith("mmsg"):
                size = sockets.message_bytes(event)
            peer = sockets.message_peer(event, name, outgoing=outgoing) if name else ""
            self._sockets.moved(event, process, file, size, outgoing=outgoing, peer=peer)
            if not outgoing and (peer or file.peer or "").endswith(":53"):
                self._names.feed(event)
        elif file.name.startswith("pipe:"):
            self._between(file.name, file.name, process, event.seq, size, outgoing=outgoing, kind="pipe", name=file.name)
        elif file.name.startswith("socket:unix"):
            self._unix(event, process, file, size, outgoing=outgoing)
        elif file.name.startswith(("memfd:", "mqueue:", "pty")):
            self._between(file, file, process, event.seq, size, outgoing=outgoing, kind="file", name=file.name)

    def _unix(self, event: Event, process: int, file: OpenFile, size: int, *, outgoing: bool) -> None:
        """A pair: what goes into one end comes out of the other. By name: clients and the server of the name."""
        if file.other_end is not None:
            self._between(file, file.other_end, process, event.seq, size, outgoing=outgoing, kind="socket", name=file.name)
            return
        to_server, to_client = (file.peer or file.local, "up"), (file.peer or file.local, "down")
        mine, other = (to_server, to_client) if file.peer and file.peer != file.local else (to_client, to_server)
        self._between(mine, other, process, event.seq, size, outgoing=outgoing, kind="socket", name=str(mine[0] or file.name))

    def _between(self, mine: object, other: object, process: int, seq: int, size: int, *, outgoing: bool, kind: str, name: str) -> None:
        if outgoing:
            self._channels.write(mine, process, seq, size)
        else:
            self._channels.read(other, process, seq, size, kind, name)

    # ---- single calls

    def _duplicate(self, event: Event, process: int) -> None:
        """Of interest where a socket becomes a standard stream."""
        file = self._file(event, 0)
        if event.result in (0, 1, 2) and file is not None and file.name.startswith("socket:"):
            self._calls.take(event, process, self._plan[event.nr][0])

    def _listen(self, event: Event, process: int) -> None:
        if event.result == 0:
            self._sockets.listens(self._file(event, 0), process)

    def _kill(self, event: Event, process: int) -> None:
        target = self._processes.known(signed32(register(event, 0)))
        if event.result == 0 and target and target != process:
            self._processes.killed(target, register(event, 1 if self._plan[event.nr][0] == "kill" else 2), process)

    def _memory(self, event: Event, process: int) -> None:
        other = self._processes.known(signed32(register(event, 0)))
        if event.result > 0 and other and other != process:
            reads = self._plan[event.nr][0] == "process_vm_readv"
            source, target = (other, process) if reads else (process, other)
            self._channels.add(source, target, "memory", self._plan[event.nr][0], event.seq, event.seq, event.result)

    def _is_unix(self, event: Event) -> bool:
        file = self._file(event, 0)
        return file is not None and file.name.startswith("socket:unix")

    # ---- the result

    def _facts(self) -> Facts:
        self._network.finish()
        meta = self._trace.meta
        own_network = meta.options.get("net") != "host"
        transfers = self._sockets.transfers(self._network, self._names.names, own_network)
        for transfer in transfers:
            if transfer.process < 0:  # a task of a carried connection
                transfer.process = self._processes.at(-transfer.process, transfer.seqs[0])
        self._gaps += gaps.of_notes(self._notes)
        self._gaps += gaps.of_network(self._network, transfers, own_network)
        for what, count in (("uses of files", self._files.left_out), ("flows", self._channels.left_out)):
            if count:
                self._gaps.append(f"{count:,} {what} were not looked at: there are too many.")
        first = self._processes.by_number.get(1)
        image = first.image if first else None
        return Facts(
            run=meta,
            processes=self._processes.by_number,
            files=self._files.accesses,
            flows=sorted(self._channels.flows.values(), key=lambda flow: flow.first_seq),
            transfers=transfers,
            calls=self._calls.calls,
            network=self._network,
            gaps=self._gaps,
            events=self._count,
            workspace=meta.cwd,
            home=image.env.get("HOME", "") if image else "",
            trace=self._trace,
            connection_calls={number: sorted(seqs) for number, seqs in self._sockets.sent_by.items()},
            store=self.store,
            numbers=self._processes,
        )
