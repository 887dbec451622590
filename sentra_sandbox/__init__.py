"""sentra-sandbox: record, replay and review what a program does, at the level of its system calls.

The public API. Names are loaded when they are first used, so that ``import sentra_sandbox`` costs nothing::

    from sentra_sandbox import run, open_trace

    result = run(["python", "agent.py"], net="none", timeout_s=60, capture_output=True)
    for event in open_trace(result.run_id).events():
        ...

``run`` needs the native part and a kernel that allows tracing; ``open_trace`` and what it returns work anywhere.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 5 ms
if TYPE_CHECKING:
    from sentra_sandbox.errors import (
        CommandNotExecutable,
        CommandNotFound,
        Divergence,
        HostError,
        PolicyError,
        RecordingError,
        SentraError,
        SetupError,
        TraceError,
        UsageError,
    )
    from sentra_sandbox.record.capture import CapturedResult, run
    from sentra_sandbox.record.options import RunResult
    from sentra_sandbox.trace.opening import open_trace

__all__ = [
    "CapturedResult",
    "CommandNotExecutable",
    "CommandNotFound",
    "Divergence",
    "HostError",
    "PolicyError",
    "RecordingError",
    "RunResult",
    "SentraError",
    "SetupError",
    "TraceError",
    "UsageError",
    "open_trace",
    "run",
]

_MODULE_OF = {
    "CapturedResult": "record.capture",
    "RunResult": "record.options",
    "open_trace": "trace.opening",
    "run": "record.capture",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'sentra_sandbox' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"sentra_sandbox.{_MODULE_OF.get(name, 'errors')}"), name)
