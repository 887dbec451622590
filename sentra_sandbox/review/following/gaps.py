"""What the trace does not show, in words: a review that found nothing in a run with gaps is incomplete."""

from __future__ import annotations

from sentra_sandbox.review.facts import Transfer
from sentra_sandbox.trace.events import Event, Note
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.views.network import Network
from sentra_sandbox.views.summary import note_text

NOTES_MAX = 20
_TLS_PORTS = frozenset({443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 8443})


def of_run(trace: Trace) -> list[str]:
    """From the description of the run."""
    found = []
    state = trace.meta.state
    if state == "incomplete":
        found.append("The run is still being recorded; only what there was at the time of the review was looked at.")
    elif state == "recovered":
        found.append("The recording was cut off; what the program did after its last recorded event is not known.")
    return found


def of_notes(notes: list[Event]) -> list[str]:
    """From the recorder's own notes: what it could not capture."""
    unseen = [f"Not captured (event {event.seq}): {note_text(event)}" for event in notes if event.nr == Note.UNSEEN]
    if len(unseen) > NOTES_MAX:
        unseen[NOTES_MAX:] = [f"... and {len(unseen) - NOTES_MAX} more of this kind."]
    return unseen


def of_network(network: Network, transfers: list[Transfer], own_network: bool) -> list[str]:
    """Encrypted connections whose content nobody saw."""
    hosts: dict[str, int] = {}
    for connection in network.connections.values():
        if connection.tls is not None and connection.tls.mode == "passthrough" and connection.sent:
            hosts[connection.target] = hosts.get(connection.target, 0) + connection.sent
    if not own_network:
        for transfer in transfers:
            if transfer.outgoing and transfer.port in _TLS_PORTS:
                target = f"{transfer.host or transfer.address}:{transfer.port}"
                hosts[target] = hosts.get(target, 0) + transfer.size
    return [f"{size:,} bytes went to {host} encrypted; their content was not seen." for host, size in hosts.items()]
