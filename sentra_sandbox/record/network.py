"""The supervisor's side of the sandbox's own network: hands its listeners to the broker, and starts and ends the broker.

Like inetd: pid 1 of the sandbox sends its listeners here, they are watched, and the broker (another process, outside the sandbox) is
started when the first packet or connection arrives, or when the engine says that a program has made its first socket. A run that
never uses the network pays for two socket pairs.

    sandbox's pid 1 ── listeners ──► inside ──(the socket itself, message unread)──► broker
    engine ── wants certificates, a port ──► requests ──► control ──► broker ── done ──► control ──► requests ──► engine

When the broker dies, its listeners die with it: the sandbox's network refuses everything from then on, the recording goes on, and an
event and the run's note say so. When this process dies, the broker finds ``control`` ended and ends too.
Rule of this file: no module that costs time to load, unless the broker is started.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

TYPE_CHECKING = False  # type checkers take it for true; loading typing or signal takes 2 to 4 ms
if TYPE_CHECKING:
    import select
    import signal
    from collections.abc import Callable, Mapping
    from typing import Any

    from sentra_sandbox.trace.arena import Arena
else:
    import _signal as signal  # the same calls, without the enums of signal.py

BROKER_RING = 1
LOG = "broker.log"
_FDS_MAX = 253  # of one message (SCM_MAX_FD)
_STOP_S = 3.0
_REQUEST_BYTES = 8
_REQUEST_TRUST, _REQUEST_PORT, _REQUEST_START = 1, 2, 3  # enum sentra_request_kind
_ANSWER, _ANSWER_EVERY_PORT = b"\1", b"\2"  # enum sentra_answer
_HAVE_TPROXY = 2 | 4  # enum sentra_network_flag, first word of the message that brings the listeners
_READABLE = 1  # POLLIN

# What the broker's process runs: this very package, whatever else of that name could be found, and what it needs from our own site
# directories, in our order, behind the standard library. Nothing is looked for in the current directory or where PYTHON* variables
# point (-I), and nothing runs that a site directory would have run (-S).
_PROGRAM = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
sys.path += sys.argv[6:]
spec = spec_from_file_location("sentra_sandbox", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
sys.modules["sentra_sandbox"] = package = module_from_spec(spec)
spec.loader.exec_module(package)
from sentra_sandbox.network.broker import main
sys.exit(main(*map(int, sys.argv[2:6])))
"""


class SandboxNetwork:
    """One run's. Made before the launch; ``close`` ends everything.

    ``network_fd`` is for the plan, ``request_fd`` for the engine. ``problem`` says why the sandbox lost its network ("" if it did not).
    """

    def __init__(self, directory: str, arena: Arena, settings: Mapping[str, Any]) -> None:
        pair = _socket.socketpair
        self._inside, self._to_inside = pair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self._requests, self._to_requests = pair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.network_fd = int(self._to_inside.fileno())
        self.request_fd = int(self._to_requests.fileno())
        self.problem = ""
        self._directory = directory
        self._settings = settings
        self._listeners: list[int] = []
        self._control: _socket.socket | None = None
        self._pid = 0
        self._has_tproxy = True
        self._trust_complete = False
        self._questions = 0  # the engine's, that the broker has not answered; it asks one at a time
        self._poller: select.poll | None = None
        self._arena = arena
        self._handlers: dict[int, Callable[[], None]] = {}

    # ---- waiting

    def attach(self, poller: select.poll) -> None:
        """From now on this network's descriptors are polled; ``handle`` is told which are ready."""
        self._poller = poller
        self._watch(int(self._inside.fileno()), self._listeners_came)
        self._watch(int(self._requests.fileno()), self._request_came)

    def handle(self, ready: set[int]) -> None:
        """Do what the ready descriptors ask for. Never raises for what the sandbox or the broker does."""
        for fd in ready & self._handlers.keys():
            handler = self._handlers.get(fd)  # an earlier one may have taken it away
            if handler is not None:
                handler()

    def _watch(self, fd: int, handler: Callable[[], None]) -> None:
        assert self._poller is not None
        self._handlers[fd] = handler
        self._poller.register(fd, _READABLE)

    def _unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None and self._poller is not None:
            self._poller.unregister(fd)

    def _listeners_came(self) -> None:
        """Look at the message without taking it: looking gives descriptors of our own to poll; the broker gets the message."""
        self._unwatch(int(self._inside.fileno()))
        self._to_inside.close()
        size = _socket.CMSG_SPACE(_FDS_MAX * 4)
        try:
            data, ancillary, _, _ = self._inside.recvmsg(65536, size, _socket.MSG_PEEK | _socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return
        if not data:
            return  # the launch failed
        self._has_tproxy = int.from_bytes(data[:4], "little") & _HAVE_TPROXY != 0
        for level, kind, payload in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                count = len(payload) // 4
                self._listeners += memoryview(payload)[: count * 4].cast("i")
        if self._pid:
            self._forget_listeners()  # it was started by a request, and reads them itself
        for fd in self._listeners:
            self._watch(fd, self._start)

    def _forget_listeners(self) -> None:
        for fd in self._listeners:
            self._unwatch(fd)
            os.close(fd)
        self._listeners = []

    # ---- the engine's questions

    def _request_came(self) -> None:
        try:
            request = self._requests.recv(_REQUEST_BYTES)
        except OSError:
            request = b""
        if len(request) != _REQUEST_BYTES:  # the engine has ended
            self._unwatch(int(self._requests.fileno()))
            return
        kind, value = int.from_bytes(request[:4], "little"), int.from_bytes(request[4:], "little")
        if kind == _REQUEST_START:
            self._start()
        elif kind == _REQUEST_PORT and self._has_tproxy:  # TPROXY brings every port
            self._answer(_ANSWER_EVERY_PORT)
        else:
            self._start()
            self._ask_broker(kind, value)

    def _ask_broker(self, kind: int, value: int) -> None:
        self._questions += 1
        if self._control is None:  # it could not be started, or is gone: nothing to wait for
            self._answer_all()
        elif kind == _REQUEST_PORT:
            self._tell(b"P%d" % value)
        elif self._trust_complete:
            self._answer_all()

    def _answer_all(self) -> None:
        while self._questions:
            self._questions -= 1
            self._answer(_ANSWER)

    def _answer(self, answer: bytes) -> None:
        try:  # noqa: SIM105 - loading contextlib takes time
            self._requests.send(answer, _socket.MSG_DONTWAIT)
        except OSError:
            pass  # the engine has ended

    # ---- the broker

    def _start(self) -> None:
        if self._pid or self.problem:
            return
        self._control, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        settings = self._settings_fd()
        try:
            self._pid = self._spawn(int(theirs.fileno()), settings)
        except OSError as error:
            self._lost(f"the broker could not be started: {error.strerror}")
            return
        finally:
            theirs.close()
            os.close(settings)
        self._watch(int(self._control.fileno()), self._broker_spoke)
        if self._listeners:
            self._forget_listeners()

    def _settings_fd(self) -> int:
        from sentra_sandbox.trace.json_text import compact

        fd = os.memfd_create("settings")
        data = compact(self._settings, sort_keys=True).encode()
        while data:
            data = data[os.write(fd, data) :]
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def _spawn(self, control: int, settings: int) -> int:
        kept = (int(self._inside.fileno()), control, settings, self._arena.eventfd())
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        sites = [path for path in sys.path if path.endswith(("/site-packages", "/dist-packages")) and os.path.isabs(path)]
        argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, package, *map(str, kept), *sites]
        log = f"{self._directory}/{LOG}"
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in kept),  # inherited under their own numbers
        ]
        # A session of its own: what the terminal sends is for the program, which may outlive it and still want its network.
        return os.posix_spawn(
            sys.executable, argv, os.environ, file_actions=actions, setsid=True, setsigmask=(), setsigdef=range(1, 32)
        )

    def _tell(self, message: bytes) -> None:
        assert self._control is not None
        try:  # noqa: SIM105 - loading contextlib takes time
            self._control.send(message, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except OSError:
            pass  # its end will be seen

    def _broker_spoke(self) -> None:
        assert self._control is not None
        try:
            message = self._control.recv(256, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._lost(f"the broker ended unexpectedly ({self._reap()})")
            return
        if message == b"T":
            self._trust_complete = True
        self._answer_all()

    def _reap(self) -> str:
        """Wait for the broker, which closed its socket or is to be killed; how it ended."""
        pid, self._pid = self._pid, 0
        deadline = time.monotonic() + 1.0
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                break
            time.sleep(0.002)
        return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {os.WEXITSTATUS(status)}"

    def _lost(self, reason: str) -> None:
        """No network any more: everything that listened is closed, and the run says so."""
        self.problem = f"the sandbox's network was refused from then on: {reason}"
        if self._control is not None:
            self._unwatch(int(self._control.fileno()))
            self._control.close()
            self._control = None
        self._forget_listeners()
        self._unwatch(int(self._inside.fileno()))
        self._inside.close()
        self._answer_all()
        self._note(reason)

    def _note(self, reason: str) -> None:
        """An event in the broker's ring: it has no other producer now."""
        from sentra_sandbox.errors import RecordingError
        from sentra_sandbox.trace.network_events import NetworkEvent, NetworkType, to_event

        if self._arena.rings <= BROKER_RING or self._arena.waiting(BROKER_RING) > self._arena.ring_bytes // 2:
            return  # no room without somebody who empties it, which would be us; the run's note says it too
        remedy = f"See {self._directory}/{LOG}." if self._log_size() else ""
        fields = {"what": "the sandbox lost its network", "detail": reason, "remedy": remedy}
        now = time.monotonic_ns() - self._arena.start_monotonic_ns
        try:  # noqa: SIM105
            self._arena.append(to_event(NetworkEvent(NetworkType.PROBLEM, fields, time_ns=now)), BROKER_RING)
        except RecordingError:
            pass  # the run is being closed

    # ---- the end

    def stop(self, meanwhile: Callable[[], None]) -> None:
        """The sandbox is gone: let the broker write what it still has, and end it. ``meanwhile`` empties the rings."""
        if not self._pid or self._control is None:
            return
        import select

        self._tell(b"Q")
        poller = select.poll()
        poller.register(int(self._control.fileno()), _READABLE)
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline:
            if poller.poll(20):
                try:
                    if not self._control.recv(256, _socket.MSG_DONTWAIT):
                        break
                except OSError:
                    break
            meanwhile()
        else:
            os.kill(self._pid, signal.SIGKILL)
            self.problem = f"the network broker did not end within {_STOP_S:g} s and was killed; its last events may be missing"
        ended = self._reap()
        if ended != "exit status 0" and not self.problem:
            self.problem = f"the network broker failed at the end ({ended}); its last events may be missing"

    def close(self) -> None:
        """Free everything; the broker is killed if it still runs."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._reap()
        self._forget_listeners()
        for each in (self._inside, self._to_inside, self._requests, self._to_requests, self._control):
            if each is not None:
                each.close()
        self._handlers.clear()
        if not self._log_size():
            _unlink(f"{self._directory}/{LOG}")

    def _log_size(self) -> int:
        try:
            return os.stat(f"{self._directory}/{LOG}").st_size
        except OSError:
            return 0


def _unlink(path: str) -> None:
    try:  # noqa: SIM105 - loading contextlib takes time
        os.unlink(path)
    except OSError:
        pass
