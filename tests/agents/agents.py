"""The agents of this directory: how each is started, what it needs, and the model server that they all talk to.

``tests/agents/install`` puts their SDKs below ``PLACE``; nothing here looks elsewhere for them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentra-sandbox-tests"
PYTHON = PLACE / f"python-{sys.version_info.major}.{sys.version_info.minor}" / "bin" / "python"
GO_AGENT = PLACE / "go" / "agent"
NODE_MODULES = PLACE / "node" / "node_modules"


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. In ``command``, URL and TLS stand for the server's addresses, CA for its authority's certificate."""

    name: str
    about: str
    command: tuple[str, ...]
    needs: tuple[str | Path, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """Where the model server is: addresses without and with TLS, and the authority that signed its certificate."""

    url: str
    tls: str
    authority: Path


def _python(name: str, about: str, *arguments: str) -> Agent:
    return Agent(name, about, (str(PYTHON), str(HERE / f"{name}.py"), *arguments), needs=(PYTHON,))


def _node(name: str, about: str, *arguments: str) -> Agent:
    env = (("NODE_PATH", str(NODE_MODULES)), ("NODE_EXTRA_CA_CERTS", "CA"))
    return Agent(name, about, ("node", str(HERE / f"{name}.js"), *arguments), needs=("node", NODE_MODULES), env=env)


DEMO = f'"{sys.executable}" {HERE}/demo_agent.py "$0" . && cat report.md'
AGENTS = [
    _python("openai_stream", "Python openai client: streamed, a tool, HTTP", "URL"),
    _python("openai_threads", "Python openai client: threads, TLS", "TLS", "CA"),
    _python("openai_async", "Python openai client: asyncio, threads, a process", "URL"),
    _python("anthropic_tools", "Python anthropic client: streamed, tools, processes", "URL"),
    _python("langgraph_agent", "LangGraph with the openai client", "URL"),
    _python("mcp_client", "MCP SDK: a tool server over pipes; the openai client", "URL"),
    _node("openai_js", "Node openai package: streamed side by side, TLS, a process", "TLS"),
    _node("anthropic_workers", "Node @anthropic-ai/sdk: worker threads, shared memory", "URL"),
    Agent("go_agent", "Go, static: goroutines, TLS, ticker, os/exec, map order", (str(GO_AGENT), "TLS", "CA"), (GO_AGENT,)),
    Agent(
        "curl_agent", "bash, curl and jq: TLS, pipelines side by side", ("bash", str(HERE / "curl_agent.sh"), "TLS", "CA"), ("curl", "jq")
    ),
    Agent("demo_agent", "Python without packages: git, grep, threads", ("bash", "-c", DEMO, "URL"), ("git",)),
]


def lacks(agent: Agent, path: str) -> str | None:
    """What ``agent`` needs and this machine does not have, with what to do; None when all is there."""
    for need in agent.needs:
        if not (need.exists() if isinstance(need, Path) else shutil.which(need, path=path)):
            return f"{need}{' (tests/agents/install puts it there)' if isinstance(need, Path) else ''}"
    return None


def command(agent: Agent, server: Server) -> list[str]:
    """The command line of ``agent`` for this server."""
    return [_filled(word, server) for word in agent.command]


def environment_of(agent: Agent, server: Server, env: Mapping[str, str]) -> dict[str, str]:
    """``env`` with what ``agent`` wants added."""
    return {**env, **{name: _filled(value, server) for name, value in agent.env}}


def _filled(word: str, server: Server) -> str:
    return {"URL": server.url, "TLS": server.tls, "CA": str(server.authority)}.get(word, word)


def make_certificates(directory: Path) -> None:
    """A private authority and a certificate for localhost signed by it: ca.pem, server.pem, server.key. Needs openssl."""
    extensions = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
    (directory / "extensions").write_text(extensions)
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sign = ["openssl", "x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "2", "-days", "7"]
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    for argv in (
        [*new, "-x509", "-days", "7", "-subj", "/CN=test authority", "-addext", usage, "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"],
        [*sign, "-in", "server.csr", "-extfile", "extensions", "-out", "server.pem"],
    ):
        subprocess.run(argv, cwd=directory, check=True, capture_output=True, timeout=30)


@contextmanager
def model_server(directory: Path, delay_ms: float = 1.0) -> Iterator[Server]:
    """The model server in a process of its own, with the certificates in ``directory``; it is gone when the block is left."""
    tls = ["--tls", str(directory / "server.pem"), str(directory / "server.key")]
    argv = [sys.executable, str(HERE / "model_server.py"), "--delay-ms", str(delay_ms), *tls]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            lines = [process.stdout.readline() for _ in range(2)]
            assert all(line.startswith("listening on ") for line in lines), lines
            yield Server(lines[0].split()[-1], lines[1].split()[-1], directory / "ca.pem")
        finally:
            process.terminate()
            process.wait(10)
