"""The machine that a run is recorded on, as far as a replay depends on it: for ``run.json``.

Rule of this file: nothing that costs time to load, since each recording begins with it.
"""

from __future__ import annotations

import os

from sentra_sandbox.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def host_description() -> dict[str, Any]:
    """This machine for ``run.json``: plain values only."""
    name = os.uname()
    return {"system": name.sysname, "kernel": name.release, "machine": name.machine, "cpu": processor()}


def processor() -> dict[str, Any]:
    """This processor: vendor, numbers, and the raw registers of its feature leaves in hex."""
    native = ffi.new("struct sentra_cpu_features *")
    lib.sentra_cpu_features(native)
    leaves = {
        f"{leaf.leaf:x}.{leaf.subleaf:x}": [f"{value:08x}" for value in (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx)]
        for leaf in native.leaves
        if leaf.leaf != 1
    }
    first = native.leaves[0]  # its ebx names the CPU that happened to answer
    leaves["1.0"] = [f"{first.eax:08x}", "00000000", f"{first.ecx:08x}", f"{first.edx:08x}"]
    return {
        "vendor": ffi.string(native.vendor).decode("ascii", "replace"),
        "family": int(native.family),
        "model": int(native.model),
        "stepping": int(native.stepping),
        "xcr0": f"{native.xcr0:x}",
        "leaves": leaves,
    }
