"""Our JSON is the standard module's, byte for byte."""

from __future__ import annotations

import json
import random

import pytest

from sentra_sandbox.trace.json_text import compact, indented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sentra_sandbox.trace.json_text import Value

CHARACTERS = ["a", '"', "\\", "/", "\n", "\0", "\x7f", "é", "\u2028", "\udcff", "\U0001f600"]


def something(random_: random.Random, depth: int) -> Value:
    kind = random_.randrange(8 if depth else 6)
    if kind == 0:
        return "".join(random_.choices(CHARACTERS, k=random_.randrange(6)))
    if kind == 1:
        return random_.choice([0, -1, 1 << 70, random_.getrandbits(64)])
    if kind == 2:
        return random_.choice([0.0, -1.5, 1e300, 0.1, random_.random()])
    if kind < 6:
        return random_.choice([True, False, None])
    values = [something(random_, depth - 1) for _ in range(random_.randrange(4))]
    if kind == 6:
        return random_.choice([values, tuple(values)])
    return {str(something(random_, 0)): value for value in values}


def test_as_the_standard_module_writes_it() -> None:
    random_ = random.Random(3)
    for _ in range(2000):
        value = something(random_, 4)
        assert indented(value) == json.dumps(value, indent=1, sort_keys=True)
        for sort_keys in (False, True):
            expected = json.dumps(value, separators=(",", ":"), sort_keys=sort_keys)
            assert compact(value, sort_keys=sort_keys) == expected


def test_what_json_lacks_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such number"):
        compact(float("nan"), sort_keys=True)
    with pytest.raises(TypeError, match="bytes"):
        compact({"a": b""}, sort_keys=True)
