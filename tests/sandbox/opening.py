"""Runs a program in a sandbox with a network of its own, and beside it, as the same user, a function that stands in for the broker."""

from __future__ import annotations

import encodings.idna  # noqa: F401  (late imports an ordinary user may not be able to read)
import os
import pickle
import select
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from launching import Launcher, Outcome, become, wait_for_end

from sentra_sandbox.network.sockets import Listeners

PYTHON = "/usr/bin/python3"

# What programs in these tests begin with.
PRELUDE = """
import errno, os, socket, sys, time
def tcp(address, port, family=None):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET); s.settimeout(5); s.connect((address, port)); return s
def udp(address):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); return s
def refused(work):
    start = time.monotonic()
    try: work()
    except OSError as error: print(errno.errorcode.get(error.errno, repr(error)), time.monotonic() - start < 1)
    else: print("it worked")
"""


@dataclass(frozen=True)
class Opened:
    """What became of both."""

    outcome: Outcome
    broker: Any

    @property
    def lines(self) -> list[str]:
        assert not self.outcome.err, self.outcome.err
        assert self.outcome.error is None, self.outcome.error
        return self.outcome.out.splitlines()


def run_open(sandbox: Launcher, program: str, broker: Callable[[Listeners], Any], **options: Any) -> Opened:
    """Run ``program`` (Python text) with ``net="open"`` while ``broker`` has the listeners; both end within seconds or fail."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid, result = _fork_broker(sandbox.who, ours, broker)
    ours.close()
    try:
        outcome = sandbox([PYTHON, "-c", PRELUDE + program], net="open", network_fd=theirs.fileno(), **options)
    finally:
        theirs.close()
        wait_for_end(pid, 10)
        with os.fdopen(result, "rb") as file:
            ok, value = pickle.load(file)
    assert ok, f"{value}\n{outcome}"
    return Opened(outcome, value)


def _fork_broker(who: str, channel: socket.socket, broker: Callable[[Listeners], Any]) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    answer: tuple[bool, Any]
    try:
        become(who)
        ready([channel])
        answer = (True, broker(Listeners.receive(channel.fileno())))
    except BaseException:
        answer = (False, traceback.format_exc())
    os.write(writer, pickle.dumps(answer))
    os._exit(0)


def ready(sockets: Sequence[socket.socket], timeout: float = 5) -> socket.socket:
    """The first socket with something to read."""
    found, _, _ = select.select(sockets, [], [], timeout)
    if not found:
        raise AssertionError(f"nothing arrived within {timeout} s")
    return found[0]


def quiet(sockets: Sequence[socket.socket], seconds: float) -> bool:
    """Whether nothing arrives for so long."""
    time.sleep(seconds)
    return not select.select(sockets, [], [], 0)[0]


def accept(sockets: Sequence[socket.socket]) -> socket.socket:
    connection, _ = ready(sockets).accept()
    connection.settimeout(5)
    return connection
