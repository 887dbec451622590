from __future__ import annotations

import struct

import pytest
from events_by_hand import Script, ipv4, ipv6

from sentra_sandbox.syscalls.table import call_named
from sentra_sandbox.trace.events import Event, EventType, Segment, SegmentKind
from sentra_sandbox.views.hosts import HostTable, host_address
from sentra_sandbox.views.places import Places

AF_INET, STREAM, DGRAM, CLOEXEC = 2, 1, 2, 0o2000000


def hosts_of(events: list[Event]) -> dict[str, tuple[int, int]]:
    places = Places()
    hosts = HostTable(places)
    for event in events:
        places.feed(event)
        if event.type == EventType.SYSCALL:
            hosts.feed(event)
    return {host.address: (host.uses, host.failed) for host in hosts.hosts.values()}


def test_connects_count_also_when_they_fail_or_are_in_progress() -> None:
    s = Script()
    assert hosts_of([
        s.call(2, "socket", AF_INET, STREAM | CLOEXEC, 0, result=3),
        s.call(2, "connect", 3, ipv4("10.0.0.1", 80), 16),
        s.call(2, "connect", 4, ipv4("10.0.0.1", 80), 16, result=-115),
        s.call(2, "connect", 5, ipv6("::1", 443), 28, result=-111),
        s.call(2, "connect", 6, b"\1\0/run/x.sock\0", 14),
    ]) == {"10.0.0.1:80": (2, 0), "[::1]:443": (1, 1)}  # fmt: skip


def test_connecting_a_datagram_socket_is_no_contact_until_it_sends() -> None:
    s = Script()
    events = [
        s.became(2, "/x", "x"),
        s.call(2, "socket", AF_INET, DGRAM, 0, result=3),
        s.call(2, "connect", 3, ipv4("10.0.0.1", 53), 16),
    ]
    assert hosts_of(events) == {}
    events.append(s.call(2, "sendto", 3, b"query", 5, 0, 0, 0, result=5))
    assert hosts_of(events) == {"10.0.0.1:53": (1, 0)}
    events.append(s.call(2, "write", 3, b"query", 5, result=5))
    assert hosts_of(events) == {"10.0.0.1:53": (2, 0)}


def test_a_forked_child_sends_on_its_parents_socket() -> None:
    s = Script()
    assert hosts_of([
        s.became(2, "/x", "x"),
        s.call(2, "socket", AF_INET, DGRAM, 0, result=3),
        s.call(2, "connect", 3, ipv4("10.0.0.1", 53), 16),
        s.started(7, parent=2),
        s.call(7, "write", 3, b"x", 1, result=-1),
    ]) == {"10.0.0.1:53": (1, 1)}  # fmt: skip


@pytest.mark.parametrize("name", ["sendmsg", "sendmmsg"])
def test_messages_with_a_destination(name: str) -> None:
    s = Script()
    first, second = ipv4("10.0.0.1", 53), ipv4("10.0.0.2", 53)
    header = struct.pack("<QIIQQQQQ", 0x5000, 16, 0, 0, 0, 0, 0, 0)
    other = struct.pack("<QIIQQQQQ", 0x6000, 16, 0, 0, 0, 0, 0, 0)
    data = header if name == "sendmsg" else header + bytes(8) + other + bytes(8)
    segments = [
        Segment(0x4000, SegmentKind.IN, 1, 0, data),
        Segment(0x5000, SegmentKind.IN, 1, 0, first),
        Segment(0x6000, SegmentKind.IN, 1, 0, second),
    ]
    call = call_named(name)
    assert call is not None
    event = s.event(EventType.SYSCALL, 2, nr=call.number, args=(3, 0x4000, 2, 0), segments=tuple(segments), result=1)
    expected = {"10.0.0.1:53": (1, 0)} | ({"10.0.0.2:53": (1, 0)} if name == "sendmmsg" else {})
    assert hosts_of([event]) == expected


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (ipv4("192.0.2.1", 8080), "192.0.2.1:8080"),
        (ipv6("2001:db8::1", 80), "[2001:db8::1]:80"),
        (b"", None),
        (ipv4("192.0.2.1", 80)[:7], None),
        (ipv6("::1", 80)[:23], None),
        (b"\x10\0" + bytes(10), None),
    ],
)
def test_host_address(data: bytes, text: str | None) -> None:
    assert host_address(data) == text
