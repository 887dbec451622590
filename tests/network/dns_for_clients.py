"""Run inside namespaces of its own (``unshare -Urmn``): a DNS server on 127.0.0.1:53 there, and the system's clients asking it.

Prints what each command said, as JSON: name → [exit status, output, seconds].
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

from test_dns import Made

RESOLV = "nameserver 127.0.0.1\nsearch example.com\n"
FILES = {"/etc/resolv.conf": RESOLV, "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n", "/etc/nsswitch.conf": "hosts: files dns\n"}
PYTHON = """
import socket, sys
try:
    print(*sorted({entry[4][0] for entry in socket.getaddrinfo(sys.argv[1], 443)}))
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME, error.strerror)
"""
NODE = """
const dns = require('dns'), name = process.argv[1];
dns.lookup(name, {all: true}, (e, a) => { console.log(e ? e.code : a.map(x => x.address).sort().join(' '));
  dns.resolve4(name, (e, a) => { console.log(e ? e.code : a.join(' '));
    dns.resolveTxt(name, (e, a) => console.log(e ? e.code : a.length)); }); });
"""


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 1 | 64))  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING


def show_own_files(directory: str) -> None:
    for path, text in FILES.items():
        shown = os.path.join(directory, path.replace("/", "_"))
        with open(shown, "w") as file:
            file.write(text)
        subprocess.run(["mount", "--bind", shown, os.path.realpath(path)], check=True)


def commands() -> dict[str, list[str]]:
    made = {f"getent {name}": ["getent", "ahosts", name] for name in ("both.example.com", "four", "missing.example.com", "denied.org", "x.localhost")}
    made["getent reverse"] = ["getent", "hosts", Made().names.addresses("both.example.com")[0]]
    made |= {f"python {name}": [sys.executable, "-c", PYTHON, name] for name in ("both.example.com", "denied.org", "six.example.com")}
    if shutil.which("node"):
        made |= {f"node {name}": ["node", "-e", NODE, name] for name in ("both.example.com", "denied.org", "big.example.com")}
    return made


def bound(kind: int, address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.bind((address, 53))
    if kind == socket.SOCK_STREAM:
        made.listen(16)
    return made


async def ask_all() -> dict[str, list[object]]:
    server = Made(deny=("denied.org", "*.denied.org", "denied.org.example.com")).server
    served = [server.serve_udp(bound(socket.SOCK_DGRAM, "127.0.0.1")), server.serve_tcp(bound(socket.SOCK_STREAM, "127.0.0.1"))]
    tasks = [asyncio.ensure_future(work) for work in served]
    said: dict[str, list[object]] = {}
    for name, command in commands().items():
        start = time.monotonic()
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        said[name] = [process.returncode, output.decode(), time.monotonic() - start]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return said


if __name__ == "__main__":
    loopback_up()
    with tempfile.TemporaryDirectory() as directory:
        show_own_files(directory)
        print(json.dumps(asyncio.run(ask_all())))
        subprocess.run(["umount", "--lazy", *{os.path.realpath(path) for path in FILES}], check=False)
