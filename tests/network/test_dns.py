"""The DNS server: what each kind of query gets, over messages, over sockets, and from the system's own client."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import Coroutine
from typing import Any, ClassVar

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, DNSHeader, DNSQuestion, DNSRecord

from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.dns import DnsServer
from sentra_sandbox.network.dns_message import labels_of, own_record, wire_name
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.names import NameTable
from sentra_sandbox.network.resolver import Lookup, Resolver
from sentra_sandbox.trace.network_events import NetworkType

CLIENT, SERVER = ("198.18.0.1", 40000), ("8.8.8.8", 53)


class World(Resolver):
    """A resolver that knows some names and remembers what it was asked."""

    HOSTS: ClassVar = {
        "both.example.com": ("93.184.216.34", "2606:2800::1"),
        "four.example.com": ("93.184.216.34",),
        "six.example.com": ("2606:2800::1",),
        "none.example.com": (),
        "rebound.example.com": ("127.0.0.1",),
    }

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    async def _ask_addresses(self, name: str) -> Lookup:
        self.asked.append((name, "ADDRESS"))
        if name == "broken.example.com":
            return Lookup("SERVFAIL", error="the host's resolver gave no answer in 15 s")
        return Lookup("NOERROR", self.HOSTS[name]) if name in self.HOSTS else Lookup("NXDOMAIN")

    async def _ask_servers(self, name: str, kind: str) -> Lookup:
        self.asked.append((name, kind))
        zone = {
            ("both.example.com", "TXT"): f'{name}. 300 IN TXT "v=spf1 -all"',
            ("big.example.com", "TXT"): "\n".join(f'{name}. 300 IN TXT "{i:0200d}"' for i in range(60)),
            ("alias.example.com", "TXT"): f'{name}. 300 IN CNAME both.example.com.\nboth.example.com. 1 IN TXT "x"\n{name}. 1 IN A 10.0.0.1',
            ("_sip._tcp.example.com", "SRV"): f"{name}. 300 IN SRV 1 2 5060 four.example.com.",
            ("example.com", "MX"): f"{name}. 300 IN MX 10 four.example.com.",
            ("8.8.8.8.in-addr.arpa", "PTR"): f"{name}. 300 IN PTR dns.google.",
        }
        text = zone.get((name, kind))
        return Lookup("NOERROR", records=tuple(RR.fromZone(text))) if text else Lookup("NXDOMAIN")


class Made:
    """A server with its parts."""

    def __init__(self, names: int = 1000, **policy: Any) -> None:
        self.world = World()
        self.journal = ListJournal()
        self.names = NameTable(names)
        self.server = DnsServer(
            NetworkPolicy(**policy), self.names, self.world, self.journal, hostname="agent", own=("198.18.0.1", "2001:2::1")
        )

    async def ask(self, name: str, kind: str = "A", transport: str = "udp", **header: Any) -> DNSRecord:
        record = DNSRecord(DNSHeader(id=77, rd=1, **header), q=DNSQuestion(list(labels_of(name)), getattr(QTYPE, kind)))
        return await self.send(record, transport)

    async def send(self, record: DNSRecord, transport: str = "udp") -> DNSRecord:
        message = await self.server.answer(record.pack(), CLIENT, SERVER, transport)
        assert message is not None
        answer = DNSRecord.parse(message)
        assert (answer.header.id, answer.header.qr, answer.header.ra) == (record.header.id, 1, 1)
        return answer

    @property
    def last(self) -> dict[str, Any]:
        return self.journal.events[-1].fields


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


def texts(answer: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in answer.rr]


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "families"),
    [
        ("both.example.com", "A", "NOERROR", "4"),
        ("both.example.com", "AAAA", "NOERROR", "6"),
        ("both.example.com", "ANY", "NOERROR", "46"),
        ("four.example.com", "AAAA", "NOERROR", ""),
        ("six.example.com", "A", "NOERROR", ""),
        ("none.example.com", "A", "NOERROR", ""),
        ("rebound.example.com", "A", "NOERROR", "4"),
        ("missing.example.com", "A", "NXDOMAIN", ""),
        ("broken.example.com", "AAAA", "SERVFAIL", ""),
        ("both.example.com", "HTTPS", "NOERROR", ""),
        ("both.example.com", "NULL", "NOERROR", ""),
        ("both.example.com", "AXFR", "REFUSED", ""),
        ("both.example.com", "IXFR", "REFUSED", ""),
        ("hidden.onion", "A", "NXDOMAIN", ""),
        ("", "A", "NOERROR", ""),
        ("local._dns-sd._udp.0.0.10.in-addr.arpa", "PTR", "NXDOMAIN", ""),
    ],
)
def test_answers_are_true_to_the_world_and_synthetic(name: str, kind: str, rcode: str, families: str) -> None:
    made = Made()
    answer = run(made.ask(name, kind))
    four, six = made.names.addresses(name)
    assert RCODE.get(answer.header.rcode) == rcode
    assert texts(answer) == [{"4": four, "6": six}[family] for family in families]
    assert all(record.ttl == 1 for record in answer.rr)
    assert (made.last["name"], made.last["type"], made.last["rcode"]) == (name or ".", kind, rcode)
    assert made.last["answers"] == texts(answer)
    assert made.last["client"] == list(CLIENT) and made.last["server"] == list(SERVER)


@pytest.mark.parametrize("kind", ["A", "AAAA", "TXT", "MX", "CNAME", "SRV", "ANY", "HTTPS", "NS", "SOA"])
def test_refused_names_never_leave_the_machine(kind: str) -> None:
    made = Made(allow=("four.example.com",), strict=True, deny=("evil.example.com",))
    answer = run(made.ask("secret-data.evil.example.com", kind))
    assert answer.header.rcode == RCODE.NXDOMAIN and not answer.rr
    assert made.world.asked == []
    assert made.last["allowed"] is False and made.last["rule"] == "strictAllowlist"
    assert made.last["remedy"] == "--allow-net secret-data.evil.example.com"
    run(made.ask("evil.example.com", kind))
    assert made.last["rule"] == "deniedDomains[0] evil.example.com" and made.world.asked == []


def test_the_reason_reaches_clients_that_speak_edns() -> None:
    made = Made(strict=True)
    record = DNSRecord.question("evil.example.com")
    record.add_ar(EDNS0(flags="do", udp_len=4096))
    answer = run(made.send(record))
    (opt,) = answer.ar
    assert opt.edns_do == 1 and opt.edns_len == 1232
    (option,) = opt.rdata
    assert option.code == 15 and option.data[:2] == b"\0\x12"
    assert b"not among the allowed hosts; --allow-net evil.example.com" in option.data


def test_names_of_the_sandbox_need_no_policy() -> None:
    made = Made(strict=True)
    assert texts(run(made.ask("localhost"))) == ["127.0.0.1"]
    assert texts(run(made.ask("app.LOCALHOST", "AAAA"))) == ["::1"]
    assert texts(run(made.ask("localhost", "TXT"))) == []
    assert texts(run(made.ask("agent"))) == ["198.18.0.1"]
    assert texts(run(made.ask("1.0.0.127.in-addr.arpa", "PTR"))) == ["localhost."]
    assert texts(run(made.ask("1.0.18.198.in-addr.arpa", "PTR"))) == ["agent."]
    assert made.world.asked == []


def test_reverse_names() -> None:
    made = Made()
    four, six = made.names.addresses("both.example.com")
    for address in (four, six):
        answer = run(made.send(DNSRecord(q=DNSQuestion(reverse(address), QTYPE.PTR))))
        assert texts(answer) == ["both.example.com."] and str(answer.rr[0].rname) == reverse(address) + "."
    assert texts(run(made.ask("8.8.8.8.in-addr.arpa", "PTR"))) == ["dns.google."]
    assert made.world.asked == [("8.8.8.8.in-addr.arpa", "PTR")]
    answer = run(made.ask("1.0.0.10.in-addr.arpa", "PTR"))
    assert answer.header.rcode == RCODE.NXDOMAIN and made.last["remedy"] == "--allow-net 10.0.0.1"
    assert len(made.world.asked) == 1


def reverse(address: str) -> str:
    import ipaddress

    return ipaddress.ip_address(address).reverse_pointer


def test_mapped_names_have_both_families_and_are_never_asked_for() -> None:
    made = Made(maps=(("api.openai.com:443", "127.0.0.1:8443"),))
    assert len(texts(run(made.ask("api.openai.com", "A")))) == len(texts(run(made.ask("API.OpenAI.com", "AAAA")))) == 1
    assert texts(run(made.ask("api.openai.com", "TXT"))) == []
    assert made.world.asked == []


def test_records_of_other_types_are_passed_on_without_addresses() -> None:
    made = Made(allow=("example.com", "alias.example.com"), strict=True)
    answer = run(made.ask("alias.example.com", "TXT"))
    assert [QTYPE.get(record.rtype) for record in answer.rr] == ["CNAME", "TXT"]
    assert made.last["answers"] == ["CNAME both.example.com.", '"x"']
    assert texts(run(made.ask("_sip._tcp.example.com", "SRV"))) == ["1 2 5060 four.example.com."]
    assert texts(run(made.ask("Example.COM", "MX"))) == ["10 four.example.com."]
    assert run(made.ask("_x.other.com", "SRV")).header.rcode == RCODE.NXDOMAIN


def test_the_question_comes_back_in_its_own_case() -> None:
    made = Made()
    answer = run(made.ask("bOtH.eXaMple.cOm"))
    assert str(answer.q.qname) == str(answer.rr[0].rname) == "bOtH.eXaMple.cOm."


def test_an_answer_that_is_too_big_is_truncated_and_whole_over_tcp() -> None:
    made = Made()
    answer = run(made.ask("big.example.com", "TXT"))
    assert answer.header.tc and not answer.rr
    assert len(run(made.ask("big.example.com", "TXT", transport="tcp")).rr) == 60


def test_a_dot_inside_a_label_is_none_between_labels() -> None:
    made = Made(allow=("both.example.com",), strict=True)
    record = DNSRecord(q=DNSQuestion([b"both.example.com"], QTYPE.A))
    assert run(made.send(record)).header.rcode == RCODE.NXDOMAIN
    assert made.last["name"] == "both\\046example\\046com" and made.world.asked == []


def test_odd_bytes_in_names_are_shown_and_harmless() -> None:
    made = Made()
    record = DNSRecord(q=DNSQuestion([b"\0\xff A\n", b"example", b"com"], QTYPE.A))
    message = run(made.server.answer(record.pack(), CLIENT, SERVER, "udp"))
    assert message[3] & 15 == RCODE.NXDOMAIN and record.pack()[12:] == message[12:]
    assert made.last["name"] == "\\000\\255\\032a\\010.example.com"


def test_other_classes_versions_and_operations() -> None:
    made = Made()
    chaos = DNSRecord(q=DNSQuestion("version.bind", QTYPE.TXT, 3))
    assert run(made.send(chaos)).header.rcode == RCODE.REFUSED
    future = DNSRecord.question("both.example.com")
    future.add_ar(EDNS0(version=1))
    answer = run(made.send(future))
    assert answer.ar[0].edns_rcode == 1 and answer.header.rcode == 0 and not answer.rr
    update = struct.pack("!6H", 5, 5 << 11, 1, 0, 0, 0) + wire_name("example.com") + b"\0\x06\0\x01"
    message = run(made.server.answer(update, CLIENT, SERVER, "udp"))
    assert message[3] & 15 == RCODE.NOTIMP and message[:2] == b"\0\x05"


LOOP = struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\x01\0\x01"
FORWARD = struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + b"\xc0\x20\0\x01\0\x01"


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (struct.pack("!6H", 9, 0x8180, 1, 0, 0, 0) + b"\1a\0\0\1\0\1", None),  # an answer: answering it could go on for ever
        (LOOP, RCODE.FORMERR),
        (FORWARD, RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 65535, 65535, 65535, 65535), RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 1, 0, 0, 65535) + b"\1a\0\0\1\0\1", RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 1, 0, 0, 1) + b"\1a\0\0\1\0\1", RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 0, 0, 0, 0), RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + b"\x3fab", RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1", RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 1, 0, 0, 2) + b"\1a\0\0\1\0\1" + b"\0\0\x29\4\0\0\0\0\0\0\0" * 2, RCODE.FORMERR),
        (struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + b"\x41a\0\0\1\0\1", RCODE.FORMERR),
    ],
)
def test_malformed_messages(message: bytes, rcode: int | None) -> None:
    made = Made()
    answer = run(made.server.answer(message, CLIENT, SERVER, "udp"))
    if rcode is None:
        assert answer is None
    else:
        assert answer[3] & 15 == rcode and answer[:2] == message[:2] and answer[2] & 0x80
    assert made.journal.events[-1].type == NetworkType.PROBLEM
    assert made.last["what"] == "malformed DNS query"


def test_names_run_out_with_a_clear_failure() -> None:
    made = Made(names=1)
    assert texts(run(made.ask("both.example.com")))
    answer = run(made.ask("four.example.com"))
    assert answer.header.rcode == RCODE.SERVFAIL
    assert made.last["reason"] == "the program asked for more than 1 names"
    assert texts(run(made.ask("both.example.com")))


def test_fuzzed_queries_never_raise_and_are_answered_to_the_asker_only() -> None:
    made = Made(allow=("both.example.com",), deny=("*.evil.com",))
    rng = random.Random(20)
    good = []
    for name in ("both.example.com", "a.evil.com", "localhost", "1.0.18.198.in-addr.arpa", "_x._tcp.example.com", ""):
        for kind in ("A", "AAAA", "TXT", "PTR", "ANY", "HTTPS"):
            record = DNSRecord(DNSHeader(id=rng.getrandbits(16), rd=1), q=DNSQuestion(list(labels_of(name)), getattr(QTYPE, kind)))
            if rng.random() < 0.5:
                record.add_ar(EDNS0(udp_len=rng.choice([0, 512, 4096, 65535])))
            good.append(record.pack())

    async def all() -> None:
        for _ in range(4000):
            message = mutated(rng, rng.choice(good)) if rng.random() < 0.9 else rng.randbytes(rng.randrange(80))
            transport = rng.choice(["udp", "tcp"])
            answer = await made.server.answer(message, CLIENT, SERVER, transport)
            assert answer is None or (answer[:2] == message[:2] and answer[2] & 0x80)
            assert answer is None or transport == "tcp" or len(answer) <= 1232

    run(all())
    assert len(made.journal.events) == 4000


def mutated(rng: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    for _ in range(rng.randrange(1, 5)):
        match rng.randrange(4):
            case 0 if data:
                data[rng.randrange(len(data))] = rng.choice([0, 1, 63, 64, 0xC0, 0xFF, rng.randrange(256)])
            case 1:
                del data[rng.randrange(len(data) + 1) :]
            case 2:
                at = rng.randrange(len(data) + 1)
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case _ if len(data) > 12:
                struct.pack_into("!H", data, rng.choice([4, 6, 8, 10]), rng.choice([0, 1, 2, 65535]))
    return bytes(data)


def test_a_big_message_costs_no_more_than_a_small_one() -> None:
    """64 KiB over TCP: a name of which every record's name is a chain of pointers."""
    chain = b"\1a\0" + b"".join(struct.pack("!H", 0xC000 | (12 + 3 + 2 * i)) for i in range(8000))
    message = struct.pack("!6H", 9, 0x100, 1, 0, 0, 8) + chain + b"\xff" * (65000 - len(chain))
    made = Made()
    start = time.process_time()
    for _ in range(50):
        assert run(made.server.answer(message, CLIENT, SERVER, "tcp")) is not None
    assert time.process_time() - start < 2


def bound(kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        made.listen(16)
    return made


def test_udp_and_tcp_over_real_sockets() -> None:
    made = Made()

    async def all() -> None:
        loop = asyncio.get_running_loop()
        with bound(socket.SOCK_DGRAM) as udp, bound(socket.SOCK_STREAM) as tcp:
            port_udp, port_tcp = udp.getsockname()[1], tcp.getsockname()[1]
            tasks = [asyncio.ensure_future(made.server.serve_udp(udp)), asyncio.ensure_future(made.server.serve_tcp(tcp))]
            query = DNSRecord.question("both.example.com")
            answer = await loop.run_in_executor(None, lambda: query.send("127.0.0.1", port_udp, timeout=5))
            assert texts(DNSRecord.parse(answer)) == [made.names.addresses("both.example.com")[0]]
            assert made.last["server"] == ["127.0.0.1", port_udp] and made.last["transport"] == "udp"
            answer = await loop.run_in_executor(None, lambda: query.send("127.0.0.1", port_tcp, tcp=True, timeout=5))
            assert len(DNSRecord.parse(answer).rr) == 1 and made.last["transport"] == "tcp"
            await pipelined(port_tcp)
            await vanishing(port_tcp, port_udp)
            answer = await loop.run_in_executor(None, lambda: query.send("127.0.0.1", port_tcp, tcp=True, timeout=5))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(all())


async def pipelined(port: int) -> None:
    """100 queries at once, cut at odd places; answers in any order, then our end, then theirs."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    messages = []
    for id in range(100):
        record = DNSRecord(DNSHeader(id=id, rd=1), q=DNSQuestion("both.example.com", QTYPE.TXT if id % 2 else QTYPE.A)).pack()
        messages.append(struct.pack("!H", len(record)) + record)
    stream = b"".join(messages)
    for start in range(0, len(stream), 701):
        writer.write(stream[start : start + 701])
        await asyncio.sleep(0)
    writer.write_eof()
    seen = set()
    while head := await reader.read(2):
        seen.add(DNSRecord.parse(await reader.readexactly(struct.unpack("!H", head)[0])).header.id)
    assert seen == set(range(100))
    writer.close()


async def vanishing(port_tcp: int, port_udp: int) -> None:
    """Clients that go away, and garbage: the server is there for the next one."""
    for data in (b"", b"\0", b"\xff\xffabc", b"\0\0" * 50, b"\0\x0c" + b"\xff" * 12):
        _, writer = await asyncio.open_connection("127.0.0.1", port_tcp)
        writer.write(data)
        writer.transport.abort()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(20):
            udp.sendto(b"\xff" * 100, ("127.0.0.1", port_udp))
            udp.sendto(DNSRecord.question("both.example.com").pack(), ("127.0.0.1", port_udp))


def test_many_names_at_once_are_bounded() -> None:
    """A slow world: a thousand datagrams, no more than the bound under way, and nothing breaks."""
    made = Made()
    waiting = asyncio.Event()

    async def slow(name: str) -> Lookup:
        await waiting.wait()
        return Lookup("NOERROR", ("93.184.216.34",))

    made.world._ask_addresses = slow  # type: ignore[method-assign]

    async def all() -> int:
        with bound(socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            client.setblocking(False)
            task = asyncio.ensure_future(made.server.serve_udp(udp))
            for index in range(1000):
                client.sendto(DNSRecord.question(f"n{index}.example.com").pack(), udp.getsockname())
                if index % 100 == 0:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            running = len(asyncio.all_tasks())
            waiting.set()
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return running

    assert run(all()) < 512 * 3 + 20  # answers, each with one lookup, which is two tasks
    assert 0 < len(made.journal.events) <= 1000


def test_records_of_the_question_point_to_it() -> None:
    assert own_record(1, b"\1\2\3\4") == b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
