#!/usr/bin/env python3
"""What a DNS answer costs the broker: queries per CPU-second, alone and through a UDP socket on the loopback, beside dnslib's parser.

    .venv/bin/python scripts/bench_dns.py [--json]

Names are known already, as they are for all but the first query of a program. The client is another process, its time is not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time

from dnslib import DNSRecord

from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.dns import DnsServer
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.names import NameTable
from sentra_sandbox.network.resolver import Lookup, Resolver

NAMES = [f"host{index}.example.com" for index in range(100)]
QUERIES = 20_000
WINDOW = 64


class Known(Resolver):
    """Answers at once: the network is not what is measured."""

    async def _ask_addresses(self, name: str) -> Lookup:
        return Lookup("NOERROR", ("93.184.216.34", "2606:2800::1"))


def server() -> DnsServer:
    policy = NetworkPolicy(allow=("*.example.com",), deny=("bad.example.com",), strict=True)
    return DnsServer(policy, NameTable(), Known(), ListJournal())


async def alone() -> float:
    made, queries = server(), [DNSRecord.question(name).pack() for name in NAMES]
    for query in queries:
        await made.answer(bytes(query), ("198.18.0.1", 1), ("8.8.8.8", 53), "udp")
    start = time.process_time()
    for index in range(QUERIES):
        await made.answer(queries[index % 100], ("198.18.0.1", 1), ("8.8.8.8", 53), "udp")
    return QUERIES / (time.process_time() - start)


def parser_alone() -> float:
    """dnslib reading the query and writing an answer, without a policy, an event or a socket."""
    query = bytes(DNSRecord.question(NAMES[0]).pack())
    start = time.process_time()
    for _ in range(QUERIES // 10):
        DNSRecord.parse(query).reply().pack()
    return QUERIES / 10 / (time.process_time() - start)


def client(port: int) -> None:
    """Keeps some queries under way until enough are answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", port))
        udp.settimeout(5)
        queries = [bytes(DNSRecord.question(name).pack()) for name in NAMES]
        for index in range(QUERIES + WINDOW):
            if index < QUERIES:
                udp.send(queries[index % 100])
            if index >= WINDOW:
                udp.recv(4096)


async def over_udp() -> float:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        child = os.fork()
        if not child:
            client(udp.getsockname()[1])
            os._exit(0)
        start = time.process_time()
        task = asyncio.ensure_future(server().serve_udp(udp))
        _, status = await asyncio.get_running_loop().run_in_executor(None, os.waitpid, child, 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if status:
            raise SystemExit("the client got no answers")
        return QUERIES / (time.process_time() - start)


def main() -> None:
    found = {
        "answers": asyncio.run(alone()),
        "answers over UDP": asyncio.run(over_udp()),
        "dnslib: parse and pack alone": parser_alone(),
    }
    if "--json" in sys.argv[1:]:
        print(json.dumps({name: round(value) for name, value in found.items()}))
        return
    for name, value in found.items():
        print(f"{name:30} {value:10,.0f} per CPU-second")


if __name__ == "__main__":
    main()
