"""What kind of place a path is: the field ``file.class``. One pure function of the path, the workspace and the home directory."""

from __future__ import annotations

import re
from functools import lru_cache

SECRET, STARTUP, VCS, CI, AGENT, WORKSPACE, TEMPORARY, HOME, SYSTEM, OTHER = (
    "secret", "startup", "vcs", "ci", "agent", "workspace", "temporary", "home", "system", "other",
)  # fmt: skip
CLASSES = (SECRET, STARTUP, VCS, CI, AGENT, TEMPORARY, WORKSPACE, HOME, SYSTEM, OTHER)
"""In the order in which they are tried."""

_SECRET = re.compile(
    r"/\.ssh/(?!.*\.pub$|known_hosts|config$|authorized_keys)[^/]+$|/\.aws/credentials$|/\.config/gcloud/.*(?:credentials|access_tokens)"
    r"|/\.azure/(?:accessTokens|msal_token_cache)|/\.kube/config$|/\.docker/config\.json$|/\.netrc$|/\.pgpass$|/\.my\.cnf$|/\.git-credentials$"
    r"|/\.npmrc$|/\.pypirc$|/\.cargo/credentials(?:\.toml)?$|/\.gnupg/(?:private-keys|secring)|/\.config/gh/hosts\.yml$|/\.vault-token$"
    r"|/\.env(?:\.(?!example|sample|template|dist)[\w.-]+)?$|^/etc/(?:shadow|gshadow)-?$|/\.password-store/|/keyrings/|/\.claude/\.credentials"
    r"|/(?:Login Data|Cookies|key4\.db|logins\.json)$|^/run/secrets/|^/var/run/secrets/|(?:^|/)id_(?:rsa|dsa|ecdsa|ed25519)$"
)
_STARTUP = re.compile(
    r"/\.(?:bashrc|bash_profile|bash_login|bash_logout|profile|zshrc|zshenv|zprofile|zlogin|kshrc|cshrc|tcshrc|xinitrc|xprofile|xsession)$"
    r"|/\.config/(?:fish/(?:config\.fish|conf\.d/.)|autostart/.|systemd/user/.)|/\.ssh/(?:authorized_keys2?|rc)$|^/etc/(?:profile|bash\.bashrc|"
    r"zsh/.*|profile\.d/.*|crontab|cron\.[^/]+/.*|ld\.so\.preload|rc\.local|init\.d/.*|systemd/.*|xdg/autostart/.*|sudoers(?:\.d/.*)?)$"
    r"|^/var/spool/cron/|^/(?:usr/)?lib/systemd/|/(?:sitecustomize|usercustomize)\.py$|/site-packages/[^/]+\.pth$"
)
_VCS = re.compile(r"/\.git/(?:hooks/(?!.*\.sample$).|config$)|/\.gitconfig$|/\.config/git/config$|/\.husky/|/\.hg/hgrc$")
_CI = re.compile(
    r"/\.github/(?:workflows|actions)/|/\.gitlab-ci\.yml$|/Jenkinsfile$|/\.circleci/|/azure-pipelines\.yml$|/\.travis\.yml$"
    r"|/\.pre-commit-config\.yaml$|/\.vscode/(?:tasks|settings|launch)\.json$|/\.buildkite/"
)
_AGENT = re.compile(
    r"/(?:CLAUDE|AGENTS|GEMINI|SOUL|MEMORY)\.md$|/\.cursorrules$|/\.cursor/(?:rules/|mcp\.json)|/\.windsurfrules$|/\.clinerules|/\.mcp\.json$"
    r"|/mcp\.json$|/\.github/copilot-instructions\.md$|/\.claude/(?:settings|commands|agents|skills|hooks)|/\.claude\.json$|/\.codex/"
    r"|/\.continue/|/\.aider\.conf\.yml$|/claude_desktop_config\.json$"
)
_TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/")
_SYSTEM = ("/usr/", "/lib", "/bin/", "/sbin/", "/etc/", "/opt/", "/boot/", "/var/", "/proc/", "/sys/", "/dev/", "/run/")


@lru_cache(maxsize=8192)
def file_class(path: str, workspace: str, home: str) -> str:
    """The first class of ``CLASSES`` that fits; ``""`` for what is no absolute path."""
    if not path.startswith("/"):
        return ""
    path = path[:4096]
    for pattern, name in ((_SECRET, SECRET), (_STARTUP, STARTUP), (_VCS, VCS), (_CI, CI), (_AGENT, AGENT)):
        if pattern.search(path):
            return name
    if inside(path, workspace):
        return WORKSPACE
    if path.startswith(_TEMPORARY):
        return TEMPORARY
    if inside(path, home):
        return HOME
    return SYSTEM if path.startswith(_SYSTEM) else OTHER


def inside(path: str, directory: str) -> bool:
    """Whether a path is a directory or below it; nothing is inside the root or an unknown directory."""
    directory = directory.rstrip("/")
    return bool(directory) and (path == directory or path.startswith(directory + "/"))
