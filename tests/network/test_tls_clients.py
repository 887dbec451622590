"""Programs as they are, against ``accept``: with the run's bundle they work, without it they refuse, and either is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from needs import lacking
from tls_peers import SocketStream, World, dial, echo, serving, world

from sentra_sandbox.network import trust, trust_paths
from sentra_sandbox.network.ca import CertificateAuthority
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.network.tls import accept, connect, read_client_hello
from sentra_sandbox.network.tls_outcome import ClientCertificateWanted, ClientRefused
from sentra_sandbox.network.upstream_trust import UpstreamTrust

CA = CertificateAuthority()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

PROGRAMS = {
    "curl": ["curl", "-sS", "--max-time", "10", "{url}"],
    "python": [sys.executable, "-c", "import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"],
    "openssl": ["sh", "-c", "printf 'GET / HTTP/1.1\\r\\n\\r\\n' | openssl s_client -connect {host} -servername localhost -x509_strict -verify_return_error -quiet -CAfile $SSL_CERT_FILE"],
    "node": ["node", "-e", "require('https').get('{url}',r=>r.pipe(process.stdout)).on('error',e=>{{console.error(e.message);process.exit(1)}})"],
    "node fetch": ["node", "-e", "fetch('{url}').then(r=>r.text()).then(console.log)"],
}
GO = """package main
import ("crypto/tls"; "fmt"; "io"; "net"; "os")
func main() {
	_, port, _ := net.SplitHostPort(os.Args[1])
	session, err := tls.Dial("tcp", "localhost:" + port, nil)
	if err != nil { fmt.Println(err); os.Exit(1) }
	fmt.Fprint(session, "GET / HTTP/1.1\\r\\n\\r\\n")
	answer, _ := io.ReadAll(session)
	fmt.Println(string(answer))
}
"""


async def answer(stream: Stream) -> Any:
    """What a broker would do with a program's connection. How it ended: "served", or the refusal."""
    hello = await read_client_hello(stream)
    assert hello is not None
    try:
        session = await accept(stream, CA, hello.server_name or "localhost", ["http/1.1"])
    except ClientRefused as refusal:
        return refusal
    request = b""
    with contextlib.suppress(StreamReset):
        while b"\r\n\r\n" not in request and (data := await session.read()):
            request += data
    if request:
        session.write(ANSWER)
    await session.close()
    return session.refusal or "served"


def visit(command: list[str], bundle: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run a client against ``answer`` with that bundle."""

    async def test() -> tuple[subprocess.CompletedProcess[str], Any]:
        results: list[Any] = []

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            results.append(await answer(SocketStream(reader, writer)))
            writer.close()

        async with serving(None, connected) as port:
            words = [word.format(url=f"https://localhost:{port}/", host=f"127.0.0.1:{port}") for word in command]
            # These clients look at the system's file or at a variable; the sandbox gives both, here there is only the variable.
            environment = {"PATH": os.environ["PATH"], "CURL_CA_BUNDLE": bundle, **trust_paths.environment(bundle)}
            done = await asyncio.to_thread(subprocess.run, words, env=environment, capture_output=True, text=True, timeout=60)
            for _ in range(100):
                if results:
                    break
                await asyncio.sleep(0.02)
        return done, results[-1]

    return asyncio.run(test())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("trust") / "bundle.pem"
    trust.write_bundle(str(path), CA, {})
    return str(path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_accept_with_the_bundle_and_refuse_without(name: str, bundle: str) -> None:
    tool = "openssl" if name == "openssl" else PROGRAMS[name][0]
    if not shutil.which(tool):
        lacking(tool)
    done, result = visit(PROGRAMS[name], bundle)
    assert "hello" in done.stdout and result == "served", done.stderr
    done, result = visit(PROGRAMS[name], world().pem)
    assert "hello" not in done.stdout
    assert isinstance(result, ClientRefused) and "localhost" in result.reason


def test_go(bundle: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    go = shutil.which("go")
    if not go:
        lacking("go")
    directory = tmp_path_factory.mktemp("go")
    (directory / "main.go").write_text(GO)
    program = directory / "client"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentra-sandbox-tests" / "go" / "cache"
    environment = {"GOCACHE": str(cache), "GOFLAGS": "-mod=mod", **os.environ}
    subprocess.run([str(go), "build", "-o", program, "main.go"], cwd=directory, env=environment, check=True, timeout=250)
    done, result = visit([str(program), "{host}"], bundle)
    assert "hello" in done.stdout and result == "served", done.stdout
    done, result = visit([str(program), "{host}"], world().pem)
    assert done.returncode == 1 and isinstance(result, ClientRefused) and result.certain


def test_java(tmp_path: Path, bundle: str) -> None:
    if not shutil.which("java"):
        pytest.skip("no Java here")
    (tmp_path / "Get.java").write_text(
        "public class Get { public static void main(String[] a) throws Exception {\n"
        "  System.out.println(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }"
    )
    store = trust_paths.java_store_of(bundle)
    trust.write_java_store(store, CA, {})
    done, result = visit(["java", f"-Djavax.net.ssl.trustStore={store}", str(tmp_path / "Get.java"), "{url}"], bundle)
    assert "hello" in done.stdout and result == "served", done.stderr


def test_a_key_update_in_the_middle(bundle: str) -> None:
    """openssl s_client sends one for each line ``K``."""
    if not shutil.which("openssl"):
        lacking("openssl")
    talk = "(sleep 0.3; printf 'K\\n'; sleep 0.3; printf 'GET / HTTP/1.1\\r\\n\\r\\n'; sleep 0.3)"
    script = f"{talk} | openssl s_client -connect {{host}} -servername localhost -CAfile $SSL_CERT_FILE"
    done, result = visit(["sh", "-c", script], bundle)
    assert "KEYUPDATE" in done.stderr and "hello" in done.stdout and result == "served", done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_with_its_own_certificate_passes_through_at_its_first_connection(version: ssl.TLSVersion) -> None:
    outside: World = world()

    async def forward(source: Stream, target: Stream) -> None:
        with contextlib.suppress(StreamReset):
            while data := await source.read():
                target.write(data)
                await target.drain()
        target.write_eof()

    async def broker(client: Stream, port: int) -> None:
        hello = await read_client_hello(client)
        assert hello is not None
        with pytest.raises(ClientCertificateWanted):
            await connect(await dial(port), hello.server_name, hello.alpn, trust=UpstreamTrust({}, [outside.pem]), versions=hello.versions)
        server = await dial(port)
        await asyncio.gather(forward(client, server), forward(server, client))
        await server.close()

    def client(port: int) -> bytes:
        own = ssl.create_default_context(cafile=outside.pem)
        own.maximum_version = version
        outside.server("client.example.test")
        own.load_cert_chain(outside.directory / "client.example.test.-1.30.True.pem")
        sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        with own.wrap_socket(sock, server_hostname="mutual.example.test") as session:
            session.sendall(b"by its own")
            return session.recv(100)

    async def test() -> None:
        context = outside.server("mutual.example.test")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(outside.pem)
        async with serving(context, echo) as port:

            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await broker(SocketStream(reader, writer), port)
                writer.close()

            async with serving(None, connected) as front:
                assert await asyncio.to_thread(client, front) == b"by its own"

    asyncio.run(asyncio.wait_for(test(), 20))
