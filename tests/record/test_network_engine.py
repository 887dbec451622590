"""What the engine does for a sandbox with a network of its own: endpoints, unix sockets, bundles of certificates, requests.

The programs find an empty network namespace with a loopback device; ``networked.py`` stands for the supervisor."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import Finished, fresh, run, sandbox_command

from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType, from_event

HERE = Path(__file__).resolve().parent
REPLAYS = 1
TRUST, PORT, START = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Networked:
    """A recorded run with its network events and what was asked of the supervisor."""

    finished: Finished
    events: list[NetworkEvent]
    requests: list[list[int]]
    trace: Path

    def of(self, kind: NetworkType) -> list[NetworkEvent]:
        return [event for event in self.events if event.type == kind]

    @property
    def lines(self) -> list[str]:
        assert self.finished.status == 0, self.finished
        return self.finished.stdout.decode().splitlines()


class Place:
    """Records with engine options; each run is replayed, too."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.directory, self.env = directory, env
        self._count = 0

    def __call__(self, *command: str, status: int = 0, timeout: float = 60, **options: Any) -> Networked:
        from sentra_sandbox import open_trace
        from sentra_sandbox.trace.run import read_metadata

        self._count += 1
        trace, report = self.directory / f"run-{self._count}", self.directory / f"report-{self._count}"
        argv = [sys.executable, str(HERE / "networked.py"), str(trace), json.dumps(options), str(report), *command]
        finished = run(argv, cwd=self.directory, env=self.env, timeout=timeout)
        assert finished.status == status, finished
        with open_trace(trace) as opened:
            events = [event for event in map(from_event, opened.events()) if event is not None]
        assert read_metadata(trace).grade == "exact"
        for _ in range(REPLAYS):
            again = run([*sandbox_command(), "replay", "-q", str(trace)], cwd=Path("/"), env=self.env)
            assert (again.status, again.stdout, again.stderr) == (finished.status, finished.stdout, finished.stderr)
        return Networked(finished, events, json.loads(report.read_text()), trace)

    def python(self, text: str, *arguments: str, **options: Any) -> Networked:
        return self(sys.executable, "-c", "import os, socket, sys, threading\n" + text, *arguments, **options)


@pytest.fixture
def networked(native: bool, work: Path, env: dict[str, str]) -> Place:
    if native:
        pytest.skip("says something about sentra-sandbox only")
    return Place(fresh(work), env)


def built(directory: Path, name: str) -> str:
    target = directory / name
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-pthread", "-o", str(target), str(HERE / f"{name}.c")], check=True)
    return str(target)


# ---- endpoints


def endpoints(run: Networked) -> list[dict[str, Any]]:
    return [event.fields for event in run.of(NetworkType.ENDPOINT)]


@pytest.mark.parametrize("family, address", [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
def test_tcp(networked: Place, family: str, address: str) -> None:
    """The task's address is what the other side sees as its peer."""
    found = networked.python(
        f"s = socket.socket(socket.{family}); s.bind(('{address}', 0)); s.listen()\n"
        f"for blocking in (True, False):\n"
        f"    c = socket.socket(socket.{family}); c.setblocking(blocking)\n"
        f"    c.connect_ex(s.getsockname()); a, peer = s.accept(); print(c.fileno(), *peer[:2], *s.getsockname()[:2])\n"
        f"    c.connect_ex(s.getsockname())\n"
    )
    seen = [f"{e['fd']} {e['local'][0]} {e['local'][1]} {e['remote'][0]} {e['remote'][1]}" for e in endpoints(found)]
    assert seen == found.lines and all(e["protocol"] == "tcp" for e in endpoints(found))
    assert found.requests == [[START, 0]]


def test_udp(networked: Place) -> None:
    """One event for a socket and a remote address, whatever the call."""
    found = networked.python(
        "one, two = (socket.socket(type=socket.SOCK_DGRAM) for _ in '12')\n"
        "one.bind(('127.0.0.1', 0)); two.bind(('127.0.0.1', 0))\n"
        "c = socket.socket(type=socket.SOCK_DGRAM); c.bind(('127.0.0.1', 0))\n"
        "for _ in range(3): c.sendto(b'x', one.getsockname())\n"
        "c.sendmsg([b'x'], [], 0, two.getsockname()); c.sendmsg([b'x'], [], 0, one.getsockname())\n"
        "d = socket.socket(type=socket.SOCK_DGRAM); d.connect(one.getsockname())\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "s.sendto(b'x', ('::ffff:127.0.0.1', one.getsockname()[1]))\n"
        "print(*(x.getsockname()[1] for x in (one, two, c, d, s)))\n"
    )
    one, two, c, d, s = map(int, found.lines[0].split())
    seen = [(e["protocol"], e["local"], e["remote"]) for e in endpoints(found)]
    assert seen == [
        ("udp", ["127.0.0.1", c], ["127.0.0.1", one]),
        ("udp", ["127.0.0.1", c], ["127.0.0.1", two]),
        ("udp", ["127.0.0.1", d], ["127.0.0.1", one]),
        ("udp", ["0.0.0.0", s], ["127.0.0.1", one]),
    ]


def test_many_messages_and_fast_open(networked: Place) -> None:
    found = networked.python(
        "import ctypes, struct\n"
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "s.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)\n"
        "c = socket.socket(); print(c.sendto(b'hello', socket.MSG_FASTOPEN, s.getsockname()), s.getsockname()[1])\n"
        "u = socket.socket(type=socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0))\n"
        "keep, headers = [], b''\n"
        "for port in (5001, 5002, 5001):\n"
        "    name = ctypes.create_string_buffer(struct.pack('=H', 2) + struct.pack('!H4s8x', port, bytes([127, 0, 0, 1])), 16)\n"
        "    data = ctypes.create_string_buffer(b'x', 1)\n"
        "    vector = ctypes.create_string_buffer(struct.pack('QQ', ctypes.addressof(data), 1), 16)\n"
        "    keep += [name, data, vector]\n"
        "    headers += struct.pack('QIxxxxQQQQixxxxIxxxx', ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)\n"
        "print(ctypes.CDLL(None).sendmmsg(u.fileno(), headers, 3, 0))\n"
    )
    fast, sent = found.lines[0].split()[1], found.lines[1]
    assert [(e["protocol"], e["remote"][1]) for e in endpoints(found)] == [("tcp", int(fast)), *(("udp", port) for port in (5001, 5002)[: int(sent)])]


def test_threads(networked: Place) -> None:
    """Each event has the thread that connected."""
    found = networked.python(
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(16)\n"
        "def one():\n    c = socket.create_connection(s.getsockname()); lock.acquire(); print(threading.get_native_id(), c.getsockname()[1]); lock.release()\n"
        "lock = threading.Lock()\n"
        "ts = [threading.Thread(target=one) for _ in range(6)]\n"
        "for t in ts: t.start()\n"
        "for t in ts: t.join()\n"
    )
    seen = {f"{event.task} {event.fields['local'][1]}" for event in found.of(NetworkType.ENDPOINT)}
    assert seen == set(found.lines) and len(seen) == 6


def test_thread_with_descriptors_of_its_own(networked: Place) -> None:
    found = networked(built(networked.directory, "net_fdtable"))
    assert [(e["fd"], e["remote"][0]) for e in endpoints(found)] == [(9, "127.0.0.1")]


def test_a_failed_connect_has_no_endpoint(networked: Place) -> None:
    found = networked.python("print(socket.socket().connect_ex(('127.0.0.1', 1)))\nprint(os.system('true'))\n")
    assert found.lines == ["111", "0"] and not found.events


def test_nothing_without_a_network_of_its_own(networked: Place, host: HostSockets) -> None:
    found = networked.python("s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('connected')", host.stream, network=0)
    assert found.lines == ["connected"] and not found.events and not found.requests


# ---- unix sockets


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
    if os.geteuid() != 0:
        pytest.skip("chroot is root's")
    script = TRY + (
        "os.mkdir('jail'); os.mkdir('jail/sub'); os.symlink('/inner', 'jail/sub/link')\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('jail/inner'); s.listen()\n"
        "os.link(sys.argv[1], 'jail/host') if os.stat(sys.argv[1]).st_dev == os.stat('jail').st_dev else os.symlink(sys.argv[1], 'jail/host')\n"
        "out = os.open('/', os.O_PATH)\n"
        "try: os.chroot('jail')\nexcept PermissionError: print('no chroot'); sys.exit()\n"
        "os.chdir('/sub'); attempt('/inner'); attempt('link'); attempt('../../../inner'); attempt('/host'); attempt(sys.argv[1])\n"
        "os.fchdir(out); attempt('.' + sys.argv[1])\n"
    )
    found = networked.python(script, host.stream)
    if found.lines != ["no chroot"]:
        assert found.lines[:3] == ["connected"] * 3
        assert found.lines[3] in ("Permission denied", "No such file or directory")
        assert found.lines[4:] == ["No such file or directory", "Permission denied"] and host.untouched()


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


def test_messages(networked: Place, host: HostSockets) -> None:
    found = networked(built(networked.directory, "net_messages"), host.datagram, "own")
    no = "Permission denied"
    assert found.lines == [
        f"sendto host: {no}", "sendto own: sent", f"sendmsg host: {no}", "sendmsg own: sent", "sendmmsg own: 1, length 1", f"sendmmsg host: {no}",
        f"connect dgram host: {no}", f"connect seqpacket host: {no}", "connect dgram own: sent", "send: sent", "sendmsg without a name: sent",
        "bad pointer: Bad address", "long name: Invalid argument", "5 arrived",
    ]  # fmt: skip
    assert host.untouched() and len(found.of(NetworkType.UNIX_REFUSED)) == 5


# ---- certificates

OURS = "# the run's bundle\n"
APPENDED = "# and its authority\n"


@pytest.fixture
def bundle(networked: Place) -> str:
    path = networked.directory / "ca-certificates.crt"
    path.write_text(OURS)
    for name in ("certifi/cacert.pem", "botocore/cacert.pem", "httplib2/cacerts.txt", "grpc/_cython/_credentials/roots.pem", "mycertifi/cacert.pem"):
        library = networked.directory / "lib" / name
        library.parent.mkdir(parents=True)
        library.write_text(f"# {name}\n")
    return str(path)


def test_library_bundles(networked: Place, bundle: str) -> None:
    """The program reads ours whatever way it opens theirs, and its own memory is as it was."""
    script = (
        "import ctypes, mmap\n"
        "lib = ctypes.CDLL(None, use_errno=True)\n"
        "def show(fd): print(os.read(fd, 99).decode().strip()); os.close(fd)\n"
        "for name in ('certifi/cacert.pem', 'botocore/cacert.pem', 'httplib2/cacerts.txt', 'grpc/_cython/_credentials/roots.pem'):\n"
        "    show(os.open('lib/' + name, os.O_RDONLY))\n"
        "path = ctypes.create_string_buffer(b'lib/certifi/cacert.pem')\n"
        "show(lib.syscall(2, path, 0)); print(path.value.decode())\n"
        "show(lib.syscall(437, -100, path, (ctypes.c_uint64 * 3)(0, 0, 0), 24)); print(path.value.decode())\n"
        "show(os.open('cacert.pem', os.O_RDONLY, dir_fd=os.open('lib/certifi', os.O_RDONLY)))\n"
        "with open('lib/certifi/cacert.pem') as f: print(mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)[:9].decode())\n"
        "show(os.open('lib/mycertifi/cacert.pem', os.O_RDONLY))\n"
        "with open('lib/certifi/cacert.pem', 'a') as f: print(f.write('# mine\\n'))\n"
        "print(os.path.exists('lib/x/certifi/cacert.pem'))\n"
        "show(lib.syscall(437, -100, path, (ctypes.c_uint64 * 3)(0, 0, 8), 24))\n"
    )
    found = networked.python(script, trust=bundle)
    ours = OURS.strip()
    path = "lib/certifi/cacert.pem"
    assert found.lines == [ours] * 5 + [path, ours, path, ours, OURS[:9], "# mycertifi/cacert.pem", "7", "False", "# certifi/cacert.pem\n# mine"[:20], "# mine"]
    trust = [event.fields for event in found.of(NetworkType.TRUST)]
    assert [e["path"] for e in trust[:4]] == [f"lib/{n}" for n in ("certifi/cacert.pem", "botocore/cacert.pem", "httplib2/cacerts.txt", "grpc/_cython/_credentials/roots.pem")]
    assert all(e["shown"] == bundle for e in trust[:8]) and len(trust) == 9 and trust[8]["shown"] == "" and "openat2" in trust[8]["error"]
    assert found.requests == [[TRUST, 0]]


def test_the_bundle_is_complete_before_it_is_read(networked: Place, bundle: str) -> None:
    """Whoever opens it first waits until the supervisor says so; by any name, once a run."""
    (networked.directory / "cert.pem").symlink_to(bundle)
    script = "for name in ('cert.pem', 'ca-certificates.crt', 'cert.pem'): print(open(name).read().splitlines())"
    found = networked.python(script, trust=bundle, answer=0.3, append=APPENDED)
    assert found.lines == [str([OURS.strip(), APPENDED.strip()])] * 3
    assert found.requests == [[TRUST, 0]]
    assert [e.fields["path"] for e in found.of(NetworkType.TRUST)] == ["cert.pem", "ca-certificates.crt", "cert.pem"]


def test_a_supervisor_that_has_gone(networked: Place, bundle: str) -> None:
    found = networked.python("print(open('ca-certificates.crt').read().strip()); socket.socket()", trust=bundle, answer=-1)
    assert found.lines == [OURS.strip()] and found.finished.seconds < 9


def test_a_supervisor_that_does_not_answer(networked: Place, bundle: str) -> None:
    """The program goes on after ten seconds, and nothing is asked again; a run that is ended meanwhile ends at once."""
    stopped = "import time; open('ca-certificates.crt').read(); time.sleep(60)"
    argv = [sys.executable, str(HERE / "networked.py"), str(networked.directory / "stopped"), json.dumps({"trust": bundle, "answer": None, "timeout": 1})]
    finished = run([*argv, str(networked.directory / "r"), sys.executable, "-c", stopped], cwd=networked.directory, env=networked.env, timeout=8)
    assert finished.status == 137 and finished.seconds < 6
    script = "open('ca-certificates.crt'); c = socket.socket(); print(c.connect_ex(('10.1.1.1', 9)) != 0)"
    found = networked.python(script, trust=bundle, answer=None, ask_ports=1)
    assert found.lines == ["True"] and 10 < found.finished.seconds < 15 and found.requests == [[TRUST, 0]]


def test_ports_are_asked_for(networked: Place) -> None:
    """Each TCP port once, not those of the loopback device."""
    found = networked.python(
        "for address in (('10.1.1.1', 443), ('10.1.1.2', 443), ('10.1.1.1', 80), ('127.0.0.1', 81)): socket.socket().connect_ex(address)\n"
        "socket.socket(type=socket.SOCK_DGRAM).connect_ex(('10.1.1.1', 53))\n", ask_ports=1
    )  # fmt: skip
    assert found.requests == [[START, 0], [PORT, 443], [PORT, 80]]
