"""Verification of servers, on the side towards the network: the trust that the host's user has, and what went wrong in words.

Rules: the run's CA is never among these roots. Roots are the system's, OpenSSL's own defaults, and the bundles that the user's environment
names for any client (a company's proxy is named there); verification is that of a usual OpenSSL client, the same with every version of
Python. TLS 1.2 at least, or what the program itself insists on, if that is more.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from sentra_sandbox.network.tls_outcome import CertificateRefused, describe_certificate
from sentra_sandbox.network.trust import root_files

CERTIFICATE = 11
CERTIFICATE_REQUEST = 13

# X509_V_ERR_..., openssl/x509_vfy.h
NOT_YET_VALID = 9
EXPIRED = 10
SELF_SIGNED = (18, 19)
UNKNOWN_ISSUER = (2, 20, 21, 27)
REVOKED = 23
WRONG_NAME = (62, 64)


class UpstreamSession(ssl.SSLObject):
    """Sees what ``ssl`` does not tell: whether the server asked for a certificate, and which one it showed when it was refused."""

    certificate_wanted = False
    shown: bytes = b""


class UpstreamTrust:
    """Makes the client side of handshakes. ``present`` is the environment that names bundles (default: our own); ``files`` are roots
    instead of all others.
    """

    def __init__(self, present: Mapping[str, str] | None = None, files: Sequence[str] | None = None) -> None:
        self._present = os.environ if present is None else present
        self._files = files
        self._contexts: dict[tuple[bool, bool], ssl.SSLContext] = {}

    def session(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, name: str, alpn: Sequence[str], verify: bool, minimum: ssl.TLSVersion
    ) -> UpstreamSession:
        """A session about to begin. One context serves all
        (with protocols, and without: OpenSSL 1.1.1 cannot take them back): its settings are copied into each session when that is made."""
        context = self._context(verify, bool(alpn))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        context.minimum_version = minimum
        made = context.wrap_bio(incoming, outgoing, server_side=False, server_hostname=name)
        assert isinstance(made, UpstreamSession)
        return made

    def _context(self, verify: bool, alpn: bool) -> ssl.SSLContext:
        if (verify, alpn) not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
            context.sslobject_class = UpstreamSession
            if verify:
                context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_TRUSTED_FIRST
                self._load_roots(context)
            else:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            _watch(context)
            self._contexts[verify, alpn] = context
        return self._contexts[verify, alpn]

    def _load_roots(self, context: ssl.SSLContext) -> None:
        if self._files is None:
            context.set_default_verify_paths()
        for path in root_files(self._present) if self._files is None else self._files:
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError):
                continue  # named in the environment and not readable: one root less, never one more


def _watch(context: ssl.SSLContext) -> None:
    """Have OpenSSL show the handshake's messages. Private in ``ssl`` (there since 3.8), where nothing public shows a CertificateRequest of
    TLS 1.3; without it such servers are known by their alert, when the first bytes are read.
    """
    # Of the class below: the wrapper in ssl.SSLContext makes three enums for each record.
    slot: Any = getattr(ssl.SSLContext.__mro__[1], "_msg_callback", None)
    if slot is not None:
        slot.__set__(context, _seen)


def _seen(session: object, direction: str, version: int, content: int, kind: int, data: bytes) -> None:
    if content != 22 or direction != "read" or not isinstance(session, UpstreamSession):
        return
    if kind == CERTIFICATE_REQUEST:
        session.certificate_wanted = True
    elif kind == CERTIFICATE:
        session.shown = _leaf(data, version)


def _leaf(message: bytes, version: int) -> bytes:
    """The first certificate of a Certificate message (RFC 5246 section 7.4.2, RFC 8446 section 4.4.2)."""
    at = 4
    if version == 0x0304:
        at += 1 + message[at] if len(message) > at else 1
    at += 3
    size = int.from_bytes(message[at : at + 3], "big")
    return message[at + 3 : at + 3 + size]


def asks_for_certificate(flight: bytes) -> bool:
    """Whether a CertificateRequest stands among these records of a server's first flight, in the clear as it is up to TLS 1.2. There it
    comes after the certificate: a server with a private CA, which those that want client certificates often have, has failed before.
    """
    at = 0
    while flight[at : at + 2] == b"\x16\x03":
        end = at + 5 + int.from_bytes(flight[at + 3 : at + 5], "big")
        message = at + 5
        while message + 4 <= min(end, len(flight)):
            if flight[message] == CERTIFICATE_REQUEST:
                return True
            message += 4 + int.from_bytes(flight[message + 1 : message + 4], "big")
        at = end
    return False


def explain(name: str, error: ssl.SSLCertVerificationError, der: bytes) -> CertificateRefused:
    """A failed verification in words that a person can act on."""
    about = describe_certificate(der) if der else {}
    code = error.verify_code
    anyway = f'to go on without verification, name it in the policy (tls: insecure: ["{name}"])'
    add = "add the issuer to the system's roots or to a bundle that SSL_CERT_FILE names, outside the sandbox"
    issuer = about.get("issuer", "")
    if code == EXPIRED:
        return CertificateRefused(f"the certificate of {name} expired{_at(about, 'not_after')}", f"have it renewed; {anyway}", code)
    if code == NOT_YET_VALID:
        reason = f"the certificate of {name} is not valid yet{_at(about, 'not_before', 'from')}"
        return CertificateRefused(reason, f"check the clock of this machine; {anyway}", code)
    if code in WRONG_NAME:
        names = about.get("names") or about.get("subject", "another name")
        return CertificateRefused(f"the certificate is not for {name} but for {names}", f"use a name that it is for; {anyway}", code)
    if code in SELF_SIGNED:
        kind = "is self-signed" if code == SELF_SIGNED[0] else "comes from a root that this machine does not trust"
        return CertificateRefused(f"the certificate of {name} {kind}{_by(issuer)}", f"{add}; {anyway}", code)
    if code in UNKNOWN_ISSUER:
        reason = f"the certificate of {name} was issued by someone whom this machine does not know{_by(issuer)}"
        return CertificateRefused(reason, f"{add}, or have the server send its intermediate certificates; {anyway}", code)
    if code == REVOKED:
        return CertificateRefused(f"the certificate of {name} was revoked", "have it replaced", code)
    return CertificateRefused(f"the certificate of {name} was not accepted: {error.verify_message}", anyway, code)


def _at(about: dict[str, str], field: str, word: str = "at") -> str:
    return f" {word} {about[field]}" if field in about else ""


def _by(issuer: str) -> str:
    return f" (issuer: {issuer})" if issuer else ""
