#!/usr/bin/env python3
"""What the sandbox's own network costs: the intercepting broker beside mitmproxy, and both beside nothing in between.

    scripts/bench_network.py                 all figures, the goals beside them
    scripts/bench_network.py --no-mitmproxy  without installing mitmproxy (into a directory of its own under ~/.cache)
    scripts/bench_network.py --only sse      figures whose name holds the word
    scripts/bench_network.py --json          one JSON object

Everything is loopback: a small server with a certificate of its own stands for the internet, a Python client runs inside `exec --net open`
(traced, as in real use). Speed is given as requests per second of CPU time of the broker (or mitmproxy) process: on a machine that
others use too this says more than time by the clock, and the client's own slowness does not enter it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CLIENT = HERE / "bench_network_client.py"
SERVER = HERE / "bench_network_server.py"
NAME = "bench.example"
REQUESTS, IDLE, ROUNDS = 3000, 200, 3
DOWNLOAD_BYTES = 200_000_000
GOALS = {
    "requests per CPU-second, TLS both sides": ">= 2500",
    "SSE: delay added by the broker, median ms": "<= 5",
    "idle TLS connection, KB": "<= 80",
    "network set up, ms": "<= 5",
    "200 MB download, MB/s": ">= 150",
}


class Server:
    """The small server: plain and TLS ports on loopback."""

    def __init__(self, place: Path) -> None:
        self._process = subprocess.Popen([sys.executable, str(SERVER), str(place)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.plain, self.tls = (int(word) for word in self._process.stdout.readline().split())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Client:
    """A client process that does one thing at a time when told to; ``broker`` is the process in the middle."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench_network: the client ended while it did {request}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def broker_of(pid: int) -> int:
    """The broker's process id: the child of ``exec`` whose command line names it."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"sentra_sandbox.network" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise SystemExit("bench_network: the broker does not run")


@contextlib.contextmanager
def in_sandbox(server: Server, place: Path, net: str = "open") -> Iterator[Client]:
    """The client inside ``exec``."""
    policy = place / "policy.json"
    policy.write_text(json.dumps({"tls": {"insecure": [NAME]}}))
    options = ["--net", net]
    if net == "open":
        options += ["--policy", str(policy), "--map", f"{NAME}:443=127.0.0.1:{server.tls}", "--map", f"{NAME}:80=127.0.0.1:{server.plain}"]
    command = [sys.executable, "-m", "sentra_sandbox", "exec", "-q", *options, "--", sys.executable, str(CLIENT)]
    client = Client(command, {**os.environ, "SENTRA_SANDBOX_HOME": str(place / "home")})
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def native() -> Iterator[Client]:
    client = Client([sys.executable, str(CLIENT)], dict(os.environ))
    try:
        yield client
    finally:
        client.close()


def broker_figures(server: Server, place: Path) -> dict[str, float]:
    """Requests per CPU-second over TLS and plain, memory of an idle connection."""
    figures: dict[str, float] = {}
    with in_sandbox(server, place) as client:
        for name, scheme, port in (("TLS both sides", "https", 443), ("plain", "http", 80)):
            client.ask(do="requests", scheme=scheme, host=NAME, port=port, count=50)
            broker = broker_of(client.pid)
            rates = []
            for _ in range(ROUNDS):
                before = cpu_seconds(broker)
                client.ask(do="requests", scheme=scheme, host=NAME, port=port, count=REQUESTS)
                rates.append(REQUESTS / max(cpu_seconds(broker) - before, 0.01))
            figures[f"requests per CPU-second, {name}"] = statistics.median(rates)
        before_kb = resident_kb(broker)
        client.ask(do="idle", host=NAME, port=443, count=IDLE)
        time.sleep(0.5)
        figures["idle TLS connection, KB"] = (resident_kb(broker) - before_kb) / IDLE
    return figures


def mitmproxy_figures(server: Server, place: Path) -> dict[str, float]:
    """The same through mitmproxy in its regular mode, writing its flows to a file as we write the trace."""
    program = mitmproxy_program()
    port = 18080 + os.getpid() % 1000
    command = [str(program), "-q", "-p", str(port), "--listen-host", "127.0.0.1", "--ssl-insecure", "-w", str(place / "flows")]
    command += ["--set", f"confdir={place / 'mitm'}", "--set", "connection_strategy=lazy"]
    proxy = subprocess.Popen(command)
    figures: dict[str, float] = {}
    try:
        time.sleep(4)
        with native() as client:
            via = {"proxy": port, "host": "127.0.0.1", "port": server.tls, "scheme": "https"}
            client.ask(do="requests", count=50, **via)
            rates = []
            for _ in range(ROUNDS):
                before = cpu_seconds(proxy.pid)
                client.ask(do="requests", count=REQUESTS // 3, **via)
                rates.append(REQUESTS // 3 / max(cpu_seconds(proxy.pid) - before, 0.01))
            figures["requests per CPU-second, TLS both sides"] = statistics.median(rates)
            before_kb = resident_kb(proxy.pid)
            client.ask(do="idle", proxy=port, host="127.0.0.1", port=server.tls, count=IDLE)
            time.sleep(0.5)
            figures["idle TLS connection, KB"] = (resident_kb(proxy.pid) - before_kb) / IDLE
            sse = client.ask(do="sse", **via)
            figures["SSE: delay by the whole way, median ms"] = sse["median_ms"]
    finally:
        proxy.kill()
        proxy.wait()
    return figures


def mitmproxy_program() -> Path:
    place = Path.home() / ".cache" / "sentra-sandbox-bench" / "mitmproxy"
    program = place / "bin" / "mitmdump"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(place / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "mitmproxy"], check=True)
    return program


def sse_figures(server: Server, place: Path) -> dict[str, float]:
    """From the server's write of an event to the client's read: recorded with the host's network, and through the broker."""
    with in_sandbox(server, place, "host") as client:
        direct = client.ask(do="sse", scheme="https", host="127.0.0.1", port=server.tls)
    with in_sandbox(server, place) as client:
        client.ask(do="requests", scheme="https", host=NAME, port=443, count=5)
        ours = client.ask(do="sse", scheme="https", host=NAME, port=443)
    return {
        "SSE: delay by the whole way, median ms": ours["median_ms"],
        "SSE: delay added by the broker, median ms": ours["median_ms"] - direct["median_ms"],
        "SSE: delay added by the broker, first event ms": ours["first_ms"] - direct["first_ms"],
    }


def download_figures(server: Server, place: Path) -> dict[str, float]:
    """A large plain TCP download: native, recorded on the host's network, recorded through the broker."""
    figures = {}
    with native() as client:
        figures["200 MB download natively, MB/s"] = rate(client, "127.0.0.1", server.plain)
    with in_sandbox(server, place, "host") as client:
        figures["200 MB download recorded, --net host, MB/s"] = rate(client, "127.0.0.1", server.plain)
    with in_sandbox(server, place) as client:
        client.ask(do="requests", scheme="http", host=NAME, port=80, count=5)
        broker = broker_of(client.pid)
        before = cpu_seconds(broker)
        figures["200 MB download, MB/s"] = rate(client, NAME, 80)
        used = max(cpu_seconds(broker) - before, 0.01)
        figures["200 MB download, MB per CPU-second of the broker"] = DOWNLOAD_BYTES / 1e6 / used
    return figures


def rate(client: Client, host: str, port: int) -> float:
    answer = client.ask(do="download", host=host, port=port, bytes=DOWNLOAD_BYTES)
    return float(DOWNLOAD_BYTES / 1e6 / answer["seconds"])


def setup_figures(place: Path) -> dict[str, float]:
    """What the network namespace adds to the start of a program that does not use it."""
    samples: dict[str, list[float]] = {"none": [], "open": []}
    env = {**os.environ, "SENTRA_SANDBOX_HOME": str(place / "home")}
    for _ in range(22):
        for net, times in samples.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "sentra_sandbox", "exec", "-q", "--net", net, "--", "true"], check=True, env=env)
            times.append((time.perf_counter() - started) * 1e3)
    return {"network set up, ms": statistics.median(samples["open"][2:]) - statistics.median(samples["none"][2:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", default="", help="figures whose group's name holds this word: setup, broker, sse, download, mitmproxy")
    parser.add_argument("--no-mitmproxy", action="store_true", help="leave the comparison with mitmproxy out")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="sentra-bench-"))
    server = Server(place)
    groups = {
        "setup": lambda: setup_figures(place),
        "broker": lambda: broker_figures(server, place),
        "sse": lambda: sse_figures(server, place),
        "download": lambda: download_figures(server, place),
    }
    results: dict[str, dict[str, float]] = {"sentra-sandbox": {}}
    try:
        for name, measure in groups.items():
            if options.only in name:
                results["sentra-sandbox"].update(measure())
        if not options.no_mitmproxy and options.only in "mitmproxy":
            results["mitmproxy"] = mitmproxy_figures(server, place)
    finally:
        server.close()
        shutil.rmtree(place, ignore_errors=True)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, value in results["sentra-sandbox"].items():
        other = results.get("mitmproxy", {}).get(name)
        beside = f"   mitmproxy {other:10.1f}  ({value / other:.1f} x)" if other else ""
        goal = f"   goal {GOALS[name]}" if name in GOALS else ""
        print(f"{name:52} {value:10.1f}{goal:16}{beside}")


if __name__ == "__main__":
    main()
