"""What the little model says: fixed plans and made-up talk, as plain data. The wire formats are here, sockets are not.

``little-model`` follows the plan of the demo agent. Every other model name is a talker: it calls each offered tool once, with
arguments made up from what it was asked, and then answers with words, ids and numbers that are different every time.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Call = tuple[str, dict[str, Any]]
Messages = list[dict[str, Any]]

FILES = {
    "README.md": "# Inventory\n\nCounts things. TODO: describe the format.\n",
    "inventory.py": "import sys\n\n\ndef total(lines):\n    # TODO: skip comments\n    return sum(int(line.split()[1]) for line in lines)\n\n\nif __name__ == '__main__':\n    print(total(sys.stdin))\n",
    "data.txt": "apples 3\npears 4\nplums 35\n",
}  # fmt: skip


def git(*arguments: str) -> Call:
    return "run", {"command": ["git", *arguments]}


PLAN: list[tuple[str, list[Call]]] = [
    ("I make a repository with the files.", [git("init", "-q", "-b", "main", "."), *(("write_file", {"path": path, "text": text}) for path, text in FILES.items())]),
    ("First a look at the state.", [git("status", "--short"), git("add", "README.md"), git("commit", "-q", "-m", "Describe the inventory")]),
    ("Now the code and its data.", [git("add", "inventory.py", "data.txt"), git("commit", "-q", "-m", "Count the inventory"), git("log", "--oneline", "--stat")]),
    (
        "I search in several places at once.",
        [("run", {"command": ["grep", "-rn", word, "--include=*.*", "."]}) for word in ("TODO", "total", "apples")] + [("run", {"command": ["sh", "-c", "wc -l *.* | sort -n"]})],
    ),
    (
        "Does it work?",
        [
            ("run", {"command": ["sh", "-c", "python3 inventory.py < data.txt"]}),
            ("python", {"code": "print(sum(range(10)))"}),
            ("python", {"code": "import hashlib; print(hashlib.sha256(open('data.txt', 'rb').read()).hexdigest()[:16])"}),
            ("run", {"command": ["git", "diff", "--stat", "HEAD~1"]}),
        ],
    ),
    ("The comment should be skipped.", [("edit_file", {"path": "inventory.py", "old": "line in lines)", "new": "line in lines if not line.startswith('#'))"}), git("diff", "--stat"), git("commit", "-q", "-a", "-m", "Skip comments")]),
    ("At last a summary of the history.", [git("log", "--format=%s"), git("status", "--short", "--branch"), git("rev-list", "--count", "HEAD")]),
]  # fmt: skip

FAREWELL = "The inventory is counted, comments are skipped, and three commits tell how. Nothing is left to do but the README's TODO."


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the model: words, and tools to call."""

    id: str
    words: list[str]
    calls: list[Call]


def answer(request: dict[str, Any]) -> Answer:
    """The next answer in the conversation of a request, in either format."""
    messages = request["messages"]
    if request.get("model") == "little-model":
        turn = sum(message.get("role") == "assistant" for message in messages)
        text, calls = PLAN[turn] if turn < len(PLAN) else (FAREWELL, [])
        return Answer(str(len(messages)), text.split(" "), calls)
    return _talk(messages, [_tool_name(tool) for tool in request.get("tools") or []])


def _tool_name(tool: dict[str, Any]) -> str:
    return str(tool["function"]["name"] if "function" in tool else tool["name"])


def _talk(messages: Messages, tools: list[str]) -> Answer:
    asked = next((_text(message["content"]) for message in messages if message["role"] == "user"), "")
    told = sum(message["role"] == "assistant" for message in messages)
    if told < len(tools):
        return Answer(uuid.uuid4().hex, ["I", "look", "it", "up."], [(tools[told], {"query": asked, "number": random.randrange(1000)})])
    last = _text(messages[-1]["content"])
    words = random.sample(["red", "green", "blue", "amber", "grey"], 3)
    return Answer(uuid.uuid4().hex, ["You", "said:", *last.split()[:30], "-", *words, f"at {time.time():.6f}"], [])


def _text(content: Any) -> str:
    """The text of a message: a string, or blocks."""
    if isinstance(content, str):
        return content
    return " ".join(_text(block.get("text") or block.get("content") or "") for block in content)


def chat_deltas(said: Answer) -> Iterator[dict[str, Any]]:
    """The deltas of a streamed chat completion: words first, then the tool calls with their arguments in pieces."""
    yield {"role": "assistant", "content": ""}
    for word in said.words:
        yield {"content": word + " "}
    for index, (name, arguments) in enumerate(said.calls):
        call = {"id": f"call_{said.id}_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        yield {"tool_calls": [{"index": index, **call}]}
        for piece in _pieces(arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def chat_events(said: Answer) -> Iterator[dict[str, Any]]:
    """A streamed chat completion."""
    head = {"id": f"chatcmpl-{said.id}", "object": "chat.completion.chunk", "created": int(time.time()), "model": "talker"}
    for delta in chat_deltas(said):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if said.calls else "stop"}]}


def chat_completion(said: Answer) -> dict[str, Any]:
    """A chat completion in one piece."""
    calls = [
        {"id": f"call_{said.id}_{index}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for index, (name, arguments) in enumerate(said.calls)
    ]
    message = {"role": "assistant", "content": " ".join(said.words), **({"tool_calls": calls} if calls else {})}
    return {
        "id": f"chatcmpl-{said.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "talker",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": len(said.words), "total_tokens": 1 + len(said.words)},
    }


def _blocks(said: Answer) -> list[dict[str, Any]]:
    uses = [
        {"type": "tool_use", "id": f"toolu_{said.id}_{index}", "name": name, "input": arguments}
        for index, (name, arguments) in enumerate(said.calls)
    ]
    return [{"type": "text", "text": " ".join(said.words)}, *uses]


def message(said: Answer) -> dict[str, Any]:
    """An answer in the Messages format, in one piece."""
    return {
        "id": f"msg_{said.id}",
        "type": "message",
        "role": "assistant",
        "model": "talker",
        "content": _blocks(said),
        "stop_reason": "tool_use" if said.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": len(said.words)},
    }


def message_events(said: Answer) -> Iterator[dict[str, Any]]:
    """A streamed answer in the Messages format."""
    whole = message(said)
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    for index, block in enumerate(whole["content"]):
        used = block["type"] == "tool_use"
        yield {"type": "content_block_start", "index": index, "content_block": {**block, **({"input": {}} if used else {"text": ""})}}
        deltas = (
            [{"type": "input_json_delta", "partial_json": piece} for piece in _pieces(block["input"])]
            if used
            else [{"type": "text_delta", "text": word + " "} for word in said.words]
        )
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None}, "usage": whole["usage"]}
    yield {"type": "message_stop"}


def _pieces(arguments: dict[str, Any]) -> list[str]:
    encoded = json.dumps(arguments)
    return [encoded[at : at + 40] for at in range(0, len(encoded), 40)]
