"""Records real programs, replays each several times, and writes what came of it as the table of docs/REPLAY.md.

    PATH=$(scripts/setup)/bin:$PATH python scripts/replay_table.py [--times N] [--only WORD] [--write]

The programs are the agents of tests/agents (their model server is gone when they are replayed) and the commands of tests/commands.
Those that need what this machine lacks are left out, and named on stderr. Exit status 1 when an exact run did not replay identically.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from agents.agents import AGENTS, Server, environment_of, lacks, make_certificates, model_server  # noqa: E402
from agents.agents import command as agent_command  # noqa: E402
from commands.commands import COMMANDS, HERE, prepare  # noqa: E402
from running import Finished, environment, fresh, run, sandbox_command  # noqa: E402

from sentra_sandbox.errors import SentraError  # noqa: E402
from sentra_sandbox.replay.session import replay  # noqa: E402
from sentra_sandbox.trace.run import read_metadata  # noqa: E402

DOCUMENT = ROOT / "docs" / "REPLAY.md"
BEGIN, END = "<!-- table: scripts/replay_table.py --write -->\n", "<!-- end of table -->\n"


@dataclass(frozen=True, slots=True)
class Program:
    """What is recorded: a command line in an environment, with its work directory made ready."""

    name: str
    about: str
    argv: list[str]
    env: dict[str, str]
    stdin: bytes = b""
    timeout: float = 90.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Times in seconds; ``replayed_s`` is the quickest."""

    program: Program
    events: int
    grade: str
    recorded_s: float
    replayed_s: float
    results: list[str]

    def line(self) -> str:
        same = self.results.count("identical")
        result = f"identical, {same} times" if same == len(self.results) else "; ".join(sorted(set(self.results)))
        return (
            f"| {self.program.name} | {self.program.about} | {self.events:,} | {self.grade} | "
            f"{self.recorded_s:.2f} | {self.replayed_s:.2f} | {result} |\n"
        )


class Table:
    """Records and replays in a directory of its own."""

    def __init__(self, place: Path, times: int) -> None:
        self.place = place
        self.times = times
        os.environ["SENTRA_SANDBOX_HOME"] = str(place / "store")
        self.env = environment(place / "home", {"SENTRA_SANDBOX_HOME": str(place / "store")})
        self.work = place / "work"

    def record(self, program: Program) -> tuple[Program, Path, Finished]:
        """Record into a new directory; the program and what it printed."""
        trace = self.place / f"run-{program.name}"
        argv = [*sandbox_command(), "exec", "-q", "--net", "host", "-o", str(trace), "--", *program.argv]
        finished = run(argv, cwd=self.work, env=program.env, stdin=program.stdin, timeout=program.timeout)
        return program, trace, finished

    def row(self, program: Program, trace: Path, finished: Finished) -> Row:
        """Replay a recording ``times`` times."""
        results, seconds, events = [], [], 0
        for _ in range(self.times):
            with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
                try:
                    replayed = replay(trace, stdout=out.fileno(), stderr=errors.fileno())
                except SentraError as error:
                    results.append(str(error))
                    continue
                out.seek(0)
                errors.seek(0)
                same = (out.read(), errors.read(), replayed.exit_status) == (finished.stdout, finished.stderr, finished.status)
            found = replayed.divergence
            results.append(f"event {found.seq}: {found.text}" if found else "identical" if same else "other output")
            seconds.append(replayed.duration_ns / 1e9)
            events = max(events, replayed.last_seq)
        return Row(program, events, read_metadata(trace).grade, finished.seconds, min(seconds, default=0.0), results)

    def agents(self, word: str) -> Iterator[Row]:
        """All agents: recorded while the model server is there, replayed when it is gone."""
        with ExitStack() as stack:
            certificates = fresh(self.place / "certificates")
            make_certificates(certificates)
            server = stack.enter_context(model_server(certificates))
            recordings = [self._record_agent(index, server) for index in self._agents_here(word)]
        for recording in recordings:
            yield self.row(*recording)

    def _agents_here(self, word: str) -> Iterator[int]:
        for index, agent in enumerate(AGENTS):
            if lack := lacks(agent, self.env["PATH"]):
                left_out(agent.name, lack)
            elif word in agent.name:
                yield index

    def _record_agent(self, index: int, server: Server) -> tuple[Program, Path, Finished]:
        agent = AGENTS[index]
        fresh(self.work)
        fresh(Path(self.env["HOME"]))
        argv, env = agent_command(agent, server), environment_of(agent, server, self.env)
        return self.record(Program(agent.name, agent.about, argv, env))

    def commands(self, word: str) -> Iterator[Row]:
        """All commands, each recorded and replayed before the next."""
        for command in COMMANDS:
            if word not in command.name:
                continue
            lack = next((need for need in command.needs if not shutil.which(need, path=self.env["PATH"])), None)
            if lack:
                left_out(command.name, lack)
                continue
            env = dict(self.env)
            if command.name == "go":
                env["GO_WORKLOAD"] = str(self._go_workload())
            prepare(command, self.work, env)
            about = ", ".join(dict.fromkeys(["bash", *command.needs]))
            program = Program(command.name, about, ["bash", "-c", command.script], env, command.stdin, command.timeout)
            recording = self.record(program)
            fresh(self.work)
            yield self.row(*recording)
            shutil.rmtree(recording[1])

    def _go_workload(self) -> Path:
        binary = self.place / "go_workload"
        env = {**os.environ, "PATH": self.env["PATH"], "GOTOOLCHAIN": "local", "GOPROXY": "off", "CGO_ENABLED": "0"}
        subprocess.run(["go", "build", "-o", str(binary), "."], cwd=HERE / "go_workload", env=env, check=True, timeout=300)
        return binary


def left_out(name: str, lack: str) -> None:
    print(f"left out: {name}, for this machine lacks {lack}", file=sys.stderr)


def write_document(text: str) -> None:
    """Put the table between its marks in docs/REPLAY.md."""
    document = DOCUMENT.read_text()
    before, rest = document.split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + text + END + rest.split(END)[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=3, help="replays of each program")
    parser.add_argument("--only", default="", metavar="WORD", help="programs whose name holds the word")
    parser.add_argument("--write", action="store_true", help="put the table into docs/REPLAY.md")
    options = parser.parse_args()
    text = "| program | | events | grade | recorded, s | replayed, s | replay |\n|---|---|--:|---|--:|--:|---|\n"
    broken = 0
    with tempfile.TemporaryDirectory(prefix="sentra-replay-table-") as place:
        table = Table(Path(place), options.times)
        for rows in (table.agents(options.only), table.commands(options.only)):
            for row in rows:
                print(row.line(), end="", flush=True)
                text += row.line()
                broken += row.grade == "exact" and set(row.results) != {"identical"}
    if options.write:
        write_document(text)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
