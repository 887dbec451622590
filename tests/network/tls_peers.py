"""What the TLS tests talk to: a plain stream over a socket, a private CA of the outside world with good and bad certificates, servers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sentra_sandbox.network.stream import StreamReset

DAY = datetime.timedelta(days=1)


class SocketStream:
    """A ``Stream`` over asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.back = b""

    async def read(self, limit: int = 65536) -> bytes:
        if self.back:
            data, self.back = self.back[:limit], self.back[limit:]
            return data
        try:
            return await self.reader.read(limit)
        except ConnectionError as error:
            raise StreamReset(str(error)) from None

    def unread(self, data: bytes) -> None:
        self.back = data + self.back

    def write(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)

    async def drain(self) -> None:
        try:
            await self.writer.drain()
        except ConnectionError as error:
            raise StreamReset(str(error)) from None

    def write_eof(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.write_eof()

    def abort(self) -> None:
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def stream_pair() -> tuple[SocketStream, SocketStream]:
    """Two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # not a socketpair: only TCP knows resets
        one = socket.create_connection(listener.getsockname())
        two, _ = listener.accept()
    first, second = [SocketStream(*await asyncio.open_connection(sock=end)) for end in (one, two)]
    return first, second


@dataclass
class World:
    """The CA of the outside world."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    directory: Path

    @property
    def pem(self) -> str:
        path = self.directory / "world.pem"
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)

    def server(self, name: str = "api.example.test", *, start: int = -1, end: int = 30, issued: bool = True) -> ssl.SSLContext:
        """A server's context with a certificate from the CA (``issued``), or self-signed; days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = self.directory / f"{name}.{start}.{end}.{issued}.pem"
        leaf = certificate(name, key, self if issued else None, start, end)
        path.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + private_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def certificate(name: str, key: ec.EllipticCurvePrivateKey, by: World | None, start: int, end: int, ca: bool = False) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by.certificate.subject if by else subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now + start * DAY).not_valid_after(now + end * DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if ca:
        names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
        usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **dict.fromkeys(names, False))
        builder = builder.add_extension(usage, critical=True)
    if by:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
    return builder.sign(by.key if by else key, hashes.SHA256())


@functools.cache
def world() -> World:
    key = ec.generate_private_key(ec.SECP256R1())
    return World(key, certificate("World Root", key, None, -100, 100, ca=True), Path(tempfile.mkdtemp(prefix="sentra-world-")))


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None, handler: Handler = echo) -> AsyncIterator[int]:
    """A server of asyncio's own TLS on loopback: an implementation that is not ours. Its port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.contextmanager
def serving_once(context: ssl.SSLContext) -> Iterator[int]:
    """A blocking server for one connection, which sends alerts where asyncio's TLS drops the connection. Its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            sock, _ = listener.accept()
            with contextlib.suppress(OSError), sock, context.wrap_socket(sock, server_side=True) as secure:
                secure.sendall(secure.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


async def dial(port: int) -> SocketStream:
    return SocketStream(*await asyncio.open_connection("127.0.0.1", port))
