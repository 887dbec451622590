"""Reasons and memory, without a connection."""

from __future__ import annotations

import random

from cryptography.hazmat.primitives import serialization

from sentra_sandbox.network.ca import CertificateAuthority
from sentra_sandbox.network.tls_outcome import MAX_REMEMBERED, ClientCertificateWanted, TlsMemory, describe_certificate
from sentra_sandbox.network.upstream_trust import _leaf, asks_for_certificate

DER = CertificateAuthority().leaf("api.example.test").public_bytes(serialization.Encoding.DER)


def test_a_certificate_in_words() -> None:
    told = describe_certificate(DER)
    assert told["subject"] == "CN=api.example.test,O=sentra-sandbox" and told["names"] == "api.example.test"
    assert told["not_after"].endswith("Z") and len(told["sha256"]) == 64


def test_malformed_certificates_are_told_as_far_as_they_go() -> None:
    assert set(describe_certificate(b"garbage")) == {"sha256"}
    seeds = random.Random(7)
    lengths = set()
    for _ in range(3000):
        data = bytearray(DER)
        for _ in range(seeds.randint(1, 3)):
            data[seeds.randrange(len(data))] = seeds.randrange(256)
        lengths.add(len(describe_certificate(bytes(data))))
    assert {1, 6} <= lengths


def test_malformed_certificate_messages() -> None:
    for version in (0x0303, 0x0304):
        for message in (b"", b"\x0b\0\0\0", b"\x0b" + b"\xff" * 9, bytes(300)):
            assert isinstance(_leaf(message, version), bytes)


def test_requests_for_certificates_in_the_clear() -> None:
    key_exchange, wanted, done = b"\x0c\0\0\x03abc", b"\x0d\0\0\x02\x01\x01", b"\x0e\0\0\0"

    def record(data: bytes) -> bytes:
        return b"\x16\x03\x03" + len(data).to_bytes(2, "big") + data

    assert asks_for_certificate(record(key_exchange) + record(wanted) + record(done))
    assert asks_for_certificate(record(key_exchange + wanted + done))
    assert not asks_for_certificate(record(key_exchange) + record(done))
    seeds = random.Random(3)
    for _ in range(2000):
        asks_for_certificate((record(key_exchange) * 3)[: seeds.randrange(40)] + seeds.randbytes(seeds.randrange(30)))


def test_memory_is_bounded() -> None:
    memory = TlsMemory()
    for number in range(MAX_REMEMBERED + 10):
        memory.learn(f"{number}.test", ClientCertificateWanted(f"{number}.test"))
    assert not memory.passes("0.test") and memory.passes(f"{MAX_REMEMBERED + 9}.test")
