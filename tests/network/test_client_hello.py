"""The hello of real clients, of odd ones, and of none."""

from __future__ import annotations

import asyncio
import random
import shutil
import ssl
import struct
import subprocess

import pytest
from needs import lacking
from tls_peers import stream_pair

from sentra_sandbox.network.client_hello import MAX_HELLO, ClientHello, parse_client_hello, read_client_hello

NAME = "api.example.test"


def python_hello(name: str | None = NAME, alpn: tuple[str, ...] = ("h2", "http/1.1")) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack(">H", kind) + vector(2, body)


def hello(extensions: bytes = b"", *, version: int = 0x0303) -> bytes:
    body = struct.pack(">H", version) + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01\x0a\x0a") + vector(1, b"\0")
    return b"\x01" + vector(3, body + (vector(2, extensions) if extensions else b""))


def records(message: bytes, size: int = 16384) -> bytes:
    return b"".join(b"\x16\x03\x01" + vector(2, message[at : at + size]) for at in range(0, len(message), size))


def sni(name: bytes) -> bytes:
    return extension(0, vector(2, b"\0" + vector(2, name)))


def test_python() -> None:
    assert parse_client_hello(python_hello()) == ClientHello(NAME, ("h2", "http/1.1"), ("TLSv1.2", "TLSv1.3"))
    bare = parse_client_hello(python_hello(None, ()))
    assert bare is not None and bare.server_name == "" and bare.alpn == ()


@pytest.mark.parametrize(
    "command",
    [
        ["curl", "-sk", "--max-time", "5", "--resolve", "api.example.test:{port}:127.0.0.1", "https://api.example.test:{port}/"],
        ["openssl", "s_client", "-connect", "127.0.0.1:{port}", "-servername", NAME, "-alpn", "h2,http/1.1"],
        ["node", "-e", "require('tls').connect({{port:{port},host:'127.0.0.1',servername:'api.example.test',ALPNProtocols:['h2','http/1.1']}}).on('error',()=>0)"],
    ],
    ids=lambda command: str(command[0]),
)
def test_real_clients(command: list[str]) -> None:
    if not shutil.which(command[0]):
        lacking(command[0])

    async def test() -> bytes:
        taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken.set_result(await reader.read(65536))
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        words = [word.format(port=port) for word in command]
        process = await asyncio.create_subprocess_exec(*words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return await asyncio.wait_for(taken, 10)
        finally:
            await process.wait()
            server.close()

    parsed = parse_client_hello(asyncio.run(test()))
    assert parsed is not None and parsed.server_name == NAME
    assert parsed.alpn == ("h2", "http/1.1") and parsed.versions[-2:] == ("TLSv1.2", "TLSv1.3")


def test_any_fragmentation_gives_the_same() -> None:
    whole = python_hello()
    message = whole[5:]
    for size in (1 + len(message) // 60, 7 + len(message) // 50, 100, 16384):
        assert parse_client_hello(records(message, size)) == parse_client_hello(whole)
    for cut in range(len(whole)):
        assert parse_client_hello(whole[:cut]) is None
    with pytest.raises(ValueError, match="too many"):
        parse_client_hello(records(message, 1))


def test_bytes_are_given_back_whatever_comes() -> None:
    async def test(pieces: list[bytes], expected: ClientHello | None) -> None:
        client, server = await stream_pair()
        task = asyncio.create_task(read_client_hello(server))
        for piece in pieces:
            client.write(piece)
            await asyncio.sleep(0.002)
        client.write_eof()
        assert await task == expected
        got = b""
        while data := await server.read():
            got += data
        assert got == b"".join(pieces)

    whole = python_hello()
    parsed = parse_client_hello(whole)
    asyncio.run(test([whole[:1], whole[1:4], whole[4:50], whole[50:], b"more"], parsed))
    asyncio.run(test([b"GET / HTTP/1.1\r\n"], None))
    asyncio.run(test([whole[:200]], None))
    asyncio.run(test([], None))


def test_cancelled_reading_gives_back() -> None:
    async def test() -> None:
        client, server = await stream_pair()
        client.write(b"\x16\x03\x01\x02")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read_client_hello(server), 0.05)
        assert await server.read() == b"\x16\x03\x01\x02"

    asyncio.run(test())


def test_odd_but_well_formed() -> None:
    grease = extension(0x0A0A, b"") + extension(0xFAFA, b"\0")
    ech = extension(0xFE0D, b"\0" * 50)
    protocols = extension(16, vector(2, vector(1, b"\x5a\x5a") + vector(1, b"h2") + vector(1, b"\xff\x00")))
    versions = extension(43, vector(1, b"\x7a\x7a\x03\x04"))
    parsed = parse_client_hello(records(hello(grease + sni(b"Front.Example.") + ech + protocols + versions)))
    assert parsed == ClientHello("front.example", ("h2", "\xff\x00"), ("TLSv1.3",), True)
    assert parse_client_hello(records(hello(version=0x0301))) == ClientHello(versions=("TLSv1",))
    for name in (b"", b"a b", b"x\0y", b"\xff" * 3, b"a" * 254):
        odd = parse_client_hello(records(hello(sni(name))))
        assert odd is not None and odd.server_name == ""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15",  # SSLv2
        b"\x16\x04\x01\x00\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01" + b"\x01",
        b"\x15\x03\x01\x00\x02\x02\x28",
        records(b"\x02" + bytes(50)),
        records(b"\x01" + (MAX_HELLO + 1).to_bytes(3, "big")),
        records(b"\x01\x00\x00\x00"),
        records(hello(sni(b"a.test") + sni(b"b.test"))),
        records(hello(extension(0, b"\x00\x10\x00"))),
        records(hello(extension(16, vector(2, b"\0")))),
        records(hello(b"\0\0\0")),
    ],
)
def test_what_is_no_hello(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_client_hello(data)


def test_changed_bytes_never_do_worse_than_a_value_error() -> None:
    seeds = random.Random(4)
    whole = python_hello() + b"after"
    outcomes = set()
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(seeds.randint(1, 6)):
            at = seeds.randrange(len(data))
            action = seeds.random()
            if action < 0.7:
                data[at] = seeds.randrange(256)
            elif action < 0.85:
                del data[at : at + seeds.randint(1, 9)]
            else:
                data[at:at] = seeds.randbytes(seeds.randint(1, 9))
        try:
            outcomes.add(type(parse_client_hello(bytes(data))))
        except ValueError:
            outcomes.add(ValueError)
    assert outcomes == {ClientHello, type(None), ValueError}
