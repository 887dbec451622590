"""Reading the ``events`` file: block headers, frames, chain. No native part; hostile input.

``BlockFile`` is a snapshot-free view: a live run's file may grow between calls. A torn block at the end of an
unfinished run is where the file ends; anything else that is wrong is a ``TraceError`` with path and offset.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import TraceError
from sentra_sandbox.trace import codec, frames
from sentra_sandbox.trace import format as layout
from sentra_sandbox.trace.events import Event


@dataclass(frozen=True, slots=True)
class Block:
    """A block's place and header."""

    offset: int
    header: layout.BlockHeader

    @property
    def end(self) -> int:
        return self.offset + self.header.size


class BlockFile:
    """An open ``events`` file. Raises ``TraceError`` from the constructor when it is missing or none."""

    def __init__(self, path: Path, unfinished: bool = False) -> None:
        self.path = path
        self._unfinished = unfinished
        self._fd = -1
        self._open()

    def _open(self) -> bool:
        """Open and check the file unless done; False while the file of an unfinished run has no whole header yet."""
        if self._fd >= 0:
            return True
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            if self._unfinished:
                return False
            raise TraceError(f"{self.path} is missing.", path=str(self.path)) from error
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.strerror}.", path=str(self.path)) from error
        try:
            header = self._read_from(fd, layout.EVENTS_HEADER_SIZE, 0)
            if not self._unfinished or len(header) == layout.EVENTS_HEADER_SIZE:
                layout.EventsHeader.unpack(header, str(self.path))
                self._fd, fd = fd, -1
        finally:
            if fd >= 0:
                os.close(fd)
        return self._fd >= 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def start(self) -> layout.EventsHeader:
        """The file's header. Raises ``TraceError``, also when there is none yet."""
        return layout.EventsHeader.unpack(self._read(layout.EVENTS_HEADER_SIZE, 0), str(self.path))

    def size(self) -> int:
        return os.fstat(self._fd).st_size if self._open() else 0

    def damaged(self, what: str, offset: int) -> TraceError:
        return TraceError(
            f"The trace is damaged: {what} in {self.path} at byte {offset}.",
            "Restore the file from a copy.",
            path=str(self.path),
            offset=offset,
        )

    def _read(self, count: int, offset: int) -> bytes:
        return self._read_from(self._fd, count, offset) if self._open() else b""

    def _read_from(self, fd: int, count: int, offset: int) -> bytes:
        try:
            parts = []
            while count and (part := os.pread(fd, count, offset)):
                parts.append(part)
                count -= len(part)
                offset += len(part)
            return b"".join(parts)
        except OSError as error:
            raise TraceError(
                f"{self.path} cannot be read: {error.strerror}.", path=str(self.path), offset=offset
            ) from error

    def block_at(self, offset: int) -> Block | None:
        """The block that begins at ``offset``; None if the file ends before it is whole."""
        data = self._read(layout.BLOCK_HEADER_SIZE, offset)
        if len(data) < layout.BLOCK_HEADER_SIZE:
            return None
        header = layout.unpack_block_header(data, str(self.path), offset)
        return Block(offset, header) if offset + header.size <= self.size() else None

    def blocks(self, offset: int = layout.EVENTS_HEADER_SIZE, previous: Block | None = None) -> Iterator[Block]:
        """All whole blocks from ``offset`` on; with ``previous`` the chain is checked from there (from the start:
        always).
        """
        while (block := self.block_at(offset)) is not None:
            first = offset == layout.EVENTS_HEADER_SIZE
            if previous is not None or first:
                expected = layout.ZERO_HASH if previous is None else previous.header.digest
                if block.header.previous != expected:
                    raise self.damaged("a block that does not continue the one before it", offset)
                if previous is not None and block.header.first_seq <= previous.header.last_seq:
                    raise self.damaged("sequence numbers that go backwards", offset)
            yield block
            previous = block
            offset = block.end

    def content(self, block: Block) -> bytes:
        """The packed content of a block, its hash checked. Raises ``TraceError``."""
        frame = self._read(block.header.frame_bytes, block.offset + layout.BLOCK_HEADER_SIZE)
        if len(frame) != block.header.frame_bytes or layout.block_digest(block.header, frame) != block.header.digest:
            raise self.damaged("a block whose hash does not match", block.offset)
        try:
            return frames.decompress(frame, block.header.content_bytes)
        except frames.FrameError as error:
            raise self.damaged(str(error), block.offset) from error

    def events(self, block: Block, resolve: codec.Resolve, least_type: int = 0) -> list[Event]:
        """The events of a block; none if it has none of this type or a higher one. Raises ``TraceError``."""
        try:
            content = self.content(block)
            if least_type and max(codec.packed_types(content)) < least_type:
                return []
            events = codec.unpack(content, resolve)
        except codec.CodecError as error:
            raise self.damaged(f"a block whose content breaks the layout ({error})", block.offset) from error
        header = block.header
        if len(events) != header.events or events[0].seq != header.first_seq or events[-1].seq != header.last_seq:
            raise self.damaged("a block whose header contradicts its content", block.offset)
        return events
