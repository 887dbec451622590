"""Record → replay → compare: what the tests of replay share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from running import Finished, Product

REPLAYS = 3
NOTHING_OF_OURS = "-q"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run in the product's store, and what its program printed."""

    name: str
    finished: Finished


def record(product: Product, name: str, *command: str, options: Sequence[str] = ()) -> Recorded:
    """Record ``command`` under ``name``, whatever its exit status is."""
    return Recorded(name, product("exec", "-q", "--name", name, *options, "--", *command))


def replay(product: Product, recorded: Recorded) -> None:
    """Replay once; output and exit status must be the recorded ones, byte for byte."""
    again = product("replay", NOTHING_OF_OURS, recorded.name)
    first = recorded.finished
    assert (again.status, again.stdout, again.stderr) == (first.status, first.stdout, first.stderr)


def run_directory(product: Product, name: str) -> Path:
    """Where the run of this name is."""
    entry = next(entry for entry in product.json("ls", "--json", "--name", name))
    return Path(entry["path"])
