"""Unix sockets: those of the host are refused unless policy names them, those of the run are its own."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_runs import Place, built, new_place

from sentra_sandbox.trace.network_events import NetworkType


@pytest.fixture
def networked(native: bool, work: Path, env: dict[str, str]) -> Place:
    return new_place(native, work, env)


class HostSockets:
    """A stream and a datagram socket outside of the sandbox."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stream, self.datagram = str(directory / "stream"), str(directory / "datagram")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.stream)
        self.listener.listen(50)
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.bind(self.datagram)
        self.listener.setblocking(False)
        self.receiver.setblocking(False)

    def untouched(self) -> bool:
        """Whether nobody connected and nothing arrived."""
        for touched in (self.listener.accept, lambda: self.receiver.recv(1)):
            try:
                touched()
                return False
            except BlockingIOError:
                continue
        return True


@pytest.fixture
def host(short_path: Path) -> Iterator[HostSockets]:
    sockets = HostSockets(short_path)
    yield sockets
    sockets.listener.close()
    sockets.receiver.close()


TRY = (
    "def attempt(path, kind=socket.SOCK_STREAM):\n"
    "    s = socket.socket(socket.AF_UNIX, kind)\n"
    "    try: s.connect(path); print('connected')\n"
    "    except OSError as error: print(error.strerror)\n"
)


def test_a_socket_of_the_host_is_refused(networked: Place, host: HostSockets) -> None:
    found = networked.python(TRY + "attempt(sys.argv[1]); attempt(sys.argv[2], socket.SOCK_DGRAM)", host.stream, host.datagram)
    assert found.lines == ["Permission denied"] * 2 and host.untouched()
    refused = [event.fields for event in found.of(NetworkType.UNIX_REFUSED)]
    assert [(e["path"], e["remedy"]) for e in refused] == [(p, f"--allow-net unix:{p}") for p in (host.stream, host.datagram)]
    from sentra_sandbox import open_trace
    from sentra_sandbox.trace.events import EventFlag

    with open_trace(found.trace) as trace:
        events = list(trace.events())
    before = [events[index - 1] for index, event in enumerate(events) if event.type == NetworkType.UNIX_REFUSED]
    assert all(event.nr == 42 and event.flags & EventFlag.REFUSED and event.result == -13 for event in before)


def test_every_way_to_a_socket_of_the_host(networked: Place, host: HostSockets) -> None:
    """Links, relative paths, /proc, another name, another root: it is still that socket."""
    script = TRY + (
        "d = os.path.dirname(sys.argv[1])\n"
        "os.symlink(sys.argv[1], 'link'); attempt('link')\n"
        "os.symlink(d, 'dir'); attempt('dir/stream'); attempt('dir/../' + os.path.basename(d) + '/stream')\n"
        "here = os.getcwd(); os.chdir(d); attempt('stream'); attempt('./../' + os.path.basename(d) + '//stream')\n"
        "fd = os.open('stream', os.O_PATH); attempt(f'/proc/self/fd/{fd}'); attempt(f'/proc/thread-self/fd/{fd}'); attempt('/proc/self/cwd/stream')\n"
        "attempt('/proc/self/root' + sys.argv[1]); attempt(f'/proc/{os.getpid()}/cwd/stream')\n"
        "os.rename('stream', 'other'); attempt('other'); os.link('other', 'again'); attempt('again'); os.rename('other', 'stream')\n"
        "own = socket.socket(socket.AF_UNIX); own.bind('mine'); own.listen(); os.unlink('mine'); os.link('again', 'mine'); attempt('mine')\n"
    )
    found = networked.python(script, host.stream)
    assert found.lines == ["Permission denied"] * 13 and host.untouched()
    assert len(found.of(NetworkType.UNIX_REFUSED)) == 13


def test_chroot(networked: Place, host: HostSockets) -> None:
    """Below another root paths mean something else; a directory from outside of it leads out."""
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's program keeps no capability")
    script = TRY + (
        "os.mkdir('jail'); os.mkdir('jail/sub'); os.symlink('/inner', 'jail/sub/link')\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('jail/inner'); s.listen()\n"
        "os.link(sys.argv[1], 'jail/host')\n"
        "out = os.open('/', os.O_PATH); os.chroot('jail'); os.chdir('/sub')\n"
        "attempt('/inner'); attempt('link'); attempt('../../../inner'); attempt('/host'); attempt('../host'); attempt(sys.argv[1])\n"
        "os.fchdir(out); attempt('.' + sys.argv[1])\n"
    )
    found = networked.python(script, host.stream, chroot=True)
    no, nothing = "Permission denied", "No such file or directory"
    assert found.lines == ["connected"] * 3 + [no, no, nothing, no] and host.untouched()


def test_allowed(networked: Place, host: HostSockets) -> None:
    """Policy names a path, or a directory; a link that the program makes does not stand for what is named."""
    outside, elsewhere = str(host.directory), str(networked.directory / "allowed")
    arguments = (host.stream, host.datagram)
    script = TRY + "attempt(sys.argv[1]); attempt(sys.argv[2], socket.SOCK_DGRAM); attempt('allowed/link')"
    (networked.directory / "allowed").mkdir()
    (networked.directory / "allowed" / "link").symlink_to(host.stream)
    yes, no = "connected", "Permission denied"
    assert networked.python(script, *arguments, unix_allow=[host.stream]).lines == [yes, no, yes]
    assert networked.python(script, *arguments, unix_allow=[outside]).lines == [yes, yes, yes]
    assert networked.python(script, *arguments, unix_allow=[elsewhere, outside[:-1]]).lines == [no, no, no]
    (networked.directory / "named").symlink_to(outside)
    assert networked.python(script, *arguments, unix_allow=[str(networked.directory / "named" / "stream")]).lines == [yes, no, yes]


def test_moved_to_an_allowed_place(networked: Place, host: HostSockets) -> None:
    """The program may write where sockets are allowed: what it puts there is still the host's."""
    allowed = host.directory / "allowed"
    allowed.mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(allowed / "server"))
    server.listen()
    script = TRY + (
        "d = os.path.dirname(sys.argv[1]) + '/allowed/'; attempt(d + 'server')\n"
        "os.link(sys.argv[1], d + 'linked'); attempt(d + 'linked'); os.unlink(d + 'linked')\n"
        "os.rename(sys.argv[1], d + 'moved'); attempt(d + 'moved'); os.rename(d + 'moved', sys.argv[1])\n"
    )
    time.sleep(0.02)  # the clock of file systems has ticks
    found = networked.python(script, host.stream, unix_allow=[str(allowed)])
    server.close()
    assert found.lines == ["connected", "Permission denied", "Permission denied"] and host.untouched()


def test_own_sockets(networked: Place) -> None:
    """Sockets of the run work under every name, across processes; so do abstract ones, pairs, and sockets that were inherited."""
    script = TRY + (
        "s = socket.socket(socket.AF_UNIX); s.bind('own'); s.listen(9)\n"
        "attempt('own'); os.rename('own', 'renamed'); attempt(os.path.abspath('renamed')); os.symlink('renamed', 'l'); attempt('l')\n"
        "a = socket.socket(socket.AF_UNIX); a.bind('\\0abstract'); a.listen(); attempt('\\0abstract')\n"
        "pid = os.fork()\n"
        "if not pid: attempt('renamed'); sys.stdout.flush(); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "p, q = socket.socketpair(); p.send(b'x'); print(q.recv(1))\n"
        "attempt('nothing'); open('file', 'w'); attempt('file')\n"
        "s.close(); attempt('renamed')\n"
    )
    found = networked(sys.executable, "-u", "-c", "import os, socket, sys\n" + script)
    assert found.lines == ["connected"] * 5 + ["b'x'", "No such file or directory", "Connection refused", "Connection refused"]
    assert not found.events


def test_a_full_queue_gives_the_turn_up(networked: Place) -> None:
    """A connect and a datagram that wait for another task of the run: it gets to run."""
    found = networked.python(
        "s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(0)\n"
        "d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind('d')\n"
        "def serve():\n"
        "    for _ in range(4): s.accept()\n"
        "    for _ in range(40): d.recv(1)\n"
        "t = threading.Thread(target=serve); t.start()\n"
        "cs = [socket.socket(socket.AF_UNIX) for _ in range(4)]\n"
        "for c in cs: c.connect('s')\n"
        "c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "for _ in range(40): c.sendto(b'x', 'd')\n"
        "t.join(); print('done')\n"
    )
    assert found.lines == ["done"]


def test_many_that_wait(networked: Place) -> None:
    """More tasks wait in connect than there are places for the kernel's copy of an address."""
    found = networked.python(
        "s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(0)\n"
        "cs = [socket.socket(socket.AF_UNIX) for _ in range(14)]\n"
        "ts = [threading.Thread(target=c.connect, args=('s',)) for c in cs]\n"
        "for t in ts: t.start()\n"
        "for t in ts: s.accept()\n"
        "for t in ts: t.join()\n"
        "print(len({c.getpeername() for c in cs}))\n"
    )
    assert found.lines == ["1"] and found.finished.stderr == b""


def test_messages(networked: Place, host: HostSockets) -> None:
    found = networked(built(networked.directory, "net_messages"), host.datagram, "own")
    no = "Permission denied"
    assert found.lines == [
        f"sendto host: {no}", "sendto own: sent", f"sendmsg host: {no}", "sendmsg own: sent", "sendmmsg own: 1, length 1", f"sendmmsg host: {no}",
        f"connect dgram host: {no}", f"connect seqpacket host: {no}", "connect dgram own: sent", "send: sent", "sendmsg without a name: sent",
        "bad pointer: Bad address", "long name: Invalid argument", "5 arrived",
    ]  # fmt: skip
    assert host.untouched() and len(found.of(NetworkType.UNIX_REFUSED)) == 5


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_an_address_that_changes_meanwhile(networked: Place, host: HostSockets, kind: str) -> None:
    """A server outside changes the address in the program's memory all the time, by a receive that another thread waits in: nothing
    reaches the host. Without the copy that the kernel reads, thousands of calls do."""
    own, target = str(host.directory / ("o" * len(kind))), str(host.directory / kind)
    feeder = socket.socket(socket.AF_UNIX)
    feeder.bind(str(host.directory / "feeder"))
    feeder.listen()

    def feed() -> None:
        connection, _ = feeder.accept()
        end = time.monotonic() + 2
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                for path in (own, target):
                    connection.send(path.encode())
                    time.sleep(0.0001)
        connection.close()

    thread = threading.Thread(target=feed)
    thread.start()
    arguments = (own, target, str(host.directory / "feeder"), *(["datagram"] if kind == "datagram" else []))
    found = networked(built(networked.directory, "net_race"), *arguments, replays=0, unix_allow=[str(host.directory / "feeder")])
    thread.join()
    feeder.close()
    assert host.untouched(), found.lines


def test_nothing_without_a_network_of_its_own(networked: Place, host: HostSockets) -> None:
    found = networked.python("s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('connected')", host.stream, network=0)
    assert found.lines == ["connected"] and not found.events and not found.requests
