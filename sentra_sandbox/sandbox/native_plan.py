"""Turns a ``SandboxPlan`` into ``struct sentra_launch_options``.

``ffi`` is handed in, so that this module does not load the extension. cffi frees memory when its owner goes: keep the
``NativePlan`` for as long as native code may read the options (until the launch has ended).
"""

from __future__ import annotations

import os

from sentra_sandbox.sandbox.capabilities import capability_mask

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from sentra_sandbox.sandbox.plan import SandboxPlan

_SOCK_FILTER_BYTES = 8


class NativePlan:
    """``options`` is a ``struct sentra_launch_options *``; the memory behind it lives as long as this object."""

    __slots__ = ("_memory", "options")

    def __init__(self, options: Any) -> None:
        self.options = options
        self._memory: list[Any] = []


def plan_to_native(ffi: Any, plan: SandboxPlan) -> NativePlan:
    """Fill a fresh ``struct sentra_launch_options`` from the plan. ``ValueError`` if a string holds a NUL."""
    native = NativePlan(ffi.new("struct sentra_launch_options *"))
    options, memory = native.options, native._memory

    def keep(thing: Any) -> Any:
        memory.append(thing)
        return thing

    def text(value: str | None) -> Any:
        if value is None:
            return ffi.NULL
        encoded = os.fsencode(value)
        if b"\0" in encoded:
            raise ValueError(f"a NUL character in {value!r}")
        return keep(ffi.new("char[]", encoded))

    def texts(values: Iterable[str]) -> Any:
        return keep(ffi.new("char *[]", [*map(text, values), ffi.NULL]))

    options.path = text(plan.path)
    options.argv = texts(plan.argv)
    options.envp = texts(f"{name}={value}" for name, value in plan.env.items())
    options.cwd = text(plan.cwd)
    options.stdio = list(plan.stdio)
    options.namespaces = plan.namespaces
    options.uid_map = text(plan.uid_map)
    options.gid_map = text(plan.gid_map)
    options.deny_setgroups = plan.deny_setgroups
    options.keep_capabilities = capability_mask(plan.capabilities)
    options.ops = keep(ffi.new("struct sentra_setup_op[]", len(plan.ops)))
    options.ops_count = len(plan.ops)
    for native_op, op in zip(options.ops[0 : len(plan.ops)], plan.ops, strict=True):
        native_op.kind, native_op.flags, native_op.value = op.kind, op.flags, op.value
        native_op.a, native_op.b, native_op.c, native_op.d = text(op.a), text(op.b), text(op.c), text(op.d)
        if op.data:
            native_op.data, native_op.data_bytes = keep(ffi.new("char[]", op.data)), len(op.data)
    options.sigmask = signal_mask(plan.blocked_signals)
    options.ignored_signals = signal_mask(plan.ignored_signals)
    options.no_aslr = plan.no_aslr
    options.trap_tsc = plan.trap_tsc
    options.cpu = -1 if plan.cpu is None else plan.cpu
    options.network_fd = plan.network_fd
    _fill_arrays(ffi, options, keep, plan.keep_fds, plan.filter)
    return native


def _fill_arrays(ffi: Any, options: Any, keep: Any, keep_fds: Sequence[int], program: bytes) -> None:
    if len(program) % _SOCK_FILTER_BYTES:
        raise ValueError(f"a seccomp filter of {len(program)} bytes is not a whole number of instructions")
    options.keep_fds = keep(ffi.new("int32_t[]", list(keep_fds)))
    options.keep_fds_count = len(keep_fds)
    if program:
        options.filter = keep(ffi.new("char[]", program))
        options.filter_count = len(program) // _SOCK_FILTER_BYTES


def signal_mask(numbers: Iterable[int]) -> int:
    """Bit n-1 for signal n."""
    mask = 0
    for number in numbers:
        mask |= 1 << (number - 1)
    return mask
