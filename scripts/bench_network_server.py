"""The server of bench_network: HTTP/1.1 by hand, so that it is cheap. Ports on loopback, plain and TLS; prints them.

GET /sse        40 events 20 ms apart, each with the server's CLOCK_MONOTONIC in nanoseconds
GET /bytes/N    N bytes
anything else   1 KB of JSON
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import ssl
import sys
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ANSWER = b'{"answer": "' + b"x" * 1010 + b'"}'
CHUNK = os.urandom(1 << 20)


def certificate(place: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench.example")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName("bench.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = place / "server.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0].strip()
            if length:
                await reader.readexactly(int(length))
            if path == b"/sse":
                await send_events(writer)
            elif path.startswith(b"/bytes/"):
                await send_bytes(writer, int(path[7:]))
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def send_events(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(40):
        await asyncio.sleep(0.02)
        event = b"data: %d\n\n" % time.monotonic_ns()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def send_bytes(writer: asyncio.StreamWriter, count: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % count)
    while count:
        piece = CHUNK[: min(count, len(CHUNK))]
        writer.write(piece)
        count -= len(piece)
        await writer.drain()


async def main() -> None:
    context = certificate(Path(sys.argv[1]))
    plain = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    tls = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(plain.sockets[0].getsockname()[1], tls.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
