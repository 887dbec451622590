"""What can come of a TLS handshake besides a connection, what is remembered of it for a host, and how it is written into the journal.

No I/O here. Reasons are sentences for the person who reads the run; remedies name what would change it.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal, Protocol

from cryptography import x509

from sentra_sandbox.network.client_hello import ClientHello
from sentra_sandbox.network.journal import Journal
from sentra_sandbox.trace.network_events import NetworkType

Side = Literal["client", "server"]
MAX_REMEMBERED = 4096


class HandshakeFailed(Exception):
    """No TLS connection came about with ``side``. ``reason`` says why, ``remedy`` what to do about it ("" if nothing is known)."""

    def __init__(self, side: Side, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.side: Side = side
        self.reason = reason
        self.remedy = remedy


class ClientRefused(HandshakeFailed):
    """The program does not accept our certificate: it pins the host's, or trusts only a store of its own. Not ``certain`` where it only
    left without a byte.
    """

    def __init__(self, name: str, how: str, *, certain: bool = True) -> None:
        verb = "refused" if certain else "seems to have refused"
        super().__init__("client", f"the client {verb} the certificate of the run for {name}: {how}", refused_remedy(name))
        self.certain = certain


class CertificateRefused(HandshakeFailed):
    """The server's certificate did not stand up to verification. Nothing was sent to it. ``code`` is OpenSSL's (X509_V_ERR_...)."""

    def __init__(self, reason: str, remedy: str, code: int = 0) -> None:
        super().__init__("server", reason, remedy)
        self.code = code


class ClientCertificateWanted(HandshakeFailed):
    """The server asks for a certificate of the client, whose key only the program has: the host must pass through. No byte of the program
    was sent; a new connection to the server and the client's own bytes are enough.
    """

    def __init__(self, name: str) -> None:
        super().__init__("server", f"{name} asks for a client certificate, which only the program can present", "")


def refused_remedy(name: str) -> str:
    """What helps when a client does not accept our certificate."""
    return (
        f'make that client trust the bundle that SSL_CERT_FILE names, or let the host pass through unread (tls: exclude: ["{name}"], or '
        "onRefused: passthrough)"
    )


class TlsMemory:
    """What this run has learnt about hosts (bounded): those that ask for client certificates pass through from then on; those whose
    client refused our certificate do so where policy says it. A client that only left says nothing about a host that works: clients open
    connections that they find no use for.
    """

    def __init__(self, refused: Literal["fail", "passthrough"] = "fail") -> None:
        self._refused = refused
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self._worked: OrderedDict[str, None] = OrderedDict()

    def worked(self, name: str) -> None:
        """A client of ``name`` asked for something, so it accepted our certificate."""
        self._worked[name] = None
        if len(self._worked) > MAX_REMEMBERED:
            self._worked.popitem(last=False)

    def learn(self, name: str, failure: HandshakeFailed) -> None:
        """A handshake for ``name`` failed."""
        wanted = isinstance(failure, ClientCertificateWanted)
        refused = isinstance(failure, ClientRefused) and (failure.certain or name not in self._worked)
        if wanted or (refused and self._refused == "passthrough"):
            self._reasons[name] = failure.reason
            if len(self._reasons) > MAX_REMEMBERED:
                self._reasons.popitem(last=False)

    def passes(self, name: str) -> str:
        """Why connections to ``name`` pass through now, or "" if they do not."""
        return self._reasons.get(name, "")


class Established(Protocol):
    """What the journal wants to know of a finished handshake (``tls.TlsStream``)."""

    @property
    def alpn(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def cipher(self) -> str: ...
    @property
    def certificate(self) -> bytes: ...


def write_intercepted(journal: Journal, connection: int, hello: ClientHello, name: str, client: Established, server: Established) -> None:
    """Both handshakes are done. ``version`` and ``cipher`` are the server's side's; the client's, where they differ, stand beside them."""
    fields = _fields("intercept", hello, name)
    fields |= {"alpn": server.alpn, "version": server.version, "cipher": server.cipher}
    if (client.version, client.cipher) != (server.version, server.cipher):
        fields |= {"client_version": client.version, "client_cipher": client.cipher}
    if client.alpn != server.alpn:
        fields["client_alpn"] = client.alpn
    if server.certificate:
        fields["certificate"] = describe_certificate(server.certificate)
    journal.write(NetworkType.TLS, fields, connection=connection)


def write_passthrough(journal: Journal, connection: int, hello: ClientHello, name: str, reason: str) -> None:
    """The connection is carried unread. ``reason``: the rule, or what ``TlsMemory.passes`` says."""
    journal.write(NetworkType.TLS, _fields("passthrough", hello, name) | {"reason": reason}, connection=connection)


def write_failed(journal: Journal, connection: int, hello: ClientHello, name: str, failure: HandshakeFailed) -> None:
    """A handshake failed."""
    fields = _fields("intercept", hello, name) | {"error": failure.reason, "side": failure.side}
    if failure.remedy:
        fields["remedy"] = failure.remedy
    if isinstance(failure, ClientRefused):
        fields["refused"] = "certain" if failure.certain else "likely"
    journal.write(NetworkType.TLS, fields, connection=connection)


@functools.lru_cache(maxsize=64)
def describe_certificate(der: bytes) -> dict[str, str]:
    """Subject, issuer, dates, names and fingerprint, as the journal and reasons show them; of a malformed one what can be read, at least
    the fingerprint.
    """
    fields = {"sha256": hashlib.sha256(der).hexdigest()}
    # Fields are parsed when they are asked for; a hostile one raises what the parser met: TypeError, for one, beside its own errors.
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        certificate = x509.load_der_x509_certificate(der)
        fields["subject"] = certificate.subject.rfc4514_string()
        fields["issuer"] = certificate.issuer.rfc4514_string()
        fields["not_before"] = _moment(certificate.not_valid_before_utc)
        fields["not_after"] = _moment(certificate.not_valid_after_utc)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        fields["names"] = ", ".join(_readable(names))
    return fields


def _fields(mode: str, hello: ClientHello, name: str) -> dict[str, object]:
    fields: dict[str, object] = {"mode": mode, "sni": hello.server_name, "offered": list(hello.alpn)}
    if name != hello.server_name:
        fields["name"] = name
    if hello.ech:
        fields["ech"] = True
    return fields


def _moment(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _readable(names: Iterable[x509.GeneralName], limit: int = 20) -> list[str]:
    shown = [str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))]
    return [*shown[:limit], *(["..."] if len(shown) > limit else [])]
