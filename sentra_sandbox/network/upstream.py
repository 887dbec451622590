"""The other leg: TCP connections to real servers, several addresses tried side by side (RFC 8305).

Who may be reached has been decided before: this file only connects to the addresses it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Sequence

from sentra_sandbox.network.tcp_stream import TcpStream

CONNECT_S = 30.0
_HEAD_START_S = 0.25  # of an address over the next one
_KEEPALIVE_S = 60


class ConnectFailed(Exception):
    """No address answered. ``timeout``: because none did in time; ``refused``: because the (last) one refused."""

    def __init__(self, reason: str, *, timeout: bool = False, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timeout = timeout
        self.refused = refused


async def connect(addresses: Sequence[tuple[str, int]], timeout_s: float = CONNECT_S) -> TcpStream:
    """A connection to the first of these addresses that answers. Raises ``ConnectFailed``."""
    if not addresses:
        raise ConnectFailed("the name has no address")
    attempts: list[asyncio.Task[socket.socket]] = []
    waiting: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    left = list(_interleaved(addresses))
    deadline = asyncio.get_running_loop().time() + timeout_s
    try:
        while left or waiting:
            if left:
                attempts.append(asyncio.ensure_future(_connect_one(*left.pop(0))))
                waiting.add(attempts[-1])
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                raise ConnectFailed(f"no answer from {_words(addresses)} within {timeout_s:g} s", timeout=True)
            patience = min(_HEAD_START_S, remaining) if left else remaining
            done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    attempts.remove(attempt)
                    return TcpStream(attempt.result())
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close_late)
            attempt.cancel()
    last = errors[-1]
    reason = os.strerror(last.errno) if last.errno else str(last)
    raise ConnectFailed(
        f"{_words(addresses)}: {reason}", timeout=last.errno == errno.ETIMEDOUT, refused=last.errno == errno.ECONNREFUSED
    )


def _close_late(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _interleaved(addresses: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """IPv6 and IPv4 in turn, each family in its order, beginning with the family of the first."""
    first = [each for each in addresses if (":" in each[0]) == (":" in addresses[0][0])]
    second = [each for each in addresses if each not in first]
    mixed = [pair for both in zip(first, second, strict=False) for pair in both]
    return mixed + first[len(second) :] + second[len(first) :]


async def _connect_one(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


def _words(addresses: Sequence[tuple[str, int]]) -> str:
    texts = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in addresses]
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")
