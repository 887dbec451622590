"""The ``files`` table of a run: which content each mapped or executed file had. One JSON object a line, each with a
check of itself.
"""

from __future__ import annotations

from sentra_sandbox.dataclass import as_dict, dataclass
from sentra_sandbox.errors import TraceError
from sentra_sandbox.trace.digest import sha256
from sentra_sandbox.trace.json_text import compact
from sentra_sandbox.trace.run import FILES, read_file

TYPE_CHECKING = False  # type checkers take it for true; loading typing and pathlib takes 11 ms
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class FileEntry:
    """``file_id`` of FILE events and segments -> content. ``changed``: the file was modified between being mapped and
    being kept.
    """

    file_id: int
    sha256: str
    size: int
    dev: int
    ino: int
    mtime_ns: int
    path: str
    changed: bool

    def to_line(self) -> bytes:
        fields = as_dict(self)
        return compact({**fields, "check": _check(fields)}, sort_keys=False).encode() + b"\n"


def _check(fields: dict[str, Any]) -> str:
    return sha256(compact(fields, sort_keys=True).encode()).hexdigest()[:16]


_TYPES = {
    "file_id": int,
    "sha256": str,
    "size": int,
    "dev": int,
    "ino": int,
    "mtime_ns": int,
    "path": str,
    "changed": bool,
}


def _entry(line: bytes) -> FileEntry | None:
    """None for a damaged line."""
    import json

    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or set(fields) != {*_TYPES, "check"} or fields.pop("check") != _check(fields):
        return None
    if any(type(fields[name]) is not kind for name, kind in _TYPES.items()):
        return None
    try:
        return FileEntry(**fields) if len(bytes.fromhex(fields["sha256"])) == 32 else None
    except ValueError:
        return None


def read_files(run_dir: Path, *, finished: bool) -> dict[int, FileEntry]:
    """The table. A cut last line is ignored while the run is not ``finished``. Raises ``TraceError``."""
    path = run_dir / FILES
    if not finished and not path.exists():
        return {}
    data = read_file(path, _LIMIT)
    table: dict[int, FileEntry] = {}
    at = 0
    while at < len(data):
        end = data.find(b"\n", at) + 1
        if not end and not finished:
            break
        entry = _entry(data[at : end or len(data)])
        if entry is None or not end:
            raise TraceError(f"The trace is damaged: a broken line in {path} at byte {at}.", path=str(path), offset=at)
        table[entry.file_id] = entry
        at = end
    return table
