"""What Python programs do: one function a topic, named on the command line; prints the same every time."""

import asyncio
import concurrent.futures
import hashlib
import http.server
import json
import multiprocessing
import os
import random
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid


def threads() -> None:
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        print(sum(pool.map(lambda n: len(hashlib.pbkdf2_hmac("sha256", b"x", str(n).encode(), 500)), range(30))))
    barrier = threading.Barrier(4)
    order = []

    def meet(number: int) -> None:
        barrier.wait()
        order.append(number)

    members = [threading.Thread(target=meet, args=(n,)) for n in range(4)]
    for member in members:
        member.start()
    for member in members:
        member.join(5)
    print(sorted(order), time.monotonic() > 0, uuid.uuid4().version, 0 <= random.random() < 1)


async def _asyncio() -> None:
    async def one(number: int) -> int:
        process = await asyncio.create_subprocess_exec("sh", "-c", f"sleep 0.0{number}; exit {number}")
        return await process.wait()

    print(await asyncio.gather(*(one(n) for n in range(6))))
    events: asyncio.Queue[int] = asyncio.Queue()
    asyncio.get_running_loop().call_later(0.01, events.put_nowait, 5)
    print(await asyncio.wait_for(events.get(), 5))


def _cube(number: int) -> int:
    return number**3


def processes() -> None:
    for method in ("fork", "spawn", "forkserver"):
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            print(method, list(pool.map(_cube, range(6))))
    print(subprocess.run("echo out; echo err >&2; exit 3", shell=True, capture_output=True, text=True))
    first = subprocess.Popen(["seq", "1", "1000"], stdout=subprocess.PIPE)
    second = subprocess.run(["tail", "-1"], stdin=first.stdout, capture_output=True)
    print(second.stdout, first.wait())


def sqlite() -> None:
    base = sqlite3.connect("base.db", timeout=5)
    base.execute("create table t (thread integer, n integer)")
    base.commit()

    def write(number: int) -> None:
        own = sqlite3.connect("base.db", timeout=10)
        for n in range(10):
            with own:
                own.execute("insert into t values (?, ?)", (number, n))
        own.close()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    print(base.execute("select count(*), sum(n) from t").fetchone())


def tls() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain("cert.pem", "key.pem")
    client = ssl.create_default_context(cafile="cert.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with server.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(secure.recv(100).upper())

    thread = threading.Thread(target=serve)
    thread.start()
    with (
        socket.create_connection(listener.getsockname()) as plain,
        client.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"over tls")
        print(secure.recv(100), secure.version())
    thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"sum": sum(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def http_() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(size: int) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}/", json.dumps(list(range(size))).encode()
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["sum"]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print(list(pool.map(ask, range(1, 40, 3))))
    server.shutdown()


def tempfile_() -> None:
    with tempfile.TemporaryDirectory() as name:
        with tempfile.NamedTemporaryFile(dir=name, mode="w+", suffix=".txt") as file:
            file.write("kept " * 1000)
            file.flush()
            print(os.path.getsize(file.name), shutil.disk_usage(name).total > 0)
        print(os.listdir(name))
    print(os.path.exists(name), tempfile.gettempdir())


if __name__ == "__main__":
    topic = sys.argv[1]
    if topic == "asyncio":
        asyncio.run(_asyncio())
    else:
        {
            "threads": threads,
            "processes": processes,
            "sqlite": sqlite,
            "tls": tls,
            "http": http_,
            "tempfile": tempfile_,
        }[topic]()
