"""Reads ``--policy FILE`` and joins it with the command line. YAML, JSON, or TOML, told apart by the name's ending.

    network:
      allowedDomains: [api.openai.com, "*.example.com", "10.0.0.0/8:5432"]
      deniedDomains: [telemetry.example.com]
      strictAllowlist: true                 # nothing but what is allowed
      allowUnixSockets: [/run/user/1000/bus]
      map: {api.openai.com: "127.0.0.1:8443"}
    tls:
      mode: intercept                       # or passthrough
      exclude: ["*.bank.example"]           # these pass through
      onRefused: passthrough                # a client that refuses our certificate: fail, or passthrough from its next connection on
      insecure: [self-signed.example]       # certificates that are not verified

The names of keys are those of Anthropic's sandbox runtime where it has them. What is not known is an error with file and line: a
key that is silently passed over is a wall that somebody believes in. No decisions here, and nothing that is needed without a file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from sentra_sandbox.errors import HostError, PolicyError, UsageError
from sentra_sandbox.network.decision import NetworkPolicy, mapping
from sentra_sandbox.network.patterns import check_unix_path, parse_pattern

MAX_BYTES = 1 << 20
NOT_YET = {
    "": {"filesystem", "limits", "env", "enabled", "ignoreViolations", "allowPty", "ripgrep", "seccomp", "mandatoryDenySearchDepth"},
    "network": {
        *("allowAllUnixSockets", "allowLocalBinding", "allowMachLookup", "httpProxyPort", "socksProxyPort", "mitmProxy", "parentProxy"),
    },
    "tls": set(),
}
KNOWN = {
    "": ("network", "tls"),
    "network": ("allowedDomains", "deniedDomains", "strictAllowlist", "allowUnixSockets", "map"),
    "tls": ("mode", "exclude", "onRefused", "insecure"),
}


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the file with the line it stands on (0 if unknown). ``data``: a text, number, truth value or None; a list of ``Value``; or
    a dict of keys to pairs of the key's line and ``Value``."""

    data: Any
    line: int


def network_policy(path: str | None, allow_net: Sequence[str] = (), maps: Sequence[str] = ()) -> NetworkPolicy:
    """The policy of a run: of a file, if there is one, and the command line's ``--allow-net`` and ``--map``, which add to it; a ``--map``
    replaces the file's for the same name. Raises ``PolicyError`` for the file, ``UsageError`` for the command line.
    """
    settings = load(path) if path else {}
    from_file = tuple(settings.pop("allow", ()))
    mapped = dict(settings.pop("maps", ()))
    mapped.update(mapping(text) for text in maps)
    allow = (*from_file, *allow_net)
    return NetworkPolicy(allow=allow, maps=tuple(mapped.items()), allow_from_file=len(from_file), **settings)


def load(path: str) -> dict[str, Any]:
    """A policy file as arguments of ``NetworkPolicy``. Raises ``PolicyError`` with file, line and remedy."""
    return _File(path, read(path)).settings()


def read(path: str) -> Value:
    """The file as it is, every value with its line. Raises ``PolicyError``; ``HostError`` for TOML where Python cannot read it."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise PolicyError(f"The policy file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise PolicyError(f"The policy file {path} is not UTF-8 text (byte {error.start}).") from None
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"The policy file {path} is larger than {MAX_BYTES} bytes.", "Use networks and *.example.com instead of lists.")
    if path.endswith(".toml"):
        return _read_toml(path, text)
    if path.endswith(".json"):
        text = _checked_json(path, text)
    return _read_yaml(path, text)


def _checked_json(path: str, text: str) -> str:
    """JSON as YAML reads it: the same but for tabs, which in valid JSON stand between tokens only."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise PolicyError(f"{path}:{error.lineno}: not JSON: {error.msg}.") from None
    except RecursionError:
        raise PolicyError(f"{path}: nested too deeply.") from None
    return text.replace("\t", " ")


def _read_yaml(path: str, text: str) -> Value:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        return _Composed(path, loader).value(node, 0) if node else Value({}, 1)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise PolicyError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}.") from None
    except (RecursionError, ValueError) as error:
        raise PolicyError(f"{path}: not YAML that can be understood: {type(error).__name__}.") from None
    finally:
        loader.dispose()


class _Composed:
    """YAML's nodes on the way to values. A node is read once, however many aliases lead to it."""

    def __init__(self, path: str, loader: Any) -> None:
        self._path = path
        self._loader = loader
        self._done: dict[int, Value] = {}

    def value(self, node: Any, depth: int) -> Value:
        done = self._done.get(id(node))
        if done is None:
            done = self._done[id(node)] = Value(self._data(node, depth), node.start_mark.line + 1)
        return done

    def _data(self, node: Any, depth: int) -> Any:
        line = node.start_mark.line + 1
        if depth > 8:  # deeper than any key; also what an alias to its own list comes to
            raise PolicyError(f"{self._path}:{line}: nested too deeply.", "A policy has lists of texts and few levels.")
        if isinstance(node, yaml.ScalarNode):
            return self._loader.construct_object(node)
        if node.tag not in ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            raise PolicyError(f"{self._path}:{line}: the tag {node.tag} has no meaning here.", "Leave it out.")
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        found: dict[str, tuple[int, Value]] = {}
        for key, inner in node.value:
            key_line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise PolicyError(f"{self._path}:{key_line}: a key is a text.")
            if key.value in found:
                first = found[key.value][0]
                raise PolicyError(f"{self._path}:{key_line}: {key.value} is there twice, first on line {first}.", "Join the two.")
            found[key.value] = (key_line, self.value(inner, depth + 1))
        return found


def _read_toml(path: str, text: str) -> Value:
    if sys.version_info < (3, 11):
        raise HostError(f"The policy file {path} is TOML, which needs Python 3.11.", "Write it as YAML or JSON.")
    import tomllib  # type: ignore[import-not-found]

    try:
        return _plain(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path}: not TOML: {error}.") from None
    except RecursionError:
        raise PolicyError(f"{path}: nested too deeply.") from None


def _plain(data: Any) -> Value:
    if isinstance(data, dict):
        return Value({key: (0, _plain(value)) for key, value in data.items()}, 0)
    return Value([_plain(item) for item in data] if isinstance(data, list) else data, 0)


class _File:
    """One file's tree on the way to settings; every error says where."""

    def __init__(self, path: str, root: Value) -> None:
        self._path = path
        self._root = root

    def settings(self) -> dict[str, Any]:
        top = self._section("", self._root)
        found: dict[str, Any] = {}
        network = self._section("network", top.get("network"))
        tls = self._section("tls", top.get("tls"))
        for key, setting in (("allowedDomains", "allow"), ("deniedDomains", "deny")):
            if key in network:
                found[setting] = self._patterns(f"network.{key}", network[key])
        if "strictAllowlist" in network:
            found["strict"] = self._truth("network.strictAllowlist", network["strictAllowlist"])
        if "allowUnixSockets" in network:
            found["unix"] = self._unix(network["allowUnixSockets"])
        if "map" in network:
            found["maps"] = self._maps(network["map"])
        for key, setting in (("exclude", "tls_exclude"), ("insecure", "insecure_upstream")):
            if key in tls:
                found[setting] = self._patterns(f"tls.{key}", tls[key], ports=False)
        if "mode" in tls:
            found["tls"] = self._choice("tls.mode", tls["mode"], ("intercept", "passthrough"))
        if "onRefused" in tls:
            found["tls_refused"] = self._choice("tls.onRefused", tls["onRefused"], ("fail", "passthrough"))
        return found

    def _wrong(self, line: int, message: str, remedy: str = "") -> PolicyError:
        return PolicyError(f"{self._path}:{line}: {message}" if line else f"{self._path}: {message}", remedy)

    def _section(self, name: str, value: Value | None) -> dict[str, Value]:
        if value is None or (name and value.data is None):
            return {}
        if not isinstance(value.data, dict):
            raise self._wrong(value.line, f"{name or 'a policy'} is a mapping of keys to values, not {_shown(value)}.")
        prefix = f"{name}." if name else ""
        for key, (line, _) in value.data.items():
            if key in NOT_YET[name]:
                raise self._wrong(line, f"{prefix}{key} is not supported yet.", "Take it out: it would not be enforced.")
            if key not in KNOWN[name]:
                raise self._wrong(line, f"unknown key {prefix}{key}.", self._nearest(name, prefix, key))
        return {key: inner for key, (_, inner) in value.data.items()}

    @staticmethod
    def _nearest(section: str, prefix: str, key: str) -> str:
        import difflib

        lowered = {known.lower(): known for known in KNOWN[section]}
        near = difflib.get_close_matches(key.lower(), lowered, 1)
        elsewhere = [f"{other}.{key}" for other in KNOWN if other and key in KNOWN[other]]
        if near:
            return f"Is it {prefix}{lowered[near[0]]}?"
        return f"Is it {elsewhere[0]}?" if elsewhere else f"There are {', '.join(prefix + known for known in KNOWN[section])}."

    def _texts(self, name: str, value: Value) -> list[tuple[int, str]]:
        if not isinstance(value.data, list):
            raise self._wrong(value.line, f"{name} is a list, not {_shown(value)}.", f"Write {name.rpartition('.')[2]}: [...].")
        for item in value.data:
            if not isinstance(item.data, str):
                raise self._wrong(item.line, f"{name} is a list of texts, not of {_shown(item)}.", "Put it in quotes.")
        return [(item.line, item.data) for item in value.data]

    def _patterns(self, name: str, value: Value, *, ports: bool = True) -> tuple[str, ...]:
        texts = self._texts(name, value)
        for index, (line, text) in enumerate(texts):
            try:
                pattern = parse_pattern(text, f"{name}[{index}] {text}", ports=ports)
            except UsageError as error:
                raise self._wrong(line, error.message, error.remedy) from None
            if pattern.kind == "unix" and name != "network.allowedDomains":
                raise self._wrong(line, f"{name}[{index}] {text}: a unix socket is no host.", "Leave it out.")
        return tuple(text for _, text in texts)

    def _unix(self, value: Value) -> tuple[str, ...]:
        name = "network.allowUnixSockets"
        texts = self._texts(name, value)
        for line, text in texts:
            try:
                check_unix_path(text, name)
            except UsageError as error:
                raise self._wrong(line, error.message, error.remedy.replace("unix:", "")) from None
        return tuple(text for _, text in texts)

    def _maps(self, value: Value) -> tuple[tuple[str, str], ...]:
        if not isinstance(value.data, dict):
            message = f"network.map is a mapping of names to targets, not {_shown(value)}."
            raise self._wrong(value.line, message, 'Write map: {name: "host:port"}.')
        pairs = []
        for source, (line, target) in value.data.items():
            if not isinstance(target.data, str):
                raise self._wrong(line, f"network.map.{source} is a text host:port, not {_shown(target)}.", "Put it in quotes.")
            try:
                pairs.append(mapping(f"{source}={target.data}"))
            except UsageError as error:
                raise self._wrong(line, f"network.map: {error.message}", error.remedy) from None
        return tuple(pairs)

    def _truth(self, name: str, value: Value) -> bool:
        if not isinstance(value.data, bool):
            raise self._wrong(value.line, f"{name} is true or false, not {_shown(value)}.")
        return value.data

    def _choice(self, name: str, value: Value, choices: tuple[str, ...]) -> str:
        if value.data not in choices:
            raise self._wrong(value.line, f"{name} is {' or '.join(choices)}, not {_shown(value)}.")
        return str(value.data)


def _shown(value: Value) -> str:
    if isinstance(value.data, list):
        return "a list"
    if isinstance(value.data, dict):
        return "a mapping"
    return "nothing" if value.data is None else repr(value.data)[:60]
