"""What a recording with ``--net open`` (or ``recorded:RUN``) adds to plan, engine and session. The one place that knows the modes.

Rule of this file: no module that costs time to load, but for options that need it.
"""

from __future__ import annotations

import os

from sentra_sandbox.dataclass import dataclass, replace
from sentra_sandbox.errors import UsageError
from sentra_sandbox.network.decision import NetworkPolicy, policy_of

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

    from sentra_sandbox.record.network import SandboxNetwork
    from sentra_sandbox.record.options import RecordOptions
    from sentra_sandbox.record.trust import TrustFiles
    from sentra_sandbox.sandbox.plan import SandboxPlan
    from sentra_sandbox.trace.arena import Arena

MODES = ("open", "none", "host")
RECORDED = "recorded:"


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """``mode`` is one of ``MODES``: the sandbox's. ``recording``: directory of what answers in place of the network ("": nothing does);
    ``match``: which of its requests count as the same (see ``network.match_rules``).
    """

    mode: str
    policy: NetworkPolicy
    recording: str = ""
    match: dict[str, Any] | None = None


def choose(options: RecordOptions) -> NetworkChoice:
    """What the options say. Raises ``UsageError``, ``PolicyError``."""
    mode = options.net
    if mode.startswith(RECORDED):
        return _recorded(options)
    if mode not in MODES:
        raise UsageError(f"There is no network mode '{mode}'.", "Use 'open', 'none', 'host' or 'recorded:RUN'.")
    matching = [name for name in ("match", "match_order", "match_ignore") if getattr(options, name)]
    if matching:
        raise UsageError(f"--{matching[0].replace('_', '-')} means nothing with --net {mode}.", "It is for --net recorded:RUN.")
    rules = (("--allow-net", options.allow_net), ("--map", options.maps), ("--policy", options.policy))
    given = [name for name, value in rules if value]
    if given and mode != "open":
        raise UsageError(f"{' and '.join(given)} means nothing with --net {options.net}.", "It is for --net open, the default.")
    if options.policy is not None:
        from sentra_sandbox.network.policy_file import network_policy

        policy = network_policy(options.policy, options.allow_net, options.maps)
    else:
        policy = policy_of(options.allow_net, options.maps)
    return NetworkChoice(mode, policy)


def _recorded(options: RecordOptions) -> NetworkChoice:
    from sentra_sandbox.record.recorded_world import recorded_choice

    given = [name for name in ("allow_net", "maps", "policy") if getattr(options, name)]
    if given:
        name = {"maps": "map"}.get(given[0], given[0]).replace("_", "-")
        raise UsageError(f"--{name} means nothing with --net {options.net}: nothing is reached.", "It is for --net open, the default.")
    policy, recording, match = recorded_choice(options, options.net[len(RECORDED) :])
    return NetworkChoice("open", policy, recording, match)


class OwnNetwork:
    """A session's network: listeners, broker, certificates. ``plan`` is the plan with what they need."""

    def __init__(self, choice: NetworkChoice, plan: SandboxPlan, directory: str, arena: Arena) -> None:
        from sentra_sandbox.record.network import SandboxNetwork
        from sentra_sandbox.record.trust import make_trust

        self._directory = directory
        self._choice = choice
        self.trust: TrustFiles = make_trust(directory, plan.env)
        self.network: SandboxNetwork = SandboxNetwork(directory, arena, self._settings(plan, arena))
        self.plan = replace(
            plan,
            ops=(*plan.ops, *self.trust.ops),
            env={**plan.env, **self.trust.variables},
            network_fd=self.network.network_fd,
        )
        self._kept: list[Any] = []

    def _settings(self, plan: SandboxPlan, arena: Arena) -> dict[str, Any]:
        """``network.settings.BrokerSettings`` as JSON."""
        from sentra_sandbox.network.trust_paths import ADDED, REPLACED

        policy = self._choice.policy
        return {
            "arena": os.fspath(arena.path),
            "trust": self.trust.bundle,
            "hostname": os.uname().nodename,
            "recording": self._choice.recording,
            "match": self._choice.match,
            "variables": {name: plan.env[name] for name in (*ADDED, *REPLACED, "JAVA_HOME") if name in plan.env},
            "policy": {name: getattr(policy, name) for name in type(policy).__match_args__},
        }

    def fill(self, ffi: Any, native: Any) -> None:
        """The engine's options. Their memory lives as long as this object."""
        found = os.stat(self.trust.bundle)
        native.network = native.ask_ports = 1
        native.request_fd = self.network.request_fd
        names = (self.trust.shown, self.trust.shown_java, *self._choice.policy.unix_paths)
        paths = [ffi.new("char[]", os.fsencode(path)) for path in names]
        allowed = ffi.new("char *[]", [*paths[2:], ffi.NULL])
        self._kept = [*paths, allowed]
        native.trust_path, native.java_path, native.unix_allow = paths[0], paths[1], allowed
        native.trust_dev, native.trust_ino = found.st_dev, found.st_ino
        found = os.stat(self.trust.java)
        native.java_dev, native.java_ino = found.st_dev, found.st_ino

    def close(self) -> None:
        """End the broker if it runs, remove what only the running sandbox needed."""
        from sentra_sandbox.record.trust import remove_trust

        self.network.close()
        remove_trust(self._directory)
