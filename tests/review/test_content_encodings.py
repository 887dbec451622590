"""Every coding, chains of them and cuts, with random secrets; and what must not be found or cost."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import quopri
import random
import tarfile
import time
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable

import pytest
import zstandard

from sentra_sandbox.review.content.atoms import Needle, atoms_of, needles_of
from sentra_sandbox.review.content.encodings import Explorer, budget_for, windows
from sentra_sandbox.review.content.search import Secret
from sentra_sandbox.review.matcher import Matcher

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"something before")
        archive.writestr("b.txt", data)
    return out.getvalue()


def tarred(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo("secret")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def brotlied(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data))


def packed(data: bytes) -> bytes:
    """As a git pack holds a blob."""
    size, head = len(data), bytearray()
    byte = 3 << 4 | size & 15
    size >>= 4
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    head.append(byte)
    return b"PACK\0\0\0\2\0\0\0\1" + bytes(head) + zlib.compress(data) + b"\x11" * 20


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64 in lines": base64.encodebytes,
    "base32": base64.b32encode,
    "base32 lower": lambda data: base64.b32encode(data).lower().rstrip(b"="),
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "hexdump": lambda data: data.hex(" ").encode(),
    "\\x": lambda data: "".join(f"\\x{c:02x}" for c in data).encode(),
    "numbers": lambda data: json.dumps(list(data)).encode(),
    "url": lambda data: urllib.parse.quote_from_bytes(data).encode(),
    "url all": lambda data: "".join(f"%{c:02X}" for c in data).encode(),
    "json": lambda data: json.dumps(data.decode("latin-1")).encode(),
    "\\u": lambda data: "".join(f"\\u{c:04x}" for c in data).encode(),
    "quoted-printable": quopri.encodestring,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "deflate": deflated,
    "br": brotlied,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
    "tar.gz": tarred,
    "git pack": packed,
    "reversed": lambda data: data[::-1],
    "utf-16": lambda data: data.decode("latin-1").encode("utf-16-le"),
    "utf-16-be": lambda data: data.decode("latin-1").encode("utf-16-be"),
    "lowercase hex in JSON": lambda data: json.dumps({"data": data.hex()}).encode(),
    "multipart": lambda data: b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + data + b"\r\n--b--\r\n",
}
BARE = {"deflate", "br"}  # without a magic number: found where something begins


def secret_of(rng: random.Random, size: int = 40) -> Secret:
    return Secret("test", "canary", bytes(rng.choice(ALPHABET) for _ in range(size)), 0, 1, (), size * 6.0)


class Seen:
    """Explores buffers for one secret, or more."""

    def __init__(self, *secrets: Secret) -> None:
        self.needles: list[Needle] = [n for i, secret in enumerate(secrets) for atom in atoms_of(i, secret) for n in needles_of(atom)]
        self.explorer = Explorer(Matcher([n.data for n in self.needles], [n.least for n in self.needles]))
        self.spent = False
        self.most = 1 << 40

    def pieces(self, data: bytes) -> dict[tuple[int, str], list[tuple[int, int]]]:
        found: dict[tuple[int, str], list[tuple[int, int]]] = {}

        def emit(path: tuple[str, ...], hit, at: int, size: int) -> None:  # type: ignore[no-untyped-def]
            assert 0 <= at <= len(data) and size >= 0
            needle = self.needles[hit.needle]
            found.setdefault((needle.atom.secret, ">".join((*path, needle.coding))), []).append(needle.covered(hit.needle_at, hit.size))

        budget = budget_for(len(data), time.monotonic() + 60)
        budget.bytes = min(budget.bytes, self.most)
        self.explorer.explore(data, budget, emit)
        self.spent = budget.spent
        return found

    def covered(self, data: bytes) -> int:
        """The most bytes of a secret that any coding shows."""
        return max((len({i for first, last in ranges for i in range(first, last)}) for ranges in self.pieces(data).values()), default=0)


@pytest.mark.parametrize("name", CODINGS)
def test_each_coding(name: str) -> None:
    rng = random.Random(name)
    for _ in range(6):
        secret = secret_of(rng, rng.randint(20, 60))
        around = b"user=%d&note=some words\n" % rng.randrange(10**6), b"\nand what follows; it is longer than the rest"
        coded = CODINGS[name](around[0] + secret.value + around[1])
        outside = b"" if name in BARE else rng.randbytes(rng.randint(0, 9)) + b"\n"
        assert Seen(secret).covered(outside + coded) >= len(secret.value) - 2, name


def test_chains() -> None:
    rng = random.Random(7)
    names = [name for name in CODINGS if name != "br"]
    for _ in range(60):
        chain = [rng.choice(names) for _ in range(rng.choice((2, 2, 3)))]
        secret = secret_of(rng, 44)
        data = b"key: " + secret.value + b"\n"
        for name in chain:
            data = CODINGS[name](data)
        assert Seen(secret).covered(data) >= 40, chain


def test_every_alignment_and_cut_is_found_without_decoding() -> None:
    rng = random.Random(3)
    for _ in range(60):
        secret = secret_of(rng)
        coded = base64.b64encode(rng.randbytes(rng.randrange(9)) + secret.value + rng.randbytes(5))
        cut = rng.randrange(len(coded))
        assert Seen(secret).covered(coded[:cut] + b"\r\n--\r\n" + coded[cut:]) >= 22
        start = rng.randrange(0, 20)
        assert Seen(secret).covered(b"x" * 30 + secret.value[start : start + 14] + b"..") >= 14


def test_a_needle_is_found_across_windows() -> None:
    secret = secret_of(random.Random(1))
    chunks = [(i, bytes([i % 251]) * 1000) for i in range(40)]
    chunks[20] = (20, secret.value[:13])
    chunks[21] = (21, secret.value[13:])
    seen = Seen(secret)
    whole = [base for base, data, _ in windows(iter(chunks), 20_500) if seen.covered(data) == 40]
    assert whole


def test_nothing_is_found_in_what_is_random() -> None:
    rng = random.Random(5)
    secrets = [secret_of(rng, rng.choice((16, 20, 40))) for _ in range(300)]
    secrets += [Secret("hex", "canary", rng.randbytes(16).hex().encode(), 0, 1, (), 128) for _ in range(50)]
    seen = Seen(*secrets)
    block = rng.randbytes(3 << 20)
    assert not seen.pieces(block)
    assert not seen.pieces(base64.b64encode(block))
    assert not seen.pieces(block[: 1 << 20].hex().encode())
    assert not seen.pieces(b" ".join(b"token value secret key %d" % i for i in range(20_000)))


def test_fifty_megabytes_of_random_bytes_have_no_hits() -> None:
    rng = random.Random(6)
    needles = [n for i in range(200) for atom in atoms_of(i, secret_of(rng)) for n in needles_of(atom)]
    matcher = Matcher([n.data for n in needles], [n.least for n in needles])
    assert not any(list(matcher.find(rng.randbytes(5 << 20))) for _ in range(10))


def test_bombs_cost_no_more_than_the_bound() -> None:
    secret = secret_of(random.Random(9))
    zeros = gzip.compress(bytes(100 << 20))
    began = time.monotonic()
    seen = Seen(secret)
    seen.most = 20 << 20
    assert seen.covered(zeros) == 0
    assert seen.spent
    nested = b"".join(zlib.compress(zlib.compress(b"a" * 100_000)) for _ in range(500))
    assert seen.covered(nested) == 0
    packer = zstandard.ZstdCompressor(level=3)
    assert seen.covered(packer.compress(bytes(50 << 20))) == 0
    assert seen.spent
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("data", [b"%" * 70_000, b"\\" * 70_000, b"=\n" * 40_000, b"\x78\x9c" * 50_000, b"PK\3\4" * 20_000, b"A" * 300_000, b"1 " * 100_000,
                                  b"\x28\xb5\x2f\xfd" * 20_000, b"\\u00" * 30_000, b"ab" * 100_000])  # fmt: skip
def test_strange_input_is_survived(data: bytes) -> None:
    secret = Secret("periodic", "canary", b"ababababababababab" + b"xyz" * 400, 0, 1, (), 99)
    Seen(secret, secret_of(random.Random(2))).pieces(data)


def test_matching_equals_a_plain_search() -> None:
    """Every piece of 11 bytes of a needle that stands in the text is part of a hit, and every hit is true."""
    rng = random.Random(11)
    for _ in range(40):
        needles = [bytes(rng.choice(b"abcdef") for _ in range(rng.randint(8, 40))) for _ in range(5)]
        text = b"".join(
            rng.choice((bytes(rng.choice(b"abcdef") for _ in range(rng.randint(0, 9))), needle[rng.randrange(8) : rng.randint(8, 40)]))
            for needle in rng.choices(needles, k=30)
        )
        hits = list(Matcher(needles, [8] * 5).find(text))
        for hit in hits:
            assert text[hit.at : hit.at + hit.size] == needles[hit.needle][hit.needle_at : hit.needle_at + hit.size]
        ranges = {(hit.needle, hit.at - hit.needle_at): hit for hit in hits}
        for number, needle in enumerate(needles):
            for offset in range(len(needle) - 10):
                piece = needle[offset : offset + 11]
                if len(set(piece)) < 4:
                    continue
                at = text.find(piece)
                while at >= 0:
                    assert (number, at - offset) in ranges
                    at = text.find(piece, at + 1)
