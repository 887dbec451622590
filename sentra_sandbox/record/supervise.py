"""The supervisor's waiting: signals to pass on, a deadline, rings to seal, the end of the run.

Runs in the caller's thread while the engine's thread traces. Python code runs here a few times a second, never per system call.
"""

from __future__ import annotations

import os
import select
import time

from sentra_sandbox.native import lib, new_error, raise_setup

TYPE_CHECKING = False  # type checkers take it for true; loading typing or signal takes 2 to 4 ms
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any

    from sentra_sandbox.record.network import SandboxNetwork
else:
    import _signal as signal  # the same calls, without the enums of signal.py

FORWARDED = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT,
)  # fmt: skip
_SIGINFO_BYTES = 128
_SI_KERNEL = 0x80
_ROUND_S = 0.25
_GRACE_S = 2.0


class SignalWatch:
    """Signals to this process become readable here instead of acting on it; a context manager.

    What the terminal sends reaches the program by itself (it is in our process group); what another process sends only us is passed on.
    ``active`` False: nothing is watched, ``fd`` is -1.
    """

    def __init__(self, active: bool = True) -> None:
        self._active = active
        self._before: set[signal.Signals] = set()
        self._leads_session = os.getsid(0) == os.getpid()  # a hang-up is told to the session's leader only
        self.fd = -1

    def __enter__(self) -> SignalWatch:
        if not self._active:
            return self
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # type: ignore[assignment]
        error = new_error()
        mask = sum(1 << (number - 1) for number in FORWARDED)
        self.fd = int(lib.sentra_signal_fd(mask, error))
        if self.fd < 0:
            raise_setup(error)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._active:
            return
        if self.fd >= 0:
            self.pending()  # the run is over: what came late is dropped with it
            os.close(self.fd)
            self.fd = -1
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def pending(self) -> list[int]:
        """Numbers of signals that another process sent to us alone."""
        from struct import unpack_from

        numbers: list[int] = []
        while True:
            try:
                data = os.read(self.fd, _SIGINFO_BYTES)
            except BlockingIOError:
                return numbers
            number, _, code = unpack_from("=IiI", data)
            if code != _SI_KERNEL or number == signal.SIGCONT or (number == signal.SIGHUP and self._leads_session):
                numbers.append(number)


class Deadline:
    """``--timeout``: SIGTERM when the time is over, the end of the sandbox a moment later."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds
        self.expired = False

    def wait_s(self) -> float:
        """How long to wait at most before looking again."""
        return _ROUND_S if self._at is None else max(0.0, min(_ROUND_S, self._at - time.monotonic()))

    def check(self, native_run: Any) -> None:
        """Act when the time has come."""
        if self._at is None or time.monotonic() < self._at:
            return
        if self.expired:
            lib.sentra_run_stop(native_run)
        else:
            lib.sentra_run_signal(native_run, signal.SIGTERM)
        self.expired = True
        self._at = time.monotonic() + _GRACE_S


def supervise(
    native_run: Any,
    sealer_fd: int,
    on_round: Callable[[], None],
    on_failure: Callable[[], None],
    deadline: Deadline,
    watch: SignalWatch,
    network: SandboxNetwork | None = None,
) -> None:
    """Wait until the engine has finished. ``on_round`` is called whenever the rings may need sealing,
    and first of all: what sealing needs is then ready when the program ends.

    An exception from ``on_round`` (or KeyboardInterrupt) ends the sandbox, waits for the engine and is raised then. ``on_failure`` is
    called at once: an engine that waits for space in its ring must give up, since nobody makes any.
    """
    done = int(lib.sentra_run_done_fd(native_run))
    poller = select.poll()
    for fd in (sealer_fd, done, *([watch.fd] if watch.fd >= 0 else [])):
        poller.register(fd, select.POLLIN)
    if network is not None:
        network.attach(poller)
    failure: BaseException | None = None
    finished = False
    ready: set[int] = set()
    while not finished:
        try:
            finished = done in ready
            if watch.fd in ready:
                for number in watch.pending():
                    lib.sentra_run_signal(native_run, number)
            deadline.check(native_run)
            if network is not None:
                network.handle(ready)
            if failure is None:
                on_round()
            if not finished:
                ready = {fd for fd, _ in poller.poll(deadline.wait_s() * 1000)}
        except BaseException as error:  # raised again below, once nothing runs any more
            failure = failure or error
            on_failure()
            lib.sentra_run_stop(native_run)
    if failure is not None:
        raise failure
