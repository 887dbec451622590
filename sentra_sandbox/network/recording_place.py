"""Where a recording of the network alone lies (see ``recording_file``), and what its first line says. Loads nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sentra_sandbox.errors import TraceError

FILE = "exchanges.jsonl"
FORMAT = "sentra-sandbox network recording"
VERSION = 1


def is_recording_file(path: str | os.PathLike[str]) -> bool:
    """Whether ``save_recording`` wrote this directory."""
    return os.path.isfile(os.path.join(path, FILE))


def local_ports_of(path: Path) -> list[int]:
    """The ports of localhost that were open to the recorded program. Raises ``TraceError``."""
    try:
        with open(path / FILE, encoding="utf-8") as file:
            first = json.loads(file.readline(1 << 16))
        if first["format"] != FORMAT or first["version"] != VERSION:
            raise ValueError(f"its first line is not that of version {VERSION}")
        ports = first.get("local_ports", [])
        if not isinstance(ports, list) or not all(isinstance(port, int) and 0 < port < 65536 for port in ports):
            raise ValueError("local_ports are no ports")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TraceError(f"{path / FILE} is no recording of a network: {error}.", "Record it again.") from error
    return ports
