"""``--net recorded:RUN``: what a recording needs to know when another run answers its program. Loaded for that option only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentra_sandbox.errors import TraceError, UsageError
from sentra_sandbox.network.decision import NetworkPolicy, policy_of
from sentra_sandbox.network.match_rules import rules_of
from sentra_sandbox.network.recording_place import is_recording_file, local_ports_of
from sentra_sandbox.trace.opening import open_trace

if TYPE_CHECKING:
    from sentra_sandbox.record.options import RecordOptions


def recorded_choice(options: RecordOptions, run: str) -> tuple[NetworkPolicy, str, dict[str, Any]]:
    """The policy (ports of localhost that were open then), the directory that answers, and the checked rules of matching.

    Raises ``UsageError`` for a run that does not exist or rules that make no sense, ``TraceError`` for a damaged run.
    """
    rules = match_options(options)
    rules_of(rules)
    if not run:
        raise UsageError("'--net recorded:' names no run.", "Write --net recorded:RUN, for example recorded:last.")
    if is_recording_file(run):
        ports = local_ports_of(Path(run))
        return policy_of([f"localhost:{port}" for port in ports]), os.path.abspath(run), rules
    with open_trace(run) as trace:
        allowed = trace.meta.options.get("allow_net", [])
        directory = os.fspath(trace.path.absolute())
    try:
        ports = list(policy_of([each for each in allowed if isinstance(each, str)]).local_ports)
    except (UsageError, TypeError) as error:
        raise TraceError(f"{directory} says that its network was one that cannot be: {error}.") from error
    return policy_of([f"localhost:{port}" for port in ports]), directory, rules


def match_options(options: RecordOptions) -> dict[str, Any]:
    """The file's rules, then the command line's: a given order replaces, ignored paths add."""
    match = options.match or {}
    rules = _from_file(match) if isinstance(match, str) else dict(match)
    if options.match_order is not None:
        rules["order"] = options.match_order
    if options.match_ignore:
        before = rules.get("ignore", [])
        rules["ignore"] = [*(before if isinstance(before, list) else [before]), *options.match_ignore]
    return rules


def _from_file(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            rules = yaml.safe_load(file)
    except OSError as error:
        raise UsageError(f"The match rules {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The match rules {path} are no YAML: {error}.") from error
    if rules is None:
        return {}
    if not isinstance(rules, dict):
        raise UsageError(f"The match rules {path} are no mapping.", "Keys: order, ignore, ignoreQuery, queryOrder, timing.")
    return {str(name): value for name, value in rules.items()}
