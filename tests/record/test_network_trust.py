"""Bundles of certificates: what libraries bring along shows the run's own, which is complete before anybody reads it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from network_runs import SUPERVISOR, TRUST, Place, new_place
from running import run

from sentra_sandbox.trace.network_events import NetworkType


@pytest.fixture
def networked(native: bool, work: Path, env: dict[str, str]) -> Place:
    return new_place(native, work, env)


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


def test_many_threads(networked: Place, bundle: str) -> None:
    script = (
        "seen = []\n"
        "def look(): seen.append(open('lib/certifi/cacert.pem').read())\n"
        "ts = [threading.Thread(target=look) for _ in range(30)]\n"
        "for t in ts: t.start()\n"
        "for t in ts: t.join()\n"
        "print(len(seen), len(set(seen)), seen[0].strip())\n"
    )
    found = networked.python(script, trust=bundle)
    assert found.lines == [f"30 1 {OURS.strip()}"] and len(found.of(NetworkType.TRUST)) == 30


def test_below_another_root(networked: Place, bundle: str) -> None:
    """The run's bundle is not there: the program gets what it asked for, and the trace says so."""
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's program keeps no capability")
    script = "os.chroot('lib'); print(open('/certifi/cacert.pem').read().strip())"
    found = networked.python(script, trust=bundle, chroot=True)
    assert found.lines == ["# certifi/cacert.pem"]
    assert [(e.fields["shown"], "chroot" in e.fields["error"]) for e in found.of(NetworkType.TRUST)] == [("", True)]


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
    argv = [*SUPERVISOR, str(networked.directory / "stopped"), json.dumps({"trust": bundle, "answer": None, "timeout": 1})]
    finished = run([*argv, str(networked.directory / "r"), sys.executable, "-c", stopped], cwd=networked.directory, env=networked.env, timeout=8)
    assert finished.status == 137 and finished.seconds < 6
    script = "open('ca-certificates.crt'); c = socket.socket(); print(c.connect_ex(('10.1.1.1', 9)) != 0)"
    found = networked.python(script, trust=bundle, answer=None, ask_ports=1)
    assert found.lines == ["True"] and 10 < found.finished.seconds < 15 and found.requests == [[TRUST, 0]]


def test_javas_store(networked: Place, bundle: str) -> None:
    """cacerts of whatever JDK shows Java's store, and what is opened first waits for both files; without a store it shows what it is."""
    store = networked.directory / "store.p12"
    store.write_text("a store\n")
    for home in ("jdk", "old/jre"):
        cacerts = networked.directory / home / "lib" / "security" / "cacerts"
        cacerts.parent.mkdir(parents=True)
        cacerts.write_text("its own\n")
    script = "for name in ('jdk/lib/security/cacerts', 'old/jre/lib/security/cacerts', 'lib/certifi/cacert.pem', 'store.p12'): print(open(name).read().strip())"
    found = networked.python(script, trust=bundle, java=str(store))
    assert found.lines == ["a store", "a store", OURS.strip(), "a store"] and found.requests == [[TRUST, 0]]
    assert [e.fields["shown"] for e in found.of(NetworkType.TRUST)] == [str(store), str(store), bundle]
    found = networked.python(script, trust=bundle)
    assert found.lines == ["its own", "its own", OURS.strip(), "a store"]
