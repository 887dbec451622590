"""Real clients, for ``exec --net open``: how each is called, what it must print, and which exchanges must be in the trace.

The servers are in ``net_servers``; ``tests/agents/install`` puts the libraries where they are looked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agents"))

from agents.agents import NODE_MODULES, PLACE, PYTHON

GO = PLACE / "go" / "net"
JAVA = PLACE / "java" / "Net.class"
BIG = 300_000  # bytes of a body that takes several records and frames

Exchange = tuple[str, str, int, str]
"""Method, path, status and version of HTTP."""

HELLO: Exchange = ("GET", "/hello", 200, "1.1")
H2_HELLO: Exchange = ("GET", "/hello", 200, "2")
POST: Exchange = ("POST", "/echo", 200, "1.1")
H2_POST: Exchange = ("POST", "/echo", 200, "2")
PIECES: Exchange = ("GET", "/pieces", 200, "1.1")
TOLD = "hello /hello of api.test\n"
H2_TOLD = "hello /hello of h2.test\n"


@dataclass(frozen=True, slots=True)
class Client:
    """``speaks`` is for the table of the documentation. ``prints`` is its whole output, or "" where that is up to chance (it ``contains``
    something then); ``exchanges`` in any order, () if they are the client's affair. All have PYTHON and NODE_PATH in their environment.
    """

    name: str
    speaks: str
    command: tuple[str, ...]
    prints: str
    exchanges: tuple[Exchange, ...]
    needs: tuple[str | Path, ...] = ()
    contains: str = ""


def _python(name: str, speaks: str, text: str, prints: str, *exchanges: Exchange, contains: str = "") -> Client:
    return Client(name, speaks, (str(PYTHON), "-c", text), prints, exchanges, (PYTHON,), contains)


def _node(name: str, speaks: str, text: str, prints: str, *exchanges: Exchange, needs: tuple[str | Path, ...] = (), contains: str = "") -> Client:
    return Client(name, speaks, ("node", "-e", text), prints, exchanges, ("node", *needs), contains)


def _shell(name: str, speaks: str, text: str, prints: str, *exchanges: Exchange, needs: tuple[str | Path, ...] = (), contains: str = "") -> Client:
    return Client(name, speaks, ("bash", "-ec", text), prints, exchanges, needs, contains)


URLLIB = f"""
import urllib.request as u
print(u.urlopen("https://api.test/hello").read().decode(), end="")
print(len(u.urlopen("https://api.test/echo", b"x" * {BIG}).read()))
"""
REQUESTS = f"""
import requests
with requests.Session() as s:
    print(s.get("https://api.test/hello").text, end="")
    print(len(s.post("https://api.test/echo", data=iter([b"x" * {BIG // 3}] * 3)).content))
    print(sum(line.startswith(b"data: ") for line in s.get("https://api.test/pieces", stream=True).iter_lines()))
"""
HTTPX = f"""
import httpx
with httpx.Client(http2=True) as c:
    for host in ("api", "h2"):
        answer = c.get(f"https://{{host}}.test/hello")
        print(answer.http_version, answer.text, end="")
        print(len(c.post(f"https://{{host}}.test/echo", content=b"x" * {BIG}).content))
"""
AIOHTTP = """
import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession() as s:
        async def one(n):
            async with s.post(f"https://api.test/echo?{n}", json={"n": n}) as answer: return await answer.text()
        print(sorted(await asyncio.gather(*(one(n) for n in range(8)))) == [f'echo {{"n": {n}}}' for n in range(8)])
asyncio.run(main())
"""
CARES = """
import aiohttp, aiohttp.resolver, asyncio
async def main():
    connector = aiohttp.TCPConnector(resolver=aiohttp.resolver.AsyncResolver())
    async with aiohttp.ClientSession(connector=connector) as s:
        async with s.get("https://api.test/hello") as answer: print(await answer.text(), end="")
asyncio.run(main())
"""
OPENAI = """
from openai import OpenAI
c = OpenAI(base_url="https://api.test/v1", api_key="sk-local-demo", max_retries=0)
for piece in c.chat.completions.create(model="talker", messages=[{"role": "user", "content": "say"}], stream=True):
    print(piece.choices[0].delta.content or "", end="|", flush=True)
"""
ANTHROPIC = """
from anthropic import Anthropic
c = Anthropic(base_url="https://api.test", api_key="sk-local-demo", max_retries=0)
with c.messages.stream(model="talker", max_tokens=99, messages=[{"role": "user", "content": "say"}]) as stream:
    for text in stream.text_stream: print(text, end="|", flush=True)
"""
WEBSOCKETS = """
import asyncio, websockets
async def main():
    async with websockets.connect("wss://api.test/ws") as w:
        for message in ("one", b"\\0two", "three" * 9999):
            await w.send(message)
            print(await w.recv() == message)
        await (await w.ping())
asyncio.run(main())
"""
GRPC = """
import grpc
with grpc.secure_channel("h2.test:443", grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary("/grpc.test.Echo/One")(b"hello", timeout=20))
    print(list(channel.unary_stream("/grpc.test.Echo/Three")(b"again", timeout=20)))
"""
THREADS = """
import threading, urllib.request as u
seen = []
def work(n):
    for turn in range(3): seen.append(u.urlopen(f"https://api.test/hello?{n}.{turn}").read())
threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
for t in threads: t.start()
for t in threads: t.join()
print(len(seen), len(set(seen)))
"""
SSE = """
import http.client, time
c = http.client.HTTPSConnection("api.test"); c.request("GET", "/pieces"); answer = c.getresponse()
came = [time.monotonic() for _ in iter(answer.readline, b"") if _ != b"\\n"]
print(len(came), sum(b - a > 0.01 for a, b in zip(came, came[1:])) >= 8)
"""
NODE_FETCH = """
Promise.all([...Array(8).keys()].map(n => fetch("https://api.test/hello?" + n).then(r => r.text())))
  .then(all => console.log(all.length, new Set(all).size))
"""
NODE_HTTPS = """
const https = require("https"), agent = new https.Agent({keepAlive: true, maxSockets: 2}); let left = 6
for (let n = 0; n < 6; n++) https.request({host: "api.test", path: "/echo", method: "POST", agent}, r => {
  let text = ""; r.on("data", d => text += d).on("end", () => { if (text !== "echo " + n) throw text; if (!--left) { console.log("all"); agent.destroy() } })
}).end(String(n))
"""
NODE_WORKERS = """
const {Worker} = require("worker_threads"), all = []
for (let n = 0; n < 4; n++) new Worker(`fetch("https://api.test/hello?${n}").then(r => r.text()).then(t => require("worker_threads").parentPort.postMessage(t))`,
  {eval: true}).on("message", t => { all.push(t); if (all.length == 4) console.log(all.sort().join(""))})
"""
NODE_H2 = """
const h2 = require("http2").connect("https://h2.test"), r = h2.request({":path": "/hello"}); let text = ""
r.on("data", d => text += d).on("end", () => { console.log(text); h2.close() }).end()
"""
NODE_OPENAI = """
const OpenAI = require(process.env.NODE_PATH + "/openai").default
const c = new OpenAI({baseURL: "https://api.test/v1", apiKey: "sk-local-demo", maxRetries: 0});
(async () => { for await (const p of await c.chat.completions.create({model: "talker", messages: [{role: "user", content: "say"}], stream: true}))
  process.stdout.write((p.choices[0].delta.content || "") + "|") })()
"""
PIP = """
$PYTHON -m pip install --no-cache-dir --disable-pip-version-check -q --root-user-action=ignore --no-deps --target lib --index-url https://pypi.test/simple tiny
PYTHONPATH=lib $PYTHON -c 'import tiny; print(tiny.WORD)'
"""
NPM = """
npm install --no-update-notifier --silent --no-audit --no-fund --cache ./cache --prefix ./here --registry https://npm.test/npm/ tiny
node -e 'console.log(require("./here/node_modules/tiny"))'
"""
GIT = """
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git clone -q https://git.test/git/things.git things
cd things; cat word; echo more >> word; git commit -qam more; git push -qf origin HEAD:refs/heads/pushed; git fetch -q; git rev-parse -q --verify origin/pushed >/dev/null && echo pushed
"""


def _hellos(*queries: str) -> tuple[Exchange, ...]:
    return tuple(("GET", f"/hello?{query}", 200, "1.1") for query in queries)


CHAT: Exchange = ("POST", "/v1/chat/completions", 200, "1.1")
CLIENTS = [
    _python("Python urllib", "HTTP/1.1", URLLIB, f"{TOLD}{BIG + 5}\n", HELLO, POST),
    _python("requests", "HTTP/1.1, chunked upload", REQUESTS, f"{TOLD}{BIG + 5}\n11\n", HELLO, POST, PIECES),
    _python("httpx", "HTTP/1.1 and HTTP/2", HTTPX, f"HTTP/1.1 {TOLD}{BIG + 5}\nHTTP/2 {H2_TOLD}{BIG + 5}\n", HELLO, POST, H2_HELLO, H2_POST),
    _python("aiohttp", "HTTP/1.1, side by side", AIOHTTP, "True\n", *(("POST", f"/echo?{n}", 200, "1.1") for n in range(8))),
    _python("aiohttp with c-ares", "HTTP/1.1, own resolver", CARES, TOLD, HELLO),
    _python("openai (Python)", "HTTP/1.1, SSE", OPENAI, "", CHAT, contains="|"),
    _python("anthropic (Python)", "HTTP/1.1, SSE", ANTHROPIC, "", ("POST", "/v1/messages", 200, "1.1"), contains="|"),
    _python("websockets", "WebSocket", WEBSOCKETS, "True\n" * 3, ("GET", "/ws", 101, "1.1")),
    _python("grpcio", "gRPC over HTTP/2", GRPC, "b'hello'\n[b'again', b'again', b'again']\n", ("POST", "/grpc.test.Echo/One", 200, "2"), ("POST", "/grpc.test.Echo/Three", 200, "2")),
    _python("20 Python threads", "HTTP/1.1", THREADS, "60 60\n", *_hellos(*(f"{n}.{turn}" for n in range(20) for turn in range(3)))),
    _python("SSE, piece by piece", "HTTP/1.1, SSE", SSE, "11 True\n", PIECES),
    _shell("curl", "HTTP/1.1 and HTTP/2", f"curl -sS https://api.test/hello https://h2.test/hello; head -c {BIG} /dev/zero | curl -sS --data-binary @- https://h2.test/echo | wc -c", f"{TOLD}{H2_TOLD}{BIG + 5}\n", HELLO, H2_HELLO, H2_POST, needs=("curl",)),
    _shell("wget", "HTTP/1.1", "wget -qO- https://api.test/hello", TOLD, HELLO, needs=("wget",)),
    _shell("git", "HTTP/1.1, clone, push, fetch", GIT, "word\npushed\n", needs=("git",)),
    _shell("pip", "HTTP/1.1", PIP, "from a wheel\n", needs=(PYTHON,)),
    _shell("npm", "HTTP/1.1", NPM, "from a tarball\n", needs=("npm",)),
    _node("Node fetch", "HTTP/1.1, side by side", NODE_FETCH, "8 8\n", *_hellos(*map(str, range(8)))),
    _node("Node https", "HTTP/1.1, kept alive", NODE_HTTPS, "all\n", *[POST] * 6),
    _node("Node worker threads", "HTTP/1.1", NODE_WORKERS, "".join(f"hello /hello?{n} of api.test\n" for n in range(4)) + "\n", *_hellos(*map(str, range(4)))),
    _node("Node http2", "HTTP/2", NODE_H2, "hello /hello of h2.test:443\n\n", H2_HELLO),
    _node("openai (Node)", "HTTP/1.1, SSE", NODE_OPENAI, "", CHAT, needs=(NODE_MODULES,), contains="|"),
    Client("Go net/http, static", "HTTP/1.1 and HTTP/2", (str(GO),), f"HTTP/1.1 {TOLD}HTTP/2.0 {H2_TOLD}8\n", (HELLO, H2_HELLO, *_hellos(*map(str, range(8)))), (GO,)),
    Client("Java HttpClient", "HTTP/1.1 and HTTP/2", ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", str(JAVA.parent), "Net"), f"{TOLD}{H2_TOLD}", (HELLO, H2_HELLO), (JAVA, "java")),
]


def documented() -> str:
    """The table of docs/NETWORK.md."""
    rows = [f"| {client.name} | {client.speaks} |" for client in CLIENTS]
    return "\n".join(("| client | speaks |", "|---|---|", *rows))


def make_files(files: Path) -> None:
    """What the servers serve from disk: an index with a wheel, a registry with a package, a repository."""
    simple = files / "simple" / "tiny"
    simple.mkdir(parents=True)
    wheel = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(simple / wheel, "w") as archive:
        archive.writestr("tiny.py", "WORD = 'from a wheel'\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n")
    digest = hashlib.sha256((simple / wheel).read_bytes()).hexdigest()
    (simple / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{wheel}#sha256={digest}">{wheel}</a></body></html>')

    registry = files / "npm"
    registry.mkdir()
    package = json.dumps({"name": "tiny", "version": "1.0.0", "main": "index.js"}).encode()
    with tarfile.open(registry / "tiny-1.0.0.tgz", "w:gz") as tar:
        for name, data in (("package/package.json", package), ("package/index.js", b"module.exports = 'from a tarball'\n")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    shasum = hashlib.sha1((registry / "tiny-1.0.0.tgz").read_bytes()).hexdigest()
    version = {**json.loads(package), "dist": {"tarball": "https://npm.test/npm/tiny-1.0.0.tgz", "shasum": shasum}}
    (registry / "tiny").write_text(json.dumps({"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}))

    if not shutil.which("git"):
        return
    repository = files / "git" / "things.git"
    repository.parent.mkdir()
    work = files / "things"
    env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(files), "GIT_CONFIG_GLOBAL": "/dev/null"}
    for argv in (
        ["git", "init", "-q", "-b", "main", str(work)],
        ["sh", "-c", f"echo word > {work}/word"],
        ["git", "-C", str(work), "add", "word"],
        ["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"],
        ["git", "clone", "-q", "--bare", str(work), str(repository)],
        ["git", "-C", str(repository), "config", "http.receivepack", "true"],
    ):
        subprocess.run(argv, env=env, check=True, capture_output=True, timeout=30)
