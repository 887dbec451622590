"""Runs the corpus: records each agent in the sandbox inside the fake internet, reviews the run, compares with what its header states.

    python run.py [--fast] [--only NAME ...] [--keep DIRECTORY] [--table FILE] [--json] [--record-only | --again]

Meant to be started as a program of its own: it moves into network and mount namespaces. Exit status 0 when every agent was recorded and
found as stated, 1 otherwise, 77 when this machine cannot make the namespaces.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cases import Case, Outcome, every_case
from internet import HOMES, Internet, enter
from table import as_markdown, summary
from world import World, make_secrets, make_world

SANDBOX = Path(sys.executable).parent / "sentra-sandbox"
INTERPRETERS = {".py": [sys.executable], ".sh": ["sh"], ".js": ["node"]}
PARALLEL = 2
VARIABLES = {"OPENAI_API_KEY": "openai", "ANTHROPIC_API_KEY": "anthropic", "GITHUB_TOKEN": "github"}
CANNOT = 77


class Corpus:
    """Agents recorded and reviewed below ``place``; ``again``: those that are there are reviewed once more."""

    def __init__(self, place: Path, *, record_only: bool = False, again: bool = False) -> None:
        self.place, self.record_only, self.again = place, record_only, again
        self.secrets = {} if again else make_secrets(place)
        self.internet = Internet(place, self.secrets)

    def outcome(self, case: Case) -> Outcome:
        place = (self.place / "cases" if self.again else HOMES) / case.path.stem
        if self.again:
            outcome = Outcome(case)
            self._review(outcome, place)
            return outcome
        place.mkdir(parents=True)
        world = make_world(place, self.secrets)
        outcome = Outcome(case)
        start = time.monotonic()
        recorded = self._record(case, place, world)
        outcome.seconds = time.monotonic() - start, 0.0
        (place / "agent.log").write_text(f"status {recorded.returncode}\n{recorded.stdout}{recorded.stderr}")
        if not (place / "run").exists() or (recorded.returncode and not case.malicious):
            outcome.trouble = f"status {recorded.returncode}: {_tail(recorded)}"
        elif not self.record_only:
            self._review(outcome, place)
        return outcome

    def _record(self, case: Case, place: Path, world: World) -> subprocess.CompletedProcess[str]:
        script = shutil.copy(case.path, place / f"agent{case.path.suffix}")
        options = [word for host in case.allow for word in ("--allow-net", host)]
        argv = [*INTERPRETERS[case.path.suffix], script, *([case.task] if case.task else [])]
        command = [str(SANDBOX), "exec", "-q", "-o", str(place / "run"), *options, "--", *argv]
        return _run(command, cwd=world.workspace, env=self._environment(world, case.env), timeout=120)

    def _environment(self, world: World, variables: tuple[str, ...]) -> dict[str, str]:
        """A developer's, with only the secrets that the case names. SSL_CERT_FILE is for the broker: who signs in this internet."""
        return {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(world.home),
            "USER": "someone",
            "LANG": "C.UTF-8",
            "SSL_CERT_FILE": str(self.internet.pem),
            "SENTRA_SANDBOX_HOME": str(self.place / "store"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **{name: self.secrets[VARIABLES[name]] for name in variables},
        }

    def _review(self, outcome: Outcome, place: Path) -> None:
        start = time.monotonic()
        command = [str(SANDBOX), "review", str(place / "run"), "--json", "--no-where"]
        done = _run(command, cwd=place, env={**os.environ, "SENTRA_SANDBOX_HOME": str(self.place / "store")}, timeout=120)
        outcome.seconds = outcome.seconds[0], time.monotonic() - start
        if done.returncode not in (0, 1, 3):
            outcome.trouble = f"review, status {done.returncode}: {_tail(done)}"
            return
        (place / "review.json").write_text(done.stdout)
        told = json.loads(done.stdout)
        outcome.findings = told["findings"]
        outcome.incomplete = told.get("incomplete", [])
        leaked = [name for name, value in self.secrets.items() if name != "ssh_public" and value.strip() in done.stdout]
        if leaked:
            outcome.trouble = f"the report shows secrets unmasked: {', '.join(leaked)}"


def _run(command: list[str], *, cwd: Path, env: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 15)
            out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip())[-600:].replace("\n", " | ")


def chosen(arguments: argparse.Namespace) -> list[Case]:
    cases = [case for case in every_case() if not arguments.only or case.name in arguments.only or case.path.stem in arguments.only]
    return [case for case in cases if case.fast or not arguments.fast]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="only the agents marked fast")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--keep", metavar="DIRECTORY", help="leave the runs there")
    parser.add_argument("--again", action="store_true", help="review what --keep has left, recording nothing")
    parser.add_argument("--table", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--json", action="store_true", help="outcomes as JSON on stdout")
    parser.add_argument("--record-only", action="store_true", help="no review")
    arguments = parser.parse_args()
    cases = chosen(arguments)
    lacking = sorted({need for case in cases for need in case.needs if shutil.which(need) is None})
    cases = [case for case in cases if not set(case.needs) & set(lacking)]
    with tempfile.TemporaryDirectory(prefix="corpus-") as temporary:
        place = Path(arguments.keep or temporary).resolve()
        place.mkdir(parents=True, exist_ok=True)
        if not arguments.again:
            try:
                enter(place)
            except OSError as error:
                print(f"no namespaces: {error}", file=sys.stderr)
                return CANNOT
        corpus = Corpus(place, record_only=arguments.record_only, again=arguments.again)
        if not arguments.again:
            corpus.internet.start()
        with ThreadPoolExecutor(PARALLEL) as pool:
            outcomes = list(pool.map(corpus.outcome, cases))
        corpus.internet.stop()
    if arguments.json:
        print(json.dumps([_told(outcome) for outcome in outcomes], indent=1))
    else:
        print(summary(outcomes))
    if arguments.table:
        Path(arguments.table).write_text(as_markdown(outcomes))
    for need in lacking:
        print(f"left out agents that need {need}", file=sys.stderr)
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _told(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.case.name,
        "malicious": outcome.case.malicious,
        "good": outcome.good,
        "trouble": outcome.trouble,
        "missed": [str(each) for each in outcome.missed],
        "serious": [f"{finding['id']} {finding['severity']} {finding['confidence']}" for finding in outcome.serious],
        "seconds": [round(each, 2) for each in outcome.seconds],
    }


if __name__ == "__main__":
    sys.exit(main())
