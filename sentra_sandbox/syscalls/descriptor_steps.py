"""What each call changes about descriptors and the working directory: one small function a call.

descriptors.py keeps the state and hands every successful call to STEPS. Rules as there: a segment that misses, or a
descriptor that is not known, leaves things as they are or gives the name "?".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .memory import SEGMENT_IN, SEGMENT_OUT, Memory, Segment
from .network import MSGHDR_SIZE, SCM_RIGHTS, SOL_SOCKET, address_text, each_control_message
from .open_files import OpenFile, Slot, Task, WorkingDirectory
from .quoting import escape, signed32
from .table import call as call_of
from .table import command_for
from .values import AT_FDCWD

CLONE_FS, CLONE_FILES, CLONE_PIDFD = 0x200, 0x400, 0x1000
O_CLOEXEC = 0x80000
MFD_CLOEXEC, MSG_CMSG_CLOEXEC, SECCOMP_NEW_LISTENER = 1, 0x40000000, 8
CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC = 2, 4
PATH_LIMIT = 8192  # twice PATH_MAX: what a relative path and its directory can have
_SOCKETS = {
    (2, 1): "tcp",
    (2, 2): "udp",
    (10, 1): "tcp",
    (10, 2): "udp",
    (1, 1): "unix",
    (1, 2): "unix",
    (1, 5): "unix",
}
_DOMAINS = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink", 17: "packet", 38: "alg", 40: "vsock"}


class Event(Protocol):
    """What is needed of an event; sentra_sandbox.trace has the class."""

    @property
    def type(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def task(self) -> int: ...
    @property
    def nr(self) -> int: ...
    @property
    def result(self) -> int: ...
    @property
    def args(self) -> tuple[int, ...]: ...
    @property
    def segments(self) -> Sequence[Segment]: ...


def event_call(event: Event) -> str:
    """The name of the call of a SYSCALL event, "" if it is unknown."""
    row = call_of(event.nr)
    return row.name if row else ""


class Step:
    """One successful call, while it is applied: its arguments, its memory, its task."""

    __slots__ = ("args", "event", "memory", "next_number", "result", "task")

    def __init__(self, event: Event, task: Task, result: int, next_number: Callable[[], int]) -> None:
        self.event, self.task, self.result, self.next_number = event, task, result, next_number
        self.args = (*event.args, 0, 0, 0, 0, 0, 0)[:6]
        self.memory = Memory(event.segments)

    def fd(self, index: int) -> int:
        return signed32(self.args[index])

    def file(self, index: int) -> OpenFile | None:
        """The open file behind argument ``index``."""
        return self.task.files.file(self.fd(index))

    def put(self, fd: int, file: OpenFile, *, close_on_exec: bool) -> None:
        self.task.files.slots[fd] = Slot(file, close_on_exec)

    def text(self, index: int) -> str | None:
        """The string behind argument ``index``."""
        segment = self.memory.segment(index, self.args[index], SEGMENT_IN)
        return escape(segment.data) if segment else None

    def numbers(self, index: int) -> tuple[int, ...]:
        """The ints that the kernel wrote at argument ``index``."""
        segment = self.memory.segment(index, self.args[index], SEGMENT_OUT)
        data = segment.data if segment else b""
        return tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) - 3, 4))

    def address(self, index: int, *, out: bool) -> str | None:
        """The socket address behind argument ``index``, in short."""
        segment = self.memory.segment(index, self.args[index], SEGMENT_OUT if out else SEGMENT_IN)
        return address_text(segment.data) if segment else None

    def path(self, dirfd: int, path_index: int) -> str | None:
        """The path argument made absolute as far as that is known; ``dirfd`` as the program gave it."""
        path = self.text(path_index)
        if path is None:
            return None
        if path.startswith("/"):
            return path
        base = self.task.cwd.path if dirfd == AT_FDCWD else _base(self.task.files.file(dirfd))
        relative = path.removeprefix("./")
        if base is None or relative in ("", "."):
            return base or path
        joined = f"{base.rstrip('/')}/{relative}"
        return joined if len(joined) <= PATH_LIMIT else path


def _base(file: OpenFile | None) -> str | None:
    return file.path if file else None


def _opened(step: Step, dirfd: int, path_index: int, flags: int) -> None:
    path = step.path(dirfd, path_index)
    step.put(step.result, OpenFile(path or "?", path=path), close_on_exec=bool(flags & O_CLOEXEC))


def _open_how_flags(step: Step) -> int:
    segment = step.memory.segment(2, step.args[2], SEGMENT_IN)
    return int.from_bytes(segment.data[:8], "little") if segment else 0


def _anonymous(name: str, flags_index: int | None = None, cloexec_bit: int = O_CLOEXEC) -> Callable[[Step], None]:
    """A call whose result is a descriptor of something without a path."""

    def apply(step: Step) -> None:
        flags = step.args[flags_index] if flags_index is not None else 0
        step.put(step.result, OpenFile(name), close_on_exec=bool(flags & cloexec_bit))

    return apply


def _named(prefix: str, name_index: int, flags_index: int, cloexec_bit: int) -> Callable[[Step], None]:
    """The same with a name that the program gives: memfd:cache, mqueue:/jobs."""

    def apply(step: Step) -> None:
        cloexec = bool(step.args[flags_index] & cloexec_bit)
        step.put(step.result, OpenFile(f"{prefix}:{step.text(name_index) or '?'}"), close_on_exec=cloexec)

    return apply


def _duplicate(step: Step, *, close_on_exec: bool) -> None:
    file = step.file(0)
    if file is None:
        step.task.files.slots.pop(step.result, None)
    elif step.result != step.fd(0):
        step.put(step.result, file, close_on_exec=close_on_exec)


def _fcntl(step: Step) -> None:
    row = call_of(step.event.nr)
    command = command_for(row, step.args) if row else None
    name = command.name if command else ""
    if name in ("F_DUPFD", "F_DUPFD_CLOEXEC"):
        _duplicate(step, close_on_exec=name == "F_DUPFD_CLOEXEC")
    elif name in ("F_SETFD", "FIOCLEX", "FIONCLEX"):
        slot = step.task.files.slots.get(step.fd(0))
        if slot:
            slot.close_on_exec = bool(step.args[2] & 1) if name == "F_SETFD" else name == "FIOCLEX"
    elif name == "TIOCGPTPEER":
        step.put(step.result, OpenFile("pty"), close_on_exec=bool(step.args[2] & O_CLOEXEC))
    elif command and "fd_result" in command.flags:
        step.put(step.result, OpenFile(f"namespace:{name.split('_')[-2].lower()}"), close_on_exec=True)


def _close_range(step: Step) -> None:
    flags = step.args[2]
    if flags & CLOSE_RANGE_UNSHARE:
        step.task.files = step.task.files.copy()
    first, last = step.args[0] & 0xFFFFFFFF, step.args[1] & 0xFFFFFFFF
    step.task.files.close_range(first, last, only_mark=bool(flags & CLOSE_RANGE_CLOEXEC))


def _pipe(step: Step) -> None:
    fds = step.numbers(0)
    if len(fds) == 2:
        number = step.next_number()
        for fd in fds:
            step.put(fd, OpenFile(f"pipe:[{number}]"), close_on_exec=_has_cloexec(step, "pipe2", 1))


def _has_cloexec(step: Step, with_flags: str, index: int) -> bool:
    """Whether the newer form of a call was used, and with its close-on-exec flag."""
    return event_call(step.event) == with_flags and bool(step.args[index] & O_CLOEXEC)


def _socket_name(domain: int, kind: int) -> str:
    return f"socket:{_SOCKETS.get((domain, kind & 0xF)) or _DOMAINS.get(domain) or f'family {domain}'}"


def _socket(step: Step) -> None:
    name = _socket_name(step.fd(0), step.args[1])
    step.put(step.result, OpenFile(name), close_on_exec=bool(step.args[1] & O_CLOEXEC))


def _socketpair(step: Step) -> None:
    fds = step.numbers(3)
    if len(fds) != 2:
        return
    name = f"{_socket_name(step.fd(0), step.args[1])}:[{step.next_number()}]"
    left, right = OpenFile(name), OpenFile(name)
    left.other_end, right.other_end = right, left
    for fd, file in zip(fds, (left, right), strict=True):
        step.put(fd, file, close_on_exec=bool(step.args[1] & O_CLOEXEC))


def _connect(step: Step) -> None:
    if file := step.file(0):
        file.peer = step.address(1, out=False)


def _bind(step: Step) -> None:
    if file := step.file(0):
        file.local = step.address(1, out=False)


def _listen(step: Step) -> None:
    if file := step.file(0):
        file.listening = True


def _accept(step: Step) -> None:
    listener = step.file(0)
    accepted = OpenFile(listener.name if listener else "socket", peer=step.address(1, out=True))
    accepted.local = listener.local if listener else None
    step.put(step.result, accepted, close_on_exec=_has_cloexec(step, "accept4", 3))


def _socket_address(step: Step) -> None:
    file, found = step.file(0), step.address(1, out=True)
    if file and found:
        if event_call(step.event) == "getpeername":
            file.peer = found
        else:
            file.local = found


def _rights(step: Step, *, out: bool) -> list[int]:
    """The descriptors in the SCM_RIGHTS messages of a sendmsg or recvmsg."""
    kinds = (SEGMENT_OUT, SEGMENT_IN) if out else (SEGMENT_IN, SEGMENT_OUT)
    header = step.memory.read(step.args[1], MSGHDR_SIZE, kinds) or b""
    if len(header) < MSGHDR_SIZE:
        return []
    pointer, length = int.from_bytes(header[32:40], "little"), int.from_bytes(header[40:48], "little")
    control = step.memory.read(pointer, min(length, 65536), kinds[:1]) if pointer else None
    fds: list[int] = []
    for level, kind, payload in each_control_message(control or b""):
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            fds += [int.from_bytes(payload[at : at + 4], "little") for at in range(0, len(payload) - 3, 4)]
    return fds


def _sendmsg(step: Step) -> None:
    socket = step.file(0)
    if socket is None or socket.other_end is None:
        return
    files = [step.task.files.file(fd) or OpenFile("?") for fd in _rights(step, out=False)]
    if files:
        socket.other_end.passed.append(files)


def _recvmsg(step: Step) -> None:
    fds = _rights(step, out=True)
    if not fds:
        return
    socket = step.file(0)
    files = socket.passed.popleft() if socket and socket.passed else []
    via = socket.describe() if socket else "a socket"
    for index, fd in enumerate(fds):
        file = files[index] if index < len(files) else OpenFile(f"received from {via}")
        step.put(fd, file, close_on_exec=bool(step.args[2] & MSG_CMSG_CLOEXEC))


def _signalfd(step: Step) -> None:
    if step.result != step.fd(0):
        flags = step.args[3] if event_call(step.event) == "signalfd4" else 0
        step.put(step.result, OpenFile("anon_inode:[signalfd]"), close_on_exec=bool(flags & O_CLOEXEC))


def _pidfd(step: Step, fds: tuple[int, ...], pid: int) -> None:
    for fd in fds[:1]:
        step.put(fd, OpenFile(f"pidfd:{pid}"), close_on_exec=True)


def _clone(step: Step) -> None:
    if step.args[0] & CLONE_PIDFD:
        _pidfd(step, step.numbers(2), step.result)


def _clone3(step: Step) -> None:
    request = step.memory.segment(0, step.args[0], SEGMENT_IN)
    if request and int.from_bytes(request.data[:8], "little") & CLONE_PIDFD:
        data = step.memory.read(int.from_bytes(request.data[8:16], "little"), 4, (SEGMENT_OUT,)) or b""
        _pidfd(step, (int.from_bytes(data, "little"),) if len(data) == 4 else (), step.result)


def _pidfd_getfd(step: Step) -> None:
    source = step.file(0)
    name = f"fd {step.fd(1)} of {source.describe() if source else 'a process'}"
    step.put(step.result, OpenFile(name), close_on_exec=True)


def _seccomp(step: Step) -> None:
    if step.args[1] & SECCOMP_NEW_LISTENER:
        step.put(step.result, OpenFile("anon_inode:seccomp notify"), close_on_exec=True)


def _landlock_ruleset(step: Step) -> None:
    if not step.args[2]:  # with flags the call only answers a question
        step.put(step.result, OpenFile("anon_inode:[landlock-ruleset]"), close_on_exec=True)


def _chdir(step: Step) -> None:
    step.task.cwd.path = step.path(AT_FDCWD, 0)


def _fchdir(step: Step) -> None:
    step.task.cwd.path = _base(step.file(0))


def _getcwd(step: Step) -> None:
    segment = step.memory.segment(0, step.args[0], SEGMENT_OUT)
    if segment:
        step.task.cwd.path = escape(segment.data.removesuffix(b"\0"))


def _unshare(step: Step) -> None:
    if step.args[0] & CLONE_FILES:
        step.task.files = step.task.files.copy()
    if step.args[0] & CLONE_FS:
        step.task.cwd = WorkingDirectory(step.task.cwd.path)


def _close(step: Step) -> None:
    step.task.files.slots.pop(step.fd(0), None)


STEPS: dict[str, Callable[[Step], None]] = {
    "open": lambda step: _opened(step, AT_FDCWD, 0, step.args[1]),
    "creat": lambda step: _opened(step, AT_FDCWD, 0, 0),
    "openat": lambda step: _opened(step, step.fd(0), 1, step.args[2]),
    "openat2": lambda step: _opened(step, step.fd(0), 1, _open_how_flags(step)),
    "open_tree": lambda step: _opened(step, step.fd(0), 1, step.args[2]),
    "open_tree_attr": lambda step: _opened(step, step.fd(0), 1, step.args[2]),
    "open_by_handle_at": _anonymous("file by handle", 2),
    "close": _close,
    "close_range": _close_range,
    "dup": lambda step: _duplicate(step, close_on_exec=False),
    "dup2": lambda step: _duplicate(step, close_on_exec=False),
    "dup3": lambda step: _duplicate(step, close_on_exec=bool(step.args[2] & O_CLOEXEC)),
    "fcntl": _fcntl,
    "ioctl": _fcntl,
    "pipe": _pipe,
    "pipe2": _pipe,
    "socket": _socket,
    "socketpair": _socketpair,
    "connect": _connect,
    "bind": _bind,
    "listen": _listen,
    "accept": _accept,
    "accept4": _accept,
    "getsockname": _socket_address,
    "getpeername": _socket_address,
    "sendmsg": _sendmsg,
    "recvmsg": _recvmsg,
    "eventfd": _anonymous("anon_inode:[eventfd]"),
    "eventfd2": _anonymous("anon_inode:[eventfd]", 1),
    "epoll_create": _anonymous("anon_inode:[eventpoll]"),
    "epoll_create1": _anonymous("anon_inode:[eventpoll]", 0),
    "timerfd_create": _anonymous("anon_inode:[timerfd]", 1),
    "signalfd": _signalfd,
    "signalfd4": _signalfd,
    "inotify_init": _anonymous("anon_inode:inotify"),
    "inotify_init1": _anonymous("anon_inode:inotify", 0),
    "fanotify_init": _anonymous("anon_inode:[fanotify]", 0, 1),
    "landlock_create_ruleset": _landlock_ruleset,
    "memfd_create": _named("memfd", 0, 1, MFD_CLOEXEC),
    "mq_open": _named("mqueue", 0, 1, O_CLOEXEC),
    "fsopen": _named("fscontext", 0, 1, 1),
    "fspick": _named("fscontext", 1, 2, 1),
    "fsmount": _anonymous("mount", 1, 1),
    "pidfd_open": lambda step: _pidfd(step, (step.result,), step.fd(0)),
    "pidfd_getfd": _pidfd_getfd,
    "clone": _clone,
    "clone3": _clone3,
    "seccomp": _seccomp,
    "chdir": _chdir,
    "fchdir": _fchdir,
    "getcwd": _getcwd,
    "unshare": _unshare,
}
