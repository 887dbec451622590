"""Times workloads native, under strace and recorded, in interleaved rounds; prints medians, ratios and the goals
beside them.

Called by scripts/bench. Rules: every variant of a round works in a fresh directory on the same machine state; a
failed run stops the benchmark; nothing is left out of a median. Times are wall time of the whole command, interpreter
start included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AGENTS = ROOT / "tests" / "agents"
SANDBOX = str(Path(sys.executable).parent / "sentra-sandbox")
NATIVE, STRACE, STRACE_BPF, OURS = "native", "strace -f", "strace --seccomp-bpf", "sentra-sandbox"
VARIANTS = (NATIVE, STRACE, STRACE_BPF, OURS)
FASTER_THAN_STRACE = 3.0
START_GOAL_MS, BYTES_GOAL, MEMORY_GOAL_MB = 30.0, 26.0, 60.0

IMPORTS = "import json, asyncio, ssl, sqlite3, http.client, urllib.request, email.message, subprocess, logging, dataclasses, concurrent.futures"
BASH_LOOP = 'for i in $(seq 40); do /bin/true; x=$(echo $i); [ "$x" = "$i" ] || exit 1; done'


@dataclass(frozen=True, slots=True)
class Workload:
    """``command`` runs in a directory that ``prepare`` made new; ``goal`` is the most that recording may cost (ratio
    to native)."""

    name: str
    command: tuple[str, ...]
    goal: float | None = None
    prepare: Callable[[Path], None] = field(default=lambda directory: None)


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each round by variant."""

    workload: Workload
    seconds: dict[str, list[float]]

    def median(self, variant: str) -> float:
        return statistics.median(self.seconds[variant])

    def ratio(self, variant: str) -> float:
        return self.median(variant) / self.median(NATIVE)


class Bench:
    """A place for the runs, and one way to time a command."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.env = {
            **os.environ,
            "SENTRA_SANDBOX_HOME": str(place / "store"),
            "HOME": str(place),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self.count = 0

    def wrapped(self, variant: str, command: tuple[str, ...]) -> list[str]:
        """The command line of a variant."""
        prefix = {
            NATIVE: [],
            STRACE: ["strace", "-f", "-o", "/dev/null", "--"],
            STRACE_BPF: ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "--"],
            OURS: [SANDBOX, "exec", "-q", "--net", "host", "--"],  # as strace has it
        }
        return [*prefix[variant], *command]

    def directory(self, workload: Workload) -> Path:
        """A fresh prepared directory."""
        self.count += 1
        directory = self.place / f"work-{self.count}"
        directory.mkdir()
        workload.prepare(directory)
        return directory

    def time(self, argv: list[str], directory: Path) -> float:
        """Seconds that a command takes; it must succeed."""
        start = time.perf_counter()
        done = subprocess.run(
            argv,
            cwd=directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=300,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(
                f"bench: {argv} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-1000:]}"
            )
        return seconds

    def measure(self, workload: Workload, rounds: int, budget_s: float) -> Measured:
        """Interleaved rounds; after three, no new one begins when the budget is used up."""
        seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        start = time.monotonic()
        for number in range(rounds + 1):
            if number > 3 and time.monotonic() - start > budget_s:
                break
            for variant in VARIANTS:
                directory = self.directory(workload)
                taken = self.time(self.wrapped(variant, workload.command), directory)
                shutil.rmtree(directory)
                if number:  # the first round only fills caches
                    seconds[variant].append(taken)
        return Measured(workload, seconds)


def git_repository(directory: Path) -> None:
    """300 files in a committed repository."""
    for number in range(300):
        path = directory / f"d{number % 15}" / f"file-{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n" * 20)
    quiet = {"cwd": directory, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(["git", "init", "-q"], **quiet)  # type: ignore[call-overload]
    subprocess.run(["git", "add", "."], **quiet)  # type: ignore[call-overload]
    subprocess.run(["git", "-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "all"], **quiet)  # type: ignore[call-overload]


@contextmanager
def model_server() -> Iterator[str]:
    """The URL of the model server for the agent; it runs natively and outside."""
    argv = [sys.executable, str(AGENTS / "model_server.py"), "--delay-ms", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().split()[-1]
        server.terminate()


def build_churn(place: Path) -> str:
    binary = place / "bench_churn"
    subprocess.run(
        [os.environ.get("CC", "cc"), "-O2", "-o", str(binary), str(ROOT / "scripts" / "bench_churn.c")], check=True
    )
    return str(binary)


def workloads(place: Path, url: str) -> list[Workload]:
    python = sys.executable
    rows = [
        Workload("python start-up + imports", (python, "-c", IMPORTS), 1.8),
        Workload("agent, ~26 execs, 4 threads", (python, str(AGENTS / "demo_agent.py"), url, "."), 3.5),
        Workload("51,000-call file churn", (build_churn(place), "3000"), 9.0),
        Workload("git status, 300 files", ("git", "status"), 6.0, git_repository),
        Workload("bash loop, 80 children", ("bash", "-c", BASH_LOOP)),
    ]
    if shutil.which("node"):
        rows.append(Workload("node -e require http", ("node", "-e", "require('http')")))
    return rows


# ---- single figures
# ---------------------------------------------------------------------------------------------------


def start_cost_ms(bench: Bench, rounds: int) -> tuple[float, float, float]:
    """Milliseconds that ``exec -- true`` takes beyond ``python -c pass``, that the latter takes, and that it takes beyond ``true``."""
    python, ours, native = [], [], []
    for _ in range(rounds + 1):
        python.append(bench.time([sys.executable, "-c", "pass"], bench.place))
        ours.append(bench.time([SANDBOX, "exec", "-q", "--", "true"], bench.place))
        native.append(bench.time(["true"], bench.place))
    base, start = statistics.median(python[1:]), statistics.median(ours[1:])
    return (start - base) * 1000, base * 1000, (start - statistics.median(native[1:])) * 1000


def peak_memory_mb(process: subprocess.Popen[bytes]) -> float:
    """The largest VmHWM of a process until it ends: its own peak, not that of its children."""
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))])
        time.sleep(0.005)
    return peak / 1024


def agent_on_disk(bench: Bench, agent: Workload) -> dict[str, float]:
    """Events, bytes and the supervisor's memory of one agent run; blobs of system files are in the store from the
    rounds before."""
    directory = bench.directory(agent)
    argv = [SANDBOX, "exec", "-q", "--net", "host", "--name", "bench-agent", "--", *agent.command]
    with subprocess.Popen(argv, cwd=directory, env=bench.env, stdout=subprocess.DEVNULL) as process:
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        memory = peak_memory_mb(process)
        status = process.wait()
        watchdog.cancel()
    if status:
        raise SystemExit(f"bench: the agent ended with {status}")
    entry = json.loads(
        subprocess.run(
            [SANDBOX, "ls", "--json", "--name", "bench-agent"], env=bench.env, capture_output=True, check=True
        ).stdout.splitlines()[0]
    )
    run = Path(entry["path"])
    size = sum(path.lstat().st_size for path in run.rglob("*") if path.is_file())
    return {"events": entry["events"], "bytes": size, "bytes_per_event": size / entry["events"], "memory_mb": memory}


# ---- reports
# ------------------------------------------------------------------------------------------------------------


def as_object(measured: list[Measured], single: dict[str, float]) -> dict[str, object]:
    rows = [
        {
            "name": row.workload.name,
            "rounds": len(row.seconds[NATIVE]),
            "median_s": {variant: row.median(variant) for variant in VARIANTS},
            "ratio": {variant: row.ratio(variant) for variant in VARIANTS},
            "goal_ratio": row.workload.goal,
            "strace_over_ours": row.median(STRACE) / row.median(OURS),
        }
        for row in measured
    ]
    return {
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "workloads": rows,
        **single,
    }


def verdict(value: float, goal: float, at_least: bool = False) -> str:
    return "ok" if (value >= goal if at_least else value <= goal) else "MISSED"


def print_table(measured: list[Measured], own_start_ms: float) -> None:
    """``ours`` is the whole command; ``running`` is without its own start, which has a goal of its own: what recording a program that
    runs on costs. The goals of the rows are about that.
    """
    print(
        f"{'workload':30}{'native':>10}{'strace -f':>12}{'seccomp-bpf':>13}{'ours':>10}{'running':>10}   {'goal':18}{'strace / running'}"
    )
    for row in measured:
        running_s = row.median(OURS) - own_start_ms / 1000
        running, goal = running_s / row.median(NATIVE), row.workload.goal
        wanted = f"<= {goal:.1f}x {verdict(running, goal)}" if goal else "-"
        lead = row.median(STRACE) / running_s
        lead_text = (
            f"{lead:.1f} (>= {FASTER_THAN_STRACE:.0f} {verdict(lead, FASTER_THAN_STRACE, True)})"
            if goal
            else f"{lead:.1f}"
        )
        print(
            f"{row.workload.name:30}{row.median(NATIVE) * 1000:7.1f} ms{row.ratio(STRACE):11.1f}x{row.ratio(STRACE_BPF):12.1f}x{row.ratio(OURS):9.2f}x{running:9.2f}x   {wanted:18}{lead_text}"
        )


def print_single(single: dict[str, float]) -> None:
    start = single["start_ms"]
    print(f"\nrunning = ours without the command's own start ({single['own_start_ms']:.1f} ms beyond a native 'true')")
    print(
        f"exec -- true beyond 'python -c pass' ({single['python_ms']:.1f} ms): {start:.1f} ms   goal <= {START_GOAL_MS:.0f} ms {verdict(start, START_GOAL_MS)}"
    )
    size = single["bytes_per_event"]
    print(
        f"agent's trace: {single['events']:,.0f} events, {single['bytes'] / 1024:.0f} KiB, {size:.1f} bytes per event   goal <= {BYTES_GOAL:.0f} {verdict(size, BYTES_GOAL)}"
    )
    memory = single["memory_mb"]
    print(
        f"supervisor's peak memory (VmHWM): {memory:.1f} MB   goal < {MEMORY_GOAL_MB:.0f} MB {verdict(memory, MEMORY_GOAL_MB)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each workload (default 7)")
    parser.add_argument(
        "--budget", type=float, default=90.0, help="seconds for one workload, after which no new round begins"
    )
    parser.add_argument("--only", default="", help="only workloads whose name holds this")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    if not shutil.which("strace"):
        raise SystemExit("bench: strace is needed for comparison; on Debian: apt-get install strace")
    rounds = options.rounds or (3 if options.quick else 7)
    with tempfile.TemporaryDirectory(prefix="sentra-bench-") as name, model_server() as url:
        bench = Bench(Path(name))
        rows = [row for row in workloads(bench.place, url) if options.only in row.name]
        measured = []
        for row in rows:
            print(f"measuring {row.name} ...", file=sys.stderr, flush=True)
            measured.append(bench.measure(row, rounds, options.budget))
        start, python, own = start_cost_ms(bench, rounds * 2)
        agent = next(row for row in workloads(bench.place, url) if row.name.startswith("agent"))
        single = {"start_ms": start, "python_ms": python, "own_start_ms": own, **agent_on_disk(bench, agent)}
    if options.json:
        print(json.dumps(as_object(measured, single), indent=1))
        return
    print_table(measured, single["own_start_ms"])
    print_single(single)


if __name__ == "__main__":
    main()
