"""Agents with real SDKs (tests/agents): recorded against a model server, replayed without it, byte for byte and grade exact."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from agents.agents import AGENTS, Agent, command, environment_of, lacks, make_certificates, model_server
from needs import lacking
from replaying import REPLAYS, record, replay, run_directory
from running import Product, run

from sentra_sandbox.trace.run import read_metadata


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the server's certificates, made once."""
    if not shutil.which("openssl"):
        lacking("openssl")
    directory = tmp_path_factory.mktemp("certificates")
    make_certificates(directory)
    yield directory


@pytest.mark.parametrize("agent", [pytest.param(agent, id=agent.name) for agent in AGENTS])
def test_agent(agent: Agent, product: Product, certificates: Path) -> None:
    if lack := lacks(agent, product.env["PATH"]):
        lacking(lack)
    with model_server(certificates) as server:
        argv = command(agent, server)
        product.env.update(environment_of(agent, server, product.env))
        native = run(argv, cwd=directory(product, "native"), env=product.env)
        assert native.status == 0, native
        product.work = directory(product, "recorded")
        policy = directory(product, "policy") / "policy.json"
        policy.write_text('{"tls": {"mode": "passthrough"}}')  # some agents are given the server's own CA, and trust no other
        ports = [urlsplit(each if "//" in each else f"//{each}").port for each in (server.url, server.tls)]
        named = [word for port in ports for word in ("--allow-net", f"localhost:{port}")]
        recorded = record(product, agent.name, *argv, options=(*named, "--policy", str(policy)))
    assert recorded.finished.status == 0, recorded.finished
    assert recorded.finished.stdout != native.stdout  # so it cannot come from running the agent once more
    assert read_metadata(run_directory(product, agent.name)).grade == "exact"
    product.work = directory(product, "elsewhere")
    for _ in range(REPLAYS):
        replay(product, recorded)
    assert not list(product.work.iterdir())


def directory(product: Product, name: str) -> Path:
    """A new directory beside the one that ``product`` works in."""
    made = product.work.with_name(name)
    made.mkdir()
    return made
