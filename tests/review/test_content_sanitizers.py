"""The search's inner loops under the address and undefined-behaviour sanitizers. ``SENTRA_FUZZ_ROUNDS`` makes it run longer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from needs import lacking

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"


def test_nothing_reads_or_writes_out_of_bounds(tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        lacking("gcc")
    program = tmp_path / "fuzz_review"
    sources = [HERE / "fuzz_review.c", CSRC / "error.c", *sorted((CSRC / "review").glob("*.c"))]
    options = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{CSRC}"]
    built = subprocess.run(["gcc", *options, *map(str, sources), "-o", str(program)], capture_output=True, text=True)
    if "cannot find" in built.stderr and "san" in built.stderr:
        lacking("the sanitizers' libraries")
    assert built.returncode == 0, built.stderr
    rounds, seed = os.environ.get("SENTRA_FUZZ_ROUNDS", "500"), os.environ.get("SENTRA_FUZZ_SEED", "7")
    done = subprocess.run([str(program), rounds, seed], capture_output=True, text=True, timeout=60 + int(rounds) / 50)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    did = re.fullmatch(r"hits (\d+) spans (\d+) places (\d+)\n", done.stdout)
    assert did is not None and min(map(int, did.groups())) > 20
