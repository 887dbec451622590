"""The broker's process: carries the sandbox's network, and records it.

Started by the supervisor (``record/network.py``) at the first packet, with four descriptors: ``inside`` (the listeners come from there, and
tie it to the sandbox's network), ``control`` (a SOCK_SEQPACKET socket to the supervisor), ``settings`` (JSON, ``BrokerSettings``), and the
eventfd of the arena's sealer.

    supervisor → broker   Q        the sandbox is gone: write what is left and end
                          P<port>  listen to this TCP port (only where TPROXY is missing)
    broker → supervisor   T        the certificate bundle is complete
                          p        the port is listened to
    end of ``control``    the supervisor is gone: end at once

Nothing that a program or a server does may end this process: what one connection raises is noted there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sentra_sandbox.errors import SentraError
from sentra_sandbox.network.connection import Connection, Services
from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.dns import DnsServer
from sentra_sandbox.network.journal import ArenaJournal, Journal
from sentra_sandbox.network.names import NameTable
from sentra_sandbox.network.resolver import Resolver
from sentra_sandbox.network.settings import BrokerSettings
from sentra_sandbox.network.sockets import Listeners, SocketMaker
from sentra_sandbox.network.tcp_stream import TcpStream
from sentra_sandbox.network.udp import UdpFlows
from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.network_events import NetworkType

if TYPE_CHECKING:
    from sentra_sandbox.network.recorded import Recording
    from sentra_sandbox.network.tls_services import TlsServices

_ACCEPTS_IN_A_ROW = 64
_NO_DESCRIPTORS_S = 0.1
_GRACE_S = 0.25  # for connections whose ends are still on their way when the sandbox is gone
_DNS = 53
# Loaded once listening has begun: most programs resolve a name first, and these are ready when they connect.
_SOON = ("guard", "live", "http1", "tls_services", "tls_leg", "http2")


def main(inside: int, control: int, settings_fd: int, event_fd: int) -> int:
    """The process. Returns its exit status."""
    _close_others({inside, control, settings_fd, event_fd})
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)  # for the program, not for us
    _raise_descriptor_limit()
    settings = read_settings(settings_fd)
    try:
        listeners = Listeners.receive(inside)
        arena = Arena.open(settings.arena)
        arena.use_eventfd(event_fd)
        maker = SocketMaker.start(listeners.all()[0])
        journal = ArenaJournal(arena)
        recording = _open_recording(settings, journal)
    except SentraError as error:
        print(f"the network broker could not begin: {error}", file=sys.stderr)
        return 1
    asyncio.run(_run(settings, listeners, maker, control, journal, recording))
    sys.stderr.flush()
    os._exit(0)  # threads that wait for the host's resolver would hold a usual exit up


async def _run(
    settings: BrokerSettings, listeners: Listeners, maker: SocketMaker, control: int, journal: Journal, recording: Recording | None
) -> None:
    broker = Broker(settings, listeners, maker, socket.socket(fileno=control), journal, recording)
    await broker.run()


def _open_recording(settings: BrokerSettings, journal: Journal) -> Recording | None:
    if not settings.recording:
        return None
    from pathlib import Path

    from sentra_sandbox.network.match_rules import rules_of
    from sentra_sandbox.network.recorded import Recording

    return Recording.open(Path(settings.recording), rules_of(settings.match), journal)


def read_settings(fd: int) -> BrokerSettings:
    """From JSON. Closes ``fd``."""
    with open(fd, encoding="utf-8") as file:
        fields = json.load(file)
    policy = NetworkPolicy(**fields.pop("policy"))
    return BrokerSettings(policy=policy, **fields)


def _close_others(kept: set[int]) -> None:
    """Descriptors that whoever started the supervisor left open are not for us."""
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Broker:
    """All of it in one event loop."""

    def __init__(
        self,
        settings: BrokerSettings,
        listeners: Listeners,
        maker: SocketMaker,
        control: socket.socket,
        journal: Journal,
        recording: Recording | None = None,
    ) -> None:
        control.setblocking(False)
        self._settings = settings
        self._listeners = listeners
        self._maker = maker
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._tls: TlsServices | None = None
        self._recording = recording
        names, resolver = NameTable(), Resolver() if recording is None else recording.resolver()
        self._services = Services(settings.policy, names, resolver, journal, self._tls_services, recording)
        self._dns = DnsServer(settings.policy, names, resolver, journal, hostname=settings.hostname)
        self._udp = UdpFlows(self._services, self._dns, maker)

    async def run(self) -> None:
        """Serve until the supervisor says or shows that the run is over."""
        self._loop.add_reader(self._control.fileno(), self._on_control)
        made = self._listeners
        for listener in made.tcp:
            self._accept_from(listener, self._take)
        for listener in made.local_tcp:
            self._accept_from(listener, self._take_local)
        for listener in made.udp:
            self._udp.listen(listener)
        for listener in made.dns_udp:
            self._start(self._dns.serve_udp(listener))
        for listener in made.dns_tcp:
            self._start(self._dns.serve_tcp(listener))
        self._start(self._prepare())
        await self._stopped
        await self._end()

    async def _prepare(self) -> None:
        """Do early what would else keep the first connection waiting."""
        if self._settings.trust:
            self._write_trust()
        for name in _SOON:
            await asyncio.sleep(0)  # what has arrived meanwhile comes first
            importlib.import_module(f"sentra_sandbox.network.{name}")

    # ---- TCP

    def _accept_from(self, listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
        self._loop.add_reader(listener.fileno(), self._on_connection, listener, take)

    def _on_connection(self, listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
        for _ in range(_ACCEPTS_IN_A_ROW):
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._cannot_accept(listener, take, error)
                return
            take(accepted)

    def _cannot_accept(self, listener: socket.socket, take: Callable[[socket.socket], None], error: OSError) -> None:
        """No descriptors, most likely: what waits stays in the kernel's queue until some connection has ended."""
        self._loop.remove_reader(listener.fileno())
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            print(f"accept: {error}", file=sys.stderr)
        self._loop.call_later(_NO_DESCRIPTORS_S, self._accept_from, listener, take)

    def _take(self, accepted: socket.socket) -> None:
        if accepted.getsockname()[1] == _DNS:
            self._start(self._serve_dns(TcpStream(accepted)))
        else:
            self._start(Connection(self._services, TcpStream(accepted)).run())

    def _take_local(self, accepted: socket.socket) -> None:
        self._start(Connection(self._services, TcpStream(accepted), local=True).run())

    async def _serve_dns(self, stream: TcpStream) -> None:
        with contextlib.suppress(OSError):  # it left at once
            await self._dns.serve_stream(stream, stream.peer, stream.local)
        await stream.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- TLS

    def _tls_services(self) -> TlsServices:
        if self._tls is None:
            from sentra_sandbox.network.tls_services import TlsServices

            self._tls = TlsServices(self._settings.policy, self._settings.variables or {})
        return self._tls

    def _write_trust(self) -> None:
        """The CA of the run goes into the files that the sandbox sees."""
        from sentra_sandbox.network import trust
        from sentra_sandbox.network.trust_paths import java_store_of

        present = self._settings.variables or {}
        try:
            authority = self._tls_services().authority
            trust.write_bundle(self._settings.trust, authority, present)
            store = java_store_of(self._settings.trust)
            if os.path.exists(store):
                trust.write_java_store(store, authority, present)
        except SentraError as error:
            fields = {"what": "certificates could not be prepared", "detail": error.message, "remedy": error.remedy}
            self._services.journal.write(NetworkType.PROBLEM, fields)
        self._tell(b"T")

    # ---- the supervisor

    def _on_control(self) -> None:
        try:
            message = self._control.recv(256)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            message = b""
        if not message:
            os._exit(0)  # the supervisor was killed; who opens the run seals what was written
        if message == b"Q":
            self._loop.remove_reader(self._control.fileno())
            if not self._stopped.done():
                self._stopped.set_result(None)
        elif message.startswith(b"P") and message[1:].isdigit():
            self._listen_to(int(message[1:]))

    def _listen_to(self, port: int) -> None:
        for address in ("0.0.0.0", "::"):
            try:
                self._accept_from(self._maker.tcp_listener(address, port), self._take)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    fields = {"what": "a port cannot be listened to", "detail": f"{address} port {port}: {error.strerror}"}
                    self._services.journal.write(NetworkType.PROBLEM, fields)
        self._tell(b"p")

    def _tell(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone, which will be noticed
            self._control.send(message)

    async def _end(self) -> None:
        """Let what is under way come to its end, then end it; every connection gets its CLOSE event."""
        deadline = self._loop.time() + _GRACE_S
        while self._services.open_connections and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        self._udp.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._recording is not None:
            self._recording.finish()
