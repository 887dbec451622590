"""Keeps compiled filters in a directory, so that a start neither parses the profile nor imports the table.

Rules of this file: on a hit nothing but the standard library is imported, and of that only light modules. The file's
name is a hash of all that the program depends on: the profile's text, the table's text, the compiler's version,
capabilities and kernel version. A file that is damaged in any way, or that others could have written, is compiled anew
and replaced; a cache that cannot be written costs time, never a filter.
"""

from __future__ import annotations

import os
import stat
from _blake2 import blake2b  # hashlib would load all of OpenSSL with it: 3 ms

from sentra_sandbox.errors import PolicyError

TYPE_CHECKING = False  # type checkers take it for true; loading typing or pathlib takes 4 to 7 ms
if TYPE_CHECKING:
    from pathlib import Path

COMPILER_VERSION = 1  # counts up whenever the same input would give another program
_MAGIC = b"SENTRAF1"
_DIGEST = 16
_INSTRUCTION = 8
_MAX_BYTES = 4096 * _INSTRUCTION
_TABLE = f"{os.path.dirname(os.path.dirname(os.path.realpath(__file__)))}/syscalls/syscalls.tbl"


def cached_filter(
    profile_path: Path | str | None,
    cache_dir: Path | str,
    capabilities: frozenset[str] = frozenset(),
    *,
    keep: bool = True,
) -> bytes:
    """The filter for the profile at ``profile_path`` (None: tracing only), an array of ``struct sock_filter``.

    Compiles and (with ``keep``) stores it when ``cache_dir`` has no valid copy. ``cache_dir`` must be writable by this user only, since
    what is in it becomes the wall of later runs. Raises ``PolicyError`` for a wrong or unreadable profile.
    """
    kernel = running_kernel()
    text = b""
    if profile_path is not None:
        try:
            text = _content(profile_path)
        except OSError as error:
            raise PolicyError(
                f"Seccomp profile {profile_path} cannot be read: {error.strerror}.",
                "Check the path and its permissions.",
            ) from error
    path = f"{cache_dir}/{_key(profile_path is not None, text, capabilities, kernel)}.bpf"
    program = _read(path)
    if program is None:
        program = _compile(profile_path, text, capabilities, kernel)
        if keep:
            _write(path, program)
    return program


def running_kernel() -> tuple[int, int]:
    """Major and minor version of the running kernel."""
    major, _, rest = os.uname().release.partition(".")
    minor = rest[: next((at for at, character in enumerate(rest) if not character.isdecimal()), len(rest))]
    return (int(major), int(minor)) if major.isdecimal() and minor else (0, 0)


def _content(path: Path | str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _key(has_profile: bool, text: bytes, capabilities: frozenset[str], kernel: tuple[int, int]) -> str:
    digest = blake2b(digest_size=_DIGEST)
    parts = [
        f"{COMPILER_VERSION} {has_profile} {kernel} {sorted(capabilities)}".encode(),
        text,
        _content(_TABLE),
    ]
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _read(path: str) -> bytes | None:
    """The program in a cache file (magic, digest, program); None if there is none or it is not to be trusted."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
            data = file.read(len(_MAGIC) + _DIGEST + _MAX_BYTES + 1)
    except OSError:
        return None
    program = data[len(_MAGIC) + _DIGEST :]
    if not program or len(program) % _INSTRUCTION or len(program) > _MAX_BYTES:
        return None
    if data[: len(_MAGIC) + _DIGEST] != _MAGIC + _digest(program):
        return None
    return program


def _digest(program: bytes) -> bytes:
    return blake2b(program, digest_size=_DIGEST).digest()


def _write(path: str, program: bytes) -> None:
    """Store atomically: readers see the whole file or none. A cache that cannot be written is no reason to stop."""
    temporary = f"{path.removesuffix('.bpf')}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    import contextlib

    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + _digest(program) + program)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _compile(
    profile_path: Path | str | None, text: bytes, capabilities: frozenset[str], kernel: tuple[int, int]
) -> bytes:
    from sentra_sandbox.policy.filter import compile_filter
    from sentra_sandbox.policy.oci import decode_profile

    profile = None if profile_path is None else decode_profile(text, str(profile_path))
    return compile_filter(profile, capabilities=capabilities, kernel=kernel)
