"""Writes what programs in the sandbox trust: the roots that they would trust without us, and the CA of the run.

Never the CA alone: variables replace a program's store, and hosts that pass through are verified against the real roots. The file is
written in place, since it is bind-mounted by its inode; our CA stands first, so whoever reads too early still finds it. Where files are
is in ``trust_paths``, which loads without the rest.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from sentra_sandbox.errors import HostError
from sentra_sandbox.network.ca import CertificateAuthority
from sentra_sandbox.network.trust_paths import BUNDLES, named_bundles

MAX_BUNDLE = 16 << 20  # a bundle of all roots has 0.25 MB
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


def write_bundle(path: str, ca: CertificateAuthority, present: Mapping[str, str] | None = None) -> None:
    """Make ``path`` the bundle of this run: the CA, the system's roots (certifi's where there are none), and what the variables in
    ``present`` (default: our own environment) name. Raises ``HostError``.
    """
    blocks = root_blocks(os.environ if present is None else present)
    _write_in_place(path, ca.pem.encode("ascii") + b"".join(blocks))


def write_java_store(path: str, ca: CertificateAuthority, present: Mapping[str, str] | None = None) -> None:
    """The same certificates as a PKCS #12 trust store, as Java 9 and later read ``cacerts`` in any format. Without a password, like
    Java's own since 18. Certificates that cannot be read are left out. Raises ``HostError``.
    """
    serialize = getattr(pkcs12, "serialize_java_truststore", None)
    if serialize is None:
        raise HostError(
            "Trust stores for Java need version 45 of the Python package cryptography, or a later one.",
            "Upgrade it (pip install -U cryptography), or let Java's hosts pass through (tls.exclude).",
        )
    certificates = [ca.certificate, *_readable(root_blocks(os.environ if present is None else present))]
    entries = [pkcs12.PKCS12Certificate(certificate, b"sentra-%d" % number) for number, certificate in enumerate(certificates)]
    _write_in_place(path, serialize(entries, serialization.NoEncryption()))


def root_files(present: Mapping[str, str]) -> list[str]:
    """The files whose certificates are roots here: the system's (certifi's where there is none), and those that ``present`` names."""
    system = next((path for path in BUNDLES if os.path.isfile(path)), "") or _certifi()
    return [path for path in dict.fromkeys([system, *named_bundles(present)]) if path]


def root_blocks(present: Mapping[str, str]) -> list[bytes]:
    """The certificates of ``root_files`` as PEM blocks, each once and each ended by a newline. A file that cannot be read adds nothing, as
    it would in the program that was told to use it.
    """
    blocks: dict[bytes, None] = {}
    for path in root_files(present):
        try:
            with open(path, "rb") as file:
                text = file.read(MAX_BUNDLE)
        except OSError:
            continue
        for match in _BLOCK.finditer(text):
            body = b"\n".join(match.group(1).split())
            blocks[b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"] = None
    return list(blocks)


def _certifi() -> str:
    try:
        import certifi  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return ""
    return str(certifi.where())


def _readable(blocks: list[bytes]) -> list[x509.Certificate]:
    certificates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old roots with odd serial numbers, which cryptography will refuse one day
        for block in blocks:
            try:
                certificates.append(x509.load_pem_x509_certificate(block))
            except ValueError:
                continue
    return certificates


def _write_in_place(path: str, content: bytes) -> None:
    """Same inode; longer at first, never shorter than what it will be, so that a reader sees no end before the end."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.truncate()
    except OSError as error:
        raise HostError(f"The certificate bundle {path} cannot be written: {error.strerror}.") from error
