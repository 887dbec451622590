"""Whether this processor can execute what another one recorded. ``compare_processors`` is pure; ``check_processor`` decides.

Only features that user code can use are named and compared: what only kernels and hypervisors use differs between machines without any
effect on programs. Bit positions: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentra_sandbox.errors import HostError
from sentra_sandbox.record.host import processor

NAMES_SHOWN = 12

# (leaf, subleaf, register) -> bit -> name. The names are Linux's, as in /proc/cpuinfo.
_FEATURES: dict[tuple[int, int, str], dict[int, str]] = {
    (1, 0, "edx"): {4: "tsc", 8: "cx8", 15: "cmov", 19: "clflush", 23: "mmx", 24: "fxsr", 25: "sse", 26: "sse2"},
    (1, 0, "ecx"): {
        0: "sse3", 1: "pclmulqdq", 9: "ssse3", 12: "fma", 13: "cx16", 19: "sse4_1", 20: "sse4_2", 22: "movbe", 23: "popcnt", 25: "aes",
        26: "xsave", 27: "osxsave", 28: "avx", 29: "f16c", 30: "rdrand",
    },
    (7, 0, "ebx"): {
        0: "fsgsbase", 3: "bmi1", 4: "hle", 5: "avx2", 8: "bmi2", 9: "erms", 11: "rtm", 16: "avx512f", 17: "avx512dq", 18: "rdseed",
        19: "adx", 21: "avx512ifma", 23: "clflushopt", 24: "clwb", 26: "avx512pf", 27: "avx512er", 28: "avx512cd", 29: "sha_ni",
        30: "avx512bw", 31: "avx512vl",
    },
    (7, 0, "ecx"): {
        1: "avx512vbmi", 3: "pku", 4: "ospke", 5: "waitpkg", 6: "avx512_vbmi2", 7: "shstk", 8: "gfni", 9: "vaes", 10: "vpclmulqdq",
        11: "avx512_vnni", 12: "avx512_bitalg", 14: "avx512_vpopcntdq", 22: "rdpid", 25: "cldemote", 27: "movdiri", 28: "movdir64b",
    },
    (7, 0, "edx"): {
        2: "avx512_4vnniw", 3: "avx512_4fmaps", 4: "fsrm", 8: "avx512_vp2intersect", 14: "serialize", 16: "tsxldtrk", 20: "ibt",
        22: "amx_bf16", 23: "avx512_fp16", 24: "amx_tile", 25: "amx_int8",
    },
    (7, 1, "eax"): {4: "avx_vnni", 5: "avx512_bf16", 7: "cmpccxadd", 10: "fzrm", 11: "fsrs", 12: "fsrc", 21: "amx_fp16", 23: "avx_ifma"},
    (0xD, 1, "eax"): {0: "xsaveopt", 1: "xsavec", 2: "xgetbv1"},
    (0x80000001, 0, "ecx"): {0: "lahf_lm", 5: "abm", 6: "sse4a", 8: "3dnowprefetch", 11: "xop", 16: "fma4", 21: "tbm", 29: "mwaitx"},
    (0x80000001, 0, "edx"): {22: "mmxext", 27: "rdtscp", 29: "lm", 30: "3dnowext", 31: "3dnow"},
}  # fmt: skip
_REGISTERS = ("eax", "ebx", "ecx", "edx")
_XCR0 = {
    0: "x87",
    1: "sse",
    2: "avx",
    3: "mpx",
    4: "mpx",
    5: "avx512",
    6: "avx512",
    7: "avx512",
    9: "pku",
    11: "cet",
    17: "amx",
    18: "amx",
}


@dataclass(frozen=True, slots=True)
class ProcessorDifference:
    """What a recorded processor had that this one lacks, and the reverse; ``model`` says how they are called if not the same."""

    missing: tuple[str, ...]
    additional: tuple[str, ...]
    model: str


def check_processor(recorded: object) -> str:
    """Compare the processor of a recording (``host["cpu"]`` of its metadata) with this one. Returns a warning, or ``""``.

    Raises ``HostError`` when this one lacks a feature: the program may have used it, and would fail where it did not.
    """
    difference = compare_processors(recorded, processor())
    if difference is None:
        return ""
    if difference.missing:
        raise HostError(
            f"This processor lacks what the recorded one had ({_some(difference.missing)}); the program may have used it.",
            "Replay the run on a machine whose processor has these features.",
        )
    if difference.additional:
        more = _some(difference.additional)
        return f"this processor has more than the recorded one ({more}); a program that looks may choose other code and diverge"
    if difference.model:
        return f"recorded on another processor with the same features: {difference.model}"
    return ""


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def compare_processors(recorded: object, now: object) -> ProcessorDifference | None:
    """How two descriptions made by ``processor`` differ for a program; None when ``recorded`` is none (a trace may hold anything)."""
    if not isinstance(recorded, dict) or not isinstance(now, dict):
        return None
    had, has = _features(recorded), _features(now)
    before, here = _model(recorded), _model(now)
    return ProcessorDifference(
        tuple(name for name in had if name not in has),
        tuple(name for name in has if name not in had),
        "" if before == here else f"{before}, this one is {here}",
    )


def _features(description: dict[str, Any]) -> list[str]:
    """Names of what a described processor has; values that are none are taken for zero."""
    found = []
    leaves = description.get("leaves")
    for (leaf, subleaf, register), names in _FEATURES.items():
        values = leaves.get(f"{leaf:x}.{subleaf:x}") if isinstance(leaves, dict) else None
        value = _hex(values[_REGISTERS.index(register)]) if isinstance(values, list) and len(values) == 4 else 0
        found += [name for bit, name in names.items() if value >> bit & 1]
    state = _hex(description.get("xcr0"))
    found += dict.fromkeys(f"xstate:{name}" for bit, name in _XCR0.items() if state >> bit & 1)
    return found


def _hex(value: object) -> int:
    try:
        return int(value, 16) if isinstance(value, str) else 0
    except ValueError:
        return 0


def _model(description: dict[str, Any]) -> str:
    numbers = [description.get(name) for name in ("family", "model", "stepping")]
    return f"{str(description.get('vendor'))[:16]} family {numbers[0]!s:.6} model {numbers[1]!s:.6} stepping {numbers[2]!s:.6}"
