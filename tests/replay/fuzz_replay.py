"""Run as a program: replays damaged copies of a run, in one process, and prints how each ended. Arguments: run, first seed, count.

A crash ends this process; a hang is ended by the caller. Every error must be one of ours.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from pathlib import Path

from edited_runs import damaged, edited

from sentra_sandbox.errors import SentraError
from sentra_sandbox.replay import session

session.HANG_NS = 3_000_000_000


def main(run_dir: Path, first: int, count: int) -> None:
    for seed in range(first, first + count):
        rng = random.Random(seed)
        started = time.monotonic()
        print(seed, end=" ", flush=True)
        copy = edited(run_dir, lambda events, rng=rng: damaged(rng, events))
        try:
            result = session.replay(copy, stdout=-1, stderr=-1)
            print(result.divergence.kind if result.divergence else "identical", end=" ")
        except SentraError as error:
            print(type(error).__name__, str(error).replace("\n", " "), end=" ")
        finally:
            shutil.rmtree(copy)
        print(f"{time.monotonic() - started:.2f}", flush=True)


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
