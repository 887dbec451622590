"""The container of a bundle: a tar file in one zstd frame, its first member a manifest of all others. Pure streams; hostile input.

A bundle can be listed with ``tar --zstd -tf``, but is read by much stricter rules than tar's: there is exactly one way
to write a given list of members, and every byte of a header must be as this file would write it. So links, absolute or
relative paths, devices, extensions and duplicates need no rules of their own: what is not in the manifest, in its
order, is an error. The manifest is text:

    sentra-bundle 1 <run id>
    <sha256 in hex> <size in bytes> <name>
    ...

Each member's content is compared with its line; a changed line no longer fits its member.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

from sentra_sandbox.errors import TraceError, UsageError

VERSION = 1
MANIFEST = "manifest"
MANIFEST_BYTES_MAX = 256 << 20
CHUNK = 1 << 20
_BLOCK = 512
_ENDING = bytes(2 * _BLOCK)
_LEVEL = 6
_WINDOW_MAX = 1 << 23
# One frame block of four bytes can become 128 KiB, so this bounds what one step unpacks to 64 MiB.
_READ = 2048
_HEAD = re.compile(rb"sentra-bundle (\d{1,9}) (\d{8}-\d{6}-[a-z2-7]{4})")
_LINE = re.compile(rb"([0-9a-f]{64}) (0|[1-9][0-9]{0,15}) ([a-z]+/[a-z0-9.]{1,64})")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle: its name inside (``run/events``, ``blobs/<sha256>``), size, SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says it holds."""

    run_id: str
    members: tuple[Member, ...]

    def to_bytes(self) -> bytes:
        lines = [f"sentra-bundle {VERSION} {self.run_id}"]
        lines += [f"{member.sha256} {member.size} {member.name}" for member in self.members]
        return ("\n".join(lines) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Manifest:
        """Raises ``TraceError`` for anything that ``to_bytes`` does not write."""
        lines = data.split(b"\n")
        head = _HEAD.fullmatch(lines[0])
        if head is None or lines.pop() != b"":
            raise _damaged(path, "it does not begin with a list of what it holds")
        if int(head[1]) != VERSION:
            raise TraceError(
                f"The bundle {path} has format version {int(head[1])}; this program reads version {VERSION}.",
                "Use the version of sentra-sandbox that made it.",
                path=path,
            )
        members = []
        for line in lines[1:]:
            found = _LINE.fullmatch(line)
            if found is None:
                raise _damaged(path, "its list has a line that cannot be")
            members.append(Member(found[3].decode(), int(found[2]), found[1].decode()))
        if len({member.name for member in members}) != len(members):
            raise _damaged(path, "its list names a member twice")
        return cls(head[2].decode(), tuple(members))


def _damaged(path: str, what: str) -> TraceError:
    return TraceError(
        f"The bundle {path} is damaged or no bundle: {what}.",
        "Nothing was imported; copy or export it again.",
        path=path,
    )


def _header(name: str, size: int) -> bytes:
    """The one header that a member has (POSIX ustar; from 8 GiB on GNU's binary size)."""
    length = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    fields = (
        name.encode().ljust(100, b"\0"), b"0000600\0", b"0000000\0", b"0000000\0", length, b"00000000000\0",
        b" " * 8, b"0", bytes(100), b"ustar\00000", bytes(64), b"0000000\0", b"0000000\0",
    )  # fmt: skip
    block = b"".join(fields).ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


class BundleWriter:
    """Writes a bundle to ``file``. ``add`` each member of the manifest in its order, then ``finish``."""

    def __init__(self, file: BinaryIO, manifest: Manifest, path: str) -> None:
        self._path = path
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self._file = file
        self._waiting = iter(manifest.members)
        data = manifest.to_bytes()
        if len(data) > MANIFEST_BYTES_MAX:
            raise UsageError(f"Run {manifest.run_id} has more pieces of content than a bundle can hold.")
        self._write(_header(MANIFEST, len(data)) + data + _padding(len(data)))

    def _write(self, data: bytes) -> None:
        self._file.write(self._compressor.compress(data))

    def add(self, chunks: Iterable[bytes]) -> None:
        """Write the next member. Raises ``TraceError`` when its content is not what the manifest says."""
        member = next(self._waiting)
        self._write(_header(member.name, member.size))
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            self._write(chunk)
        if size != member.size or digest.hexdigest() != member.sha256:
            raise TraceError(
                f"{member.name.partition('/')[2]} is damaged: its content does not match its hash.",
                "The run cannot be exported; restore the store from a copy.",
                path=self._path,
            )
        self._write(_padding(size))

    def finish(self) -> None:
        """Write the end. All members must have been added."""
        assert next(self._waiting, None) is None
        self._write(_ENDING)
        self._file.write(self._compressor.flush())


class BundleReader:
    """Reads a bundle: ``manifest`` first, then ``content`` of one member after the other, then ``finish``.

    Everything raises ``TraceError`` for bytes that no ``BundleWriter`` writes. Memory is bounded whatever the bytes are.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self._frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX).decompressobj()
        self._ready = memoryview(b"")
        self.manifest = self._read_manifest()

    def damaged(self, what: str) -> TraceError:
        """The error for this bundle."""
        return _damaged(self._path, what)

    def _more(self) -> bool:
        """Unpack the next piece; False at the end of the frame."""
        while not self._ready:
            if self._frame.eof:
                return False
            try:
                packed = self._file.read(_READ)
                if not packed:
                    raise self.damaged("it ends too early")
                self._ready = memoryview(self._frame.decompress(packed))
            except zstandard.ZstdError as error:
                raise self.damaged(f"it cannot be unpacked ({error})") from error
            except OSError as error:
                raise TraceError(f"{self._path} cannot be read: {error.strerror}.", path=self._path) from error
        return True

    def _chunks(self, size: int) -> Iterator[bytes]:
        """Exactly ``size`` bytes in pieces of at most ``CHUNK``."""
        while size:
            if not self._more():
                raise self.damaged("it ends too early")
            piece = bytes(self._ready[: min(size, CHUNK)])
            self._ready = self._ready[len(piece) :]
            size -= len(piece)
            yield piece

    def _read(self, size: int) -> bytes:
        return b"".join(self._chunks(size))

    def _skip_padding(self, size: int) -> None:
        if self._read(-size % _BLOCK).strip(b"\0"):
            raise self.damaged("there is something between its members")

    def _read_manifest(self) -> Manifest:
        header = self._read(_BLOCK)
        digits = header[124:135]
        size = int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else -1
        if size < 0 or header != _header(MANIFEST, size):
            raise self.damaged("it does not begin with a list of what it holds")
        if size > MANIFEST_BYTES_MAX:
            raise self.damaged("its list is longer than one can be")
        data = self._read(size)
        self._skip_padding(size)
        return Manifest.from_bytes(data, self._path)

    def content(self, member: Member) -> Iterator[bytes]:
        """The content of the next member, which must be ``member``. Its hash is compared after the last piece."""
        if self._read(_BLOCK) != _header(member.name, member.size):
            raise self.damaged(f"{member.name} is not where its list says")
        digest = hashlib.sha256()
        for piece in self._chunks(member.size):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != member.sha256:
            raise self.damaged(f"the content of {member.name} does not match its hash")
        self._skip_padding(member.size)

    def finish(self) -> None:
        """There must be nothing more, in the frame and in the file."""
        if self._read(len(_ENDING)) != _ENDING or self._more():
            raise self.damaged("it holds more than its list says")
        if self._frame.unused_data or self._file.read(1):
            raise self.damaged("something follows its end")
