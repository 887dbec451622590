"""Programs by what they are for: shells, installers, network tools. Names only; nothing here judges. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from sentra_sandbox.review.detectors.derived import once
from sentra_sandbox.review.facts import Execution, Facts, ProcessFact

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh", "rbash", "busybox"})
INTERPRETERS = frozenset({"python", "perl", "ruby", "node", "nodejs", "php", "lua", "deno", "bun", "tclsh"})
FETCHERS = frozenset({"curl", "wget", "aria2c", "http", "https", "fetch", "lwp-request"})
NETWORK_TOOLS = FETCHERS | {
    "nc",
    "ncat",
    "netcat",
    "socat",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "telnet",
    "ftp",
    "openssl",
    "dig",
    "nslookup",
    "host",
}
DEBUGGERS = frozenset({"gdb", "lldb", "strace", "ltrace", "py-spy", "rr", "perf", "valgrind", "delve", "dlv", "gcore", "eu-stack"})
# What a package manager's words mean "install" by.
_INSTALLERS = {
    "npm": {"install", "i", "ci", "add", "rebuild", "update", "exec", "it"},
    "npx": set(),
    "yarn": {"install", "add", "up", "upgrade", ""},
    "pnpm": {"install", "i", "add", "update", "dlx", "rebuild"},
    "bun": {"install", "add"},
    "pip": {"install", "wheel", "download"},
    "pipx": {"install", "run"},
    "uv": {"pip", "sync", "add", "tool", "run"},
    "poetry": {"install", "add", "update"},
    "pdm": {"install", "add", "sync"},
    "gem": {"install"},
    "bundle": {"install", ""},
    "cargo": {"install", "build"},
    "composer": {"install", "require", "update"},
    "go": {"install", "get"},
    "easy_install": set(),
}
_SCRIPT_OF = re.compile(r"(?:^|/)(npm|npx|yarn|pnpm)(?:-cli|-cli\.c)?\.?[cm]?(?:js)?$")


def base(path: str) -> str:
    """``/usr/bin/python3.12`` → ``python3.12``."""
    return path.rsplit("/", 1)[-1]


@lru_cache(4096)
def family(path: str) -> str:
    """The base name without version: ``python3.12`` → ``python``, ``pip3`` → ``pip``, ``-bash`` → ``bash``."""
    return re.sub(r"[-.]?\d[\d.]*$", "", base(path).lstrip("-")) or base(path)


def is_shell(image: Execution) -> bool:
    """Whether the image is a shell, by its file or by what it was called."""
    return family(image.path) in SHELLS - {"busybox"} or (
        family(image.path) == "busybox" and bool(image.argv) and family(image.argv[0]) in SHELLS
    )


def is_interpreter(image: Execution) -> bool:
    return family(image.path) in INTERPRETERS


def installer(image: Execution) -> str:
    """``npm``, ``pip``, ... when this image installs packages, else ``""``."""
    words = image.argv
    name, rest = family(image.path), list(words[1:])
    if name in ("node", "nodejs", "python", "pypy", "sh", "env") and words:
        name, rest = _inner(list(words[1:]))
    if name not in _INSTALLERS:
        return ""
    wanted = _INSTALLERS[name]
    verbs = [word for word in rest if not word.startswith("-")]
    if not wanted or (verbs[0] if verbs else "") in wanted:
        return name
    return ""


def _inner(words: list[str]) -> tuple[str, list[str]]:
    """The tool that an interpreter runs: ``python -m pip install``, ``node .../npm-cli.js install``, ``python /usr/bin/pip install``."""
    while words and words[0].startswith("-"):
        if words[0] == "-m" and len(words) > 1:
            return family(words[1]), words[2:]
        if words[0] in ("-c", "-e", "--eval", "-"):
            return "", []
        words = words[1:]
    if not words:
        return "", []
    if found := _SCRIPT_OF.search(words[0]):
        return found.group(1), words[1:]
    return family(words[0]), words[1:]


def installer_above(facts: Facts, process: int) -> tuple[ProcessFact, Execution, str] | None:
    """The nearest installer at or above the process, and whether one is there at all."""
    for fact in facts.lineage(process):
        for image in reversed(fact.images):
            if name := installer(image):
                return fact, image, name
    return None


def runs_as(facts: Facts, process: int, names: frozenset[str] | set[str]) -> bool:
    """Whether any image of the process is a program of these names (versions do not matter)."""
    fact = facts.processes.get(process)
    return fact is not None and any(family(image.path) in names for image in fact.images)


def executions(facts: Facts) -> list[tuple[ProcessFact, Execution]]:
    """All images of all processes, in the order of events."""
    return once(facts, "executions", _executions)


def _executions(facts: Facts) -> list[tuple[ProcessFact, Execution]]:
    pairs = [(fact, image) for fact in facts.processes.values() for image in fact.images]
    return sorted(pairs, key=lambda pair: pair[1].seq)


def image_at(facts: Facts, process: int, seq: int) -> Execution | None:
    """What the process was running at an event; what its ancestor was before its first exec."""
    for fact in facts.lineage(process):
        for image in reversed(fact.images):
            if image.seq <= seq:
                return image
    return None
