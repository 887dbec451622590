"""A run's directory and its ``run.json``: what was run, where, how it ended, and in which state the trace is.

Life cycle: ``incomplete`` (being recorded, and then ``lock`` is held by the supervisor; or left behind) -> ``sealed``;
or -> ``recovered`` when a later command sealed what a killed supervisor left. ``run.json`` is replaced atomically and
carries a digest of itself, so a damaged one is noticed. Reading treats it as hostile input.
"""

from __future__ import annotations

import fcntl
import os
import time

from sentra_sandbox.dataclass import as_dict, dataclass, factory
from sentra_sandbox.errors import HostError, TraceError, UsageError
from sentra_sandbox.trace.digest import sha256
from sentra_sandbox.trace.json_text import compact, indented

TYPE_CHECKING = False  # type checkers take it for true; loading typing and pathlib takes 11 ms
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

FORMAT_VERSION = 1
METADATA = "run.json"
LOCK = "lock"
RESERVE = "reserve"
EVENTS = "events"
INDEX = "index"
FILES = "files"
BLOBS = "blobs"
ARENA = "arena"
WHERE = "where.json"  # source lines that a review found by replaying
SEAL = "seal"  # made on demand, see seal.py
INCOMPLETE, SEALED, RECOVERED = "incomplete", "sealed", "recovered"
ALL_FILES = (METADATA, LOCK, RESERVE, EVENTS, INDEX, FILES, BLOBS, ARENA, WHERE, SEAL)
STATES = (INCOMPLETE, SEALED, RECOVERED)
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_RESERVE_BYTES = 64 * 1024
_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"  # it becomes a file name
_METADATA_MAX = 16 << 20


def default_home() -> Path:
    """Where runs, blobs and the catalogue live: ``$SENTRA_SANDBOX_HOME``, else ``sentra-sandbox`` in the user's data
    directory.
    """
    from pathlib import Path

    return Path(home_directory())


def home_directory() -> str:
    """``default_home`` for a start, which has no time to load pathlib."""
    if home := os.environ.get("SENTRA_SANDBOX_HOME"):
        return os.path.abspath(home)
    data = os.environ.get("XDG_DATA_HOME", "")
    return f"{data if os.path.isabs(data) else os.path.expanduser('~/.local/share')}/sentra-sandbox"


def new_run_id(now: float | None = None) -> str:
    """``YYYYMMDD-HHMMSS-xxxx``, UTC, the end random."""
    moment = time.gmtime(time.time() if now is None else now)
    return time.strftime("%Y%m%d-%H%M%S-", moment) + "".join(_BASE32[byte & 31] for byte in os.urandom(4))


def make_private(directory: Path | str) -> None:
    """Create a directory and what is missing above it, all of it for the user alone. Raises ``OSError``."""
    missing = [os.path.abspath(directory)]
    while not os.path.exists(os.path.dirname(missing[-1])):
        missing.append(os.path.dirname(missing[-1]))
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise


def unlink(path: str) -> None:
    """Take a file away if it is there. Raises ``OSError``."""
    try:  # noqa: SIM105 - loading contextlib takes time
        os.unlink(path)
    except FileNotFoundError:
        pass


def mark_running(home: Path | str, run_id: str, run_dir: Path | str) -> None:
    """Make a run that begins visible to ``ls``, without opening the catalogue. ``Catalogue.add`` takes the mark away.

    Raises ``OSError``.
    """
    make_private(f"{home}/running")
    with open(f"{home}/running/{run_id}", "wb", buffering=0) as mark:
        mark.write(os.fsencode(os.path.abspath(run_dir)))


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """All of ``run.json``. ``exit_status`` is what the command line exits with, None while unknown; ``merkle_root`` and
    ``digests`` are hex.
    """

    id: str
    argv: tuple[str, ...]
    cwd: str
    created: str
    name: str = ""
    state: str = INCOMPLETE
    exit_status: int | None = None
    duration_ns: int = 0
    grade: str = ""
    note: str = ""
    merkle_root: str = ""
    host: dict[str, Any] = factory(dict)
    options: dict[str, Any] = factory(dict)
    versions: dict[str, str] = factory(dict)
    counts: dict[str, int] = factory(dict)
    sizes: dict[str, int] = factory(dict)
    digests: dict[str, str] = factory(dict)

    def to_json(self) -> bytes:
        """The file's bytes, digest included."""
        fields = {"format_version": FORMAT_VERSION, **as_dict(self)}
        fields["digest"] = _digest(fields)
        return indented(fields).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, path: str) -> RunMetadata:
        """Raises ``TraceError`` for anything but an intact ``run.json`` of this version."""
        import json

        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise TraceError(
                f"{path} is damaged: it is no JSON ({error}).", path=path, offset=getattr(error, "pos", 0)
            ) from error
        if not isinstance(fields, dict) or "format_version" not in fields:
            raise TraceError(f"{path} does not describe a recorded run.", path=path, offset=0)
        if fields["format_version"] != FORMAT_VERSION:
            raise TraceError(
                f"{path} has format version {str(fields['format_version'])[:20]}; "
                f"this program reads version {FORMAT_VERSION}.",
                "Use the version of sentra-sandbox that recorded it.", path=path, offset=0,
            )  # fmt: skip
        if fields.pop("digest", None) != _digest(fields):
            raise TraceError(
                f"{path} is damaged or was edited: its digest does not match.",
                "Restore it from a copy.",
                path=path,
                offset=0,
            )
        del fields["format_version"]
        return cls(**_checked(fields, path))


def _digest(fields: dict[str, Any]) -> str:
    return sha256(compact(fields, sort_keys=True).encode()).hexdigest()


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked(fields: dict[str, Any], path: str) -> dict[str, Any]:
    """The constructor's arguments, every type checked."""
    import re

    texts = ("id", "cwd", "created", "name", "state", "grade", "note", "merkle_root")
    tables = ("host", "options", "versions", "counts", "sizes", "digests")
    good = set(fields) == set(RunMetadata.__match_args__)
    good = good and all(isinstance(fields[name], str) for name in texts) and fields["state"] in STATES
    good = good and isinstance(fields["argv"], list) and all(isinstance(word, str) for word in fields["argv"])
    good = good and (fields["exit_status"] is None or _is_int(fields["exit_status"])) and _is_int(fields["duration_ns"])
    good = good and all(isinstance(fields[name], dict) for name in tables)
    good = good and all(isinstance(value, str) for name in ("versions", "digests") for value in fields[name].values())
    good = good and all(_is_int(value) for name in ("counts", "sizes") for value in fields[name].values())
    good = good and re.fullmatch(_ID, fields["id"]) is not None
    if not good:
        raise TraceError(f"{path} is damaged: a field is missing, unknown or of the wrong type.", path=path, offset=0)
    return {**fields, "argv": tuple(fields["argv"])}


def read_metadata(run_dir: Path) -> RunMetadata:
    """``run.json`` of a run. Raises ``TraceError``, also when the directory is none of a run."""
    path = run_dir / METADATA
    data = read_file(path, _METADATA_MAX)
    return RunMetadata.from_json(data, str(path))


def read_file(path: Path, limit: int) -> bytes:
    """A whole regular file of a run. Raises ``TraceError`` (absent, not regular, unreadable, larger than ``limit``)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        what = f"{path.parent} is not a recorded run" if path.name == METADATA else f"{path} is missing"
        raise TraceError(f"{what}.", path=str(path)) from error
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    try:
        with open(fd, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    if len(data) > limit:
        raise TraceError(f"{path} is larger than such a file can be.", path=str(path), offset=limit)
    return data


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def write_metadata(run_dir: Path | str, metadata: RunMetadata, *, sync: bool = False) -> None:
    """Replace ``run.json`` atomically. Uses the space that was set aside for it, so it works on a full disk once.
    Raises ``OSError``.
    """
    data = metadata.to_json()
    temporary = f"{run_dir}/.{METADATA}.{os.getpid()}"
    try:  # noqa: SIM105 - loading contextlib takes time
        os.rename(f"{run_dir}/{RESERVE}", temporary)
    except FileNotFoundError:
        pass
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(fd, data)
        os.ftruncate(fd, len(data))
        if sync:
            os.fsync(fd)
        os.rename(temporary, f"{run_dir}/{METADATA}")
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)


class RunDirectory:
    """The directory of a run that this process records: created, locked. ``close()`` gives up the lock.

    The lock is a ``flock`` on a close-on-exec descriptor: children that never exec must close it, or the run looks
    alive.
    """

    def __init__(self, path: Path | str, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def create(cls, path: Path | str, metadata: RunMetadata) -> RunDirectory:
        """Make the directory (it must not exist, or be empty), write ``run.json``, take the lock.

        Raises ``UsageError`` if there is something already, ``HostError`` if it cannot be written.
        """
        try:
            make_private(path)
            if os.listdir(path):
                raise UsageError(
                    f"The output directory {path} is not empty.",
                    "Name a new one, or remove the run in it with 'sentra-sandbox rm'.",
                )
            os.chmod(path, 0o700)
            directory = cls(path, _lock(path, wait=True))
            set_aside(path)
            fd = os.open(f"{path}/{METADATA}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_all(fd, metadata.to_json())
            finally:
                os.close(fd)
        except OSError as error:
            raise HostError(
                f"The run cannot be stored in {path}: {error.strerror}.",
                "Name a writable directory with -o DIR, or free some space.",
            ) from error
        return directory

    def close(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def set_aside(run_dir: Path | str) -> None:
    """Allocate the space that writing ``run.json`` on a full disk will need. Raises ``OSError``."""
    fd = os.open(f"{run_dir}/{RESERVE}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, _RESERVE_BYTES)
    finally:
        os.close(fd)


def _lock(run_dir: Path | str, *, wait: bool) -> int:
    """A descriptor that holds the run's lock. Raises ``BlockingIOError`` when another process holds it and ``wait`` is
    False.
    """
    fd = os.open(f"{run_dir}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(fd)
        raise
    return fd


def try_lock(run_dir: Path) -> RunDirectory | None:
    """Take over a run that nobody holds; None if it is being recorded (or recovered) right now. Raises ``OSError``."""
    try:
        return RunDirectory(run_dir, _lock(run_dir, wait=False))
    except BlockingIOError:
        return None


def is_locked(run_dir: Path) -> bool:
    """Whether a live process records (or recovers) this run."""
    try:
        fd = os.open(run_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
