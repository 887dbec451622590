"""What a run did, in numbers and lists, for all reports: counted once from the facts. No judgement. Pure.

Lists are as long as the run makes them; each report shows as much as it has room for and says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sentra_sandbox.views.llm import LlmCall, llm_calls

if TYPE_CHECKING:
    from sentra_sandbox.review.facts import Execution, Facts, FileAccess
    from sentra_sandbox.views.connections import Connection

READS = frozenset({"read", "map", "exec"})
WRITES = frozenset({"write", "create", "truncate", "rename", "link", "mkdir", "chmod", "chown"})
DELETES = frozenset({"delete"})
NOT_FILES = ("/dev/", "/proc/", "/sys/")
TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/")
LLM_MAX = 2000  # calls that are read; their bodies cost most of a report's time


@dataclass(slots=True)
class FileUse:
    """All that happened to one path. ``read`` and ``written`` are bytes; ``kinds`` in order of the first time."""

    path: str
    outside: bool
    first: FileAccess
    kinds: dict[str, int] = field(default_factory=dict)
    read: int = 0
    written: int = 0
    processes: set[int] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        return any(kind in WRITES or kind in DELETES for kind in self.kinds)


@dataclass(slots=True)
class HostUse:
    """What went to one host. ``declared``: the policy names it, rather than letting it pass by default; None where a run has no policy
    (the machine's network). ``refused`` counts connections and names that were not allowed.
    """

    name: str
    ports: set[int] = field(default_factory=set)
    protocols: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    sent: int = 0
    received: int = 0
    requests: int = 0
    connections: int = 0
    refused: int = 0
    declared: bool | None = None
    first_ns: int = 0


@dataclass(slots=True)
class ModelUse:
    """Calls to one model at one server."""

    model: str
    server: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    errors: int = 0


@dataclass(slots=True)
class Program:
    """One executable and how often it was run."""

    path: str
    sha256: str
    fileless: bool
    first: Execution
    process: int
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Install:
    """A package manager told to install something."""

    process: int
    seq: int
    manager: str
    what: tuple[str, ...]


@dataclass(slots=True)
class Behaviour:
    """``failed`` counts file accesses that failed."""

    files: dict[str, FileUse]
    failed: int
    hosts: list[HostUse]
    llm: list[LlmCall]
    llm_unread: int
    models: list[ModelUse]
    programs: list[Program]
    installs: list[Install]
    refused_calls: int

    @property
    def read(self) -> list[FileUse]:
        return [use for use in self.files.values() if READS & use.kinds.keys()]

    @property
    def written(self) -> list[FileUse]:
        return [use for use in self.files.values() if WRITES & use.kinds.keys()]

    @property
    def deleted(self) -> list[FileUse]:
        return [use for use in self.files.values() if DELETES & use.kinds.keys()]

    @property
    def outside(self) -> list[FileUse]:
        """Changed, and neither in the workspace nor temporary."""
        return [use for use in self.files.values() if use.changed and use.outside]


def behaviour(facts: Facts) -> Behaviour:
    """Count it all."""
    files, failed = _files(facts)
    exchanges = list(facts.network.exchanges.values())
    llm: list[LlmCall] = []
    left = 0
    for exchange in exchanges:
        if len(llm) < LLM_MAX:
            llm.extend(llm_calls([exchange]))
        elif exchange.request.method == "POST":
            left += 1
    return Behaviour(
        files=files,
        failed=failed,
        hosts=_hosts(facts),
        llm=llm,
        llm_unread=left,
        models=_models(llm),
        programs=_programs(facts),
        installs=_installs(facts),
        refused_calls=sum(call.refused for call in facts.calls),
    )


def is_outside(path: str, workspace: str) -> bool:
    """Whether a path is neither in the workspace nor in a place for temporary files."""
    root = workspace.rstrip("/") + "/"
    return not (path + "/").startswith(root) and not path.startswith((*TEMPORARY, *NOT_FILES))


def _files(facts: Facts) -> tuple[dict[str, FileUse], int]:
    files: dict[str, FileUse] = {}
    failed = 0
    ours = {shown.path for shown in facts.network.trust}  # bundles into which we put the run's certificate
    for access in facts.files:
        if access.failed:
            failed += 1
            continue
        if access.kind in ("stat", "list") or not access.path or access.path.startswith(NOT_FILES):
            continue
        if access.path in ours and access.kind == "write":
            continue
        path = access.target if access.kind == "link" and access.target else access.path  # what it leads to is not changed
        use = files.get(path)
        if use is None:
            use = files[path] = FileUse(path, is_outside(path, facts.workspace), access)
        use.kinds[access.kind] = use.kinds.get(access.kind, 0) + 1
        use.processes.add(access.process)
        if access.kind in ("read", "map"):
            use.read += access.size
        elif access.kind in ("write", "create"):
            use.written += access.size
    return files, failed


def _hosts(facts: Facts) -> list[HostUse]:
    hosts: dict[str, HostUse] = {}

    def host(name: str, time_ns: int) -> HostUse:
        use = hosts.get(name)
        if use is None:
            use = hosts[name] = HostUse(name, first_ns=time_ns)
        return use

    for connection in facts.network.connections.values():
        use = host(connection.host or "?", connection.opened_ns)
        _add_connection(use, connection, facts)
    for query in facts.network.dns:
        if not query.allowed and query.name:
            host(query.name, query.time_ns).refused += 1
    own = {number for number in facts.network.connections}
    for transfer in facts.transfers:
        if transfer.connection in own and transfer.connection:
            continue  # the broker counted it
        use = host(transfer.host or transfer.address or "?", 0)
        use.ports.add(transfer.port)
        use.protocols.add(transfer.protocol)
        use.addresses.add(transfer.address)
        use.sent += transfer.size if transfer.outgoing else 0
        use.received += 0 if transfer.outgoing else transfer.size
    return sorted(hosts.values(), key=lambda use: (-use.sent, -use.received, use.name))


def _add_connection(use: HostUse, connection: Connection, facts: Facts) -> None:
    use.ports.add(connection.server[1])
    use.connections += 1
    if connection.peer[0] or connection.server[0]:
        use.addresses.add(connection.peer[0] or connection.server[0])
    use.sent += connection.sent
    use.received += connection.received
    use.requests += len(connection.exchanges)
    use.refused += not connection.allowed
    use.declared = bool(use.declared) or (connection.allowed and not connection.rule.startswith("default"))
    if connection.tls is not None:
        use.protocols.add("tls" if connection.tls.mode == "intercept" else "tls, unread")
    versions = {facts.network.exchanges[number].request.version for number in connection.exchanges if number in facts.network.exchanges}
    use.protocols.update({f"HTTP/{version}" for version in versions - {""}} or {connection.protocol})


def _models(calls: Iterable[LlmCall]) -> list[ModelUse]:
    models: dict[tuple[str, str], ModelUse] = {}
    for call in calls:
        name = call.model or call.answered_model or "?"
        use = models.setdefault((name, call.server), ModelUse(name, call.server))
        use.calls += 1
        use.input_tokens += call.usage.input_tokens or 0
        use.output_tokens += call.usage.output_tokens or 0
        use.tool_calls += len(call.tool_calls)
        use.errors += call.error is not None
    return sorted(models.values(), key=lambda use: -use.calls)


def _programs(facts: Facts) -> list[Program]:
    programs: dict[tuple[str, str], Program] = {}
    for process in facts.processes.values():
        for image in process.images:
            key = (image.path, image.sha256)
            program = programs.get(key)
            if program is None:
                program = programs[key] = Program(image.path, image.sha256, image.fileless, image, process.number)
            program.runs += 1
    return sorted(programs.values(), key=lambda program: program.first.seq)


_MANAGERS = {
    "pip": ("install", "download"), "pip3": ("install", "download"), "uv": ("add", "install", "sync"), "poetry": ("add", "install"),
    "npm": ("install", "i", "ci", "add"), "pnpm": ("install", "i", "add"), "yarn": ("install", "add"), "bun": ("install", "add"),
    "npx": ("",), "cargo": ("install", "add"), "gem": ("install",), "go": ("install", "get"), "apt": ("install",), "apt-get": ("install",),
    "apk": ("add",), "dnf": ("install",), "yum": ("install",), "brew": ("install",), "conda": ("install",),
}  # fmt: skip


def _installs(facts: Facts) -> list[Install]:
    found = []
    for process in facts.processes.values():
        for image in process.images:
            install = _install(image.argv)
            if install:
                found.append(Install(process.number, image.seq, *install))
    return sorted(found, key=lambda install: install.seq)


def _install(argv: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """(manager, what) of a command line that installs: also ``python -m pip install``, ``node npm-cli.js install``."""
    for at, word in enumerate(argv[:4]):
        name = word.rsplit("/", 1)[-1].removesuffix(".js").removesuffix("-cli")
        verbs = _MANAGERS.get(name)
        if verbs is None:
            continue
        rest = [word for word in argv[at + 1 :][:50] if not word.startswith("-")]
        if rest[:1] == ["pip"]:  # uv pip install
            rest = rest[1:]
        if verbs == ("",):
            return name, tuple(rest[:1])
        if rest and rest[0] in verbs:
            return name, tuple(rest[1:])
        return None
    return None
