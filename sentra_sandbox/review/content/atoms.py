"""From secrets to needles: what of a secret is worth finding, and how it looks in each simple coding.

An atom is a part of a secret that nobody else has: a token without its usual beginning, a JSON web token's signature, the private
numbers of a key. Codings that keep pieces together (base64, hex, ...) are searched as they stand, without decoding: a needle for each
alignment, without the characters at its edges that depend on what stands beside it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sentra_sandbox.review.content.search import Secret

PIECE = 11  # bytes of an atom: shorter pieces are not looked for, unless the atom is shorter
_CHUNK = 1020  # bytes of an atom at most
_ATOMS_MAX = 16  # chunks of one secret
_BEGINNING = re.compile(
    rb"(?:AKIA|ASIA|gh[opsu]_|github_pat_|glpat-|sk-ant-[a-z0-9]{3,8}-|sk-(?:proj-|svcacct-|admin-)?|[sr]k_live_|xox[abeoprs]-|hf_|npm_|"
    rb"pypi-(?:AgEIcHlwaS5vcmc)?|AIza|ya29\.|eyJ[\w-]{8,}\.(?=eyJ))"
)


@dataclass(frozen=True, slots=True)
class Atom:
    """``data`` stands at ``start`` of the ``total`` bytes of atoms in this ``family`` of a secret: a secret may have families that say
    the same (a key as text and as bytes), of which any proves it.
    """

    secret: int
    family: int
    start: int
    total: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Needle:
    """``bits`` of each character belong to the atom; the first character begins ``shift`` bits after the atom's first bit."""

    data: bytes
    least: int
    atom: Atom
    coding: str
    bits: int
    shift: int
    backwards: bool = False

    def covered(self, at: int, size: int) -> tuple[int, int]:
        """Which bytes of the family ``size`` characters from ``at`` on stand for."""
        if self.backwards:
            at = len(self.data) - at - size
        first = (self.shift + at * self.bits + 7) // 8
        last = (self.shift + (at + size) * self.bits) // 8
        return self.atom.start + max(first, 0), self.atom.start + min(last, len(self.atom.data))


def atoms_of(number: int, secret: Secret) -> Iterator[Atom]:
    """The atoms of secret ``number``."""
    if secret.kind == "private-key":
        body = re.sub(rb"\s", b"", secret.value)
        private = _private_parts(body)
        yield from _family(number, 0, [body[i : i + size] for start, end in private for i, size in _lines(start, end)])
        binary = _unbase64(body)
        yield from _family(number, 1, [binary[start * 3 // 4 : end * 3 // 4] for start, end in private])
        return
    value = secret.value
    beginning = _BEGINNING.match(value)
    parts = [value[beginning.end() :] if beginning and len(value) - beginning.end() >= PIECE else value]
    if value.count(b".") == 2 and value.startswith(b"eyJ"):
        parts = [value.rsplit(b".", 1)[1]]
    yield from _family(number, 0, parts)


def _family(number: int, family: int, parts: list[bytes]) -> Iterator[Atom]:
    chunks = [part[i : i + _CHUNK] for part in parts for i in range(0, len(part), _CHUNK)]
    chunks = [chunk for chunk in chunks if len(chunk) >= 8][: _ATOMS_MAX * 8]
    total, start = sum(map(len, chunks)), 0
    for chunk in chunks:
        yield Atom(number, family, start, total, chunk)
        start += len(chunk)


def _lines(start: int, end: int) -> Iterator[tuple[int, int]]:
    """PEM is written in lines of 64 or 70: what holds for both is found in pieces of them."""
    return ((i, min(_CHUNK, end - i)) for i in range(start, end, _CHUNK))


def _private_parts(body: bytes) -> list[tuple[int, int]]:
    """Ranges of a key's base64 body that are secret: not the header that all keys have, nor the public numbers, which are also in the
    public key. Ranges begin and end at whole groups of four characters.
    """
    binary = _unbase64(body)
    secret = bytearray(b"\1") * len(binary)
    header = _header_size(binary)
    secret[:header] = bytes(min(header, len(secret)))
    public = _public_half(binary)
    known = {public[i : i + 8] for i in range(len(public) - 7)}
    for i in range(len(binary) - 7):
        if binary[i : i + 8] in known:
            secret[i : i + 8] = bytes(8)
    ranges = []
    for match in re.finditer(b"\x01{12,}", bytes(secret)):
        start, end = -(-match.start() // 3) * 4, match.end() // 3 * 4
        if end - start >= 16:
            ranges.append((start, end))
    return ranges


def _header_size(binary: bytes) -> int:
    """How many bytes at the beginning say only what kind of key it is."""
    if binary.startswith(b"openssh-key-v1\0"):
        return 43
    if b"\x02\x01\0\x30" not in binary[:12]:
        return 8  # PKCS #1, SEC 1
    return 16 if len(binary) <= 50 else 36 if len(binary) < 250 else 30  # PKCS #8 of Ed25519, of curves, of RSA


def _public_half(binary: bytes) -> bytes:
    """The public key inside a private one, as it is written in public keys; nothing if the key is encrypted or strange."""
    if binary.startswith(b"openssh-key-v1\0"):
        at = 15
        for _ in range(3):  # cipher, key derivation, its options
            at += 4 + int.from_bytes(binary[at : at + 4], "big")
        size = int.from_bytes(binary[at + 4 : at + 8], "big")
        return binary[at + 8 : at + 8 + size]
    try:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

        public = load_der_private_key(binary, None).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # whatever a hostile or encrypted key does to the parser: then all of it counts as secret
        return b""


def _unbase64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def needles_of(atom: Atom) -> Iterator[Needle]:
    """The atom as it stands, and in all codings that are searched without decoding."""
    data = atom.data
    yield _needle(atom, "", data, 8)
    yield _needle(atom, "reversed", data[::-1], 8, backwards=True)
    if data.lower() != data:
        yield _needle(atom, "lowercase", data.lower(), 8)
    yield _needle(atom, "utf-16", b"\0".join(bytes([c]) for c in data), 4)
    yield _needle(atom, "hex", data.hex().encode(), 4)
    yield _needle(atom, "hex", data.hex().upper().encode(), 4)
    for before in range(3):
        plain, shift = _trimmed(base64.b64encode(bytes(before) + data + bytes(-(before + len(data)) % 3)), 6, before, len(data))
        yield _needle(atom, "base64", plain, 6, shift)
        yield _needle(atom, "reversed>base64", plain[::-1], 6, shift, backwards=True)
        if (url := plain.translate(bytes.maketrans(b"+/", b"-_"))) != plain:
            yield _needle(atom, "base64url", url, 6, shift)
    for before in range(5):
        upper, shift = _trimmed(base64.b32encode(bytes(before) + data + bytes(-(before + len(data)) % 5)), 5, before, len(data))
        yield _needle(atom, "base32", upper, 5, shift)
        yield _needle(atom, "base32", upper.lower(), 5, shift)


def _trimmed(text: bytes, bits: int, before: int, size: int) -> tuple[bytes, int]:
    """The characters that hold nothing but bits of the atom, and how far into it the first begins."""
    first = -(-before * 8 // bits)
    last = (before + size) * 8 // bits
    return text[first:last], first * bits - before * 8


def _needle(atom: Atom, coding: str, data: bytes, bits: int, shift: int = 0, backwards: bool = False) -> Needle:
    return Needle(data, min(len(data), -(-PIECE * 8 // bits)), atom, coding, bits, shift, backwards)
