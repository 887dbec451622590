"""What the supervisor tells the broker when it starts it: one JSON object. No logic."""

from __future__ import annotations

from dataclasses import dataclass

from sentra_sandbox.network.decision import NetworkPolicy


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """``arena``: path of the run's arena. ``trust``: path of the bundle file that the sandbox sees as its system bundle; the broker
    writes the run's CA into it
    ("" without interception). ``recording``: directory of the run that answers instead of the network ("" for the real one).
    ``match``: options of the recorded world (see ``recorded``). ``variables``: those of the program's environment that name certificates,
    as the user set them.
    """

    arena: str
    policy: NetworkPolicy
    trust: str = ""
    hostname: str = ""
    recording: str = ""
    match: dict[str, object] | None = None
    variables: dict[str, str] | None = None
