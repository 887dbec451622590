"""Paths by what a file there means: starts programs, belongs to a tool, holds credentials, is temporary. Names only. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentra_sandbox.review.facts import Facts, FileAccess

WRITES = frozenset({"write", "create", "truncate", "rename", "link"})

STARTUP = re.compile(
    r"/(?:\.bashrc|\.bash_profile|\.bash_login|\.bash_logout|\.profile|\.zshrc|\.zshenv|\.zprofile|\.zlogin|\.kshrc|\.cshrc|\.tcshrc"
    r"|\.xinitrc|\.xprofile"
    r"|\.xsession|\.inputrc|\.pam_environment|\.config/fish/(?:config\.fish|conf\.d/[^/]+)|\.config/environment\.d/[^/]+)$"
    r"|^/etc/(?:profile|bash\.bashrc|zsh/z[^/]*|environment|rc\.local|profile\.d/[^/]+|init\.d/[^/]+|update-motd\.d/[^/]+)$"
)
CRON = re.compile(r"^/etc/(?:crontab|anacrontab|cron\.(?:d|hourly|daily|weekly|monthly)/[^/]+)$|^/var/spool/(?:cron|at)/.")
SYSTEMD = re.compile(
    r"^(?:/etc|/usr/lib|/lib|/run|/usr/local/lib)/systemd/(?:system|user|system-generators)/.+|/\.(?:config|local/share)/systemd/user/.+"
)
AUTOSTART = re.compile(r"/\.config/autostart/[^/]+|^/etc/xdg/autostart/[^/]+")
AUTHORIZED_KEYS = re.compile(r"/\.ssh/(?:authorized_keys2?|rc|environment)$|^/etc/ssh/(?:authorized_keys/.+|sshd_config(?:\.d/[^/]+)?)$")
PYTHON_START = re.compile(r"/(?:sitecustomize|usercustomize)\.py$|/(?:site|dist)-packages/[^/]+\.pth$")
ACCOUNTS = re.compile(r"^/etc/(?:passwd|shadow|group|gshadow|sudoers|sudoers\.d/[^/]+|pam\.d/[^/]+)$")
PRELOAD = "/etc/ld.so.preload"

GIT_HOOK = re.compile(r"(?:/\.git(?:/modules/.+)?|\.git)/hooks/(?!.*\.sample$)[^/]+$|/\.husky/(?!_/)[^/]+$")
CI_FILE = re.compile(
    r"/\.github/(?:workflows|actions)/.+|/\.gitlab-ci\.ya?ml$|/\.circleci/[^/]+$|/(?:Jenkinsfile|azure-pipelines\.ya?ml|\.travis\.yml"
    r"|bitbucket-pipelines\.yml)$"
    r"|/\.buildkite/.+|/\.woodpecker(?:/.+|\.ya?ml)$|/\.drone\.yml$|/\.forgejo/workflows/.+|/\.gitea/workflows/.+"
)
AGENT_INSTRUCTIONS = re.compile(
    r"/(?:AGENTS|CLAUDE|CLAUDE\.local|GEMINI|SKILL|AGENT|COPILOT|CONVENTIONS)\.md$|/\.(?:cursorrules|windsurfrules|clinerules"
    r"|goosehints|roorules)(?:/[^/]+)?$"
    r"|/\.github/(?:copilot-instructions\.md|instructions/.+|prompts/.+|chatmodes/.+)$|/\.cursor/(?:rules|commands)/.+|/\.windsurf/rules/.+"
    r"|/\.claude/(?:settings(?:\.local)?\.json|commands/.+|agents/.+|skills/.+|hooks/.+)$|/\.codex/(?:config\.toml|prompts/.+"
    r"|AGENTS\.md)$|/\.gemini/settings\.json$"
    r"|/\.aider\.conf\.yml$|/\.continue/(?:config\.(?:json|ya?ml)|rules/.+)$"
)
MCP_CONFIG = re.compile(
    r"/(?:\.?mcp(?:_config)?\.json|claude_desktop_config\.json|\.claude\.json|cline_mcp_settings\.json|mcp_settings\.json)$"
)
EDITOR_TASK = re.compile(
    r"/\.vscode/(?:tasks|launch|settings|extensions)\.json$|/\.idea/(?:runConfigurations/.+|workspace\.xml|watcherTasks\.xml)$"
    r"|/\.zed/(?:tasks|settings)\.json$"
    r"|/\.devcontainer(?:/devcontainer)?\.json$|/\.devcontainer/.+|/\.envrc$|/\.nvim\.lua$|/\.exrc$"
)
CREDENTIALS = re.compile(
    r"/\.ssh/(?!known_hosts|config$|authorized_keys|.*\.pub$)[^/]+$|/\.aws/(?:credentials|config|sso/cache/.+|cli/cache/.+)$"
    r"|/\.config/gcloud/(?:application_default_credentials\.json|credentials\.db|access_tokens\.db|legacy_credentials/.+)$"
    r"|/\.azure/(?:accessTokens\.json|msal_token_cache\..*|azureProfile\.json)$|/\.kube/config$|/\.docker/config\.json$"
    r"|/\.(?:netrc|git-credentials|pypirc|pgpass|my\.cnf|vault-token|htpasswd|terraformrc)$|/\.config/(?:gh/hosts\.yml|hub"
    r"|glab-cli/config\.yml|op/.+)$"
    r"|/\.gnupg/(?:private-keys-v1\.d/.+|secring\.gpg)$|/(?:Cookies|Login Data|logins\.json|key4\.db|cookies\.sqlite)$"
    r"|/\.password-store/.+\.gpg$|/\.local/share/keyrings/.+"
    r"|^/etc/(?:shadow|gshadow|krb5\.keytab)$|/var/run/secrets/.+|/run/secrets/.+|/(?:wallet\.dat|keystore/UTC--.*)$|/\.(?:claude"
    r"|codex|gemini)/(?:\.credentials\.json|auth\.json|oauth_creds\.json)$"
    r"|/\.env(?:\.(?!example$|sample$|template$|dist$|test$)[\w.-]+)?$"
)
_TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/run/shm/")
_CACHES = re.compile(
    r"/(?:\.cache|__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache|node_modules|\.npm|\.tox|\.nox|\.venv|venv|\.gradle|\.m2"
    r"|\.cargo/registry|target|dist|build"
    r"|\.next|\.parcel-cache|\.turbo|coverage|_build|site-packages)(?:/|$)"
)
_SYSTEM_PROGRAMS = re.compile(
    r"^(?:/usr)?(?:/local)?/s?bin/|^/usr/(?:lib|libexec|lib64|share|games)/|^/(?:lib|lib64|opt|nix|snap|gnu)/|^/etc/alternatives/"
)
LOGS = re.compile(r"^/var/(?:log|adm)/.+|^/(?:var/)?run/utmp$")
HISTORIES = re.compile(
    r"/\.(?:bash|zsh|sh|ash|python|node_repl|mysql|psql|sqlite|rediscli|lesshst|fish)_?(?:history|hst)$|/fish/fish_history$"
    r"|/\.zsh_sessions/.+"
)


def written(facts: Facts) -> Iterator[tuple[FileAccess, str]]:
    """Each change of a file's content or name that succeeded, with the path that it is about: the new one of a rename or link."""
    for access in facts.files:
        if access.kind in WRITES and not access.failed and (access.seqs or access.size or access.kind != "write"):
            yield access, changed(access)


def changed(access: FileAccess) -> str:
    """The path whose file is another one after this: the new name of a rename or link."""
    return access.target if access.kind in ("rename", "link") and access.target else access.path


def refused_writes(facts: Facts) -> Iterator[tuple[FileAccess, str]]:
    """Each change of a file that was tried and not permitted."""
    for access in facts.files:
        if access.kind in WRITES and access.failed in ("EACCES", "EPERM", "EROFS"):
            yield access, changed(access)


def is_temporary(path: str, home: str = "") -> bool:
    """Below a directory for temporary files; what is below a ``home`` that is there itself (containers, CI) lasts as any home does."""
    return path.startswith(_TEMPORARY) and not (home.startswith(_TEMPORARY) and inside(path, home))


def is_cache(path: str) -> bool:
    """Build results, caches, installed packages: what can be made again."""
    return bool(_CACHES.search(path))


def is_system_program(path: str) -> bool:
    return bool(_SYSTEM_PROGRAMS.search(path))


def inside(path: str, directory: str) -> bool:
    """Whether a path is the directory or below it."""
    directory = directory.rstrip("/")
    return bool(directory) and (path == directory or path.startswith(f"{directory}/"))


def in_workspace(facts: Facts, path: str) -> bool:
    """Below the directory the run began in, unless that is the home directory or the root: then nothing is a project of its own."""
    place, home = facts.workspace.rstrip("/"), facts.home.rstrip("/")
    if not place or place == home or (inside(home, place) and inside(path, home)):
        return False
    return inside(path, place)


def is_credential(path: str) -> bool:
    """A file that usually holds secrets of a person or a service."""
    return bool(CREDENTIALS.search(path))


def home_relative(facts: Facts, path: str) -> str:
    """``~/.bashrc``: the same in the runs of different users, so that a finding keeps its fingerprint."""
    home = facts.home.rstrip("/")
    if home and inside(path, home):
        return "~" + path[len(home) :]
    if in_workspace(facts, path):
        return path[len(facts.workspace.rstrip("/")) + 1 :] or "."
    return path
