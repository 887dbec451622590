"""Handing sockets out of the sandbox, and the process that makes further ones: who it is, what it can do, when it ends."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from launching import Launcher
from opening import accept, ready, run_open

from sentra_sandbox.errors import SetupError
from sentra_sandbox.network.sockets import Listeners, ReplySender, SocketMaker, receive_datagram

WAIT = 'tcp("1.2.3.4", 80).recv(1)\n'  # until the broker closes it


def channel() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@pytest.mark.parametrize(
    "data",
    [b"x", struct.pack("=IiII", 3, 0, 1, 0), struct.pack("=IiII", 3, 0, 0, 0) + b"more", struct.pack("=IiII", 3, 0, 2**32 - 1, 0)],
)
def test_a_handout_that_is_not_whole_is_an_error(data: bytes) -> None:
    ours, theirs = channel()
    with ours, theirs, socket.socket() as extra:
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(theirs, [data], [extra.fileno()] * 3)
        with pytest.raises(SetupError, match="whole"):
            Listeners.receive(ours.fileno())
        assert len(os.listdir("/proc/self/fd")) == before
        theirs.close()
        with pytest.raises(SetupError, match="ended before"):
            Listeners.receive(ours.fileno())


def test_listeners_can_be_handed_on(sandbox: Launcher) -> None:
    def broker(first: Listeners) -> list[bool]:
        ours, theirs = channel()
        first.send(theirs.fileno())
        second = Listeners.receive(ours.fileno())
        same = [[one.getsockname() for one in each.all()] for each in (first, second)]
        first.close()
        accept(second.tcp).close()
        return [same[0] == same[1], len(same[0]) == 12, (first.tproxy, first.ipv6) == (second.tproxy, second.ipv6)]

    assert run_open(sandbox, WAIT, broker, local_ports=[8080]).broker == [True] * 3


def status(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def gone(pid: int) -> bool:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists() or status(pid)["State"].startswith("Z"):
            return True
        time.sleep(0.01)
    return False


def test_the_maker_is_a_stranger_to_the_program(sandbox: Launcher) -> None:
    def broker(listeners: Listeners) -> Any:
        maker = SocketMaker.start(listeners.tcp[0])
        facts = status(maker.pid)
        connection = accept(listeners.tcp)  # the program has looked around
        connection.close()
        maker.close()
        return {name: facts[name].split() for name in ("Name", "NSpid", "CapPrm", "CapEff", "NoNewPrivs")}, gone(maker.pid)

    program = """
s = tcp("1.2.3.4", 80)
print(sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit()) == sorted({1, os.getpid()}))
s.recv(1)
"""
    result = run_open(sandbox, program, broker)
    facts, ended = result.broker
    assert result.lines == ["True"]
    assert ended and facts["Name"] == ["sentra-sockets"] and len(facts["NSpid"]) == 1  # not in the sandbox's pid namespace
    assert facts["CapPrm"] == facts["CapEff"] == ["0000000000002400"] and facts["NoNewPrivs"] == ["1"]


def test_the_maker_ends_with_the_broker(sandbox: Launcher) -> None:
    def broker(listeners: Listeners) -> bool:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            kept = SocketMaker.start(listeners.tcp[0])
            os.write(writer, str(kept.pid).encode())
            signal.pause()
        maker = int(os.read(reader, 20))
        alive = status(maker)["State"][0] in "RS"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        accept(listeners.tcp).close()
        return alive and gone(maker)

    assert run_open(sandbox, WAIT, broker).broker is True


def test_bad_requests_are_errors_and_change_nothing(sandbox: Launcher) -> None:
    def broker(listeners: Listeners) -> list[Any]:
        maker, seen = SocketMaker.start(listeners.tcp[0]), []
        for work in (
            lambda: maker.udp(("1.2.3.4", 1), ("::1", 1)),
            lambda: maker.udp(("1.2.3.4", 65536), ("1.2.3.4", 1)),
            lambda: maker.udp(("1.2.3", 1), None),
            lambda: maker.tcp_listener("127.0.0.1", 53),
            lambda: maker._make(9, ("1.2.3.4", 1), None),
        ):
            try:
                seen.append(work())
            except (OSError, ValueError) as error:
                seen.append((type(error).__name__, getattr(error, "errno", None)))
        maker._control.send(b"short")
        answer = int.from_bytes(maker._control.recv(16), "little")
        with maker.tcp_listener("0.0.0.0", 7777) as listener:
            seen.append(listener.getsockname())
        os.kill(maker.pid, signal.SIGKILL)
        try:
            maker.udp(("1.2.3.4", 1))
        except ConnectionError:
            seen.append("ended")
        maker.close()
        accept(listeners.tcp).close()
        return [*seen, answer]

    assert run_open(sandbox, WAIT, broker).broker == [
        ("ValueError", None), ("ValueError", None), ("OSError", None), ("OSError", errno.EADDRINUSE), ("OSError", errno.EINVAL),
        ("0.0.0.0", 7777), "ended", errno.EPROTO,
    ]  # fmt: skip


def test_a_maker_needs_a_socket_of_a_network_it_may_enter() -> None:
    with open(os.devnull, "rb") as file, socket.socket() as plain:
        stolen = os.dup2(file.fileno(), plain.fileno())
        assert stolen == plain.fileno()
        with pytest.raises(SetupError, match="find the sandbox's network namespace"):
            SocketMaker.start(plain)


def test_a_program_that_has_the_port_itself_gets_its_answers(sandbox: Launcher) -> None:
    """Protocols with one port on both sides (NTP, SIP, peer to peer): no socket of ours can be bound there, a raw one need not be."""

    def broker(listeners: Listeners) -> list[Any]:
        maker, seen = SocketMaker.start(listeners.udp[0]), []
        sender = ReplySender(maker)
        for _ in range(4):
            got = receive_datagram(ready(listeners.udp))
            assert got
            data, client, meant = got
            try:
                maker.udp(meant, client).close()
            except OSError as error:
                seen.append(error.errno)
            sender.send(data * 20000 if data == b"x" else data.upper(), meant, client)
        sender.close()
        maker.close()
        return seen

    program = """
for any, address in (("0.0.0.0", "1.2.3.4"), ("::", "2606::1")):
    s = udp(address); s.bind((any, 12345))
    s.sendto(b"question", (address, 12345)); data, source = s.recvfrom(100); print(data, *source[:2])
    s.sendto(b"x", (address, 12345)); print(len(s.recv(65535)))
"""
    result = run_open(sandbox, program, broker)
    assert result.lines == ["b'QUESTION' 1.2.3.4 12345", "20000", "b'QUESTION' 2606::1 12345", "20000"]
    assert result.broker == [errno.EADDRINUSE] * 4


def test_datagrams_can_be_refused_at_once(sandbox: Launcher) -> None:
    def broker(listeners: Listeners) -> None:
        maker = SocketMaker.start(listeners.udp[0])
        sender = ReplySender(maker)
        for _ in range(2):
            got = receive_datagram(ready(listeners.udp))
            assert got
            sender.refuse(got[2], got[1])
        sender.close()
        maker.close()

    program = """
for address in ("1.2.3.4", "2606::1"):
    s = udp(address); s.connect((address, 123)); s.send(b"question")
    refused(lambda: s.recv(1))
"""
    assert run_open(sandbox, program, broker).lines == ["ECONNREFUSED True"] * 2
