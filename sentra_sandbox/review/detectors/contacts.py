"""Which process talked to which host, however the trace tells: the broker's connections, or the program's own sockets. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sentra_sandbox.review.detectors.derived import once
from sentra_sandbox.review.detectors.evidence import of_connection, pid_of, shown, who
from sentra_sandbox.review.facts import Facts, Transfer
from sentra_sandbox.review.findings import Evidence
from sentra_sandbox.views.connections import Connection


@dataclass(frozen=True, slots=True)
class Contact:
    """One peer of a process. ``connection`` is None where the broker saw none (the host's network)."""

    process: int
    host: str
    port: int
    seq: int
    connection: Connection | None
    transfer: Transfer | None

    @property
    def is_raw(self) -> bool:
        """Neither HTTP nor TLS that the broker saw: bytes that programs exchange as they like."""
        if self.connection is None:
            return self.transfer is not None and self.transfer.protocol.startswith("tcp")
        return self.connection.protocol == "tcp" and not self.connection.exchanges and self.connection.tls is None

    def evidence(self, facts: Facts) -> Evidence:
        if self.connection is not None:
            return of_connection(self.connection, f"{who(facts, self.process)} connects to {shown(self.connection.target)}")
        return Evidence(
            self.seq, f"{who(facts, self.process)} exchanges bytes with {shown(self.host)} port {self.port}", pid_of(facts, self.process)
        )


def contacts(facts: Facts) -> list[Contact]:
    """All of them, in the order of events."""
    return once(facts, "contacts", _contacts)


def _contacts(facts: Facts) -> list[Contact]:
    found = []
    users: dict[int, int] = {transfer.connection: transfer.process for transfer in facts.transfers if transfer.connection}
    for connection in facts.network.connections.values():
        process = facts.process_of(connection.task, connection.seq) if connection.task else users.get(connection.number, 0)
        found.append(Contact(process, connection.host, connection.server[1], connection.seq, connection, None))
    for transfer in facts.transfers:
        if transfer.connection not in facts.network.connections:
            seq = transfer.seqs[0] if transfer.seqs else 0
            found.append(Contact(transfer.process, transfer.host or transfer.address, transfer.port, seq, None, transfer))
    return sorted(found, key=lambda contact: contact.seq)
