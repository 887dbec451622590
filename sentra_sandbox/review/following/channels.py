"""Bytes from one process to another: pipes, socket pairs, unix and loopback sockets, files, arguments, memory.

A flow is between two processes by one channel; what passed by it is summed up. It says that bytes could have gone that way, and when
first and last; which bytes is told by their content.
"""

from __future__ import annotations

from sentra_sandbox.review.facts import Flow

FLOWS_MAX = 100_000


class Channels:
    """Collects writings, and makes a flow of each reading by another process."""

    def __init__(self) -> None:
        self.flows: dict[tuple[int, int, str, str], Flow] = {}
        self._written: dict[object, dict[int, tuple[int, int]]] = {}  # channel → process → first seq, bytes
        self.left_out = 0

    def write(self, channel: object, process: int, seq: int, size: int) -> None:
        writers = self._written.setdefault(channel, {})
        first, before = writers.get(process, (seq, 0))
        writers[process] = first, before + size

    def read(self, channel: object, process: int, seq: int, size: int, kind: str, name: str) -> None:
        """``size`` of the flow is what was read, with one writer, or else at most what the writer wrote."""
        writers = self._written.get(channel)
        if not writers:
            return
        for writer, (first, written) in writers.items():
            if writer != process:
                flow = self.add(writer, process, kind, name, first, seq, size)
                if flow is not None and written:
                    flow.size = min(flow.size, written)

    def renamed(self, old: object, new: object) -> None:
        if (writers := self._written.pop(old, None)) is not None:
            self._written[new] = writers

    def add(self, source: int, target: int, kind: str, name: str, first: int, last: int, size: int) -> Flow | None:
        """A flow that is known as such, or more of it. None if there are too many."""
        key = source, target, kind, name
        flow = self.flows.get(key)
        if flow is None:
            if len(self.flows) >= FLOWS_MAX:
                self.left_out += 1
                return None
            flow = self.flows[key] = Flow(source, target, kind, name, first, last, 0)
        flow.last_seq = max(flow.last_seq, last)
        flow.size += size
        return flow
