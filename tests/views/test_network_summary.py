from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest
from events_by_hand import Script, ipv4, ipv6
from network_by_hand import Broker, a_day
from test_network import hostile_events

from sentra_sandbox.cli.exec_report import findings
from sentra_sandbox.trace.events import Segment, SegmentKind
from sentra_sandbox.trace.network_events import NetworkType
from sentra_sandbox.views import network_summary
from sentra_sandbox.views.summary import summarise


def test_the_numbers_are_those_of_the_events() -> None:
    for name in ["UNIX_REFUSED", "DNS", "OPEN", "UPSTREAM", "TLS", "DATA", "CLOSE", "REQUEST", "BODY", "MESSAGE", "DATAGRAM", "PROBLEM"]:
        assert getattr(network_summary, f"_{name}") == NetworkType[name], name


def test_who_only_left_refused_nothing_where_others_asked() -> None:
    b = a_day()
    for name, asks in (("works.example.com", True), ("pins.example.com", False)):
        left = b.open(server=("198.18.0.9", 443), name=name)
        b.tls(left, error="it left", side="client", refused="likely", sni=name, remedy="exclude it")
        if asks:
            b.exchange(b.open(server=("198.18.0.9", 443), name=name), chunks=b"12345")
    old = b.open(server=("198.18.0.10", 443), name="old.example.com")
    b.tls(old, error="no shared cipher", side="client", sni="old.example.com", remedy="let it pass through")
    lines = findings(summarise(b.events), net="open")
    assert "our certificate refused by clients of: pins.example.com (exclude it)" in lines
    assert "network problems: bad DNS message, no shared cipher (let it pass through)" in lines


def test_hosts_by_name_and_what_was_refused() -> None:
    b = a_day()
    second = b.open()
    b.exchange(second, chunks=b"12345")
    pinned = b.open(server=("198.18.0.7", 443), name="pinned.example.com")
    b.tls(pinned, error="unknown ca", side="client", refused="certain", sni="pinned.example.com", remedy="tls.exclude: [pinned.example.com]")
    b.close(pinned, sent=10)
    gone = b.open(server=("198.18.0.8", 443), name="gone.example.com")
    b.upstream(gone, error="timed out")
    b.close(gone, "broker", "timeout")
    b.dns("evil.test", allowed=False, reason="denied by deniedDomains[0]")
    assert findings(summarise(b.events), net="open") == [
        "files written: none",
        "hosts contacted: redis.example.com:6379 (6 B sent, 1007 B received), api.example.com (2 requests, 300 B sent, 505 B received), pinned.example.com (10 B sent, 0 B received) and 1 more".replace(" and 1 more", ", gone.example.com (failed)"),
        "refused hosts: localhost:11434 (--allow-net localhost:11434), /run/docker.sock (--allow-unix /run/docker.sock), evil.test (denied by deniedDomains[0])",
        "our certificate refused by clients of: pinned.example.com (tls.exclude: [pinned.example.com])",
        "network problems: bad DNS message",
        "refused calls: none",
    ]
    assert findings(summarise(b.events), net="host")[1:] == ["hosts contacted: none", "refused calls: none"]


def test_ports_of_loopback_where_nothing_listens() -> None:
    s = Script()
    summary = summarise([
        s.call(2, "connect", 3, ipv4("127.0.0.1", 11434), 16, result=-111),
        s.call(2, "connect", 3, ipv6("::1", 11434), 28, result=-111),
        s.call(2, "connect", 3, ipv4("127.0.0.1", 8000), 16, result=-111),
        s.call(2, "connect", 3, ipv4("127.0.0.1", 8000), 16),
        s.call(2, "connect", 3, ipv4("10.0.0.1", 9), 16, result=-111),
    ])  # fmt: skip
    assert summary.refused_ports == (11434,)
    later = Segment(0, SegmentKind.OUT, 3, 0, (111).to_bytes(4, "little"))
    started = s.call(2, "connect", 7, ipv4("127.0.0.1", 5000), 16, result=-115)
    assert summarise([started]).refused_ports == ()
    assert summarise([started, replace(s.call(2, "getsockopt", 7, 1, 4, 0x1000, 0x2000), segments=(later,))]).refused_ports == (5000,)
    done = replace(later, data=bytes(4))
    assert summarise([started, replace(s.call(2, "getsockopt", 7, 1, 4, 0x1000, 0x2000), segments=(done,))]).refused_ports == ()
    assert "refused hosts: localhost:11434 (--allow-net localhost:11434)" in findings(summary, net="open")
    assert "localhost:11434" not in "".join(findings(summary, net="none"))


def test_many_hosts_stay_a_few_short_lines() -> None:
    b = Broker()
    for number in range(300):
        b.open(name=f"host{number}.example.com", server=("198.18.0.1", 443))
        b.open(name="x" * 5000 + str(number), allowed=False, reason="y" * 5000)
        b.write(NetworkType.PROBLEM, {"what": f"problem {number}"})
    lines = findings(summarise(b.events), net="open")
    assert len(lines) == 5 and all(len(line) <= 400 for line in lines)


@pytest.mark.parametrize("seed", range(5))
def test_hostile_events(seed: int) -> None:
    lines = findings(summarise(hostile_events(seed)), net="open")
    assert all(isinstance(line, str) for line in lines)


def test_a_run_without_network_loads_nothing_for_it() -> None:
    code = "import sys, sentra_sandbox.views.summary; assert not {'json', 'typing', 'dataclasses', 'sentra_sandbox.trace.network_events'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(__import__('sentra_sandbox').__path__[0] + '/..')!r}); {code}"], check=True, timeout=30)


def test_ten_thousand_connections_are_summarised_in_a_moment() -> None:
    b = Broker()
    for number in range(2000):
        b.open(name=f"host{number % 50}.example.com")
        for _ in range(3):
            b.data(number + 1, 100, to_client=True)
        b.close(number + 1)
    start = time.monotonic()
    summarise(b.events)
    assert time.monotonic() - start < 0.5
