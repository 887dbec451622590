"""The resolver against a name server of the test's own on 127.0.0.1, and against the machine's /etc/hosts and getaddrinfo."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RR, DNSRecord

from sentra_sandbox.network import resolver as module
from sentra_sandbox.network.dns_message import Malformed, make_query, pack_records, parse_answer
from sentra_sandbox.network.resolver import Lookup, Resolver, name_servers


def both_on_one_port() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on a port that is free for both."""
    while True:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
            return udp, tcp
        except OSError:  # another program has it
            tcp.close()
            udp.close()


class Upstream:
    """A name server on UDP and TCP of one port. ``reply`` makes the messages that it answers a query with."""

    def __init__(self, reply: Callable[[DNSRecord, str], list[bytes]]) -> None:
        self.reply = reply
        self.queries: list[tuple[DNSRecord, str, int]] = []
        self.udp, self.tcp = both_on_one_port()
        self.port: int = self.udp.getsockname()[1]
        for work in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def _serve_udp(self) -> None:
        while True:
            try:
                data, client = self.udp.recvfrom(4096)
            except OSError:
                return
            query = DNSRecord.parse(data)
            self.queries.append((query, "udp", client[1]))
            for message in self.reply(query, "udp"):
                self.udp.sendto(message, client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connected, client = self.tcp.accept()
            except OSError:
                return
            with connected:
                (length,) = struct.unpack("!H", connected.recv(2, socket.MSG_WAITALL))
                query = DNSRecord.parse(connected.recv(length, socket.MSG_WAITALL))
                self.queries.append((query, "tcp", client[1]))
                for message in self.reply(query, "tcp"):
                    connected.sendall(struct.pack("!H", len(message)) + message)

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        for made in (self.udp, self.tcp):
            made.shutdown(socket.SHUT_RDWR) if made is self.tcp else None
            made.close()
        # A thread in recvfrom does not see the close; a datagram of our own to the old port would.

    def resolver(self, tmp_path: Path, servers: str = "127.0.0.1", **times: float) -> Resolver:
        conf = tmp_path / "resolv.conf"
        conf.write_text("".join(f"nameserver {server}\n" for server in servers.split()))
        return Resolver(resolv_conf=str(conf), port=self.port, **({"timeout_s": 0.3} | times))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


def zone(query: DNSRecord, text: str) -> DNSRecord:
    answer = query.reply()
    answer.add_answer(*RR.fromZone(text))
    return answer


def shown(found: Lookup) -> list[str]:
    return [str(record.rdata) for record in found.records]


def test_a_record_is_asked_for_once_and_kept(tmp_path: Path) -> None:
    with Upstream(lambda query, _: [zone(query, 'example.com. 5 IN TXT "a"').pack()]) as upstream:
        resolver = upstream.resolver(tmp_path)

        async def all() -> list[Lookup]:
            return [*await asyncio.gather(*(resolver.lookup("example.com", "TXT") for _ in range(50))), await resolver.lookup("example.com", "TXT")]

        assert {tuple(shown(found)) for found in run(all())} == {('"a"',)}
        ((query, transport, _),) = upstream.queries
        assert str(query.q.qname) == "example.com." and query.header.rd and transport == "udp"


def test_ids_and_ports_differ(tmp_path: Path) -> None:
    with Upstream(lambda query, _: [query.reply().pack()]) as upstream:
        resolver = upstream.resolver(tmp_path)

        async def all() -> None:
            for index in range(20):
                await resolver.lookup(f"n{index}.example.com", "TXT")

        run(all())
        assert len({query.header.id for query, _, _ in upstream.queries}) > 15
        assert len({port for _, _, port in upstream.queries}) > 10


def test_a_truncated_answer_is_asked_for_by_tcp(tmp_path: Path) -> None:
    big = "\n".join(f'example.com. 5 IN TXT "{index:0200d}"' for index in range(40))

    def reply(query: DNSRecord, transport: str) -> list[bytes]:
        answer = query.reply()
        if transport == "udp":
            answer.header.tc = 1
            return [answer.pack()]
        return [zone(query, big).pack()]

    with Upstream(reply) as upstream:
        found = run(upstream.resolver(tmp_path).lookup("example.com", "TXT"))
        assert len(found.records) == 40
        assert [transport for _, transport, _ in upstream.queries] == ["udp", "tcp"]


def test_forged_answers_are_passed_over(tmp_path: Path) -> None:
    """Another id, another name, no answer bit: then comes the true one."""

    def reply(query: DNSRecord, _: str) -> list[bytes]:
        other_id = zone(query, 'example.com. 5 IN TXT "forged"')
        other_id.header.id ^= 1
        other_name = zone(DNSRecord.question("example.org", "TXT"), 'example.org. 5 IN TXT "forged"')
        other_name.header.id = query.header.id
        other_type = zone(DNSRecord.question("example.com", "MX"), 'example.com. 5 IN TXT "forged"')
        other_type.header.id = query.header.id
        return [other_id.pack(), other_name.pack(), other_type.pack(), query.pack(), zone(query, 'example.com. 5 IN TXT "true"').pack()]

    with Upstream(reply) as upstream:
        assert shown(run(upstream.resolver(tmp_path).lookup("example.com", "TXT"))) == ['"true"']


@pytest.mark.parametrize(("rcode", "wanted"), [(3, "NXDOMAIN"), (0, "NOERROR"), (2, "SERVFAIL"), (5, "SERVFAIL")])
def test_what_the_server_says_of_names_without_records(tmp_path: Path, rcode: int, wanted: str) -> None:
    def reply(query: DNSRecord, _: str) -> list[bytes]:
        answer = query.reply()
        answer.header.rcode = rcode
        return [answer.pack()]

    with Upstream(reply) as upstream:
        found = run(upstream.resolver(tmp_path).lookup("example.com", "TXT"))
        assert found.rcode == wanted and not found.records
        assert bool(found.error) == (wanted == "SERVFAIL")


def test_silence_and_garbage_end_in_a_failure_that_names_the_server(tmp_path: Path) -> None:
    with Upstream(lambda query, _: []) as upstream:
        found = run(upstream.resolver(tmp_path, timeout_s=0.1).lookup("example.com", "TXT"))
        assert (found.rcode, found.error) == ("SERVFAIL", "127.0.0.1 gave no answer in 0.1 s")
        assert len(upstream.queries) == 2
    with Upstream(lambda query, _: [query.pack()[:2] + b"\x81\x80\0\1\0\xff\0\0\0\0" + query.pack()[12:30]]) as upstream:
        found = run(upstream.resolver(tmp_path, timeout_s=0.1).lookup("example.com", "TXT"))
        assert found.rcode == "SERVFAIL" and found.error.startswith("127.0.0.1: DNSError")


def test_the_next_server_is_asked_when_one_is_dead(tmp_path: Path) -> None:
    with Upstream(lambda query, _: [zone(query, 'example.com. 5 IN TXT "a"').pack()]) as upstream:
        found = run(upstream.resolver(tmp_path, "127.0.0.9 127.0.0.1", timeout_s=0.2).lookup("example.com", "TXT"))
        assert shown(found) == ['"a"']


def test_failures_are_kept_shortly_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MISSING_S", 0.05)
    with Upstream(lambda query, _: [query.reply().pack()]) as upstream:
        resolver = upstream.resolver(tmp_path)

        async def all() -> None:
            for _ in range(3):
                await resolver.lookup("example.com", "TXT")
            await asyncio.sleep(0.06)
            await resolver.lookup("example.com", "TXT")

        run(all())
        assert len(upstream.queries) == 2


def test_a_lookup_that_hangs_ends_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    def getaddrinfo(name: str) -> Lookup:
        if name.startswith("slow"):
            hang.wait(20)
        return Lookup("NOERROR", ("93.184.216.34",))

    monkeypatch.setattr(module, "_getaddrinfo", getaddrinfo)

    async def all() -> None:
        resolver = Resolver(hosts="/nonexistent", total_s=0.2)
        slow = [asyncio.ensure_future(resolver.lookup(f"slow{index}.example.com")) for index in range(20)]
        start = time.monotonic()
        assert (await resolver.lookup("quick.example.com")).addresses == ("93.184.216.34",)
        assert time.monotonic() - start < 0.2
        for found in await asyncio.gather(*slow):
            assert found.rcode == "SERVFAIL" and "no answer in 0.2 s" in found.error
        hang.set()

    run(all())


def test_more_questions_than_bearable_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    monkeypatch.setattr(module, "MAX_WAITING", 40)
    threads = threading.active_count()

    def getaddrinfo(name: str) -> Lookup:
        hang.wait(20)
        return Lookup("NXDOMAIN")

    monkeypatch.setattr(module, "_getaddrinfo", getaddrinfo)

    async def all() -> None:
        resolver = Resolver(hosts="/nonexistent")
        tasks = [asyncio.ensure_future(resolver.lookup(f"n{index}.example.com")) for index in range(60)]
        await asyncio.sleep(0.1)
        assert threading.active_count() - threads <= module.MAX_THREADS
        assert sum(task.done() for task in tasks) == 20
        hang.set()
        assert {found.rcode for found in await asyncio.gather(*tasks)} == {"NXDOMAIN", "SERVFAIL"}

    run(all())


def test_the_names_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 10)
    monkeypatch.setattr(module, "_getaddrinfo", lambda name: Lookup("NOERROR", ("93.184.216.34",)))

    async def all() -> None:
        resolver = Resolver(hosts="/nonexistent")
        for index in range(30):
            await resolver.lookup(f"n{index}.example.com")
        assert len(resolver._known) == 10 and resolver.known("n29.example.com") and not resolver.known("n1.example.com")
        resolver.forget("n29.example.com")
        assert not resolver.known("n29.example.com")

    run(all())


def test_the_hosts_file_counts(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("# list\n10.1.2.3 DB.corp.example db # primary\nfd00::5\tdb.corp.example\nnonsense x\n\n127.0.0.1 localhost\n")

    async def all() -> None:
        resolver = Resolver(hosts=str(hosts), resolv_conf="/nonexistent")
        assert (await resolver.lookup("db.corp.example", "A")).addresses == ("10.1.2.3",)
        assert (await resolver.lookup("db.corp.example", "AAAA")).addresses == ("fd00::5",)
        assert await resolver.lookup("db", "AAAA") == Lookup("NOERROR")

    run(all())


def test_getaddrinfo_is_asked_for_exactly_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a dot at its end, so that the host's search domains are not tried. An address in disguise or odd bytes are no names."""
    asked = []

    def getaddrinfo(name: str, port: int, **_: object) -> list[Any]:
        asked.append(name)
        if name == "none.example.com.":
            raise socket.gaierror(socket.EAI_NODATA, "No address")
        return [(socket.AF_INET6, 1, 6, "", ("fe80::1%eth0", 0, 0, 2)), (socket.AF_INET, 1, 6, "", ("93.184.216.34", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def all() -> None:
        resolver = Resolver(hosts="/nonexistent")
        assert (await resolver.lookup("example.com", "ADDRESS")).addresses == ("fe80::1", "93.184.216.34")
        assert await resolver.lookup("none.example.com") == Lookup("NOERROR")
        for name in ("127.1", "0x7f.0.0.1", "8.8.8.8", "a\\032b", ""):
            assert (await resolver.lookup(name)).rcode == "NXDOMAIN"

    run(all())
    assert asked == ["example.com.", "none.example.com."]


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", ("127.0.0.1",)),
        ("nameserver 1.1.1.1\n# nameserver 2.2.2.2\nnameserver\nnameserver x\nsearch a b\nnameserver fe80::1%eth0\n", ("1.1.1.1", "fe80::1%eth0")),
        ("nameserver 1.1.1.1\n" * 5, ("1.1.1.1",) * 3),
    ],
)
def test_name_servers(tmp_path: Path, text: str, servers: tuple[str, ...]) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert name_servers(str(tmp_path / "resolv.conf")) == servers
    assert name_servers("/nonexistent") == ("127.0.0.1",)


def test_fuzzed_answers_of_servers() -> None:
    """Never anything but an answer, no answer, or Malformed; and what is read can be written again or is left out."""
    rng = random.Random(21)
    query = make_query(7, "example.com", QTYPE.TXT)
    kinds = "TXT", "MX", "SRV", "SOA", "NAPTR", "CAA", "CNAME", "TLSA"
    texts = ('"a" "b"', "10 mx.example.com.", "1 2 3 a.example.com.", "a. b. 1 2 3 4 5", '1 2 "u" "s" "" a.b.', '0 issue "x"', "c.example.com.", "3 1 1 aabb")
    good = [
        zone(DNSRecord.parse(query), "\n".join(f"example.com. 5 IN {kind} {text}" for kind, text in zip(kinds, texts, strict=True))).pack()
    ]
    read = 0
    for _ in range(3000):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(2, len(data))] = rng.choice([0, 1, 63, 64, 0xC0, 0xFF, rng.randrange(256)])
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        try:
            answer = parse_answer(bytes(data), 7, "example.com", QTYPE.TXT)
        except Malformed:
            continue
        if answer:
            read += 1
            pack_records(answer.records, query[12:29])
    assert read > 100


def test_chains_of_pointers_cost_little() -> None:
    head = struct.pack("!6H", 7, 0x8180, 1, 3000, 0, 0) + make_query(7, "example.com", QTYPE.TXT)[12:29]
    chain = b"".join(struct.pack("!H", 0xC000 | (len(head) + 2 * max(0, index - 1))) for index in range(5000))
    record = struct.pack("!HHHIH", 0xC000 | (len(head) + 9990), QTYPE.CNAME, 1, 1, 2) + struct.pack("!H", 0xC000 | (len(head) + 9990))
    start = time.process_time()
    with pytest.raises(Malformed):
        parse_answer(head + chain + record * 1000, 7, "example.com", QTYPE.TXT)
    with pytest.raises(Malformed):
        parse_answer(head + record * 1000, 7, "example.com", QTYPE.TXT)
    assert time.process_time() - start < 1
