"""Which task has which connection: ENDPOINT events, and what is asked of the supervisor for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from network_runs import PORT, START, Networked, Place, built, new_place

from sentra_sandbox.trace.network_events import NetworkType


@pytest.fixture
def networked(native: bool, work: Path, env: dict[str, str]) -> Place:
    return new_place(native, work, env)


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


def test_ports_are_asked_for(networked: Place) -> None:
    """Each TCP port once, not those of the loopback device."""
    found = networked.python(
        "for address in (('10.1.1.1', 443), ('10.1.1.2', 443), ('10.1.1.1', 80), ('127.0.0.1', 81)): socket.socket().connect_ex(address)\n"
        "socket.socket(type=socket.SOCK_DGRAM).connect_ex(('10.1.1.1', 53))\n", ask_ports=1
    )  # fmt: skip
    assert found.requests == [[START, 0], [PORT, 443], [PORT, 80]]
