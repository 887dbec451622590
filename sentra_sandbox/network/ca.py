"""The certificate authority of one run: made when the broker starts, gone when it ends.

Rules: private keys exist in this process's memory only. ``ssl`` takes a certificate and its key from a path alone, so they pass through
an anonymous memory file, which has no name and is closed before anything else happens. All leaves share one key (they live as long as the
CA and in the same place, and a key costs more than a signature). What is minted is kept for the names used last.

Certificates follow RFC 5280 as its strictest readers want it (Python 3.13's ``VERIFY_X509_STRICT``, ``openssl verify -x509_strict``, Go):
key identifiers on both, basic constraints and key usage critical, at most 398 days. They begin a day early, for clocks that go slow.
"""

from __future__ import annotations

import datetime
import errno
import ipaddress
import os
import re
import secrets
import ssl
from collections import OrderedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sentra_sandbox.errors import HostError

MAX_CONTEXTS = 256  # 22 KB each
MAX_NAME = 253
MAX_COMMON_NAME = 64  # RFC 5280, upper bound of a common name
LIFE = datetime.timedelta(days=396)
EARLY = datetime.timedelta(days=1)
MFD_NOEXEC_SEAL = 8  # Linux 6.3; asked for where vm.memfd_noexec=2

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class CertificateAuthority:
    """``pem`` is the certificate that the sandbox must trust. ``now`` is the moment that certificates are made for (default: the
    present).
    """

    def __init__(self, now: datetime.datetime | None = None, max_contexts: int = MAX_CONTEXTS) -> None:
        now = (now or datetime.datetime.now(datetime.timezone.utc)).replace(microsecond=0)
        self._valid = (now - EARLY, now + LIFE)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key_pem = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The name differs from run to run: a client that keeps issuers by name must not take one run's for another's.
        self._subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sentra-sandbox"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"sentra-sandbox CA of one run {secrets.token_hex(8)}"),
            ]
        )
        self.certificate = self._sign_own()
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        self._authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        self._contexts: OrderedDict[tuple[str, tuple[str, ...]], ssl.SSLContext] = OrderedDict()
        self._max_contexts = max_contexts

    def context_for(self, name: str, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A server's context that shows a certificate for ``name`` (a host name, ``*.name``, or an address) and accepts ``alpn``.

        Raises ``ValueError`` if no certificate can name it. One context serves all connections to a name, so that tickets of sessions are
        good for the next.
        """
        name = canonical_name(name)
        context = self._contexts.get((name, alpn))
        if context is None:
            context = self._contexts[name, alpn] = self._make_context(name, alpn)
            if len(self._contexts) > self._max_contexts:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end((name, alpn))
        return context

    def leaf(self, name: str) -> x509.Certificate:
        """A new certificate for ``name``. Raises ``ValueError`` if none can name it."""
        name = canonical_name(name)
        public = self._leaf_key.public_key()
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = self._builder(_leaf_subject(name), public)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(usage, critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        builder = builder.add_extension(self._authority, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _sign_own(self) -> x509.Certificate:
        public = self._key.public_key()
        builder = self._builder(self._subject, public)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().issuer_name(self._subject).subject_name(subject).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(self._valid[0]).not_valid_after(self._valid[1])

    def _make_context(self, name: str, alpn: tuple[str, ...]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if alpn:
            context.set_alpn_protocols(list(alpn))
        pem = self.leaf(name).public_bytes(serialization.Encoding.PEM)
        _load(context, pem + self._leaf_key_pem)
        return context


def canonical_name(name: str) -> str:
    """A host name in lower case and A-labels without a final dot, or an address in its short form. ``ValueError`` if it is neither."""
    try:
        return str(ipaddress.ip_address(name.strip("[]").partition("%")[0]))
    except ValueError:
        pass
    plain = name.removesuffix(".").lower()
    if not plain.isascii():
        star = plain.startswith("*.")
        try:
            plain = "*." * star + plain[2 * star :].encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ValueError(f"no certificate can name {name!r}: {error}") from None
    if len(plain) > MAX_NAME or not _NAME.fullmatch(plain) or any(len(label) > 63 for label in plain.split(".")):
        raise ValueError(f"no certificate can name {name[:MAX_NAME]!r}: it is not a host name")
    return plain


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _leaf_subject(name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sentra-sandbox")]
    if len(name) <= MAX_COMMON_NAME:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    return x509.Name(attributes)


def _key_usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Give a context its certificate and key without a file on any disk."""
    try:
        descriptor = _memory_file()
    except OSError as error:
        raise HostError(
            f"The certificate authority of the run needs memfd_create, which this machine refuses ({error.strerror}).",
            "Allow it, or switch interception off (tls: passthrough).",
        ) from error
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _memory_file() -> int:
    try:
        return os.memfd_create("certificate", os.MFD_CLOEXEC | MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel before 6.3 does not know the flag
            raise
    return os.memfd_create("certificate")
