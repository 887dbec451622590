"""TLS over a stream: the handshakes on both sides, and ``TlsStream``, which is a stream again.

    program ── ClientHello ──► read_client_hello (nothing consumed) ──► connect (the server's handshake, with what the program offers)
                                                                          │ the protocol it chose
    program ◄── a certificate of the run's CA ── accept ◄─────────────────┘

In this order a host that cannot be intercepted (it wants a client certificate) is known before the program got any answer, and its own
bytes can still go to the server untouched. Failed handshakes raise ``tls_outcome.HandshakeFailed``; they leave the stream under them to
the caller.

How ends map: ``close_notify`` is the end of one direction, as FIN is for TCP. A connection that ends without it reads as an end too, and is
told by ``truncated``: whoever carries it on ends the other leg with ``truncate``, so that the program sees what the server did, and
decides as it would have (Python's ``ssl`` takes it for an end, OpenSSL's own tools for an error). What cannot be decrypted, and alerts,
are resets.

Memory: buffers of OpenSSL's memory BIOs grow to the most that ever stood in them and never shrink. So bytes pass through them in small
pieces.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from sentra_sandbox.network.ca import CertificateAuthority, canonical_name
from sentra_sandbox.network.client_hello import ClientHello, read_client_hello
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.network.tls_outcome import ClientCertificateWanted, ClientRefused, HandshakeFailed
from sentra_sandbox.network.upstream_trust import UpstreamSession, UpstreamTrust, asks_for_certificate, explain

__all__ = ["ClientHello", "TlsStream", "accept", "connect", "read_client_hello"]

CIPHERTEXT_PIECE = 2048
PLAINTEXT_PIECE = 4096  # one record
RECORD = 16384
BULK = 16 << 20  # bytes of a direction after which whole records are taken: a third less work, but the connection keeps 35 KB more
CERTIFICATE_FLIGHT = 400  # bytes; what goes before a certificate (a request for another key share, a resumption) is shorter
HANDSHAKE_SECONDS = 30.0


class TlsStream:
    """Both directions of an established session, over ``stream``."""

    __slots__ = (
        "_come",
        "_ended",
        "_failure",
        "_held",
        "_incoming",
        "_name",
        "_outgoing",
        "_received",
        "_sent",
        "_sent_end",
        "_ssl",
        "_stream",
        "_unread",
        "_written",
        "truncated",
    )

    def __init__(self, stream: Stream, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, name: str) -> None:
        self._name = name
        self._stream = stream
        self._ssl = session
        self._incoming = incoming
        self._outgoing = outgoing
        self._held: bytes | memoryview = b""  # ciphertext that has come and is not in ``incoming`` yet
        self._unread = b""
        self._written = 0
        self._come = 0  # bytes of ciphertext
        self._received = False
        self._ended = False
        self._sent = 0  # bytes of the handshake
        self._sent_end = False
        self._failure = ""
        self.truncated = False
        """The other side ended the connection without saying so in TLS: what came may be less than was meant."""

    @property
    def alpn(self) -> str:
        """The protocol agreed on, "" if none was."""
        return self._ssl.selected_alpn_protocol() or ""

    @property
    def version(self) -> str:
        """``TLSv1.2``, ``TLSv1.3``."""
        return self._ssl.version() or ""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite."""
        cipher = self._ssl.cipher()
        return cipher[0] if cipher else ""

    @property
    def certificate(self) -> bytes:
        """What the other side showed (DER), ``b""`` if nothing."""
        return self._ssl.getpeercert(True) or b""

    @property
    def refusal(self) -> ClientRefused | None:
        """Of an accepted stream that has ended: set if the program seems to have refused our certificate after the handshake: by an
        alert, or by leaving without a byte, as libraries do that look at the certificate late (Node, GnuTLS).
        """
        if not self._ssl.server_side or self._received or not (self._ended or self._failure):
            return None
        if "alert" in self._failure:
            return ClientRefused(self._name, self._failure)
        return ClientRefused(self._name, "it left right after the handshake without a byte", certain=False)

    async def read(self, limit: int = 65536) -> bytes:
        """See ``Stream``. Returns what has come as soon as there is a byte."""
        if self._unread:
            data, self._unread = self._unread[:limit], self._unread[limit:]
            return data
        while True:
            if self._ended:
                return b""
            if self._failure:
                raise StreamReset(self._failure)
            data = self._decrypt(limit)
            if data:
                self._received = True
                return data
            if not self._ended and not self._failure:
                await self._receive()

    def unread(self, data: bytes) -> None:
        """See ``Stream``."""
        self._unread = data + self._unread

    def write(self, data: bytes) -> None:
        """See ``Stream``. Encrypts at once."""
        if self._sent_end or self._failure:
            return
        write, read, send = self._ssl.write, self._outgoing.read, self._stream.write
        self._written += len(data)
        piece = PLAINTEXT_PIECE if self._written < BULK else RECORD
        view = memoryview(data)
        try:
            for start in range(0, len(data), piece):
                write(view[start : start + piece])
                send(read())
        except ssl.SSLError as error:
            self._fail(_words(error))

    async def drain(self) -> None:
        """See ``Stream``."""
        if self._failure:
            raise StreamReset(self._failure)
        await self._stream.drain()

    def write_eof(self) -> None:
        """Send ``close_notify``. What the other side still sends can be read."""
        if self._sent_end or self._failure:
            return
        # OpenSSL would look for the other side's close_notify in what has come, and fail at the data that it finds there.
        while data := self._decrypt(RECORD):
            self._received = True
            self._unread += data
        self._sent_end = True
        try:
            self._ssl.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass  # sent; theirs has not come
        except ssl.SSLError as error:
            self._fail(_words(error))
        self._flush()

    def truncate(self) -> None:
        """End our direction without ``close_notify``, as the other leg did."""
        self._sent_end = True
        self._stream.write_eof()

    def abort(self) -> None:
        """See ``Stream``."""
        self._fail("aborted")
        self._stream.abort()

    async def close(self) -> None:
        """See ``Stream``."""
        self.write_eof()
        self._ended = True
        self._held = self._unread = b""
        await self._stream.close()

    async def handshake(self) -> None:
        """Shake hands. Raises ``ssl.SSLError`` (our alert is sent), ``StreamReset``, ``EOFError`` if the other side ends instead."""
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._held:
                    self._held = await self._stream.read()
                    if not self._held:
                        raise EOFError from None
                self._feed()
            except ssl.SSLError:
                self._flush()
                raise
            else:
                self._flush()
                return

    def rest(self) -> bytes:
        """Take away what has come and was not looked at, after a handshake that failed."""
        rest = self._incoming.read() + bytes(self._held)
        self._held = b""
        return rest

    @property
    def showed_certificate(self) -> bool:
        """Of the accepting side, during the handshake: whether the client has our certificate."""
        return self._sent > CERTIFICATE_FLIGHT

    def _decrypt(self, limit: int) -> bytes:
        """What can be decrypted of what has come, at most ``limit`` bytes. Notes an end or a failure after it."""
        session, incoming = self._ssl, self._incoming
        pieces: list[bytes] = []
        total = 0
        while total < limit:
            if not incoming.pending and not session.pending() and not self._feed():
                break
            try:
                piece = session.read(min(limit - total, RECORD))
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLZeroReturnError:
                piece = b""
            except ssl.SSLError as error:
                self._fail(_words(error))
                break
            if not piece:
                self._ended = True
                self._held = b""
                break
            pieces.append(piece)
            total += len(piece)
        if self._outgoing.pending:  # the answer to a KeyUpdate
            self._flush()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _feed(self) -> bool:
        """Hand OpenSSL the next piece of what has come. False if there is none."""
        held = self._held
        if not held:
            return False
        piece = CIPHERTEXT_PIECE if self._come < BULK else RECORD
        if len(held) <= piece:
            self._incoming.write(held)
            self._held = b""
        else:
            view = memoryview(held)
            self._incoming.write(view[:piece])
            self._held = view[piece:]
        return True

    async def _receive(self) -> None:
        try:
            self._held = await self._stream.read()
        except StreamReset as error:
            self._failure = self._failure or str(error) or "reset"
            raise
        self._come += len(self._held)
        if not self._held:
            self.truncated = self._ended = True

    def _flush(self) -> None:
        if self._outgoing.pending:
            data = self._outgoing.read()
            self._sent += len(data)
            self._stream.write(data)

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._held = b""
        self._flush()


async def accept(
    stream: Stream, ca: CertificateAuthority, name: str, alpn: Sequence[str] = (), timeout: float = HANDSHAKE_SECONDS
) -> TlsStream:
    """Answer the program's handshake as ``name``, agreeing to a protocol of ``alpn`` (what the server agreed to).

    Raises ``ClientRefused``, and ``HandshakeFailed`` with side ``client`` for all else; the caller closes ``stream`` then.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context = ca.context_for(name, tuple(alpn))
    except ValueError as error:
        raise HandshakeFailed("client", str(error), "let it pass through (tls: exclude)") from None
    session = context.wrap_bio(incoming, outgoing, server_side=True)
    made = TlsStream(stream, session, incoming, outgoing, name)
    try:
        await asyncio.wait_for(made.handshake(), timeout)
    except ssl.SSLError as error:
        if _is_refusal(error):
            raise ClientRefused(name, _words(error)) from None
        raise HandshakeFailed("client", f"the client's TLS handshake failed: {_words(error)}", _remedy(error)) from None
    except (EOFError, StreamReset):
        if made.showed_certificate:
            raise ClientRefused(name, "it left as soon as it had it", certain=False) from None
        raise HandshakeFailed("client", "the client left during the handshake") from None
    except asyncio.TimeoutError:
        raise HandshakeFailed("client", f"the client did not finish the TLS handshake within {timeout:g} s") from None
    return made


async def connect(
    stream: Stream,
    name: str,
    alpn: Sequence[str] = (),
    verify: bool = True,
    *,
    trust: UpstreamTrust,
    versions: Sequence[str] = (),
    timeout: float = HANDSHAKE_SECONDS,
) -> TlsStream:
    """Shake hands with the server at the other end of ``stream`` as ``name``, offering what the program offered: ``alpn`` and
    ``versions`` of its hello.

    Raises ``CertificateRefused``; ``ClientCertificateWanted``, whatever the server does without one (then the host should pass through,
    on a new connection); ``HandshakeFailed`` with side ``server`` for all else. The caller closes ``stream`` then.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    # The program's own floor holds on the other leg too, and ours where its is lower.
    minimum = ssl.TLSVersion.TLSv1_3 if versions and versions[0] == "TLSv1.3" else ssl.TLSVersion.TLSv1_2
    try:
        session = trust.session(incoming, outgoing, canonical_name(name), [item for item in alpn if item.isascii()], verify, minimum)
    except ValueError as error:
        raise HandshakeFailed("server", f"{name!r} cannot be asked for by TLS: {error}") from None
    made = TlsStream(stream, session, incoming, outgoing, name)
    try:
        await asyncio.wait_for(made.handshake(), timeout)
    except ssl.SSLError as error:
        if isinstance(error, ssl.SSLCertVerificationError) and asks_for_certificate(made.rest()):
            raise ClientCertificateWanted(name) from None
        raise _upstream_failure(name, session, error) from None
    except (EOFError, StreamReset):
        if session.certificate_wanted:
            raise ClientCertificateWanted(name) from None
        raise HandshakeFailed("server", f"{name} ended the connection during the TLS handshake") from None
    except asyncio.TimeoutError:
        raise HandshakeFailed("server", f"{name} did not finish the TLS handshake within {timeout:g} s") from None
    if session.certificate_wanted:
        raise ClientCertificateWanted(name)
    session.shown = b""
    return made


def _upstream_failure(name: str, session: UpstreamSession, error: ssl.SSLError) -> HandshakeFailed:
    if session.certificate_wanted:
        return ClientCertificateWanted(name)
    if isinstance(error, ssl.SSLCertVerificationError):
        return explain(name, error, session.shown)
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return HandshakeFailed("server", f"{name} does not answer in TLS on this port ({_words(error)})")
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        reason = f"{name} and the program have no version of TLS from 1.2 on in common"
        return HandshakeFailed("server", reason, f'let the host pass through (tls: exclude: ["{name}"])')
    return HandshakeFailed("server", f"the TLS handshake with {name} failed: {_words(error)}")


def _is_refusal(error: ssl.SSLError) -> bool:
    """Whether it is an alert that says that a certificate was not liked."""
    reason = error.reason or ""
    return "ALERT" in reason and ("CERTIFICATE" in reason or reason.endswith(("UNKNOWN_CA", "ACCESS_DENIED")))


def _remedy(error: ssl.SSLError) -> str:
    return "let the host pass through (tls: exclude)" if error.reason in ("UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER") else ""


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's reason, readable: ``TLSV1_ALERT_UNKNOWN_CA`` → ``alert unknown ca``."""
    reason = (error.reason or str(error)).removeprefix("SSLV3_").removeprefix("TLSV1_").removeprefix("TLSV13_")
    return reason.replace("_", " ").lower() if reason.isupper() else reason
