"""The sandbox's own network, seen by programs in it and by who has its listeners: everything arrives, nothing leaves."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from launching import Launcher
from opening import PYTHON, accept, quiet, ready, run_open

from sentra_sandbox.errors import UsageError
from sentra_sandbox.network.sockets import Listeners, SocketMaker, original_destination, receive_datagram
from sentra_sandbox.sandbox.plan import SandboxPlan, SetupKind, default_plan, describe

PUBLIC = [("93.184.216.34", 443), ("2606:2800:220:1::1", 443), ("8.8.8.8", 53), ("10.1.2.3", 22), ("169.254.169.254", 80), ("192.0.2.2", 1)]


def answer_connections(count: int) -> Callable[[Listeners], list[tuple[str, int]]]:
    """A broker that tells each of so many connections where it meant to go."""

    def broker(listeners: Listeners) -> list[tuple[str, int]]:
        meant = []
        for _ in range(count):
            with accept(listeners.tcp) as connection:
                meant.append(original_destination(connection))
                connection.sendall(connection.recv(100) + b" " + meant[-1][0].encode())
        return meant

    return broker


def test_connections_to_any_address_and_port_arrive(sandbox: Launcher) -> None:
    program = f"""
for address, port in {PUBLIC}:
    s = tcp(address, port); s.sendall(b"hello"); print(s.recv(100).decode(), s.getsockname()[0], s.getpeername()[:2] == (address, port))
"""
    result = run_open(sandbox, program, answer_connections(len(PUBLIC)))
    own = {True: "2001:db8::1", False: "192.0.2.1"}
    assert result.lines == [f"hello {address} {own[':' in address]} True" for address, _ in PUBLIC]
    assert result.broker == PUBLIC


def test_fast_open_and_mptcp_arrive(sandbox: Launcher) -> None:
    program = """
s = socket.socket(); s.sendto(b"fast", socket.MSG_FASTOPEN, ("1.2.3.4", 80)); print(s.recv(100).decode())
try: s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError: s = socket.socket()
s.settimeout(5); s.connect(("5.6.7.8", 81)); s.sendall(b"many"); print(s.recv(100).decode())
"""
    assert run_open(sandbox, program, answer_connections(2)).lines == ["fast 1.2.3.4", "many 5.6.7.8"]


def test_answers_to_datagrams_come_from_where_they_went(sandbox: Launcher) -> None:
    def broker(listeners: Listeners) -> list[Any]:
        maker = SocketMaker.start(listeners.udp[0])
        seen = []
        for _ in range(3):
            got = receive_datagram(ready(listeners.udp))
            assert got
            data, client, meant = got
            seen.append((data, meant))
            with maker.udp(meant, client) as reply:
                reply.send(data.upper())
                ready([reply])
                seen.append(reply.recv(100))  # the next one of this pair is for this socket
                reply.send(b"bye")
        maker.close()
        return seen

    program = """
for address, port in (("8.8.8.8", 53), ("2001:4860:4860::8888", 53), ("9.9.9.9", 123)):
    s = udp(address); s.sendto(b"question", (address, port))
    data, source = s.recvfrom(100); print(data.decode(), *source[:2])
    s.sendto(b"more", (address, port)); print(s.recvfrom(100)[0].decode())
"""
    result = run_open(sandbox, program, broker)
    assert result.lines == [
        "QUESTION 8.8.8.8 53", "bye", "QUESTION 2001:4860:4860::8888 53", "bye", "QUESTION 9.9.9.9 123", "bye",
    ]  # fmt: skip
    assert result.broker[::2] == [
        (b"question", one) for one in (("8.8.8.8", 53), ("2001:4860:4860::8888", 53), ("9.9.9.9", 123))
    ]
    assert result.broker[1::2] == [b"more"] * 3


def test_local_resolvers_and_allowed_local_ports_arrive(sandbox: Launcher) -> None:
    def broker(listeners: Listeners) -> list[Any]:
        seen: list[Any] = []
        for _ in range(3):
            listener = ready(listeners.dns_udp)
            got = receive_datagram(listener)
            assert got
            seen.append(got[2])
            listener.sendto(b"answer", got[1])
        for group in (listeners.dns_tcp, listeners.local_tcp, listeners.local_tcp):
            with accept(group) as connection:
                seen.append(original_destination(connection))
        return seen

    program = """
for address in ("127.0.0.1", "127.0.0.53", "::1"):
    s = udp(address); s.connect((address, 53)); s.send(b"q"); print(s.recv(100).decode())
for address, port in (("127.0.0.53", 53), ("127.0.0.1", 11434), ("::1", 11434)): print(tcp(address, port).recv(100))
refused(lambda: tcp("127.0.0.1", 11435))
"""
    result = run_open(sandbox, program, broker, local_ports=[11434, 53, 11434])
    assert result.lines == ["answer"] * 3 + ["b''"] * 3 + ["ECONNREFUSED True"]
    resolvers = [(address, 53) for address in ("127.0.0.1", "127.0.0.53", "::1")]
    assert result.broker == [*resolvers, ("127.0.0.53", 53), ("127.0.0.1", 11434), ("::1", 11434)]


def test_programs_inside_talk_to_each_other_without_us(sandbox: Launcher) -> None:
    program = """
for address in ("127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"):
    server = socket.create_server((address, 8080), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    client = tcp(address, 8080); accepted, peer = server.accept(); accepted.sendall(b"x"); print(client.recv(1), peer[0] == address)
    server.close(); accepted.close()
    one, two = udp(address), udp(address); one.bind((address, 9000)); two.sendto(b"y", (address, 9000)); print(one.recvfrom(1)[0])
"""
    result = run_open(sandbox, program, lambda listeners: quiet(listeners.all(), 0.4))
    assert result.lines == ["b'x' True", "b'y'"] * 4
    assert result.broker


def test_ports_stay_the_programs(sandbox: Launcher) -> None:
    """A server on a port takes no connection to the world from the broker, and a connection to the world takes no port from a server."""
    program = """
server = socket.create_server(("0.0.0.0", 8080)); held = tcp("1.2.3.4", 8080); held.sendall(b"to the world"); print(held.recv(100).decode())
held = tcp("1.2.3.4", 8081); held.sendall(b"x"); server = socket.create_server(("0.0.0.0", 8081)); print("listening beside", held.recv(100).decode())
"""
    assert run_open(sandbox, program, answer_connections(2)).lines == ["to the world 1.2.3.4", "listening beside x 1.2.3.4"]


REFUSED = """
for address in ("1.2.3.4", "2606::1"):
    refused(lambda: tcp(address, 80))
    def ask():
        s = udp(address); s.connect((address, 53)); s.send(b"q"); s.recv(1)
    refused(ask)
"""


def test_nothing_hangs_when_nobody_listens(sandbox: Launcher) -> None:
    waiting = 'refused(lambda: tcp("1.2.3.4", 80).recv(1))\ntime.sleep(0.1)\n'

    def broker(listeners: Listeners) -> None:
        ready(listeners.tcp)  # a connection waits to be accepted
        listeners.close()

    assert run_open(sandbox, waiting + REFUSED, broker).lines == ["ECONNRESET True"] + ["ECONNREFUSED True"] * 4


def test_without_anybody_to_hand_listeners_to_everything_is_refused(sandbox: Launcher) -> None:
    from opening import PRELUDE

    result = sandbox([PYTHON, "-c", PRELUDE + REFUSED], net="open")
    assert result.out.splitlines() == ["ECONNREFUSED True"] * 4, result


def test_quic_is_refused_at_once(sandbox: Launcher) -> None:
    program = """
for address in ("1.2.3.4", "2606::1"):
    def ask():
        s = udp(address); s.connect((address, 443)); s.send(b"initial"); s.recv(1)
    refused(ask)
"""
    result = run_open(sandbox, program, lambda listeners: quiet(listeners.all(), 0.3))
    assert result.lines == ["ECONNREFUSED True"] * 2
    assert result.broker


def test_echo_requests_are_not_answered_for_the_world(sandbox: Launcher) -> None:
    program = """
import struct
def ping(address, protocol, request, reply):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_RAW, protocol); s.settimeout(0.3)
    body = struct.pack(">BBHHH", request, 0, 0, 7, 1)
    total = sum(struct.unpack(">4H", body)); s.sendto(body[:2] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + body[4:], (address, 0))
    try:
        while True:
            data = s.recv(200)
            if data[20 if protocol == 1 else 0] == reply: return "answered"
    except TimeoutError: return "silence"
print(ping("127.0.0.1", 1, 8, 0), ping("192.0.2.1", 1, 8, 0), ping("8.8.8.8", 1, 8, 0))
print(ping("::1", 58, 128, 129), ping("2606::1", 58, 128, 129))
"""
    with_raw = {"edit": lambda plan: replace(plan, capabilities=plan.capabilities | {"NET_RAW"})}
    result = run_open(sandbox, program, lambda listeners: None, **with_raw)
    assert result.lines == ["answered answered silence", "answered silence"]


def test_abstract_unix_sockets_of_the_host_are_out_of_reach(sandbox: Launcher) -> None:
    name = f"sentra-test-{os.getpid()}"
    program = f'refused(lambda: socket.socket(socket.AF_UNIX).connect("\\0{name}"))'
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        assert run_open(sandbox, program, lambda listeners: None).lines == ["ECONNREFUSED True"]


def test_the_program_cannot_change_its_network(sandbox: Launcher) -> None:
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
refused(lambda: socket.socket().setsockopt(0, 19, 1))
refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.send(bytes.fromhex("2000000010000500010000000000000000000000010000000000000001000000"))
print(int.from_bytes(s.recv(100)[16:20], "little", signed=True))
print(libc.unshare(0x40000000), ctypes.get_errno())
print(libc.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0x40000000), ctypes.get_errno())
"""
    lines = run_open(sandbox, program, lambda listeners: None).lines
    assert lines == ["EPERM True", "EPERM True", "-1", "-1 1", "-1 1"]


# ---- what the host lacks


def edited(kind: int, flags: int, old: bytes, new: bytes) -> Callable[[SandboxPlan], SandboxPlan]:
    def edit(plan: SandboxPlan) -> SandboxPlan:
        ops = [replace(op, data=op.data.replace(old, new)) if op.kind == kind and op.flags == flags else op for op in plan.ops]
        assert ops != list(plan.ops)
        return replace(plan, ops=tuple(ops))

    return edit


def test_a_host_without_ipv6_has_the_rest(sandbox: Launcher) -> None:
    def broker(listeners: Listeners) -> Any:
        return listeners.ipv6, listeners.tproxy, {one.family for one in listeners.all()}, answer_connections(1)(listeners)

    program = 's = tcp("1.2.3.4", 80); s.sendall(b"hello"); print(s.recv(100).decode())'
    no_such_family = edited(SetupKind.NETLINK, 1, b"\x0a\x80", b"\x63\x80")  # the address's: EOPNOTSUPP, as without IPv6
    result = run_open(sandbox, program, broker, edit=no_such_family)
    assert result.lines == ["hello 1.2.3.4"]
    assert result.broker == (False, True, {socket.AF_INET}, [("1.2.3.4", 80)])


FALLBACK = """
for address, port in (("1.2.3.4", 443), ("2606::1", 80)):
    s = tcp(address, port); s.sendall(b"hello"); print(s.recv(100).decode())
refused(lambda: tcp("1.2.3.4", 8443))
s = udp("8.8.8.8"); s.sendto(b"q", ("8.8.8.8", 53)); print(*s.recvfrom(100))
for address in ("1.2.3.4", "2606::1"):
    s = tcp(address, 8443); s.sendall(b"hello"); print(s.recv(100).decode())
refused(lambda: tcp("127.0.0.1", 22))
"""


@pytest.mark.parametrize(
    "options",
    [{"tproxy": False}, {"edit": edited(SetupKind.NETLINK, 2, b"tproxy\0", b"tprozy\0")}],
    ids=["not asked for", "unknown to the kernel"],
)
def test_without_tproxy_listeners_are_made_port_by_port(sandbox: Launcher, options: dict[str, Any]) -> None:
    def broker(listeners: Listeners) -> Any:
        maker = SocketMaker.start(listeners.tcp[0])
        seen = answer_connections(2)(listeners)
        got = receive_datagram(ready(listeners.dns_udp))
        assert got
        made = maker.port_listeners("tcp", 8443)
        with maker.udp(got[2], got[1]) as reply:
            reply.send(b"answer")
        seen += answer_connections(2)(replace(listeners, tcp=made))
        maker.close()
        return listeners.tproxy, listeners.tproxy_errno, seen

    result = run_open(sandbox, FALLBACK, broker, **options)
    assert result.lines == [
        "hello 1.2.3.4", "hello 2606::1", "ECONNREFUSED True", "b'answer' ('8.8.8.8', 53)", "hello 1.2.3.4", "hello 2606::1", "ECONNREFUSED True",
    ]  # fmt: skip
    why = 0 if "tproxy" in options else errno.ENOENT
    assert result.broker == (False, why, [("1.2.3.4", 443), ("2606::1", 80), ("1.2.3.4", 8443), ("2606::1", 8443)])


def test_any_other_refusal_ends_the_launch(sandbox: Launcher) -> None:
    twice = sandbox(["true"], net="open", edit=lambda plan: replace(plan, ops=(*plan.ops, plan.ops[-2])))
    assert twice.error and "add IPv6 table sentra" in str(twice.error) and "File exists" in str(twice.error)
    assert "--net none" in twice.error.remedy and "--net host" in twice.error.remedy


def test_a_malformed_plan_is_refused(sandbox: Launcher) -> None:
    def cut(kind: int) -> Callable[[SandboxPlan], SandboxPlan]:
        return lambda plan: replace(plan, ops=tuple(replace(op, data=op.data[:-2]) if op.kind == kind else op for op in plan.ops))

    for kind in (SetupKind.NETLINK, SetupKind.LISTENERS):
        assert getattr(sandbox(["true"], net="open", edit=cut(kind)).error, "errno", 0) == errno.EINVAL


def test_local_ports_are_checked() -> None:
    for wrong in ([0], [65536], list(range(1, 102))):
        with pytest.raises(UsageError):
            default_plan(["true"], net="open", local_ports=wrong)


def test_the_plan_in_words() -> None:
    lines = describe(default_plan(["true"], cwd="/", net="open", local_ports=[11434]))
    text = "\n".join(lines)
    assert "bring lo up; give lo the address 192.0.2.1; make every IPv4 address local" in text
    assert "IPv6 rule: TCP and UDP go to the listeners" in text
    assert "TCP 127.0.0.1:11434" in text and "UDP 127.0.0.53:53" in text
    assert "send connections" not in "\n".join(describe(default_plan(["true"], cwd="/", net="open", tproxy=False)))
