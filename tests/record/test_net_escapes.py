"""Ways out of the sandbox's network, tried for real through ``exec``: what the program gets, and that the run says so."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import SANDBOX, Product, run

from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType, from_event
from sentra_sandbox.trace.reader import Trace

# Inside, ``attempt(name, function)`` notes what came of it; what was noted is printed as JSON at the end.
PRELUDE = """
import ctypes, errno, fcntl, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
found = {}
def attempt(name, function):
    try: found[name] = str(function())
    except socket.gaierror as error: found[name] = "no such name"
    except OSError as error: found[name] = errno.errorcode.get(error.errno, str(error))
def checked(result):
    if result < 0: raise OSError(ctypes.get_errno(), "refused")
    return "done"
"""
SECRET = b"the host's own"


@pytest.fixture
def tried(product: Product, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, str], list[NetworkEvent]]]:
    """Runs attempts in the sandbox; what came of them, and the network's events of the run."""
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", product.env["SENTRA_SANDBOX_HOME"])

    def tried(text: str, *arguments: str, options: tuple[str, ...] = (), prefix: tuple[str, ...] = ()) -> Any:
        directory = product.work / "run"
        program = product.work / "attempts.py"
        program.write_text(PRELUDE + text + "\nprint(json.dumps(found))\n")
        argv = [*prefix, str(SANDBOX), "exec", "-q", "-o", str(directory), *options, "--", sys.executable, str(program), *arguments]
        finished = run(argv, cwd=product.work, env=product.env)
        assert finished.status == 0, finished
        with Trace(directory) as trace:
            events = [event for event in map(from_event, trace.events()) if event is not None]
        return json.loads(finished.stdout.splitlines()[-1]), events

    return tried


@contextlib.contextmanager
def host_server(family: int, address: Any) -> Iterator[Any]:
    """A service of the host that hands out a secret to whoever connects."""
    server = socket.socket(family)
    server.bind(address)
    server.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    client.sendall(SECRET)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


FAMILIES = """
for family in (9, 12, 15, 21, 26, 27, 28, 29, 30, 31, 33, 35, 37, 39, 40, 41, 42, 43, 44, 45):
    for kind in (1, 2, 3, 5):
        attempt(f"{family}/{kind}", lambda: socket.socket(family, kind, 0))
attempt("pair", lambda: [end.close() for end in socket.socketpair(30, 1)])
"""


@pytest.mark.parametrize("profile", ["default", "none"])
@pytest.mark.parametrize("net", ["open", "none"])
def test_no_family_that_is_in_no_namespace(tried: Callable[..., Any], net: str, profile: str) -> None:
    found, _ = tried(FAMILIES, options=("--net", net, "--profile", profile))
    assert set(found.values()) <= {"EAFNOSUPPORT", "EPERM"}, "vsock and its like reach past any network namespace"
    if profile == "none":
        assert set(found.values()) == {"EAFNOSUPPORT"}


NAMESPACE = """
def netlink(kind, payload, protocol=0):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    s.send(struct.pack("IHHII", 16 + len(payload), kind, 0x605, 1, 0) + payload)
    answer = s.recv(65536)
    code = struct.unpack_from("i", answer, 16)[0]
    if code: raise OSError(-code, "refused")
    return "done"
def option(level, name, value):
    return socket.socket().setsockopt(level, name, value)
attempt("add a route", lambda: netlink(24, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)))
attempt("delete a route", lambda: netlink(25, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 255, 3, 0, 1, 0)))
attempt("add a device", lambda: netlink(16, struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH4s", 8, 3, b"abc")))
attempt("add an address", lambda: netlink(20, struct.pack("BBBBI", 2, 32, 0, 0, 1) + struct.pack("HH4s", 8, 2, b"\\x09\\x09\\x09\\x09")))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("transparent", lambda: option(0, 19, 1))
attempt("mark", lambda: option(1, 36, 1))
attempt("source route", lambda: option(0, 4, bytes([131, 7, 4, 10, 0, 0, 1, 0])))
attempt("repair", lambda: option(6, 19, 1))
attempt("loopback down", lambda: fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 0)))
attempt("the namespace of a socket", lambda: fcntl.ioctl(socket.socket(), 0x894C))
attempt("the namespace of init", lambda: checked(libc.setns(os.open("/proc/1/ns/net", os.O_RDONLY), 0x40000000)))
attempt("forwarding", lambda: open("/proc/sys/net/ipv4/ip_forward", "w").write("1"))
attempt("init's descriptors", lambda: os.readlink("/proc/1/fd/" + os.listdir("/proc/1/fd")[0]))
attempt("init's root", lambda: os.listdir("/proc/1/root"))
attempt("processes", lambda: sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))
attempt("descriptors", lambda: [os.readlink(f"/proc/self/fd/{n}") for n in range(64) if os.path.lexists(f"/proc/self/fd/{n}")])
"""
AS_USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")


def test_the_namespace_cannot_be_changed_or_left(tried: Callable[..., Any]) -> None:
    found, _ = tried(NAMESPACE)
    assert found.pop("processes") == "[1, 2]", "neither the broker nor its socket maker can be seen"
    assert "socket:" not in found.pop("descriptors"), "the supervisor's own are not passed on"
    assert set(found.values()) <= {"EPERM", "EACCES", "EROFS"}, found


ADDRESSES = """
port = int(sys.argv[1])
def connect(address, family=socket.AF_INET, flags=None):
    s = socket.socket(family); s.settimeout(10)
    if flags: s.sendto(b"hello", flags, (address, port))
    else: s.connect((address, port))
    s.sendall(b"hello\\0\\0\\0\\0")
    return s.recv(100)
for address in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "169.254.169.254", "198.18.0.1", "224.0.0.1", "255.255.255.255"):
    attempt(address, lambda: connect(address))
for address in ("::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1%lo", "fd00:ec2::254"):
    attempt(address, lambda: connect(address, socket.AF_INET6))
def fast(address):
    s = socket.socket(); s.settimeout(10); s.setblocking(True)
    s.sendto(b"hello\\0\\0\\0\\0", 0x20000000, (address, port))
    return s.recv(100)
attempt("fast open", lambda: fast("169.254.169.254"))
def multipath(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.settimeout(10); s.connect((address, port)); s.sendall(b"hello\\0\\0\\0\\0")
    return s.recv(100)
attempt("multipath", lambda: multipath("10.0.0.1"))
"""


def test_no_spelling_of_an_address_reaches_the_host(tried: Callable[..., Any]) -> None:
    with host_server(socket.AF_INET, ("0.0.0.0", 0)) as (_, port):
        found, events = tried(ADDRESSES, str(port))
    assert not any("host" in outcome for outcome in found.values()), found
    assert set(found.values()) <= {"ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "EINVAL", "EPROTONOSUPPORT"}, found
    assert not [event for event in events if event.type == NetworkType.UPSTREAM], "nothing was connected to"
    refused = [event.fields for event in events if event.type == NetworkType.OPEN]
    assert refused and not any(fields["allowed"] for fields in refused)


UNIX = """
host, datagrams, own = sys.argv[1:]
os.chdir(own)
def connect(path, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind); s.settimeout(10); s.connect(path)
    return s.recv(100)
def made(change, path):
    change()
    return connect(path)
attempt("directly", lambda: connect(host))
attempt("link", lambda: made(lambda: os.symlink(host, "link"), "link"))
attempt("hard link", lambda: made(lambda: os.link(host, "hard"), "hard"))
attempt("descriptor", lambda: connect(f"/proc/self/fd/{os.open(host, os.O_PATH)}"))
attempt("directory", lambda: connect(f"/proc/self/fd/{os.open(os.path.dirname(host), os.O_PATH)}/{os.path.basename(host)}"))
attempt("own root", lambda: connect("/proc/self/root" + host))
def swap():
    s = socket.socket(socket.AF_UNIX); s.bind("mine"); s.listen()
    os.rename("mine", "other"); os.symlink(host, "mine")
    return connect("mine")
attempt("own, then a link", swap)
def move():
    os.rename(host, "moved")
    try: return connect("moved")
    finally: os.rename("moved", host)
attempt("moved", move)
attempt("sendto", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", datagrams))
attempt("sendmsg", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, datagrams))
attempt("abstract", lambda: connect("\\0" + host))
def mine():
    s = socket.socket(socket.AF_UNIX); s.bind("m2"); s.listen()
    c = socket.socket(socket.AF_UNIX); c.connect("m2"); a, _ = s.accept(); c.sendall(b"own"); return a.recv(10)
attempt("own", mine)
"""


def test_no_path_leads_to_a_unix_socket_of_the_host(tried: Callable[..., Any], short_path: Path) -> None:
    own = short_path / "own"
    own.mkdir()
    path = str(short_path / "s")
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(short_path / "d"))
    receiver.setblocking(False)
    with host_server(socket.AF_UNIX, path), host_server(socket.AF_UNIX, "\0" + path), receiver:
        found, events = tried(UNIX, path, str(short_path / "d"), str(own))
        with pytest.raises(BlockingIOError):
            receiver.recv(10)
    assert found.pop("own") == "b'own'"
    assert found.pop("abstract") == "ECONNREFUSED"
    assert set(found.values()) <= {"EACCES", "EPERM"}, found
    assert len([event for event in events if event.type == NetworkType.UNIX_REFUSED]) >= 7


NAMES = """
for name in sys.argv[1:]:
    attempt(name, lambda: socket.getaddrinfo(name, 80))
"""


def test_names_that_policy_refuses_are_asked_of_nobody(tried: Callable[..., Any], product: Product) -> None:
    policy = product.work / "policy.yaml"
    policy.write_text("network: {allowedDomains: [good.example], strictAllowlist: true}\n")
    secrets = [f"{'s3cret' * 8}.evil.example", "x.good.example", "good.example.evil.example", "127.0.0.1.nip.io"]
    found, events = tried(NAMES, *secrets, options=("--policy", str(policy)))
    assert set(found.values()) == {"no such name"}
    queries = [event.fields for event in events if event.type == NetworkType.DNS]
    assert {fields["name"] for fields in queries} >= set(secrets)
    assert not any(fields["allowed"] or fields["real"] for fields in queries), "decided before anybody is asked"


def test_an_ordinary_user_has_no_more_ways(tried: Callable[..., Any], product: Product) -> None:
    if os.geteuid() != 0:
        pytest.skip("the other tests ran as an ordinary user")
    if run([*AS_USER, "test", "-x", os.path.realpath(sys.executable)], cwd=Path("/"), env=product.env).status:
        pytest.skip("the Python of this installation may not be executed by other users; the suite is run as one too")
    for directory in (product.work, product.work.parent, Path(product.env["SENTRA_SANDBOX_HOME"]).parent):
        directory.chmod(0o777)
    found, _ = tried(NAMESPACE + FAMILIES, prefix=AS_USER)
    assert found.pop("processes") == "[1, 2]"
    assert "socket:" not in found.pop("descriptors")
    assert set(found.values()) <= {"EPERM", "EACCES", "EROFS", "EAFNOSUPPORT"}, found
