"""Policy files: what they mean, in three notations, and that every mistake is named with its line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sentra_sandbox.errors import HostError, PolicyError, UsageError
from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.policy_file import network_policy

WHOLE = {
    "network": {
        "allowedDomains": ["api.openai.com", "*.example.com", "10.0.0.0/8:5432"],
        "deniedDomains": ["telemetry.example.com"],
        "strictAllowlist": True,
        "allowUnixSockets": ["/run/user/1000/bus", "/tmp/agent/*"],
        "map": {"api.openai.com": "127.0.0.1:8443"},
    },
    "tls": {"mode": "intercept", "exclude": ["*.bank.example"], "onRefused": "passthrough", "insecure": ["self-signed.example"]},
}
MEANT = NetworkPolicy(
    allow=("api.openai.com", "*.example.com", "10.0.0.0/8:5432"),
    deny=("telemetry.example.com",),
    strict=True,
    maps=(("api.openai.com", "127.0.0.1:8443"),),
    tls_exclude=("*.bank.example",),
    tls_refused="passthrough",
    insecure_upstream=("self-signed.example",),
    unix=("/run/user/1000/bus", "/tmp/agent/*"),
    allow_from_file=3,
)
YAML = """\
network:
  allowedDomains: [api.openai.com, "*.example.com", "10.0.0.0/8:5432"]
  deniedDomains:
    - telemetry.example.com
  strictAllowlist: true
  allowUnixSockets: [/run/user/1000/bus, /tmp/agent/*]
  map: {api.openai.com: "127.0.0.1:8443"}
tls:
  mode: intercept
  exclude: ["*.bank.example"]
  onRefused: passthrough
  insecure: [self-signed.example]
"""
TOML = """\
[network]
allowedDomains = ["api.openai.com", "*.example.com", "10.0.0.0/8:5432"]
deniedDomains = ["telemetry.example.com"]
strictAllowlist = true
allowUnixSockets = ["/run/user/1000/bus", "/tmp/agent/*"]
map = {"api.openai.com" = "127.0.0.1:8443"}
[tls]
mode = "intercept"
exclude = ["*.bank.example"]
onRefused = "passthrough"
insecure = ["self-signed.example"]
"""


def written(tmp_path: Path, text: str, ending: str = "yaml") -> str:
    path = tmp_path / f"policy.{ending}"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "ending"),
    [(YAML, "yaml"), (YAML, "yml"), (YAML, "policy"), ("\ufeff" + YAML, "yaml"), (json.dumps(WHOLE), "json"), (json.dumps(WHOLE, indent="\t"), "json")],
)
def test_a_whole_policy(tmp_path: Path, text: str, ending: str) -> None:
    assert network_policy(written(tmp_path, text, ending)) == MEANT


def test_toml(tmp_path: Path) -> None:
    path = written(tmp_path, TOML, "toml")
    if sys.version_info < (3, 11):
        with pytest.raises(HostError, match="YAML or JSON"):
            network_policy(path)
    else:
        assert network_policy(path) == MEANT
        with pytest.raises(PolicyError, match=r"unknown key network\.allow"):
            network_policy(written(tmp_path, "[network]\nallow = []\n", "toml"))
        with pytest.raises(PolicyError, match="not TOML"):
            network_policy(written(tmp_path, "[network\n", "toml"))


@pytest.mark.parametrize("text", ["", "{}", "network:\n", "# nothing\n", "network: {}\ntls: {}\n"])
def test_an_empty_policy_is_the_default(tmp_path: Path, text: str) -> None:
    assert network_policy(written(tmp_path, text)) == network_policy(None) == NetworkPolicy()


def test_the_command_line_adds_to_the_file(tmp_path: Path) -> None:
    made = network_policy(written(tmp_path, YAML), ["localhost:11434"], ["api.openai.com=127.0.0.1:1", "x.com=y.com"])
    assert made.allow[-1] == "localhost:11434" and made.allow_from_file == 3
    assert made.maps == (("api.openai.com", "127.0.0.1:1"), ("x.com", "y.com"))
    assert made.decide_name("localhost", 11434).rule == "--allow-net localhost:11434"
    assert made.decide_name("www.example.com").rule == "allowedDomains[1] *.example.com"
    with pytest.raises(UsageError, match="--allow-net http://x"):
        network_policy(None, ["http://x"])


# file | line | part of the message | part of the remedy
WRONG = [
    ("- a\n", 1, "a policy is a mapping", ""),
    ("just text\n", 1, "not 'just text'", ""),
    ("network:\n  allowedDomain: [a.com]\n", 2, "unknown key network.allowedDomain.", "Is it network.allowedDomains?"),
    ("network:\n  alloweddomains: [a.com]\n", 2, "unknown key", "Is it network.allowedDomains?"),
    ("\nallowedDomains: [a.com]\n", 2, "unknown key allowedDomains", "Is it network.allowedDomains?"),
    ("network:\n  zzz: 1\n", 2, "unknown key network.zzz", "There are network.allowedDomains"),
    ("tls: {}\nfilesystem:\n  denyRead: []\n", 2, "filesystem is not supported yet", "would not be enforced"),
    ("network:\n  allowLocalBinding: true\n", 2, "allowLocalBinding is not supported yet", "Take it out"),
    ("network:\n  allowedDomains: a.com\n", 2, "is a list, not 'a.com'", "allowedDomains: [...]"),
    ("network:\n  allowedDomains:\n  - a.com\n  - 5\n", 4, "list of texts, not of 5", "quotes"),
    ("network:\n  allowedDomains:\n  - a.com\n  - https://b.com\n", 4, "network.allowedDomains[1] https://b.com", "Write b.com:443."),
    ("network:\n  deniedDomains: ['unix:/x']\n", 2, "a unix socket is no host", "Leave it out"),
    ("network:\n  strictAllowlist: maybe\n", 2, "is true or false, not 'maybe'", ""),
    ("network:\n  strictAllowlist: 1\n", 2, "is true or false, not 1", ""),
    ("network:\n  allowUnixSockets: [relative]\n", 2, "'relative' is not the path", "absolute"),
    ("network:\n  map: [a]\n", 2, "is a mapping of names to targets, not a list", "map: {name"),
    ("network:\n  map:\n    a.com: 5\n", 3, "network.map.a.com is a text host:port, not 5", "quotes"),
    ("network:\n  map:\n    '*.a.com': b.com\n", 3, "the name is one host", "--map"),
    ("network: 5\n", 1, "network is a mapping of keys to values, not 5", ""),
    ("tls:\n  mode: off\n", 2, "tls.mode is intercept or passthrough, not False", ""),
    ("tls:\n  exclude: ['a.com:443']\n", 2, "a port has no meaning here", "Write a.com."),
    ("tls:\n  onRefused: pass\n", 2, "tls.onRefused is fail or passthrough, not 'pass'", ""),
    ("network:\n  map: {}\nnetwork:\n", 3, "network is there twice, first on line 1", "Join"),
    ("network: [\n", 2, "not YAML", ""),
    ("network: !!python/object:os.system {}\n", 1, "python/object:os.system has no meaning here", "Leave it out"),
    ("? [a]\n: 1\n", 1, "a key is a text", ""),
    ("network: &a\n  map: *a\n", 2, "", ""),
    ("a: &a [1]\nb: &b [*a,*a]\n", 1, "unknown key a", ""),
]


@pytest.mark.parametrize(("text", "line", "message", "remedy"), WRONG)
def test_mistakes_are_named_with_file_and_line(tmp_path: Path, text: str, line: int, message: str, remedy: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PolicyError) as error:
        network_policy(path)
    assert message in error.value.message and remedy in error.value.remedy
    if message:
        assert error.value.message.startswith(f"{path}:{line}: ")


def test_json_mistakes(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"json:3: not JSON"):
        network_policy(written(tmp_path, '{\n"network":\n}', "json"))
    with pytest.raises(PolicyError, match=r"json:3: unknown key network\.x"):
        network_policy(written(tmp_path, '{\n"network": {\n\t"x": 1}}', "json"))
    with pytest.raises(PolicyError, match="nested too deeply"):
        network_policy(written(tmp_path, "[" * 100_000 + "]" * 100_000, "json"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        network_policy(str(tmp_path / "none.yaml"))
    with pytest.raises(PolicyError, match="Is a directory"):
        network_policy(str(tmp_path))
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(PolicyError, match="not UTF-8"):
        network_policy(str(tmp_path / "bytes.yaml"))
    with pytest.raises(PolicyError, match="larger than"):
        network_policy(written(tmp_path, "#" * 2_000_000))
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(PolicyError):
        network_policy(written(tmp_path, bomb))
