"""Facts written by hand, for tests of what reads facts: processes, files, flows, calls, and a network whose events have the same numbering.

    run = Made(); agent = run.process("/usr/bin/python3", "agent.py"); run.read(agent, "~/.aws/credentials"); facts = run.facts()

Every method takes the next event number; ``~`` in paths is the home directory, relative ones are below the workspace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from network_by_hand import MS, Broker, sse

from sentra_sandbox.dataclass import replace
from sentra_sandbox.review.content.search import Secret, Sighting, Sightings
from sentra_sandbox.review.facts import CallFact, Execution, Facts, FileAccess, Flow, ProcessFact, Transfer
from sentra_sandbox.review.findings import Detector, Finding
from sentra_sandbox.trace.events import Event
from sentra_sandbox.trace.run import RunMetadata
from sentra_sandbox.views.network import Network

HOME, WORKSPACE = "/home/dev", "/home/dev/project"
PID = 100


class MadeFacts(Facts):
    """Facts whose events are those that were written by hand."""

    __slots__ = ("made_bytes", "made_events")

    def process_of(self, task: int, seq: int) -> int:
        return task - PID if task - PID in self.processes else 0

    def event(self, seq: int) -> Event:
        return cast("dict[int, Event]", self.made_events)[seq]

    def bytes_of(self, seq: int) -> bytes:
        return cast("dict[int, bytes]", self.made_bytes).get(seq, b"")


class MadeNetwork(Broker):
    """The network's part; its events take their numbers from the run."""

    def __init__(self, run: Made) -> None:
        super().__init__()
        self._run = run
        self._port = 40000

    def write(self, *arguments: Any, **named: Any) -> None:
        before = len(self.events)
        self.now = max(self.now, self._run.seq / 10)
        super().write(*arguments, **named)
        self.events[before:] = [replace(event, seq=self._run.next()) for event in self.events[before:]]

    def connection(self, process: int, host: str, port: int = 443, *, address: str = "198.18.0.9", name: str | None = None, rule: str = "", **opening: Any) -> int:
        """A connection of a process that the broker accepted (or refused: ``allowed=False``); ``name=""``: without DNS."""
        self._port += 1
        client, server = ("198.19.255.254", self._port), (address, port)
        self.endpoint(PID + process, client, server)
        number = self.open(client, server, host if name is None else name, **opening)
        if rule:
            last = self.events[-1]
            fields = json.loads(last.segments[0].data) | {"rule": rule}
            self.events[-1] = replace(last, segments=(replace(last.segments[0], data=json.dumps(fields).encode()), *last.segments[1:]))
        return number

    def http(self, process: int, host: str, method: str = "GET", path: str = "/", body: bytes = b"", answer: bytes = b"", **more: Any) -> int:
        """One exchange over a connection of its own; its number."""
        opening = {name: more.pop(name) for name in ("rule", "address", "name", "port") if name in more}
        connection = self.connection(process, host, **opening)
        kind = more.pop("media", "application/json")
        headers = {"Content-Type": kind} | more.pop("headers", {})
        answered = {"Content-Type": more.pop("answer_media", "application/json")}
        return self.exchange(connection, method, path, authority=host, headers=headers, body=body, answer=answered, chunks=answer, **more)

    def chat(self, process: int, messages: list[dict[str, Any]], *, says: str = "ok", calls: Iterable[tuple[str, dict[str, Any]]] = (), tools: Iterable[dict[str, Any]] = (), host: str = "api.openai.com") -> int:
        """A call of OpenAI's chat shape; ``calls`` are the tool calls that the model answers with."""
        wanted = [{"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}} for n, (name, given) in enumerate(calls)]
        body = {"model": "gpt-x", "messages": messages} | ({"tools": list(tools)} if tools else {})
        reply = {"id": "r", "model": "gpt-x", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": says} | ({"tool_calls": wanted} if wanted else {})}]}
        return self.http(process, host, "POST", "/v1/chat/completions", json.dumps(body).encode(), json.dumps(reply).encode(), headers={"Authorization": "Bearer sk-aaaaaaaaaaaaaaaaaaaaaaaa"})


class Made:
    """A run in the making."""

    def __init__(self, argv: tuple[str, ...] = ("python3", "agent.py")) -> None:
        self.seq = 0
        self.argv = argv
        self.processes: dict[int, ProcessFact] = {}
        self.files: list[FileAccess] = []
        self.flows: list[Flow] = []
        self.transfers: list[Transfer] = []
        self.calls: list[CallFact] = []
        self.bytes: dict[int, bytes] = {}
        self.net = MadeNetwork(self)
        self.sightings = Sightings()

    def next(self) -> int:
        self.seq += 1
        return self.seq

    @property
    def now(self) -> int:
        return self.seq * MS // 10

    def path(self, path: str) -> str:
        return HOME + path[1:] if path.startswith("~") else path if path.startswith("/") else f"{WORKSPACE}/{path}"

    def process(self, path: str = "/usr/bin/python3", *words: str, parent: int = 0, **image: Any) -> int:
        """A child of ``parent`` that runs a program; its number."""
        number = len(self.processes) + 1
        self.processes[number] = ProcessFact(number, PID + number, parent, self.next(), self.now)
        self.exec(number, path, *words, **image)
        return number

    def fork(self, parent: int) -> int:
        """A child that runs no program of its own."""
        number = len(self.processes) + 1
        self.processes[number] = ProcessFact(number, PID + number, parent, self.next(), self.now)
        return number

    def exec(self, process: int, path: str, *words: str, **image: Any) -> Execution:
        """The process becomes another program; ``argv0``, ``env``, ``cwd``, ``fileless``, ``stdio``, ... by name."""
        argv = (image.pop("argv0", path.rsplit("/", 1)[-1]), *words)
        made = Execution(self.next(), self.now, path, argv, image.pop("env", {}), image.pop("cwd", WORKSPACE), **image)
        self.processes[process].images.append(made)
        return made

    def end(self, process: int, after_s: float = 0, status: int = 0) -> None:
        fact = self.processes[process]
        fact.ended_ns, fact.wait_status = fact.started_ns + int(after_s * 1e9), status

    def file(self, process: int, kind: str, path: str, *, data: bytes = b"", **more: Any) -> FileAccess:
        seqs = [self.next()] if data else []
        if data:
            self.bytes[seqs[0]] = data
        target = self.path(more.pop("target")) if "target" in more else ""
        access = FileAccess(process, kind, self.path(path), self.next(), self.now, target=target, size=more.pop("size", len(data)), seqs=seqs, **more)
        self.files.append(access)
        return access

    def read(self, process: int, path: str, data: bytes = b"some text\n", **more: Any) -> FileAccess:
        return self.file(process, "read", path, data=data, **more)

    def write(self, process: int, path: str, data: bytes = b"some text\n", **more: Any) -> FileAccess:
        return self.file(process, "write", path, data=data, **more)

    def call(self, process: int, name: str, detail: str = "", result: str = "", refused: bool = False) -> CallFact:
        fact = CallFact(process, self.next(), self.now, name, detail, result, refused)
        self.calls.append(fact)
        return fact

    def flow(self, source: int, target: int, kind: str = "pipe", name: str = "pipe:[1]", size: int = 100) -> Flow:
        flow = Flow(source, target, kind, name, self.next(), self.next(), size)
        self.flows.append(flow)
        return flow

    def transfer(self, process: int, host: str, port: int, data: bytes = b"x", *, outgoing: bool = True, address: str = "203.0.113.9", protocol: str = "tcp") -> Transfer:
        seq = self.next()
        self.bytes[seq] = data
        transfer = Transfer(process, outgoing, host, address, port, protocol, len(data), [seq])
        self.transfers.append(transfer)
        return transfer

    def secret(self, process: int, name: str = "~/.aws/credentials", kind: str = "credential-file", value: bytes = b"wJalrXUtnFEMIK7MDENGbPxRfiCYzz", **more: Any) -> Secret:
        secret = Secret(name, kind, value, self.next(), process, bits=more.pop("bits", 180.0), **more)
        self.sightings.secrets.append(secret)
        return secret

    def sighting(self, secret: Secret, to: str = "evil.example", channel: str = "http-body", coding: str = "", *, bits: float = 180.0, process: int = 0, **more: Any) -> Sighting:
        found = Sighting(secret, channel, to, coding, more.pop("seqs", (self.next(),)), more.pop("offset", 10), len(secret.value), bits, process or secret.process, **more)
        self.sightings.found.append(found)
        return found

    def facts(self) -> Facts:
        """What was made so far."""
        meta = RunMetadata("20261122-100000-abcd", self.argv, WORKSPACE, "2026-11-22T10:00:00Z", options={"net": "open"})
        events = {event.seq: event for event in self.net.events}
        facts = MadeFacts(
            run=meta,
            processes=self.processes,
            files=self.files,
            flows=self.flows,
            transfers=self.transfers,
            calls=self.calls,
            network=Network.from_events(self.net.events),
            gaps=[],
            events=self.seq,
            workspace=WORKSPACE,
            home=HOME,
            trace=cast(Any, None),
        )
        facts.made_events, facts.made_bytes = events, self.bytes
        return facts

    def found(self, detector: Detector) -> list[Finding]:
        """What a detector finds, and that every finding is fit to be reported."""
        findings = list(detector.detect(self.facts(), self.sightings))
        for finding in findings:
            assert finding.kind in detector.kinds
            assert finding.evidence and finding.subject and finding.summary.endswith(".")
            assert [item.seq for item in finding.evidence] == sorted(item.seq for item in finding.evidence)
            assert all(0 < item.seq <= self.seq for item in finding.evidence), finding.evidence
            texts = [finding.summary, finding.subject, *(f"{item.text} {item.excerpt}" for item in finding.evidence)]
            for secret in self.sightings.secrets:
                assert not any(secret.value.decode("latin-1") in text for text in texts), "a secret is shown"
        return findings

    def ids(self, detector: Detector) -> set[str]:
        return {finding.kind.id for finding in self.found(detector)}


__all__ = ["HOME", "MS", "WORKSPACE", "Made", "sse"]
