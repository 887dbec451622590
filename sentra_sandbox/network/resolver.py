"""Asks the host's resolvers, for names that policy allows. The only part that sends a DNS query anywhere.

Addresses come from the host's ``/etc/hosts`` and its ``getaddrinfo``, in threads, because there the host's own rules hold: nsswitch, mDNS,
systemd-resolved, a container's name server. The name is handed over with a trailing dot, else the C library would try the host's search
domains behind it and return another host. Other types are asked by a query of our own to the name servers of the host's
``resolv.conf``: random id and port, two rounds with a time-out each, TCP if the answer is truncated.

What a name resolved to is kept for the run: what was decided is what is connected to, and an address cannot change between the
two. ``forget`` drops it for a name whose addresses all fail. That a name does not exist is kept for some seconds, a failure for one. The
number of names kept, of threads and of questions under way is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from dnslib import RCODE  # type: ignore[import-untyped]

from sentra_sandbox.network import addresses
from sentra_sandbox.network.dns_message import Malformed, ServerAnswer, make_query, parse_answer, type_number
from sentra_sandbox.network.patterns import canonical, is_host_name

MAX_NAMES = 20_000
MAX_THREADS = 32
MAX_WAITING = 1024
MAX_SERVERS = 3  # as in glibc
MAX_TCP_ANSWER = 32 * 1024
MISSING_S = 5.0
FAILED_S = 1.0


@dataclass(frozen=True, slots=True)
class Lookup:
    """``rcode``: ``NOERROR`` (also without any address: the name exists, this type does not), ``NXDOMAIN``, ``SERVFAIL``. ``addresses``:
    real ones, in the order in which they should be tried; ``records``: of other types, dnslib's ``RR``; ``error``: why it failed."""

    rcode: str
    addresses: tuple[str, ...] = ()
    records: tuple[Any, ...] = ()
    error: str = ""


class Resolver:
    """One per run, in one event loop. ``timeout_s``: for one answer of a server; ``total_s``: for a whole lookup."""

    def __init__(
        self,
        *,
        hosts: str = "/etc/hosts",
        resolv_conf: str = "/etc/resolv.conf",
        port: int = 53,
        timeout_s: float = 3.0,
        total_s: float = 15.0,
    ) -> None:
        self._hosts = HostsFile(hosts)
        self._resolv_conf = resolv_conf
        self._port = port
        self._timeout_s = timeout_s
        self._total_s = total_s
        self._known: dict[tuple[str, str], tuple[float, Lookup]] = {}
        self._running: dict[tuple[str, str], asyncio.Task[Lookup]] = {}
        self._threads = asyncio.Semaphore(MAX_THREADS)

    async def lookup(self, name: str, kind: str = "A") -> Lookup:
        """What a canonical name has of a type: ``A``, ``AAAA``, ``ADDRESS`` (both), or another. Never raises for what the network does."""
        if kind in ("A", "AAAA"):
            both = await self.lookup(name, "ADDRESS")
            wanted = tuple(text for text in both.addresses if (":" in text) == (kind == "AAAA"))
            return both if wanted == both.addresses else Lookup(both.rcode, wanted, (), both.error)
        key = (name, kind)
        known = self.known(name, kind)
        if known:
            return known
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= MAX_WAITING:
                return Lookup("SERVFAIL", error=f"{MAX_WAITING} names are being asked for already")
            work = self._ask_addresses(name) if kind == "ADDRESS" else self._ask_servers(name, kind)
            task = self._running[key] = asyncio.get_running_loop().create_task(self._finish(key, work))
        return await asyncio.shield(task)

    def known(self, name: str, kind: str = "ADDRESS") -> Lookup | None:
        """What ``lookup`` would return without asking anyone."""
        until, found = self._known.get((name, kind), (0.0, None))
        return found if found and (not until or until > time.monotonic()) else None

    def forget(self, name: str) -> None:
        """Ask anew the next time: none of the addresses could be connected to. The new ones must be decided again."""
        self._known.pop((name, "ADDRESS"), None)

    async def _finish(self, key: tuple[str, str], work: Coroutine[Any, Any, Lookup]) -> Lookup:
        try:
            found = await asyncio.wait_for(work, self._total_s)
        except asyncio.TimeoutError:
            found = Lookup("SERVFAIL", error=f"the host's resolver gave no answer in {self._total_s:g} s")
        finally:
            self._running.pop(key, None)
        if len(self._known) >= MAX_NAMES:
            self._known.pop(next(iter(self._known)))
        good = found.rcode == "NOERROR" and (found.addresses or found.records)
        keep_s = 0.0 if good else FAILED_S if found.rcode == "SERVFAIL" else MISSING_S
        self._known[key] = (time.monotonic() + keep_s if keep_s else 0.0, found)
        return found

    async def _ask_addresses(self, name: str) -> Lookup:
        if not is_host_name(name) or addresses.parse_any(name):
            return Lookup("NXDOMAIN", error="no host has such a name")
        listed = self._hosts.addresses(name)
        if listed:
            return Lookup("NOERROR", listed)
        await self._threads.acquire()
        return await _in_thread(lambda: _getaddrinfo(name), self._threads.release)

    async def _ask_servers(self, name: str, kind: str) -> Lookup:
        qtype = type_number(kind)
        error = "the host names no name server"
        servers = name_servers(self._resolv_conf)
        for server in servers * 2:
            try:
                answer = await asyncio.wait_for(self._ask(server, name, qtype), self._timeout_s)
            except asyncio.TimeoutError:
                error = f"{server} gave no answer in {self._timeout_s:g} s"
            except (OSError, EOFError, Malformed, ValueError) as problem:
                error = f"{server}: {problem}"
            else:
                if answer.rcode in (RCODE.NOERROR, RCODE.NXDOMAIN):
                    return Lookup("NXDOMAIN" if answer.rcode else "NOERROR", records=answer.records)
                error = f"{server} answered {RCODE.get(answer.rcode)}"
        return Lookup("SERVFAIL", error=error)

    async def _ask(self, server: str, name: str, qtype: int) -> ServerAnswer:
        id = secrets.randbits(16)
        query = make_query(id, name, qtype)
        answer = await self._by_udp(server, query, lambda data: parse_answer(data, id, name, qtype))
        if answer.truncated:
            found = parse_answer(await self._by_tcp(server, query), id, name, qtype)
            if found is None or found.truncated:
                raise Malformed("an answer to another question")
            answer = found
        return answer

    async def _by_udp(self, server: str, query: bytes, parse: Callable[[bytes], ServerAnswer | None]) -> ServerAnswer:
        """A connected socket: the kernel chooses its port at random and drops what comes from elsewhere."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect((server, self._port))
            udp.send(query)
            while True:
                answer = parse(await loop.sock_recv(udp, 4096))
                if answer is not None:
                    return answer

    async def _by_tcp(self, server: str, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(struct.pack("!H", len(query)) + query)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            if length > MAX_TCP_ANSWER:
                raise Malformed(f"an answer of {length} bytes")
            return await reader.readexactly(length)
        finally:
            writer.close()


class HostsFile:
    """The host's ``/etc/hosts``, read again when it changes. getaddrinfo does not find its names when they end in a dot."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._names: dict[str, tuple[str, ...]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """Of a canonical name; empty if it is not listed."""
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._names = _parse_hosts(file.read(1 << 22))
                self._stamp = stamp
        except OSError:
            return ()
        return self._names.get(name, ())


def _parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        parsed = addresses.parse(address)
        for name in map(canonical, names) if parsed else ():
            spelled = addresses.spell(parsed) if parsed else ""
            if spelled not in found.get(name, ()):
                found[name] = (*found.get(name, ()), spelled)
    return found


def name_servers(path: str) -> tuple[str, ...]:
    """The first three servers of a ``resolv.conf``; the machine itself if there are none, as resolv.conf(5) says."""
    servers = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if len(words) > 1 and words[0] == "nameserver" and addresses.parse(words[1]):
                    servers.append(words[1])
    except OSError:
        pass
    return tuple(servers[:MAX_SERVERS]) or ("127.0.0.1",)


def _getaddrinfo(name: str) -> Lookup:
    """Blocks. The order is the C library's (RFC 6724)."""
    try:
        found = socket.getaddrinfo(name + ".", 0, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return Lookup("NXDOMAIN")
        if error.errno == getattr(socket, "EAI_NODATA", None):
            return Lookup("NOERROR")
        return Lookup("SERVFAIL", error=error.strerror or "the host's resolver failed")
    except (OSError, UnicodeError) as error:
        return Lookup("SERVFAIL", error=str(error))
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return Lookup("NOERROR", tuple(texts))


async def _in_thread(work: Callable[[], Lookup], done: Callable[[], None]) -> Lookup:
    """Runs blocking work in a daemon thread: one that hangs in the C library does not keep the broker from ending, as a pool's would."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Lookup] = loop.create_future()

    def finish(found: Lookup) -> None:
        done()
        if not future.done():
            future.set_result(found)

    def run() -> None:
        found = work()
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(finish, found)

    try:
        threading.Thread(target=run, name="resolve", daemon=True).start()
    except RuntimeError as error:  # no more threads on this machine
        done()
        return Lookup("SERVFAIL", error=str(error))
    return await future
