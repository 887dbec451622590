"""What a run usually does: programs, hosts, classes of written paths, tools of its models; and what another run does that is not in it.

Everything is normalised, so that two runs of the same agent have the same baseline: home and workspace become ``~`` and ``.``, what looks
like a temporary name, an id, a date or a version becomes ``*``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentra_sandbox.errors import UsageError
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.views.llm import llm_calls

FORMAT = "sentra-sandbox baseline"
VERSION = 1
FILE_MAX = 16 << 20
NEW_MAX = 200
_TEMPORARY = re.compile(r"^(/var/tmp|/tmp|/dev/shm|/run/user/\d+)(/.*)?$")
_CHANGING = re.compile(
    r"(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{7,64}"
    r"|\d{4}-\d\d-\d\d(?:[T_ -]\d\d[:.-]?\d\d(?:[:.-]?\d\d)?Z?)?|\d+(?:\.\d+)*)"
)
_RANDOM = re.compile(r"(?<=[._-])(?=[A-Za-z0-9_]{6,12}(?:\.|$))(?=[A-Za-z_]*\d|[a-z0-9_]*[A-Z])[A-Za-z0-9_]+")
_WRITES = frozenset({"write", "create", "truncate", "delete", "rename", "link", "mkdir", "chmod", "chown"})

_LISTS = {"hosts": "host", "programs": "executable", "paths": "path", "tools": "tool"}


@dataclass(frozen=True, slots=True)
class Baseline:
    """Each maps what was done, normalised, to the first event that did it."""

    hosts: dict[str, int]
    programs: dict[str, int]
    paths: dict[str, int]
    tools: dict[str, int]

    def to_json(self) -> str:
        document: dict[str, Any] = {"format": FORMAT, "version": VERSION}
        document.update({name: sorted(getattr(self, name)) for name in _LISTS})
        return json.dumps(document, indent=1, ensure_ascii=True) + "\n"

    @classmethod
    def from_json(cls, text: str, path: str) -> Baseline:
        """Raises ``UsageError`` for anything that is no baseline."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is no baseline: it is no JSON ({error}).") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") != VERSION:
            raise UsageError(f"{path} is no baseline of this version.", "Make one with 'sentra-sandbox review RUN --save-baseline FILE'.")
        lists = [document.get(name) for name in _LISTS]
        if not all(isinstance(items, list) and all(isinstance(item, str) for item in items) for items in lists):
            raise UsageError(f"{path} is damaged: a list of a baseline is missing or holds something else than text.")
        return cls(*(dict.fromkeys(items, 0) for items in lists if items is not None))


def baseline_of(facts: Facts) -> Baseline:
    """What a run did."""
    hosts: dict[str, int] = {}
    for query in facts.network.dns:
        hosts.setdefault(_host(query.name), query.seq)
    for connection in facts.network.connections.values():
        hosts.setdefault(_host(connection.host), connection.seq)
    for transfer in facts.transfers:
        hosts.setdefault(_host(transfer.host or transfer.address), transfer.seqs[0] if transfer.seqs else 0)
    hosts.pop("", None)
    programs: dict[str, int] = {}
    for process in facts.processes.values():
        for image in process.images:
            programs.setdefault(normal_path(facts, image.path), image.seq)
    paths: dict[str, int] = {}
    for access in facts.files:
        if access.kind in _WRITES and not access.failed and not access.path.startswith(("/dev/", "/proc/")):
            for path in filter(None, (access.path, access.target)):
                paths.setdefault(path_class(facts, path), access.seq)
    tools: dict[str, int] = {}
    for call in llm_calls(list(facts.network.exchanges.values())):
        for tool in call.tools:
            tools.setdefault(tool.name, facts.network.exchanges[call.exchange].request.seq)
    return Baseline(hosts, programs, paths, tools)


def read_baseline(path: str) -> Baseline:
    """A saved baseline. Raises ``UsageError``."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(FILE_MAX + 1)
    except OSError as error:
        raise UsageError(f"The baseline {path} cannot be read: {error.strerror}.") from error
    if len(data) > FILE_MAX:
        raise UsageError(f"{path} is larger than a baseline can be.")
    return Baseline.from_json(data.decode("utf-8", "replace"), path)


def new_things(now: Baseline, before: Baseline) -> list[tuple[str, str, int]]:
    """What ``now`` has and ``before`` has not: kind of thing, which one, the first event that shows it."""
    found = [
        (kind, item, seq)
        for name, kind in _LISTS.items()
        for item, seq in getattr(now, name).items()
        if item not in getattr(before, name)
    ]
    return found[:NEW_MAX]


def normal_path(facts: Facts, path: str) -> str:
    """A path that is the same in another run."""
    workspace, home = facts.workspace.rstrip("/"), facts.home.rstrip("/")
    if workspace and (path == workspace or path.startswith(workspace + "/")):
        path = "." + path[len(workspace) :]
    elif home and (path == home or path.startswith(home + "/")):
        path = "~" + path[len(home) :]
    if temporary := _TEMPORARY.match(path):
        return re.sub(r"\d+", "*", temporary[1]) + ("/*" if temporary[2] else "")
    return "/".join(_RANDOM.sub("*", _CHANGING.sub("*", part)) for part in path.split("/"))


def path_class(facts: Facts, path: str) -> str:
    """The directory of a path, at most three levels deep below the workspace or home; dot files of the home by name."""
    normal = normal_path(facts, path)
    parts = normal.split("/")
    if len(parts) == 2 and parts[0] == "~" and parts[1].startswith("."):
        return normal
    directory = parts[:-1] or parts
    return "/".join(directory[:4]) or "/"


def _host(name: str) -> str:
    return name.rstrip(".").lower()


def united(one: Baseline, other: Baseline) -> Baseline:
    """What either has."""
    return Baseline(*({**getattr(other, name), **getattr(one, name)} for name in _LISTS))
