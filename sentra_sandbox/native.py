"""The only importer of the C extension: loads it, turns ``struct sentra_error`` into exceptions.

``lib`` and ``ffi`` are cffi's. Nothing else in the package imports ``sentra_sandbox._native``.
"""

from __future__ import annotations

import os

from sentra_sandbox.errors import HostError, SetupError

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

__all__ = ["error_text", "ffi", "lib", "new_error", "raise_setup"]

try:
    from sentra_sandbox._native import ffi, lib  # type: ignore[import-not-found,unused-ignore]
except ImportError as error:  # a checkout that was not built, or another interpreter's build
    raise HostError(
        f"The native part of sentra-sandbox is not built for this Python ({error}).",
        "Run 'pip install .' in the source tree; it needs a C compiler.",
    ) from error


def new_error() -> Any:
    """A fresh ``struct sentra_error *`` to hand to a native function."""
    return ffi.new("struct sentra_error *")


def error_text(error: Any) -> tuple[str, str, int]:
    """``(step, detail, errno)`` of a filled ``struct sentra_error``."""
    step = ffi.string(error.step).decode("utf-8", "replace")
    detail = ffi.string(error.detail).decode("utf-8", "replace")
    return step, detail, int(error.err)


def raise_setup(error: Any, remedy: str = "") -> None:
    """Raise ``SetupError`` from a filled ``struct sentra_error``."""
    step, detail, number = error_text(error)
    reason = f": {os.strerror(number)}" if number else ""
    what = f"{step} ({detail})" if detail else step
    raise SetupError(f"Could not {what}{reason}.", remedy, step=step, errno=number)
