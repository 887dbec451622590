"""A person at a terminal, for tests: a pseudo terminal with a program on it, keys typed, output waited for."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

CTRL_C, CTRL_D, CTRL_Z, CTRL_BACKSLASH = b"\x03", b"\x04", b"\x1a", b"\x1c"


class Terminal:
    """One program on a terminal of its own, the leader of a session. Use it as a context manager: it ends all that is
    left."""

    def __init__(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], rows: int = 24, columns: int = 80
    ) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.chdir(cwd)
                os.execvpe(argv[0], list(argv), dict(env))
            finally:
                os._exit(96)
        self.output = b""
        self.searched = 0
        self.status: int | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        if self.status is None:
            for signo in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signo)
                if self._reap(3):
                    break

    def hang_up(self) -> None:
        """Close the terminal, as when its window is closed."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def type(self, keys: bytes) -> None:
        """Keys as a person types them."""
        os.write(self.fd, keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, text: bytes, timeout: float = 15) -> bytes:
        """Read until ``text`` appears after what was found last; what came before it. Fails with all output when it
        does not come."""
        end = time.monotonic() + timeout
        while (found := self.output.find(text, self.searched)) < 0:
            if not self._read(end - time.monotonic()):
                raise AssertionError(
                    f"waited for {text!r}; on the terminal after the last find: {self.output[self.searched :]!r}"
                )
        before = self.output[self.searched : found]
        self.searched = found + len(text)
        return before

    def wait(self, timeout: float = 15) -> int:
        """Read to the end; the program's exit status as a shell says it."""
        end = time.monotonic() + timeout
        while self._read(min(0.1, end - time.monotonic())) or not self._reap(0):
            if time.monotonic() > end:
                raise AssertionError(f"did not end; on the terminal: {self.output[-2000:]!r}")
        assert self.status is not None
        return self.status

    def _read(self, timeout: float) -> bool:
        if self.fd < 0 or timeout <= 0 or not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the other side open
            time.sleep(0.01)
            return False
        self.output += data
        return bool(data)

    def _reap(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
            elif time.monotonic() >= end:
                return False
            else:
                time.sleep(0.01)
        return True
