"""Finds the program to run the way a shell would, and says precisely why it cannot be run when it cannot.

Pure look-ups; nothing is executed. Paths stay as they were typed (the program sees them as ``$0`` and in its
auxiliary vector); relative ones are looked up from the directory in which the program will start.
"""

from __future__ import annotations

import os
import stat

from sentra_sandbox.errors import CommandNotExecutable, CommandNotFound

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

# What execvp(3) searches when PATH is not set at all.
DEFAULT_PATH = "/bin:/usr/bin"


def resolve_command(name: str, env: Mapping[str, str], cwd: str) -> str:
    """The path to execute for ``name``: itself if it holds a slash, else the first executable of that name on PATH.

    ``cwd`` is the directory the program will start in. Raises ``CommandNotFound`` (exit status 127) or
    ``CommandNotExecutable`` (126).
    """
    if not name:
        raise CommandNotFound("The command to run is empty.", "Give a program after '--', as in: -- python agent.py")
    if "\0" in name:
        raise CommandNotFound("The command to run contains a NUL character.", "No file can have such a name.")
    if "/" in name:
        _require_executable(name, os.path.join(cwd, name))
        return name
    denied: CommandNotExecutable | None = None
    search = env.get("PATH", DEFAULT_PATH)
    for directory in search.split(":"):
        path = os.path.join(directory, name) if directory else f"./{name}"  # an empty entry means the working directory
        try:
            _require_executable(path, os.path.join(cwd, path))
        except CommandNotFound:
            continue
        except CommandNotExecutable as error:  # execvp(3) goes on, and reports this if nothing better turns up
            denied = denied or error
            continue
        return path
    if denied:
        raise denied
    hint = "Check the spelling and PATH."
    if os.path.exists(os.path.join(cwd, name)):
        hint = f"The working directory holds such a file, but PATH does not name it; to run it write './{name}'."
    raise CommandNotFound(f"The command '{name}' was not found in any directory of PATH ({search or 'empty'}).", hint)


def needs_shell(path: str, cwd: str) -> bool:
    """True if the kernel would refuse the file with ENOEXEC although it is a script: text without a ``#!`` line.

    execvp(3) and every shell hand such a file to /bin/sh, so we do too. A file that is not readable is left to execve.
    """
    try:
        with open(os.path.join(cwd, path), "rb") as file:
            head = file.read(256)
    except OSError:
        return False
    return not head.startswith((b"\x7fELF", b"#!")) and b"\0" not in head


def _require_executable(shown: str, path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.islink(path):
            raise CommandNotFound(
                f"'{shown}' is a symbolic link to '{os.readlink(path)}', which does not exist.", "Mend the link."
            ) from error
        raise CommandNotFound(
            f"The command '{shown}' does not exist.", "Check the path and the working directory."
        ) from error
    except OSError as error:
        raise CommandNotExecutable(
            f"The command '{shown}' cannot be reached ({error.strerror}).", "Check the permissions of its directories."
        ) from error
    if stat.S_ISDIR(mode):
        raise CommandNotExecutable(f"'{shown}' is a directory, not a program.", "Name the program inside it.")
    if not stat.S_ISREG(mode):
        raise CommandNotExecutable(f"'{shown}' is not a regular file, so it cannot be executed.")
    if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise CommandNotExecutable(
            f"'{shown}' is not executable by this user, or lies on a file system mounted noexec.",
            f"Run 'chmod +x {shown}', or name the interpreter in front of it (for example: python {shown}).",
        )
    _require_interpreter(shown, path)


def _require_interpreter(shown: str, path: str) -> None:
    """A ``#!`` line that names a missing program makes execve say "No such file", which misleads everybody."""
    try:
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return  # executable but not readable: execve decides
    if not line.startswith(b"#!"):
        return
    words = line[2:].strip(b" \t\n").replace(b"\t", b" ").split(b" ", 1)  # the kernel knows no other white space
    interpreter = os.fsdecode(words[0])
    if interpreter.endswith("\r") and not os.path.exists(interpreter):
        raise CommandNotExecutable(
            f"'{shown}' has Windows line ends, so its interpreter reads as {interpreter!r}.",
            f"Convert it, for example with: sed -i 's/\\r$//' {shown}",
        )
    if interpreter.startswith("/") and not os.path.exists(interpreter):
        raise CommandNotExecutable(
            f"'{shown}' names an interpreter that does not exist: {interpreter}.",
            "Install it or correct the '#!' line.",
        )
