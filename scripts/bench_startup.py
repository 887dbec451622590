#!/usr/bin/env python3
"""What starting a recording costs: ``sentra-sandbox exec -q -- true`` beside the start of the interpreter itself.

    scripts/bench_startup.py            30 interleaved rounds, medians and minima, the goal beside them
    scripts/bench_startup.py -n 100     more rounds
    scripts/bench_startup.py --json     one JSON object
    scripts/bench_startup.py --script   also through the installed ``sentra-sandbox`` script

Each start is timed from the call of posix_spawn to the return of wait4, which also gives the CPU time of the process
and everything below it: on a machine that others use too, minima and CPU times say more than medians. Runs are
recorded into a home of their own, which is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GOAL_MS = 30.0
WARM_UP = 3


def measure(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Milliseconds of one run: by the clock, and on the CPU (user and system, with children that were waited for)."""
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, env)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"bench_startup: {' '.join(command)} ended with wait status {status:#x}")
    return seconds * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def compare(commands: dict[str, list[str]], rounds: int, env: dict[str, str]) -> dict[str, dict[str, float]]:
    """Median and minimum of each command by clock and CPU; rounds interleaved, so that load meets all alike."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(WARM_UP + rounds):
        for name, command in commands.items():
            sample = measure(command, env)
            if number >= WARM_UP:
                samples[name].append(sample)
    return {name: _figures(taken) for name, taken in samples.items()}


def _figures(samples: list[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = [sample[0] for sample in samples], [sample[1] for sample in samples]
    return {
        "median_ms": statistics.median(wall), "minimum_ms": min(wall),
        "cpu_median_ms": statistics.median(cpu), "cpu_minimum_ms": min(cpu),
    }  # fmt: skip


def startup(rounds: int = 30, *, script: bool = False) -> dict[str, Any]:
    """All figures: one entry per command, and ``difference`` = ``exec -q -- true`` minus ``python -c pass``."""
    python = sys.executable
    home = tempfile.mkdtemp(prefix="sentra-bench-")
    commands = {
        "python -c pass": [python, "-c", "pass"],
        "exec -q -- true": [python, "-m", "sentra_sandbox", "exec", "-q", "--", "true"],
    }
    if script:
        commands["script exec -q -- true"] = [_script(), "exec", "-q", "--", "true"]
    env = {**os.environ, "SENTRA_SANDBOX_HOME": home}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled; a checkout is after the first round
    try:
        figures = compare(commands, rounds, env)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    base, ours = figures["python -c pass"], figures["exec -q -- true"]
    difference = {name: ours[name] - base[name] for name in base}
    return {"rounds": rounds, "goal_ms": GOAL_MS, "commands": figures, "difference": difference}


def _script() -> str:
    path = Path(sys.executable).with_name("sentra-sandbox")
    if not path.exists():
        raise SystemExit(f"bench_startup: there is no {path}; install the package into this environment first.")
    return str(path)


def _table(result: dict[str, Any]) -> str:
    rows = {**result["commands"], "difference": result["difference"]}
    lines = [f"{'ms':<24}{'median':>9}{'minimum':>9}{'CPU med.':>10}{'CPU min.':>10}"]
    for name, row in rows.items():
        lines.append(
            f"{name:<24}{row['median_ms']:>9.1f}{row['minimum_ms']:>9.1f}"
            f"{row['cpu_median_ms']:>10.1f}{row['cpu_minimum_ms']:>10.1f}"
        )
    reached = "reached" if result["difference"]["median_ms"] <= GOAL_MS else "not reached"
    lines.append(f"goal: exec -q -- true at most {GOAL_MS:.0f} ms (median) beyond python -c pass: {reached}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--rounds", type=int, default=30)
    parser.add_argument("--script", action="store_true", help="also measure the installed sentra-sandbox script")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("at least one round is needed")
    result = startup(arguments.rounds, script=arguments.script)
    print(json.dumps(result, indent=1) if arguments.json else _table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
