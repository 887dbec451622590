"""Ring, packing and unpacking under the address and undefined-behaviour sanitizers, with damaged input.

``SENTRA_FUZZ_SECONDS`` makes it run for longer than the few seconds of the suite, ``SENTRA_FUZZ_SEED`` elsewhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from recordings import lacking

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
SOURCES = ["error.c", "record/ring.c", "record/pack_scan.c", "record/pack_column.c", "record/pack.c", "record/unpack.c"]


def test_nothing_reads_or_writes_out_of_bounds(tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        lacking("gcc")
    program = tmp_path / "fuzz_record"
    built = subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", f"-I{CSRC}", str(HERE / "fuzz_record.c"), *(str(CSRC / name) for name in SOURCES),
         "-o", str(program)],
        capture_output=True, text=True,
    )  # fmt: skip
    if "cannot find" in built.stderr and "san" in built.stderr:
        lacking("the sanitizers' libraries")
    assert built.returncode == 0, built.stderr
    seconds = os.environ.get("SENTRA_FUZZ_SECONDS", "2")
    done = subprocess.run(
        [str(program), seconds, os.environ.get("SENTRA_FUZZ_SEED", "20261122")],
        capture_output=True, text=True, timeout=int(seconds) + 60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    did = re.fullmatch(r"packs (\d+) damaged (\d+) accepted (\d+)\n", done.stdout)
    assert did is not None and int(did[1]) > 20 and int(did[2]) > 500
