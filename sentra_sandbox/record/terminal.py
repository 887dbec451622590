"""The terminal during a recording: whose it is afterwards."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # type checkers take it for true; loading signal takes 2 ms
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the same calls, without the enums of signal.py


class TerminalKept:
    """Gives the terminal back to the process group that had it, should the program have taken it and ended with it."""

    def __enter__(self) -> None:
        self._fd, self._group = _terminal()

    def __exit__(self, *_: object) -> None:
        if self._group <= 0:
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            if os.tcgetpgrp(self._fd) != self._group:
                os.tcsetpgrp(self._fd, self._group)
        except OSError:
            pass  # the terminal is gone
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _terminal() -> tuple[int, int]:
    """Our controlling terminal among the standard descriptors and its foreground group; (-1, -1) if there is none."""
    for fd in (0, 1, 2):
        try:
            if os.isatty(fd):
                return fd, os.tcgetpgrp(fd)
        except OSError:
            continue
    return -1, -1
