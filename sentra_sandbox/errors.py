"""Every error the package raises, in one tree, named by whose fault it is.

Each carries one paragraph for the person at the terminal: what happened, why, and what to do. Only the command line prints and
exits; ``exit_status`` is what it exits with.
"""

from __future__ import annotations


class SentraError(Exception):
    """Base of all errors of this package.

    ``message`` says what happened and why, ``remedy`` what to do about it (may be empty).
    """

    exit_status = 125

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class UsageError(SentraError):
    """The caller asked for something that does not exist or does not make sense (unknown run, bad option)."""


class CommandNotFound(UsageError):
    """The program to run does not exist."""

    exit_status = 127


class CommandNotExecutable(UsageError):
    """The program to run exists but cannot be executed."""

    exit_status = 126


class HostError(SentraError):
    """This machine lacks something (a kernel feature, a permission, space); ``remedy`` names how to get it."""


class PolicyError(SentraError):
    """A policy or a seccomp profile is wrong: unknown key, unknown system call, contradiction."""


class SetupError(SentraError):
    """A step of building the sandbox failed in the kernel.

    ``step`` names the operation, ``errno`` is its error number (0 if there was none).
    """

    def __init__(self, message: str, remedy: str = "", *, step: str = "", errno: int = 0) -> None:
        super().__init__(message, remedy)
        self.step = step
        self.errno = errno


class TraceError(SentraError):
    """A trace is damaged, truncated, of another version, or not a trace; ``path`` and ``offset`` say where."""

    def __init__(self, message: str, remedy: str = "", *, path: str = "", offset: int | None = None) -> None:
        super().__init__(message, remedy)
        self.path = path
        self.offset = offset


class RecordingError(SentraError):
    """Recording had to stop (no space left, the supervisor failed). What was recorded up to then is kept."""


class Divergence(SentraError):
    """A replay did something that the trace does not say."""

    exit_status = 122
