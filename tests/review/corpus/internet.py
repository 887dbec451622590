"""The fake internet of the corpus: every name and every IPv4 address is answered by this process, in a network namespace of its own.

``enter`` moves the calling process into new network and mount namespaces in which all addresses are local and names are asked of a DNS
server on 127.0.0.1: nothing that the corpus does can leave the machine, and its hosts have public addresses like real ones, so that the
sandbox's default rules (not mappings) decide about them. ``Internet`` answers there: DNS on port 53, HTTP and TLS on 80 and 443 by host
name (``sites``), a shell's listener on 4444, a mining pool on 3333, a sink on 9001.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
from pathlib import Path

from dnslib import QTYPE, RR, TXT, A, DNSRecord
from sites import Request, answer

from sentra_sandbox.network.ca import CertificateAuthority

CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWUSER = 0x20000, 0x40000000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


HOMES = Path("/srv")  # seen by the agents only: not below /tmp, where nothing lasts and detectors look away


def enter(place: Path) -> None:
    """New namespaces whose only network is a loopback that owns every address, with ``place``/cases at ``HOMES``. An ordinary user becomes
    root of a user namespace.
    """
    from pyroute2 import IPRoute

    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWNET | (CLONE_NEWUSER if user else 0)
    _check(libc.unshare(flags), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\noptions timeout:15 attempts:3\n"), ("hosts", "127.0.0.1 localhost\n")):
        (place / name).write_text(text)
        _check(libc.mount(os.fsencode(place / name), os.fsencode(os.path.realpath(f"/etc/{name}")), None, MS_BIND, None), f"mount {name}")
    (place / "cases").mkdir(exist_ok=True)
    _check(libc.mount(os.fsencode(place / "cases"), os.fsencode(HOMES), None, MS_BIND, None), f"mount {HOMES}")
    with IPRoute() as routes:
        loopback = routes.link_lookup(ifname="lo")[0]
        routes.link("set", index=loopback, state="up")
        routes.route("add", dst="0.0.0.0/0", oif=loopback, type="local", scope="host", table=255)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def address_of(name: str) -> str:
    """The public address of a name: always the same."""
    digest = hashlib.sha256(name.lower().encode()).digest()
    return f"45.{56 + digest[0] % 60}.{digest[1]}.{1 + digest[2] % 250}"


class Internet:
    """Servers in threads, from ``start`` to ``stop``. ``place`` holds git repositories and packages; ``secrets`` what the metadata service
    hands out; ``pem`` is what the broker must trust. ``received`` says who was sent how many bytes, for those who doubt.
    """

    def __init__(self, place: Path, secrets: dict[str, str]) -> None:
        self.place, self.secrets = place, secrets
        self.authority = CertificateAuthority()
        self.pem = place / "internet.pem"
        self.pem.write_text(self.authority.pem)
        self.received: dict[str, int] = {}
        self.names: list[str] = []
        self._servers: list[socketserver.BaseServer] = []

    def start(self) -> None:
        for port, handle in ((80, self._web), (443, self._web), (3333, _pool), (4444, _commander), (9001, self._sink)):
            self._serve(_Tcp(("0.0.0.0", port), _handler(handle)))
        self._serve(_Udp(("0.0.0.0", 53), _handler(self._dns)))

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, server: socketserver.BaseServer) -> None:
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def _dns(self, request: tuple[bytes, socket.socket], client: tuple[str, int]) -> None:
        question = DNSRecord.parse(request[0])
        name, kind = str(question.q.qname).rstrip("."), question.q.qtype
        self.names.append(name)
        reply = question.reply()
        if kind == QTYPE.A:
            reply.add_answer(RR(question.q.qname, QTYPE.A, ttl=60, rdata=A(address_of(name))))
        elif kind == QTYPE.TXT:
            reply.add_answer(RR(question.q.qname, QTYPE.TXT, ttl=60, rdata=TXT(b"ok")))
        request[1].sendto(reply.pack(), client)

    def _web(self, client: socket.socket, _: object) -> None:
        """Plain HTTP or TLS, as the first byte says."""
        if client.recv(1, socket.MSG_PEEK) == b"\x16":
            client = self._tls(client)
        with contextlib.closing(client), client.makefile("rb") as reader:
            while (request := Request.read(reader, client)) is not None:
                self.received[request.host] = self.received.get(request.host, 0) + len(request.body)
                if not answer(self, request):
                    return

    def _tls(self, client: socket.socket) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def choose(chosen: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            if name:
                chosen.context = self.authority.context_for(name, ("http/1.1",))

        bare = self.authority.context_for(client.getsockname()[0], ("http/1.1",))
        context = bare
        context.sni_callback = choose  # type: ignore[assignment]
        return context.wrap_socket(client, server_side=True)

    def _sink(self, client: socket.socket, _: object) -> None:
        where = f"{client.getsockname()[0]}:9001"
        while data := client.recv(65536):
            self.received[where] = self.received.get(where, 0) + len(data)

    def git(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """git's own server side, ``git http-backend`` as a CGI program."""
        path, _, query = request.path.partition("?")
        repository = self.place / "git" / path.split("/info/")[0].split("/git-")[0].lstrip("/")
        if not repository.exists():
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(repository)], check=True)
            subprocess.run(["git", "-C", str(repository), "config", "http.receivepack", "true"], check=True)
        env = {**os.environ, "GIT_PROJECT_ROOT": str(self.place / "git"), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query}
        env |= {"REQUEST_METHOD": request.method, "CONTENT_TYPE": request.headers.get("content-type", ""), "REMOTE_USER": "someone"}
        env |= {"CONTENT_LENGTH": str(len(request.body)), "GIT_PROTOCOL": request.headers.get("git-protocol", ""), "REMOTE_ADDR": "45.1.1.1"}
        if "content-encoding" in request.headers:
            env["HTTP_CONTENT_ENCODING"] = request.headers["content-encoding"]
        done = subprocess.run(["git", "http-backend"], env=env, input=request.body, capture_output=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(headers.pop("Status", "200").split()[0]), headers, body


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


def _handler(serve):  # type: ignore[no-untyped-def]
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                serve(self.request, self.client_address)

    return Handler


def _commander(client: socket.socket, _: object) -> None:
    """Whoever waits for a reverse shell: three commands, then it hangs up."""
    client.settimeout(5)
    for command in (b"id\n", b"uname -a\n", b"exit\n"):
        client.sendall(command)
        with contextlib.suppress(TimeoutError):
            client.settimeout(0.5)
            client.recv(65536)


def _pool(client: socket.socket, _: object) -> None:
    """A mining pool: accepts every worker, hands out one job."""
    reader = client.makefile("rb")
    while line := reader.readline():
        request = json.loads(line)
        job = {"blob": "0707" + "00" * 74, "job_id": "1", "target": "b88d0600"}
        result = {"id": "w1", "job": job, "status": "OK"} if request.get("method") == "login" else True
        client.sendall(json.dumps({"id": request.get("id"), "jsonrpc": "2.0", "error": None, "result": result}).encode() + b"\n")
