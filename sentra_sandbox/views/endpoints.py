"""Which task opened a connection: what the engine saw of sockets, joined with what the broker saw, by addresses. Pure.

The two write independently, so either may come first. A TCP port is used again in a long run: an endpoint belongs to one connection, the
one that is nearest. A UDP socket sends many times.
"""

from __future__ import annotations

from typing import Protocol

Address = tuple[str, int]
"""IP address or name, and port; ``("", 0)`` if unknown."""
_ANY = ("0.0.0.0", "::", "")


class _HasTask(Protocol):
    task: int


def address(value: object) -> Address:
    """An ``[address, port]`` of an event; IPv4 addresses as IPv6 sockets show them become plain ones."""
    if isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
        return value[0].removeprefix("::ffff:") if "." in value[0] else value[0], value[1] if 0 <= value[1] < 65536 else 0
    return "", 0


def address_text(where: Address) -> str:
    """``192.0.2.1:80``, ``[2001:db8::1]:80``, ``?`` if unknown."""
    host, port = where
    if not host:
        return f"?:{port}" if port else "?"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class EndpointTable:
    """Takes endpoints and what is to be tied to a task, in the order of events."""

    def __init__(self) -> None:
        self._tcp: dict[tuple[Address, Address], int] = {}  # not yet used
        self._udp: dict[tuple[Address, Address], int] = {}
        self._udp_local: dict[Address, int] = {}
        self._waiting: dict[tuple[str, Address, Address], list[_HasTask]] = {}

    def add(self, protocol: str, local: Address, remote: Address, task: int) -> None:
        """A socket of ``task`` got a peer."""
        waiting = self._waiting.pop(_key(protocol, local, remote), [])
        for what in waiting:
            what.task = task
        if protocol == "udp":
            self._udp[local, remote] = task
            self._udp_local["" if local[0] in _ANY else local[0], local[1]] = task
        elif not waiting:
            self._tcp[local, remote] = task

    def tie(self, what: _HasTask, protocol: str, client: Address, server: Address) -> None:
        """Give ``what`` its task, now or when its endpoint comes."""
        if protocol == "udp":
            candidates = (self._udp.get((client, server)), self._udp_local.get(client), self._udp_local.get(("", client[1])))
            task = next((found for found in candidates if found is not None), None)
        else:
            task = self._tcp.pop((client, server), None)
        if task is None:
            self._waiting.setdefault(_key(protocol, client, server), []).append(what)
        else:
            what.task = task


def _key(protocol: str, client: Address, server: Address) -> tuple[str, Address, Address]:
    """A UDP socket may have no address of its own, only a port."""
    return protocol, ("", client[1]) if protocol == "udp" else client, server
