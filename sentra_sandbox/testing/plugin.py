"""The pytest plugin: fixture ``sentra``, marker ``sentra``, option ``--sentra-record``.

    @pytest.mark.sentra(recording="weather", ignore=["$.metadata"])
    def test_agent(sentra):
        result = sentra.run(["python", "agent.py", "Will it rain?"])
        assert result.exit_status == 0 and "umbrella" in result.stdout

The first time the command runs with its network open, and what was said is kept in ``recordings/weather`` beside the test; afterwards it is
answered from there. pytest loads this file for everybody who has the package installed: import nothing here but pytest.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sentra_sandbox.testing.recorder import SentraTest

_PASSED = pytest.StashKey[bool]()
MODES = ("once", "none", "all")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sentra-sandbox")
    group.addoption(
        "--sentra-record",
        choices=MODES,
        default="once",
        help="Recordings of the sentra fixture: once (record what is missing), none (never record, as in CI), all (record anew).",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "sentra(recording=NAME, order=ORDER, ignore=[PATH], ignore_query=[NAME], query_order=any|exact, timing=none|recorded): "
        "which recording answers the sentra fixture, and which requests count as the same.",
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    outcome = yield
    if call.when == "call" and "sentra" in getattr(item, "fixturenames", ()):
        item.stash[_PASSED] = outcome.get_result().passed


@pytest.fixture
def sentra(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentraTest]:
    """Runs commands in the sandbox, with a network that is recorded once and answered from the recording afterwards."""
    from sentra_sandbox.testing.recorder import SentraTest, settings_of

    marker = request.node.get_closest_marker("sentra")
    settings = settings_of(marker.args if marker else (), marker.kwargs if marker else {}, request.node.name)
    mode = request.config.getoption("--sentra-record")
    test = SentraTest(settings, mode, request.path.parent / "recordings", lambda: tmp_path_factory.mktemp("sentra"))
    yield test
    if request.node.stash.get(_PASSED, False):
        test.keep()


if TYPE_CHECKING:
    import pluggy
