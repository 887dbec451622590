"""Builds the C extension ``sentra_sandbox._native`` with cffi (API mode, out of line); called by setup.py.

The boundary is csrc/sentra.cdef.h: cffi reads it and C includes it, so declarations exist once. The system call rows in
csrc/generated/ are made from sentra_sandbox/syscalls/syscalls.tbl before compiling.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
FLAGS = ["-std=gnu11", "-O2", "-g", "-fno-strict-aliasing", f"-I{CSRC}", *WARNINGS]
# The generated wrapper is cffi's, not ours: its style is not held against it.
SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if os.environ.get("SENTRA_SANITIZE") else []


def c_sources() -> list[str]:
    """All C files below csrc/, relative to the root (setuptools wants relative paths)."""
    return sorted(str(path.relative_to(ROOT)) for path in CSRC.rglob("*.c"))


def generate_table() -> None:
    """Write csrc/generated/syscall_rows.h from the table, if the generator is there."""
    if runpy.run_path(str(ROOT / "scripts" / "gen_syscall_table.py"))["main"]([]) != 0:
        sys.exit("The system call table is wrong (see above); nothing was compiled.")


generate_table()
os.chdir(ROOT)
ffibuilder = FFI()
ffibuilder.cdef((CSRC / "sentra.cdef.h").read_text())
ffibuilder.set_source(
    "sentra_sandbox._native",
    '#include "sentra.h"\n',
    sources=c_sources(),
    include_dirs=[str(CSRC)],
    extra_compile_args=FLAGS + SANITIZE,
    extra_link_args=SANITIZE,
)

if __name__ == "__main__":
    sys.exit(0 if ffibuilder.compile(verbose=True) else 1)
