"""Bytes by inet sockets: transfers to and from outside, and flows where both ends are the run's own.

Which name an address has is told by the broker's DNS answers, or (with the host's network) by the answers that the program itself
received from port 53.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentra_sandbox.review.facts import Transfer
from sentra_sandbox.review.following.channels import Channels
from sentra_sandbox.syscalls.memory import SEGMENT_IN, SEGMENT_OUT, Memory
from sentra_sandbox.syscalls.network import address_text
from sentra_sandbox.syscalls.open_files import OpenFile
from sentra_sandbox.syscalls.quoting import signed32
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.network_events import from_event
from sentra_sandbox.views.connections import Connection
from sentra_sandbox.views.endpoints import address
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.places import register

_MSGHDR_SIZE, _MMSGHDR_SIZE, _MESSAGES_MAX = 56, 64, 1024
_INET = ("socket:tcp", "socket:udp", "socket:inet")


class Conversation:
    """What an inet socket is kept with: its transfers by process, direction and peer, and the ends that ENDPOINT told."""

    __slots__ = ("ends", "transfers")

    def __init__(self) -> None:
        self.transfers: dict[tuple[int, bool, str], Transfer] = {}
        self.ends: tuple[str, object, object] | None = None


def is_inet(file: OpenFile) -> bool:
    return file.name.startswith(_INET)


class Sockets:
    """Fed every call that moves bytes by an inet socket, and the ENDPOINT events."""

    def __init__(self, channels: Channels) -> None:
        self.conversations: list[Conversation] = []
        self.listening: dict[int, int] = {}  # port → process
        self.sent_by: dict[int, list[int]] = {}  # connection → calls that sent
        self._channels = channels

    def endpoint(self, event: Event, file: OpenFile | None) -> None:
        """The engine saw that a socket got a peer."""
        found = from_event(event)
        if found is None or file is None:
            return
        local, remote = address(found.fields.get("local")), address(found.fields.get("remote"))
        self._of(file).ends = str(found.fields.get("protocol")), local, remote
        if file.peer is None and remote[0]:
            file.peer = f"[{remote[0]}]:{remote[1]}" if ":" in remote[0] else f"{remote[0]}:{remote[1]}"

    def listens(self, file: OpenFile | None, process: int) -> None:
        if file is not None and is_inet(file) and file.local:
            self.listening[_split(file.local)[1]] = process

    def moved(self, event: Event, process: int, file: OpenFile, size: int, *, outgoing: bool, peer: str = "") -> None:
        """``peer`` is the address that the call itself named."""
        peer = peer or file.peer or ""
        conversation = self._of(file)
        key = process, outgoing, peer
        transfer = conversation.transfers.get(key)
        if transfer is None:
            host, port = _split(peer)
            protocol = "udp" if "udp" in file.name else "tcp" if "tcp" in file.name else file.name.partition(":")[2]
            transfer = conversation.transfers[key] = Transfer(process, outgoing, "", host, port, protocol, 0)
        transfer.size += size
        transfer.seqs.append(event.seq)
        self._inside(event, process, file, transfer, size, outgoing=outgoing)

    def _inside(self, event: Event, process: int, file: OpenFile, transfer: Transfer, size: int, *, outgoing: bool) -> None:
        """A port of the run's own: both sides are processes of it."""
        if not _is_loopback(transfer.address):
            return
        accepted = file.local is not None and transfer.port not in self.listening
        port = _split(file.local)[1] if accepted and file.local else transfer.port
        if port not in self.listening:
            return
        side = "server" if accepted else "client"
        name = f"127.0.0.1:{port}"
        if outgoing:
            self._channels.write((name, side), process, event.seq, size)
        else:
            other = "client" if accepted else "server"
            self._channels.read((name, other), process, event.seq, size, "socket", name)

    def _of(self, file: OpenFile) -> Conversation:
        if not isinstance(file.kept, Conversation):
            file.kept = Conversation()
            self.conversations.append(file.kept)
        return file.kept

    def transfers(self, network: Network, names: dict[str, str], own_network: bool) -> list[Transfer]:
        """All of the run. HTTP exchanges and DNS of the broker are not among them: ``network`` has those."""
        connections = {(c.protocol, c.client, c.server): c for c in network.connections.values()}
        servers = {c.server[0]: c.name for c in network.connections.values() if c.name}
        found: list[Transfer] = []
        for conversation in self.conversations:
            connection = connections.get(conversation.ends) if conversation.ends else None  # type: ignore[arg-type]
            for transfer in conversation.transfers.values():
                transfer.host = servers.get(transfer.address) or names.get(transfer.address, "")
                if connection is not None:
                    transfer.connection, transfer.host = connection.number, connection.host
                    if transfer.outgoing:
                        self.sent_by.setdefault(connection.number, []).extend(transfer.seqs)
                    if connection.exchanges or _holds_bytes(connection):
                        continue
                if self._left(transfer, own_network):
                    found.append(transfer)
        for connection in network.connections.values():
            if _holds_bytes(connection):
                found.extend(_carried(connection))
        return found

    def _left(self, transfer: Transfer, own_network: bool) -> bool:
        """Whether it is not between processes of the run, and not a question to the broker's DNS."""
        if own_network and transfer.port == 53:
            return False
        return bool(transfer.address) and not (_is_loopback(transfer.address) and (own_network or transfer.port in self.listening))


def _holds_bytes(connection: Connection) -> bool:
    """The broker recorded the bytes themselves: of TLS that it took off, what was inside."""
    return any(t.piece.data is None or t.piece.data for t in connection.transfers)


def _carried(connection: Connection) -> Iterable[Transfer]:
    """Process numbers are put in by the caller: ``process`` is the task here."""
    for outgoing in (True, False):
        pieces = [t.piece for t in connection.transfers if t.to_client != outgoing]
        if pieces:
            size = sum(piece.size for piece in pieces)
            seqs = [piece.seq for piece in pieces]
            yield Transfer(
                -connection.task, outgoing, connection.host, connection.server[0], connection.server[1], connection.protocol, size, seqs,
                connection.number,
            )  # fmt: skip


def message_peer(event: Event, name: str, *, outgoing: bool) -> str:
    """The address that a sendto, recvfrom, sendmsg or recvmsg call named; ``""`` if none."""
    memory = Memory(event.segments)
    kind = SEGMENT_IN if outgoing else SEGMENT_OUT
    if name in ("sendto", "recvfrom"):
        pointer = register(event, 4)
        segment = memory.segment(4, pointer, kind) if pointer else None
        return (address_text(segment.data) or "") if segment else ""
    header = memory.read(register(event, 1), 16, (SEGMENT_OUT, SEGMENT_IN) if not outgoing else (SEGMENT_IN, SEGMENT_OUT)) or b""
    pointer = int.from_bytes(header[:8], "little")
    length = signed32(int.from_bytes(header[8:12], "little"))
    data = memory.read(pointer, max(length, 0), (kind,)) if pointer else None
    return (address_text(data) or "") if data else ""


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return host.removeprefix("::ffff:") if "." in host else host, int(port) if port.isdigit() else 0


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "0.0.0.0", "::")


def endpoint_descriptor(event: Event) -> int:
    """The descriptor that an ENDPOINT event is about, -1 if it says none."""
    found = from_event(event)
    fd = found.fields.get("fd") if found is not None else None
    return fd if isinstance(fd, int) else -1


def message_bytes(event: Event) -> int:
    """Bytes of a sendmmsg or recvmmsg call, whose result counts messages."""
    memory = Memory(event.segments)
    total = 0
    for number in range(min(event.result, _MESSAGES_MAX)):
        length = memory.read(register(event, 1) + number * _MMSGHDR_SIZE + _MSGHDR_SIZE, 4, (SEGMENT_OUT,))
        total += int.from_bytes(length or b"", "little")
    return total
