"""A little agent: asks a model over HTTP what to do and does it with tools until the model is done. Only the standard
library.

    python demo_agent.py URL DIRECTORY [TASK]

It works in DIRECTORY, runs what the model asks for (git, grep, shell, Python) in threads when there is more than one
call, and writes report.md there. What it prints is the same in every run; the report holds its id and the time.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TASK = "Make a small inventory program in a git repository, check it, and fix what is to fix."
THREADS = 4
MAX_TURNS = 20
OWN_GIT = {
    "GIT_AUTHOR_NAME": "Agent",
    "GIT_AUTHOR_EMAIL": "agent@example.org",
    "GIT_COMMITTER_NAME": "Agent",
    "GIT_COMMITTER_EMAIL": "agent@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_NOSYSTEM": "1",
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": text, "parameters": {"type": "object"}}}
    for name, text in {
        "run": "Run a command; its output comes back.",
        "python": "Run Python code in a process of its own.",
        "write_file": "Write text to a file.",
        "edit_file": "Replace a text in a file.",
    }.items()
]


class Model:
    """The chat API of one server: a connection that is kept, answers read as they are streamed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=60)

    def ask(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The model's next message, put together from its pieces."""
        body = json.dumps({"model": "little-model", "stream": True, "messages": messages, "tools": TOOLS})
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-local-demo"}
        self.connection.request("POST", "/v1/chat/completions", body, headers)
        response = self.connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"the model server answered {response.status} {response.reason}")
        message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
        while line := response.readline():
            if line.startswith(b"data: {"):
                add_delta(message, json.loads(line[6:])["choices"][0]["delta"])
        return message


def add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add one streamed piece to a message: words of its text, the beginning or a part of a tool call."""
    message["content"] += delta.get("content") or ""
    for piece in delta.get("tool_calls", []):
        if piece["index"] == len(message["tool_calls"]):
            message["tool_calls"].append({**piece, "function": {**piece["function"]}})
        else:
            message["tool_calls"][piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **OWN_GIT}, timeout=60)
    return f"exit {done.returncode}\n{done.stdout}{done.stderr}"


def write_file(path: str, text: str) -> str:
    Path(path).write_text(text)
    return f"wrote {len(text)} characters"


def edit_file(path: str, old: str, new: str) -> str:
    text = Path(path).read_text()
    if old not in text:
        return "the old text is not there"
    return write_file(path, text.replace(old, new))


def call_tool(call: dict[str, Any]) -> str:
    """Do what one tool call asks for; mistakes are told to the model, not raised."""
    arguments = json.loads(call["function"]["arguments"])
    match call["function"]["name"]:
        case "run":
            return run(arguments["command"])
        case "python":
            return run([sys.executable, "-S", "-c", arguments["code"]])
        case "write_file":
            return write_file(arguments["path"], arguments["text"])
        case "edit_file":
            return edit_file(arguments["path"], arguments["old"], arguments["new"])
        case name:
            return f"there is no tool {name}"


def independent(calls: list[dict[str, Any]]) -> bool:
    """Whether calls may be made side by side: git's take the repository's lock."""
    return not any('"git", "' in call["function"]["arguments"] and "diff" not in call["function"]["arguments"] for call in calls)


def call_tools(calls: list[dict[str, Any]], pool: ThreadPoolExecutor) -> list[str]:
    """Results in the order of the calls."""
    return list(pool.map(call_tool, calls)) if independent(calls) else [call_tool(call) for call in calls]


def short(call: dict[str, Any]) -> str:
    """A call on one line."""
    arguments = json.loads(call["function"]["arguments"])
    return " ".join(arguments["command"]) if "command" in arguments else f"{call['function']['name']} {next(iter(arguments.values()))!r}"


def work(model: Model, task: str) -> list[str]:
    """The loop: ask, do, tell, until the model asks for nothing more. Returns what was done, a line each."""
    done: list[str] = []
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a careful engineer."},
        {"role": "user", "content": task},
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(MAX_TURNS):
            message = model.ask(messages)
            messages.append(message)
            print(f"model: {message['content'].strip()}", flush=True)
            if not message["tool_calls"]:
                return done
            for call, result in zip(message["tool_calls"], call_tools(message["tool_calls"], pool), strict=True):
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
                done.append(short(call))
                print(f"  {short(call)[:70]} -> {' | '.join(result.split(chr(10)))[:90].strip(' |')}", flush=True)
    raise SystemExit("the model did not come to an end")


def write_report(done: list[str], started: float) -> None:
    """What was done, with the id of this run, the time it took and a sample to look at: things that differ every
    time."""
    lines = [
        f"# Report {uuid.uuid4()}",
        "",
        f"{time.strftime('%Y-%m-%d %H:%M:%S')}, {time.monotonic() - started:.3f} s",
        "",
    ]
    lines += [f"- {line}" for line in done]
    lines += ["", f"Look at: {random.choice(done)}"]
    Path("report.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    url, directory = sys.argv[1:3]
    started = time.monotonic()
    os.chdir(directory)
    done = work(Model(url), sys.argv[3] if len(sys.argv) > 3 else TASK)
    write_report(done, started)
    print(f"{len(done)} tool calls, report.md written")


if __name__ == "__main__":
    main()
