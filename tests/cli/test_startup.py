"""What ``exec`` loads before the program runs: nothing that is slow, as far as the command line is concerned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SLOW = {"argparse", "click", "dataclasses", "inspect", "json", "re", "sqlite3", "typing", "zstandard"}


def test_parsing_exec_loads_nothing_slow() -> None:
    code = (
        "import sys, sentra_sandbox.cli, sentra_sandbox.cli.exec\n"
        "from sentra_sandbox.cli.exec_options import parse\n"
        "assert parse(['-q', '--net', 'none', '--timeout', '5s', '--', 'true'])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "sentra_sandbox.cli.exec" in loaded
    assert not loaded & SLOW
    assert not any(name.startswith(("sentra_sandbox.views", "sentra_sandbox.syscalls")) for name in loaded)


def test_the_summary_needs_no_table() -> None:
    code = "import sys, sentra_sandbox.cli.exec_report\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import site; site.main();" + code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not {name for name in done.stdout.split() if name.startswith("sentra_sandbox.syscalls.")}
