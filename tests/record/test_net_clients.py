"""Real clients through ``exec --net open``: what they print, what is recorded, and that the run replays without any server."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import lacking
from net_clients import CLIENTS, NODE_MODULES, PYTHON, Client, documented, make_files
from net_servers import GAP_S, PIECES, World
from running import REPLAYS, Product

from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.trace.run import read_metadata
from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.network import Network

LONG_S = 1.0  # runs beyond it are replayed once
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "NETWORK.md"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    make_files(made.files)
    yield made
    made.stop()


def as_it_was_said(exchange: Exchange) -> None:
    """The bodies, which the servers make from the request."""
    request, response = exchange.request, exchange.response
    assert request.ended_ns and response.ended_ns and not request.error and not response.error
    if request.target.startswith("/hello"):
        authority = request.authority or request.header("host")
        assert response.body.decode() == f"hello {request.target} of {authority}\n"
    elif request.target.startswith("/echo"):
        assert response.body == b"echo " + request.body
    elif request.target == "/pieces":
        times = sorted({piece.time_ns for piece in response.pieces})
        assert len(times) >= PIECES and times[-1] - times[0] > GAP_S * 1e9 * (PIECES - 2), "a stream is kept as it came"
    elif request.target == "/ws":
        assert [message.opcode for message in exchange.messages if message.opcode in ("text", "binary")] == ["text", "text", "binary", "binary", "text", "text"]


def check_exchanges(client: Client, directory: Path) -> None:
    with Trace(directory) as trace:
        network = Network.of(trace)
        every = list(network.exchanges.values())
        assert not network.problems and every
        found = Counter((each.request.method, each.request.target, each.response.status, each.response.version) for each in every)
        assert not client.exchanges or found == Counter(client.exchanges)
        for each in every:
            assert each.task and each.response.status < 400
            as_it_was_said(each)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_client(client: Client, world: World, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    for need in client.needs:
        if not (need.exists() if isinstance(need, Path) else shutil.which(need, path=product.env["PATH"])):
            lacking(f"{need}{' (tests/agents/install puts it there)' if isinstance(need, Path) else ''}")
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", product.env["SENTRA_SANDBOX_HOME"])
    directory = product.work / "run"
    extra = {"SSL_CERT_FILE": str(world.authority), "PYTHON": str(PYTHON), "NODE_PATH": str(NODE_MODULES)}
    finished = product("exec", "-q", "-o", str(directory), *world.options, "--", *client.command, **extra)
    assert finished.status == 0, finished
    printed = finished.stdout.decode()
    assert printed == client.prints if client.prints else client.contains in printed, finished
    metadata = read_metadata(directory)
    assert (metadata.grade, metadata.note) == ("exact", "")
    assert not (directory / "broker.log").exists(), (directory / "broker.log").read_text()
    check_exchanges(client, directory)
    connections = world.connections
    for _ in range(REPLAYS if finished.seconds < LONG_S else 1):
        again = product("replay", "-q", str(directory))
        assert (again.status, again.stdout, again.stderr) == (0, finished.stdout, finished.stderr)
    assert world.connections == connections, "a replay reached the servers"


PINS = """
import ssl, sys, urllib.request as u
context = ssl.create_default_context(cafile=sys.argv[1])  # nothing but the server's own authority
for turn in range(2):
    try: print(u.urlopen("https://api.test/hello", context=context).read().decode(), end="")
    except OSError as error: print(error.reason.reason)
"""


def test_a_client_that_pins_gets_through_by_the_remedy_of_the_summary(world: World, product: Product) -> None:
    """Fails at first; the summary says what to write into the policy; with that it works, and with the other remedy from its second try on."""
    pin = product.work / "pin.pem"
    pin.write_text(world.authority.read_text())
    command = [sys.executable, "-c", PINS, str(pin)]

    def record(*options: str) -> tuple[list[str], str]:
        finished = product("exec", *world.options, *options, "--", *command, SSL_CERT_FILE=str(world.authority))
        return finished.stdout.decode().splitlines(), finished.stderr.decode()

    printed, told = record()
    assert printed == ["CERTIFICATE_VERIFY_FAILED"] * 2
    (line,) = [line for line in told.splitlines() if "our certificate refused by clients of: api.test" in line]
    for remedy, expected in (('exclude: ["api.test"]', ["hello /hello of api.test"] * 2), ("onRefused: passthrough", ["CERTIFICATE_VERIFY_FAILED", "hello /hello of api.test"])):
        assert remedy in line
        policy = product.work / "policy.yaml"
        policy.write_text(f"tls: {{{remedy}}}\n")
        printed, told = record("--policy", str(policy))
        assert printed == expected, told


def test_the_document_lists_what_is_tested() -> None:
    assert documented() in DOCUMENT.read_text()
