"""The command line: ``main()`` finds the command, and is the one place that turns errors into messages and exit
statuses.

Rule of this file: import next to nothing. ``sentra-sandbox exec`` is in front of every recorded program, and loading
click alone costs more than starting a sandbox; so ``exec`` with plain options is parsed by ``exec_options.parse`` and
everything else goes to the click commands in ``app``.
"""

from __future__ import annotations

import atexit
import os
import sys

from sentra_sandbox.errors import SentraError

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from typing import NoReturn

INTERRUPTED = 130  # as the shell reports a program that Ctrl-C ended
REVIEW_FAILED = 2  # 1 are findings, 3 is incomplete
BROKEN_PIPE = 141  # as the shell reports a program that SIGPIPE ended


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return the exit status. Prints errors; never raises
    them.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        _occupy_closed_streams()
        status = _dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone (`show ... | head`): that is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except Exception as error:
        if os.environ.get("SENTRA_SANDBOX_DEBUG") == "1":
            raise
        from sentra_sandbox.cli.messages import fail

        review = arguments[:1] == ["review"]  # to a CI job that asks for a verdict all errors are one
        if isinstance(error, SentraError):
            fail(str(error))
            return REVIEW_FAILED if review else error.exit_status
        what = f"{type(error).__name__}: {error}"
        fail(f"{what}. This is a mistake in sentra-sandbox; SENTRA_SANDBOX_DEBUG=1 shows where. Please report it.")
        return REVIEW_FAILED if review else SentraError.exit_status


def _occupy_closed_streams() -> None:
    """Where a standard stream is closed, put /dev/null: no file that we open may become the program's stream. Close-on-exec, so the
    program finds it closed, as it would without us.
    """
    for fd in (0, 1, 2):
        try:
            os.get_inheritable(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the lowest free number is this one


def entry() -> NoReturn:
    """The command ``sentra-sandbox``: ``main``, then the end of the process.

    Taking a Python interpreter apart takes 2 ms, for which a caller of ``exec`` would wait; so what is registered to
    happen at exit happens, output is flushed, and the kernel does the rest.
    """
    status = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - loading contextlib takes time
            stream.flush()
        except (OSError, ValueError, AttributeError):  # nobody reads any more, or the stream was closed from the start
            pass
    os._exit(status)


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["exec"]:
        from sentra_sandbox.cli.exec_options import parse

        values = parse(arguments[1:])
        if values is not None:
            from sentra_sandbox.cli.exec import execute

            return execute(values)
    from sentra_sandbox.cli.app import run

    return run(arguments)
