"""Fields of the event itself, its descriptor and the files it names."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

from sentra_sandbox.review.rules.fields import FieldSpec, plain
from sentra_sandbox.review.rules.moment import O_PATH, Descriptor, Moment, entropy
from sentra_sandbox.review.rules.state import O_RDWR, O_WRONLY, OPENS
from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.context import Context
from sentra_sandbox.syscalls.memory import Memory
from sentra_sandbox.syscalls.quoting import signed32
from sentra_sandbox.syscalls.values import command as command_text
from sentra_sandbox.syscalls.values import format_value
from sentra_sandbox.trace.events import EventType, SegmentKind
from sentra_sandbox.views.places import open_flags, register

_MODES = (
    (0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"), (0o400, "S_IRUSR"), (0o200, "S_IWUSR"), (0o100, "S_IXUSR"),
    (0o40, "S_IRGRP"), (0o20, "S_IWGRP"), (0o10, "S_IXGRP"), (4, "S_IROTH"), (2, "S_IWOTH"), (1, "S_IXOTH"),
)  # fmt: skip
# Falco's names of arguments, where they are not those of our table.
_ALIASES = {
    "name": ("path", "name"), "filename": ("path",), "dev": ("source",), "dir": ("target",), "type": ("fstype", "type"),
    "sigtype": ("sig",), "dest": ("path",), "cmd": ("cmd", "op"), "target_fd": ("fd",), "data": ("buf",), "size": ("size", "len", "count"),
}  # fmt: skip
_ARGUMENTS_MAX = 64 * 1024
_CATEGORIES = (("network", "net"), ("file", "file"), ("memory", "memory"), ("signal", "signal"), ("time", "time"), ("ipc", "IPC"),
               ("process", "process"), ("identity", "user"), ("fd", "file"))  # fmt: skip
_OURS_CATEGORY = {"http": "net", "dns": "net", "tls": "net", "connection": "net", "llm": "net"}


def _opens(wanted: Callable[[int, int], bool]) -> Callable[[Moment], bool | None]:
    """A property of the flags and the mode of an open."""

    def value(moment: Moment) -> bool | None:
        event = moment.event
        if event is None or event.type != EventType.SYSCALL or event.nr not in OPENS:
            return False
        return wanted(open_flags(event), _creation_mode(moment))

    return value


def _creation_mode(moment: Moment) -> int:
    index = {"open": 2, "openat": 3, "creat": 1}.get(moment.type)
    return register(moment.event, index) if index is not None and moment.event is not None else 0


def _argument(moment: Moment, name: str | None) -> Any:
    """``evt.arg.name`` or ``evt.arg[n]``: one argument as text, numbers as numbers."""
    event, call = moment.event, moment.call
    if name in ("res", "res_or_fd"):
        return moment.outcome
    if event is None or call is None or name is None:
        return None
    if event.type == EventType.EXEC:
        return (moment.process.path or None) if name in ("filename", "exe", "path", "0") and moment.process else None
    wanted = _ALIASES.get(name, (name,))
    for index, argument in enumerate(call.args):
        if argument.name in wanted or name == str(index):
            return _shown_argument(moment, call, index)
    return None


def _shown_argument(moment: Moment, call: table.Call, index: int) -> Any:
    event, argument = moment.event, call.args[index]
    assert event is not None
    value = register(event, index)
    if argument.kind == "path":
        order = [number for number, each in enumerate(call.args) if each.kind == "path"].index(index)
        paths = moment.raw_paths if call.name.startswith("symlink") and argument.name == "target" else moment.paths
        return paths[order] if order < len(paths) else None
    if argument.memory == "string":
        return next((_text(s.data) for s in event.segments if s.arg == index and s.kind == SegmentKind.IN), None)
    if argument.kind == "mode":
        return "|".join(name for bit, name in _MODES if value & bit) or "0"
    if argument.kind in ("uid", "gid"):
        number = signed32(value)
        return "root" if number == 0 else number
    if argument.memory != "none":
        data = next((s.data for s in event.segments if s.arg == index), None)
        return None if data is None else _text(data[:_ARGUMENTS_MAX])
    if argument.kind in ("int", "pid", "size", "long", "u64", "offset", "uint"):
        return signed32(value) if argument.kind in ("int", "pid") else value
    return _formatted(moment, call, index)


def _formatted(moment: Moment, call: table.Call, index: int) -> str:
    event = moment.event
    assert event is not None
    args = (*event.args, 0, 0, 0, 0, 0, 0)[:6]
    command = table.command_for(call, args)
    descriptors = moment.state.descriptors
    context = Context(
        call, command, call.args, args, event.result, Memory(event.segments), 256, lambda fd: descriptors.describe(moment.task, fd)
    )
    argument = call.args[index]
    if command is not None and argument.kind == "cmd":
        return command_text(args[index], context)
    return format_value(argument.kind, args[index], 8, context)


def _arguments(moment: Moment) -> str | None:
    call = moment.call
    if call is None or moment.event is None or moment.event.type != EventType.SYSCALL:
        return None
    shown = (f"{argument.name}={_shown_argument(moment, call, index)}" for index, argument in enumerate(call.args))
    return f"res={moment.outcome} " + " ".join(shown)[:_ARGUMENTS_MAX]


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _category(moment: Moment) -> str:
    classes = moment.call.classes if moment.call else ()
    return _OURS_CATEGORY.get(moment.type) or next((name for ours, name in _CATEGORIES if ours in classes), "other")


def _fd(name: str, kind: Any, meaning: str, get: Callable[[Descriptor], Any], spread: Any = "") -> FieldSpec:
    def value(moment: Moment) -> Any:
        descriptor = moment.fd
        return get(descriptor) if descriptor else None

    return plain(name, kind, meaning, value, spread)


def _file_part(part: Callable[[str], str]) -> Callable[[Descriptor], str | None]:
    return lambda fd: part(fd.name) if fd.char in "fd" else None


def _host(which: str) -> Callable[[Moment], Any]:
    """The name that DNS gave for one side's address."""

    def value(moment: Moment) -> Any:
        fd = moment.fd
        if fd is None:
            return None
        address = getattr(fd, which)[0]
        if moment.connection is not None and which in ("server", "remote"):
            return moment.connection.host or None
        return moment.state.names.get(address)

    return value


def _both(pick: int) -> Callable[[Descriptor], tuple[Any, ...] | None]:
    return lambda fd: tuple(address[pick] for address in (fd.client, fd.server) if address[0]) if fd.char in "46" else None


def _side(which: str, pick: int) -> Callable[[Descriptor], Any]:
    def value(fd: Descriptor) -> Any:
        address = getattr(fd, which)
        return address[pick] if address[0] and fd.char in "46" else None

    return value


def _path(index: int, part: Callable[[str], str] = str) -> Callable[[Moment], str | None]:
    def value(moment: Moment) -> str | None:
        paths = moment.paths
        return part(paths[index]) if -len(paths) <= index < len(paths) else None

    return value


def _two_paths(index: int) -> Callable[[Moment], str | None]:
    return lambda moment: moment.paths[index] if len(moment.paths) == 2 else None


def _raw_path(moment: Moment) -> str | None:
    return moment.raw_paths[0] if moment.raw_paths else None


def _io_bytes(moment: Moment) -> int | None:
    result = moment.result
    return result if result is not None and result >= 0 and moment.buffer is not None else None


_SIDES = (("c", "client", "client's"), ("s", "server", "server's"), ("l", "local", "local"), ("r", "remote", "remote"))
_ADDRESSES = tuple(
    spec
    for letter, which, words in _SIDES
    for spec in (
        _fd(f"fd.{letter}ip", "address", f"the {words} address", _side(which, 0)),
        _fd(f"fd.{letter}net", "network", f"the {words} address, compared with networks", _side(which, 0)),
        _fd(f"fd.{letter}port", "number", f"the {words} port", _side(which, 1)),
        plain(f"fd.{letter}ip.name", "text", f"host name of the {words} address, as the run's DNS told it", _host(which)),
    )
)

FIELDS: tuple[FieldSpec, ...] = (
    plain("evt.num", "number", "number of the event in the run, from 1", lambda m: m.seq),
    plain("evt.time", "number", "nanoseconds since the run began", lambda m: m.time_ns),
    plain("evt.rawtime", "number", "the same", lambda m: m.time_ns),
    plain("evt.type", "text", "system call, or http, dns, tls, connection, llm, procexit", lambda m: m.type),
    plain("syscall.type", "text", "system call", lambda m: m.type if m.call else None),
    plain("evt.dir", "text", "always <: an event has its result", lambda m: "<"),
    plain("evt.source", "text", "always syscall", lambda m: "syscall"),
    plain("evt.hostname", "text", "the run's id", lambda m: m.facts.run.id if m.facts.run else None),
    plain("evt.category", "text", "file, net, process, ...", _category),
    plain("evt.is_syscall", "truth", "whether it is a system call", lambda m: m.call is not None),
    plain("evt.res", "text", "SUCCESS, or the name of the error", lambda m: m.outcome),
    plain("evt.rawres", "number", "the call's result, negative for errors", lambda m: m.result),
    plain("evt.failed", "truth", "whether the call failed", lambda m: None if m.result is None else m.result < 0),
    plain("evt.is_io", "truth", "whether it moves bytes", lambda m: m.buffer is not None),
    plain("evt.is_open_read", "truth", "an open for reading", _opens(lambda flags, _: flags & 3 in (0, O_RDWR) and not flags & O_PATH)),
    plain("evt.is_open_write", "truth", "an open for writing", _opens(lambda flags, _: flags & 3 in (O_WRONLY, O_RDWR))),
    plain("evt.is_open_exec", "truth", "an open that creates an executable file",
          _opens(lambda flags, mode: bool(flags & 0o100 and mode & 0o111))),
    plain("evt.is_open_create", "truth", "an open that may create the file", _opens(lambda flags, _: bool(flags & 0o100))),
    FieldSpec("evt.arg", "any", "an argument by its number; flags by their names, paths absolute", _argument, "text"),
    FieldSpec("evt.rawarg", "any", "the same", _argument, "text"),
    plain("evt.args", "text", "all arguments", _arguments),
    plain("evt.info", "text", "all arguments", _arguments),
    plain("evt.buffer", "bytes", "what was read or written, its first 64 KiB", lambda m: m.buffer),
    plain("evt.buflen", "number", "bytes read or written", _io_bytes),
    _fd("fd.num", "number", "number of the descriptor; -1 if an open failed", lambda fd: fd.number),
    _fd("fd.name", "text", "absolute path, or client->server of a socket", lambda fd: fd.name),
    _fd("fd.nameraw", "text", "path as the program gave it", lambda fd: fd.raw_name),
    _fd("fd.directory", "text", "directory that holds the file", _file_part(lambda path: posixpath.dirname(path) or "/")),
    _fd("fd.filename", "text", "last part of the path", _file_part(posixpath.basename)),
    _fd("fd.containername", "text", "path", _file_part(str)),
    _fd("fd.type", "text", "file, directory, ipv4, ipv6, unix, pipe, event, signalfd, eventpoll, inotify, timerfd, other",
        lambda fd: fd.type),
    _fd("fd.typechar", "text", "f, d, 4, 6, u, p, e, s, l, i, t, o", lambda fd: fd.char),
    _fd("fd.sockfamily", "text", "ip or unix", lambda fd: "ip" if fd.char in "46" else "unix" if fd.char == "u" else None),
    _fd("fd.l4proto", "text", "tcp or udp", lambda fd: fd.protocol or None),
    _fd("fd.ip", "address", "either address", _both(0), "none-equal"),
    _fd("fd.net", "network", "either address, compared with networks", _both(0), "none-equal"),
    _fd("fd.port", "number", "either port", _both(1), "none-equal"),
    *_ADDRESSES,
    _fd("fd.is_server", "truth", "whether the process is the server", lambda fd: not fd.we_connect if fd.char in "46u" else None),
    _fd("fd.connected", "truth", "whether the socket is connected", lambda fd: fd.connected),
    _fd("fd.name_changed", "truth", "whether this event named the descriptor (an open, an address)", lambda fd: fd.name_changed),
    plain("fs.path.name", "text", "the path that the call is about, absolute", _path(-1)),
    plain("fs.path.nameraw", "text", "the same as the program gave it", _raw_path),
    plain("fs.path.source", "text", "where a rename, link or symlink comes from", _two_paths(0)),
    plain("fs.path.sourceraw", "text", "the same as the program gave it", lambda m: m.raw_paths[0] if len(m.raw_paths) == 2 else None),
    plain("fs.path.target", "text", "where a rename, link or symlink goes to", _two_paths(1)),
    plain("fs.path.targetraw", "text", "the same as the program gave it", lambda m: m.raw_paths[1] if len(m.raw_paths) == 2 else None),
    plain("io.bytes", "number", "bytes read or written", _io_bytes, origin="ours"),
    plain("io.entropy", "number", "bits a byte of what was read or written",
          lambda m: entropy(m.buffer) if m.buffer else None, origin="ours"),
)  # fmt: skip
