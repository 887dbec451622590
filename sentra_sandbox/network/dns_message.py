"""DNS messages: queries of the program read by hand, answers written, and records of real servers read through dnslib.

Everything read here is hostile. A query may hold one question, uncompressed, and a few additional records: its cost is bounded by
that, whatever its counts say. Records of a server go through dnslib's parsers, over a buffer whose names have a bounded number
of labels and jumps (dnslib follows chains of pointers by recursion, and one packet could hold a chain for every name).

Names as text are lower case without the trailing dot; bytes that are not usual in names are ``\\DDD``, so a dot inside a label
is never taken for one between labels. The root is ``""``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from dnslib import QTYPE, RCODE, RR, DNSHeader, DNSLabel, DNSQuestion  # type: ignore[import-untyped]
from dnslib.label import BufferError as DnsBufferError  # type: ignore[import-untyped]
from dnslib.label import DNSBuffer

MAX_ADDITIONAL = 8
MAX_JUMPS = 32
MAX_NAME = 255  # bytes on the wire
MAX_RECORDS = 256
UDP_SIZE = 1232  # what we say we take, and the most we send: no fragments (DNS flag day 2020)
TTL = 1
QR, RD, RA, CD, TC, OPCODE = 0x8000, 0x0100, 0x0080, 0x0010, 0x0200, 0x7800
OPT = 41
EDE_PROHIBITED, EDE_NETWORK_ERROR, EDE_OTHER = 18, 23, 0  # RFC 8914
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


class Malformed(Exception):
    """Not a query that can be answered. ``reply`` is what to send back, None for nothing."""

    def __init__(self, why: str, reply: bytes | None = None) -> None:
        super().__init__(why)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Query:
    """``question`` is the section as it came, so that the answer repeats the name in its case (0x20 encoding). ``size``: of the answer that
    the client takes over UDP; ``edns`` whether it sent an OPT record, ``version`` of EDNS, ``do`` its DNSSEC OK bit."""

    id: int
    flags: int
    question: bytes
    name: str
    qtype: int
    qclass: int
    edns: bool = False
    size: int = 512
    version: int = 0
    do: bool = False


def label_text(label: bytes) -> str:
    """One label, as text that has no dot."""
    label = label.lower()
    if _PLAIN.issuperset(label):
        return label.decode()
    return "".join(chr(byte) if 32 < byte < 127 and byte not in b".\\" else f"\\{byte:03d}" for byte in label)


def labels_of(name: str) -> tuple[bytes, ...]:
    """A name's labels; takes back what ``label_text`` did. ``ValueError`` if it cannot be a DNS name."""
    labels = tuple(_label(text) for text in name.split(".")) if name else ()
    if any(not 0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) + 1 > MAX_NAME:
        raise ValueError(f"{name!r} has no DNS form")
    return labels


def _label(text: str) -> bytes:
    if "\\" not in text:
        return text.encode("ascii")
    first, *rest = text.split("\\")
    return first.encode("ascii") + b"".join(bytes([int(piece[:3])]) + piece[3:].encode("ascii") for piece in rest)


def parse_query(data: bytes) -> Query:
    """A query of the program. Raises ``Malformed``."""
    if len(data) < 12:
        raise Malformed("shorter than a DNS header")
    id, flags, questions, answers, authorities, additional = struct.unpack_from("!6H", data)
    if flags & QR:
        raise Malformed("an answer where a query should be")
    if flags & OPCODE:
        raise Malformed(f"operation {flags >> 11 & 15}, which only servers need", _header_only(id, flags, RCODE.NOTIMP))
    if questions != 1 or answers or authorities or additional > MAX_ADDITIONAL:
        raise Malformed(
            f"{questions} questions, {answers}+{authorities}+{additional} records in a query", _header_only(id, flags, RCODE.FORMERR)
        )
    try:
        labels, end = _question_name(data, 12)
        qtype, qclass = struct.unpack_from("!2H", data, end)
        end += 4
        edns = _edns(data, end, additional)
    except (struct.error, IndexError, ValueError) as error:
        raise Malformed(str(error) or "cut off", _header_only(id, flags, RCODE.FORMERR)) from None
    return Query(id, flags, data[12:end], ".".join(map(label_text, labels)), qtype, qclass, *edns)


def _question_name(data: bytes, at: int) -> tuple[list[bytes], int]:
    labels = []
    start = at
    while data[at]:
        length = data[at]
        if length > 63:
            raise ValueError("a compressed or extended label in the question")
        labels.append(data[at + 1 : at + 1 + length])
        at += 1 + length
        if at - start >= MAX_NAME or at >= len(data):
            raise ValueError("a name longer than 255 bytes, or cut off")
    return labels, at + 1


def _edns(data: bytes, at: int, count: int) -> tuple[bool, int, int, bool]:
    """What the OPT record says, if there is one: (present, size, version, DO)."""
    found = (False, 512, 0, False)
    for _ in range(count):
        start = at
        while data[at] and data[at] < 64:
            at += 1 + data[at]
        at += 1 if not data[at] else 2
        kind, size, extended, length = struct.unpack_from("!HHIH", data, at)
        at += 10 + length
        if at > len(data):
            raise ValueError("an additional record that is cut off")
        if kind == OPT:
            if found[0] or data[start]:
                raise ValueError("two OPT records, or one with a name")
            found = (True, max(512, min(size, UDP_SIZE)), extended >> 16 & 255, bool(extended & 0x8000))
    return found


def _header_only(id: int, flags: int, rcode: int) -> bytes:
    return struct.pack("!6H", id, QR | RA | flags & (OPCODE | RD | CD) | rcode, 0, 0, 0, 0)


def own_record(qtype: int, data: bytes) -> bytes:
    """A record of the question's name."""
    return struct.pack("!HHHIH", 0xC00C, qtype, 1, TTL, len(data)) + data


def wire_name(name: str) -> bytes:
    """A name as in a message, uncompressed. ``ValueError`` if it has no DNS form."""
    return b"".join(bytes([len(label)]) + label for label in labels_of(name)) + b"\0"


def reply(query: Query, rcode: int, records: list[bytes], *, limit: int, ede: tuple[int, str] | None = None) -> bytes:
    """An answer. ``records`` are whole records; longer than ``limit`` bytes it becomes empty and truncated, to be asked by TCP.

    ``ede``: an Extended DNS Error, sent to clients that speak EDNS. ``rcode`` may be an extended one (BADVERS).
    """
    opt = b""
    if query.edns:
        option = b""
        if ede:
            text = ede[1].encode()[:300]
            option = struct.pack("!HHH", 15, 2 + len(text), ede[0]) + text
        opt = struct.pack("!BHHIH", 0, OPT, UDP_SIZE, (rcode >> 4) << 24 | (0x8000 if query.do else 0), len(option)) + option
    flags = QR | RA | query.flags & (RD | CD) | rcode & 15
    body = b"".join(records)
    count = len(records)
    if 12 + len(query.question) + len(body) + len(opt) > limit:
        flags, body, count = flags | TC, b"", 0
    return struct.pack("!6H", query.id, flags, 1, count, 0, bool(opt)) + query.question + body + opt


class SafeBuffer(DNSBuffer):  # type: ignore[misc]
    """dnslib's buffer with names that are read in bounded time and written within what a pointer can reach."""

    offset: int
    data: bytearray
    names: dict[tuple[bytes, ...], int]

    def decode_name(self, last: int = -1) -> DNSLabel:
        labels: list[bytes] = []
        size = jumps = 0
        at = self.offset
        after = -1  # where the name ends in the record
        data = self.data
        try:
            while True:
                length = data[at]
                if length >= 0xC0:
                    pointer = (length & 63) << 8 | data[at + 1]
                    after = at + 2 if after < 0 else after
                    jumps += 1
                    if pointer >= at or jumps > MAX_JUMPS:
                        raise DnsBufferError("a name whose pointers lead nowhere")
                    at = pointer
                    continue
                if length > 63:
                    raise DnsBufferError("an unknown kind of label")
                at += 1
                if not length:
                    break
                label = bytes(data[at : at + length])
                size += length + 1
                if len(label) < length or size >= MAX_NAME:
                    raise DnsBufferError("a name that is too long or cut off")
                labels.append(label)
                at += length
        except IndexError:
            raise DnsBufferError("a name that is cut off") from None
        self.offset = at if after < 0 else after
        return DNSLabel(labels)

    def encode_name(self, name: Any) -> None:
        labels = name.label if isinstance(name, DNSLabel) else DNSLabel(name).label
        for index in range(len(labels)):
            rest = tuple(labels[index:])
            if rest in self.names:
                self.pack("!H", 0xC000 | self.names[rest])
                return
            if self.offset < 0x4000:
                self.names[rest] = self.offset
            self.pack("!B", len(labels[index]))
            self.append(labels[index])
        self.append(b"\0")


def make_query(id: int, name: str, qtype: int) -> bytes:
    """A query of ours, recursive, with EDNS. ``ValueError`` if the name has no DNS form."""
    opt = struct.pack("!BHHIH", 0, OPT, UDP_SIZE, 0, 0)
    return struct.pack("!6H", id, RD, 1, 0, 0, 1) + wire_name(name) + struct.pack("!2H", qtype, 1) + opt


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a server said: the records of the answer section, as dnslib's ``RR``."""

    rcode: int
    truncated: bool
    records: tuple[Any, ...]


def parse_answer(data: bytes, id: int, name: str, qtype: int) -> ServerAnswer | None:
    """A server's answer to ``make_query``; ``None`` if it is not one to this query (a forged or late one). Raises ``Malformed``."""
    buffer = SafeBuffer(data)
    try:
        header = DNSHeader.parse(buffer)
        if header.id != id or not header.qr or header.q > 1:
            return None
        if header.q:
            question = DNSQuestion.parse(buffer)
            asked = ".".join(map(label_text, question.qname.label))
            if (asked, question.qtype, question.qclass) != (name, qtype, 1):
                return None
        elif header.rcode == RCODE.NOERROR:
            return None
        truncated = bool(header.tc)
        records = () if truncated else tuple(RR.parse(buffer) for _ in range(min(header.a, MAX_RECORDS)))
    except Exception as error:  # dnslib's parsers raise whatever their mistakes raise; each is the packet's fault
        raise Malformed(f"{type(error).__name__}: {error}") from None
    return ServerAnswer(header.rcode, truncated, records)


def type_name(qtype: int) -> str:
    """``A``, ``TXT``, ... or ``TYPE123`` (RFC 3597)."""
    return str(QTYPE.get(qtype, f"TYPE{qtype}"))


def type_number(kind: str) -> int:
    """The number of a type's name. ``ValueError`` if there is none."""
    number = QTYPE.reverse.get(kind)
    if number is None:
        raise ValueError(f"{kind} is not a DNS type")
    return int(number)


def pack_records(records: tuple[Any, ...], question: bytes) -> list[bytes]:
    """Records of a server for an answer of ours: those that dnslib can write again, with our TTL, each standing behind the one before."""
    buffer = SafeBuffer(bytes(12) + question)
    buffer.offset = len(buffer.data)
    packed = []
    for record in records:
        start = buffer.offset
        names = dict(buffer.names)
        record.ttl = TTL
        try:
            record.pack(buffer)
        except Exception:  # as above: what cannot be written again is left out, and was never whole
            buffer.data, buffer.offset, buffer.names = buffer.data[:start], start, names
            continue
        packed.append(bytes(buffer.data[start:]))
    return packed
