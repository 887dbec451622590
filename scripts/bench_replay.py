"""What replaying costs: the time a replay takes beside the recorded run's, its rate and its memory. Called by ``scripts/bench --replay``.

Figures are of whole processes, medians over rounds: wall clock, CPU time of the command and all its children, and the largest resident
set among them. A computing program may take longer recorded or replayed than natively because its addresses are not randomised: compare
with ``setarch -R``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SANDBOX = str(Path(sys.executable).parent / "sentra-sandbox")
WAITS = "import time, uuid\nprint(uuid.uuid4())\nfor n in range(30): time.sleep(1)"
COMPUTES = "n = 0\nfor i in range(30_000_000): n += i * i % 7\nprint(n)"
CALLS = "import os\nfor n in range(20_000): os.stat('/'); os.getppid()"


@dataclass(frozen=True)
class Cost:
    """Seconds and megabytes of one finished command, children included."""

    wall_s: float
    cpu_s: float
    memory_mb: float


def run(argv: list[str], env: dict[str, str]) -> Cost:
    """Run to the end in a process of its own, so that its children are counted."""
    started = time.monotonic()
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"bench: {argv} ended with wait status {status}")
    return Cost(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def medians(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall_s", "cpu_s", "memory_mb")))


def measure(code: str, rounds: int, env: dict[str, str], place: Path) -> tuple[Cost, Cost, Cost, int]:
    """Native, recorded (once) and replayed costs of a Python program, and the number of its events."""
    argv = [sys.executable, "-S", "-c", code]
    trace = place / "run"
    recorded = run([SANDBOX, "exec", "-q", "-o", str(trace), "--", *argv], env)
    native = medians([run(argv, env) for _ in range(1 if code == WAITS else rounds)])
    replayed = medians([run([SANDBOX, "replay", "-q", str(trace)], env) for _ in range(rounds)])
    events = json.loads((trace / "run.json").read_text())["counts"]["events"]
    shutil.rmtree(trace)
    return native, recorded, replayed, events


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench --replay", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="sentra-bench-") as name:
        place = Path(name)
        env = {**os.environ, "SENTRA_SANDBOX_HOME": str(place / "home"), "PYTHONHASHSEED": "0"}
        subprocess.run([SANDBOX, "exec", "-q", "--", sys.executable, "-S", "-c", ""], env=env, check=True)  # fills the store
        print(f"{'program':12}{'native':>22}{'recorded':>12}{'replayed':>22}{'events':>9}   figure")
        for title, code in (("waits", WAITS), ("computes", COMPUTES), ("calls", CALLS)):
            native, recorded, replayed, events = measure(code, options.rounds, env, place)
            if title == "waits":
                ratio = recorded.wall_s / replayed.wall_s
                figure = f"{ratio:.0f} times faster than recorded (goal >= 150 {'ok' if ratio >= 150 else 'MISSED'}; waited {100 - 100 * native.cpu_s / native.wall_s:.1f} %)"
            elif title == "computes":
                ratio = replayed.cpu_s / recorded.cpu_s
                figure = f"CPU {ratio:.2f}x of the recording's (goal <= 1.20 {'ok' if ratio <= 1.2 else 'MISSED'})"
            else:
                ratio = replayed.cpu_s / recorded.cpu_s
                figure = f"CPU {ratio:.2f}x of the recording's (goal <= 1.50 {'ok' if ratio <= 1.5 else 'MISSED'}); {events / replayed.wall_s:,.0f} events/s"
            limit = native.memory_mb * 1.3 + 80
            memory = "ok" if replayed.memory_mb <= limit else "MISSED"
            print(
                f"{title:12}{native.wall_s:8.2f} s {native.cpu_s:6.2f} cpu{recorded.wall_s:10.2f} s{replayed.wall_s:8.2f} s {replayed.cpu_s:6.2f} cpu"
                f"{events:9,}   {figure}; memory {replayed.memory_mb:.0f} MB (goal <= {limit:.0f} {memory})"
            )


if __name__ == "__main__":
    main()
