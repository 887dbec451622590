"""Both handshakes and the stream between them, against asyncio's own TLS and against each other."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tls_peers import SocketStream, dial, echo, serving, serving_once, stream_pair, world

from sentra_sandbox.network.ca import CertificateAuthority
from sentra_sandbox.network.client_hello import ClientHello
from sentra_sandbox.network.journal import ListJournal
from sentra_sandbox.network.stream import StreamReset
from sentra_sandbox.network.tls import TlsStream, accept, connect, read_client_hello
from sentra_sandbox.network.tls_outcome import (
    CertificateRefused,
    ClientCertificateWanted,
    ClientRefused,
    HandshakeFailed,
    TlsMemory,
    write_failed,
    write_intercepted,
    write_passthrough,
)
from sentra_sandbox.network.upstream_trust import UpstreamTrust

NAME = "api.example.test"
CA = CertificateAuthority()


def run(test: Any) -> Any:
    return asyncio.run(asyncio.wait_for(test, 20))


def trust() -> UpstreamTrust:
    return UpstreamTrust({}, [world().pem])


def client_context(*, trusting: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusting:
        context.load_verify_locations(cadata=CA.pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


async def upstream(port: int, **options: Any) -> TlsStream:
    return await connect(await dial(port), NAME, options.pop("alpn", ()), trust=trust(), **options)


@contextlib.asynccontextmanager
async def accepting(handle: Any) -> AsyncIterator[tuple[int, asyncio.Future[Any]]]:
    """A listener whose first connection ``handle`` gets as a stream; its port and what became of it."""
    result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            value = await handle(SocketStream(reader, writer))
        except Exception as error:
            if not result.done():
                result.set_exception(error)
        else:
            if not result.done():
                result.set_result(value)
        writer.close()

    async with serving(None, connected) as port:
        yield port, result


def visit(port: int, context: ssl.SSLContext) -> None:
    """A blocking client, which sends alerts where asyncio's TLS drops the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock, context.wrap_socket(sock, server_hostname=NAME):
        pass


async def outcome(context: ssl.SSLContext, handle: Any) -> tuple[Any, Exception | None]:
    """What ``handle`` returned or raised for a client of Python's, and what the client got."""
    failure: Exception | None = None
    async with accepting(handle) as (port, result):
        try:
            await asyncio.to_thread(visit, port, context)
        except (OSError, ssl.SSLError) as error:
            failure = error
        done, _ = await asyncio.wait([result], timeout=5)
        assert done
        return (result.exception() or result.result()), failure


# --- both legs together ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bytes_pass_from_a_real_client_to_a_real_server(version: ssl.TLSVersion) -> None:
    journal = ListJournal()

    async def broker(client: SocketStream, port: int) -> None:
        hello = await read_client_hello(client)
        assert hello is not None and hello.server_name == NAME and hello.alpn == ("h2", "http/1.1")
        server = await upstream(port, alpn=hello.alpn, versions=hello.versions)
        accepted = await accept(client, CA, hello.server_name, [server.alpn])
        write_intercepted(journal, 1, hello, NAME, accepted, server)
        await asyncio.gather(carry(accepted, server), carry(server, accepted))
        await accepted.close()
        await server.close()

    async def test() -> None:
        context = world().server()
        context.set_alpn_protocols(["http/1.1"])
        async with serving(context) as port, accepting(lambda client: broker(client, port)) as (front, result):
            own = client_context()
            own.set_alpn_protocols(["h2", "http/1.1"])
            own.minimum_version = own.maximum_version = version
            reader, writer = await asyncio.open_connection("127.0.0.1", front, ssl=own, server_hostname=NAME)
            session: ssl.SSLObject = writer.get_extra_info("ssl_object")
            assert session.selected_alpn_protocol() == "http/1.1"
            data = bytes(range(256)) * 40_000  # 10 MB
            sending = asyncio.create_task(send(writer, data))
            assert await reader.readexactly(len(data)) == data
            await sending
            writer.close()
            await result

    run(test())
    (event,) = journal.events
    assert event.fields["alpn"] == "http/1.1" and event.fields["offered"] == ["h2", "http/1.1"]
    assert event.fields["certificate"]["issuer"] == "CN=World Root"
    assert event.fields["version"] == "TLSv1.3"


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    for start in range(0, len(data), 100_000):
        writer.write(data[start : start + 100_000])
        await writer.drain()


async def carry(source: TlsStream, target: TlsStream) -> None:
    while data := await source.read():
        target.write(data)
        await target.drain()
    target.write_eof()


async def ours() -> tuple[TlsStream, TlsStream]:
    """A session with our code at both ends; the client first."""
    ends = await stream_pair()
    both = UpstreamTrust({}, [bundle_of(CA)])
    made = await asyncio.gather(connect(ends[0], NAME, trust=both), accept(ends[1], CA, NAME))
    return made[0], made[1]


def bundle_of(ca: CertificateAuthority) -> str:
    path = world().directory / "run.pem"
    path.write_text(ca.pem)
    return str(path)


def test_ten_megabytes_each_way_at_once() -> None:
    async def pump(stream: TlsStream, data: bytes) -> None:
        for start in range(0, len(data), 1 << 18):
            stream.write(data[start : start + (1 << 18)])
            await stream.drain()
        stream.write_eof()

    async def all_of(stream: TlsStream) -> bytes:
        parts = []
        while data := await stream.read(50_000):
            assert len(data) <= 50_000
            parts.append(data)
        return b"".join(parts)

    async def test() -> None:
        client, server = await ours()
        one, two = b"abc" * 3_500_000, b"defg" * 2_500_000
        _, _, got_one, got_two = await asyncio.gather(pump(client, one), pump(server, two), all_of(server), all_of(client))
        assert got_one == one and got_two == two
        assert not client.truncated and not server.truncated
        await client.close()
        await server.close()

    run(test())


def test_half_close_leaves_the_other_direction_open() -> None:
    async def test() -> None:
        client, server = await ours()
        server.write(b"early")  # waits undecrypted at the client while it ends its direction
        await asyncio.sleep(0.01)
        client.unread(await client.read(2))
        client.write(b"question")
        client.write_eof()
        client.write(b"never sent")
        assert await server.read() == b"question"
        assert await server.read() == b""
        server.write(b"answer" * 10_000)
        await server.close()
        got = b""
        while data := await client.read():
            got += data
        assert got == b"early" + b"answer" * 10_000
        assert not client.truncated
        await client.close()

    run(test())


def test_end_without_close_notify_is_told_and_passed_on() -> None:
    async def test() -> None:
        client, server = await ours()
        server.write(b"part")
        server.truncate()
        assert await client.read() == b"part"
        assert await client.read() == b"" and client.truncated
        await client.close()

    run(test())


def test_reset_reads_as_reset() -> None:
    async def test() -> None:
        client, server = await ours()
        server.abort()
        with pytest.raises(StreamReset):
            await client.read()
        with pytest.raises(StreamReset):
            server.write(b"x")
            await server.drain()
        with pytest.raises(StreamReset):
            await server.read()
        await client.close()
        await server.close()

    run(test())


def test_a_changed_byte_is_a_reset_and_data_before_it_comes_first() -> None:
    async def test() -> None:
        client, server = await ours()
        server.write(b"good")
        server._stream.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert await client.read() == b"good"
        with pytest.raises(StreamReset, match=r"bad record mac|decryption failed"):
            await client.read()
        with pytest.raises(StreamReset):
            await server.read()  # our alert
        await client.close()

    run(test())


def test_unread_bytes_come_first() -> None:
    async def test() -> None:
        client, server = await ours()
        server.write(b"world")
        client.unread(b"lo ")
        client.unread(b"hel")
        assert await client.read(4) == b"hell"
        assert await client.read() == b"o "
        assert await client.read() == b"world"

    run(test())


def test_sessions_are_resumed() -> None:
    async def handle(stream: SocketStream) -> bytes:
        accepted = await accept(stream, CA, NAME)
        accepted.write(b"hi")
        return await accepted.read()

    async def test() -> list[bool]:
        context = client_context()
        reused, session = [], None
        for _ in range(2):
            async with accepting(handle) as (port, result):
                _, raw = await asyncio.open_connection("127.0.0.1", port)
                stream = SocketStream(_, raw)
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                client = TlsStream(stream, context.wrap_bio(incoming, outgoing, server_hostname=NAME, session=session), incoming, outgoing, NAME)
                await client.handshake()
                assert await client.read() == b"hi"
                session = client._ssl.session
                reused.append(bool(client._ssl.session_reused))
                await client.close()
                await asyncio.wait([result])
        return reused

    assert run(test()) == [False, True]


# --- servers that cannot be accepted --------------------------------------------------------------------------------


def refused(context: ssl.SSLContext | None, *, name: str = NAME, **options: Any) -> HandshakeFailed:
    async def test() -> HandshakeFailed:
        async with serving(context) as port:
            stream = await dial(port)
            with pytest.raises(HandshakeFailed) as caught:
                await connect(stream, name, trust=trust(), **options)
            await stream.close()
            return caught.value

    failure: HandshakeFailed = run(test())
    assert failure.side == "server"
    return failure


def test_bad_certificates_are_refused_in_words() -> None:
    make = world().server
    expired = refused(make(start=-30, end=-2))
    assert isinstance(expired, CertificateRefused) and "expired at 20" in expired.reason and NAME in expired.remedy
    assert "not valid yet from 20" in refused(make(start=2)).reason
    own = refused(make(issued=False))
    assert isinstance(own, CertificateRefused) and "self-signed" in own.reason and "SSL_CERT_FILE" in own.remedy
    other = refused(make(name="other.example.test"))
    assert isinstance(other, CertificateRefused) and "not for api.example.test but for other.example.test" in other.reason
    assert "not for 127.0.0.1 but for" in refused(make(), name="127.0.0.1").reason


def test_unknown_issuer_is_refused_and_passes_unverified_only_if_asked() -> None:
    async def test() -> None:
        async with serving(world().server()) as port:
            with pytest.raises(CertificateRefused, match=r"someone whom this machine does not know .issuer: CN=World Root"):
                await connect(await dial(port), NAME, trust=UpstreamTrust({}, []))
            stream = await connect(await dial(port), NAME, verify=False, trust=UpstreamTrust({}, []))
            stream.write(b"echo")
            assert await stream.read() == b"echo"
            await stream.close()

    run(test())


def test_roots_named_by_the_users_variables_count() -> None:
    async def test() -> None:
        async with serving(world().server()) as port:
            stream = await connect(await dial(port), NAME, trust=UpstreamTrust({"REQUESTS_CA_BUNDLE": world().pem}))
            assert stream.version == "TLSv1.3" and stream.certificate
            await stream.close()

    run(test())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("needed", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_a_wish_for_a_client_certificate_is_seen_before_the_program_is_answered(version: ssl.TLSVersion, needed: ssl.VerifyMode) -> None:
    context = world().server()
    context.maximum_version = version
    context.verify_mode = needed
    context.load_verify_locations(world().pem)
    assert isinstance(refused(context), ClientCertificateWanted)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_so_it_is_where_the_servers_own_certificate_is_of_a_private_ca(version: ssl.TLSVersion) -> None:
    context = world().server(issued=False)
    context.maximum_version = version
    assert isinstance(refused(context), CertificateRefused)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(world().pem)
    assert isinstance(refused(context), ClientCertificateWanted)


def test_a_server_below_tls_1_2_or_below_the_programs_own_floor() -> None:
    context = world().server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def test(port: int) -> str:
        with pytest.raises(HandshakeFailed) as caught:
            await upstream(port, versions=("TLSv1.3",))
        return caught.value.reason

    with serving_once(context) as port:
        assert "no version of TLS" in run(test(port))


def test_servers_that_speak_no_tls_or_nothing() -> None:
    async def test(answer: bytes | None) -> str:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            if answer is None:
                await asyncio.sleep(5)
            writer.write(answer or b"")
            writer.close()

        async with serving(None, handler) as port:
            with pytest.raises(HandshakeFailed) as caught:
                await upstream(port, timeout=0.3)
            return caught.value.reason

    assert "does not answer in TLS" in run(test(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert "ended the connection" in run(test(b""))
    assert "within 0.3 s" in run(test(None))
    assert "failed" in run(test(b"\x15\x03\x03\x00\x02\x02\x28"))


# --- clients that do not go on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_does_not_trust_us_is_told_as_such(version: ssl.TLSVersion) -> None:
    context = client_context(trusting=False)
    context.maximum_version = version
    result, failure = run(outcome(context, lambda stream: accept(stream, CA, NAME)))
    assert isinstance(result, ClientRefused) and "unknown ca" in result.reason and NAME in result.remedy
    assert isinstance(failure, ssl.SSLCertVerificationError)

    memory, strict = TlsMemory("passthrough"), TlsMemory()
    memory.learn(NAME, result)
    strict.learn(NAME, result)
    strict.learn("mtls.example", ClientCertificateWanted("mtls.example"))
    assert "unknown ca" in memory.passes(NAME) and not strict.passes(NAME) and strict.passes("mtls.example")

    journal = ListJournal()
    write_failed(journal, 3, ClientHello(NAME), NAME, result)
    write_passthrough(journal, 3, ClientHello(NAME), NAME, memory.passes(NAME))
    assert journal.events[0].fields["side"] == "client" and "exclude" in journal.events[0].fields["remedy"]
    assert journal.events[1].fields["mode"] == "passthrough"


def test_a_client_that_leaves_after_the_certificate_has_refused_it() -> None:
    async def test(received: int) -> HandshakeFailed:
        ends = await stream_pair()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing, server_hostname=NAME)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        ends[0].write(outgoing.read()[:received])
        task = asyncio.create_task(accept(ends[1], CA, NAME))
        if received > 100:
            await ends[0].read()
        await ends[0].close()
        with pytest.raises(HandshakeFailed) as caught:
            await task
        return caught.value

    assert isinstance(run(test(10_000)), ClientRefused)
    early = run(test(50))
    assert not isinstance(early, ClientRefused) and early.side == "client"


def test_a_client_that_leaves_after_the_handshake_without_a_byte() -> None:
    async def handle(stream: SocketStream) -> Any:
        accepted = await accept(stream, CA, NAME)
        assert accepted.refusal is None
        with contextlib.suppress(StreamReset):  # the tickets that it did not read make its close a reset
            assert await accepted.read() == b""
        return accepted.refusal

    result, failure = run(outcome(client_context(), handle))
    assert isinstance(result, ClientRefused) and "without a byte" in result.reason and failure is None


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"A" * 100, b"\x80\x2e\x01\x00\x02", bytes(200)])
def test_garbage_instead_of_a_handshake(garbage: bytes) -> None:
    async def test() -> None:
        client, server = await stream_pair()
        client.write(garbage)
        client.write_eof()
        with pytest.raises(HandshakeFailed) as caught:
            await accept(server, CA, NAME)
        assert caught.value.side == "client" and not isinstance(caught.value, ClientRefused)

    run(test())


def test_a_client_that_stops_in_the_middle_is_given_up() -> None:
    async def test() -> None:
        client, server = await stream_pair()
        client.write(b"\x16\x03\x01\x02\x00\x01")
        with pytest.raises(HandshakeFailed, match=r"within 0\.1 s"):
            await accept(server, CA, NAME, timeout=0.1)

    run(test())


class Corrupting:
    """A stream whose bytes change on the way in, from some place on."""

    def __init__(self, stream: SocketStream, seeds: random.Random) -> None:
        self.stream = stream
        self.seeds = seeds
        self.left = seeds.randrange(6000)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    async def read(self, limit: int = 65536) -> bytes:
        data = bytearray(await self.stream.read(limit))
        if self.left < len(data):
            data[self.left] ^= 1 << self.seeds.randrange(8)
            self.left += self.seeds.randrange(1, 3000)
        self.left -= len(data)
        return bytes(data)


def test_changed_bytes_anywhere_end_in_a_reset_or_a_failed_handshake() -> None:
    async def talk(stream: TlsStream, count: int) -> str:
        try:
            for _ in range(count):
                stream.write(b"ping" * 300)
                await stream.drain()
                got = b""
                while len(got) < 1200 and (data := await stream.read()):
                    assert set(data) <= set(b"ping")
                    got += data
                if len(got) < 1200:
                    return "ended"
            return "whole"
        except StreamReset:
            return "reset"
        finally:
            await stream.close()

    async def one(seeds: random.Random) -> set[str]:
        ends = await stream_pair()
        both = UpstreamTrust({}, [bundle_of(CA)])
        near: Any = Corrupting(ends[0], seeds)
        far: Any = Corrupting(ends[1], seeds) if seeds.random() < 0.5 else ends[1]

        async def leg(made: Any, stream: SocketStream) -> str:
            try:
                return await talk(await made, 8)
            except HandshakeFailed:
                await stream.close()
                return "failed"

        client, server = connect(near, NAME, trust=both, timeout=1), accept(far, CA, NAME, timeout=1)
        return set(await asyncio.gather(leg(client, ends[0]), leg(server, ends[1])))

    async def test() -> None:
        seeds = random.Random(11)
        seen = set()
        for _ in range(80):
            seen |= await one(seeds)
        assert {"failed", "reset"} <= seen <= {"failed", "reset", "ended", "whole"}

    run(test())


def test_names_that_no_certificate_can_have() -> None:
    async def test() -> None:
        _, server = await stream_pair()
        with pytest.raises(HandshakeFailed, match="no certificate can name"):
            await accept(server, CA, "a b")
        with pytest.raises(HandshakeFailed, match="cannot be asked for"):
            await connect(server, "a..b", trust=trust())

    run(test())


def test_echo_server_is_not_ours() -> None:
    async def test() -> None:
        async with serving(world().server(), echo) as port:
            stream = await upstream(port)
            stream.write(b"x" * 100_000)
            got = 0
            while got < 100_000:
                got += len(await stream.read())
            stream.abort()

    run(test())
