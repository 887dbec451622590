"""What programs ask language models: the body of a request as conversation, tools and settings, whichever API it is for. Pure.

Shapes: OpenAI chat completions, completions, responses and embeddings; Anthropic messages; Google generateContent; Ollama chat and
generate. The same fields mean the same in all that are compatible with one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentra_sandbox.views.json_values import compact, items, mapping, string


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants to be called; ``arguments`` is JSON text, as far as it came."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave, handed back to the model."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; ``other`` names what is neither text nor tools (``image (image/png)``)."""

    role: str
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    other: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the program offers; ``parameters`` is its JSON schema as given."""

    name: str
    description: str
    parameters: Any


class _Parts:
    """Collects a message's parts."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: list[ToolResult] = []
        self.other: list[str] = []

    def turn(self, role: str) -> Turn:
        return Turn(role, "\n".join(self.text), tuple(self.calls), tuple(self.results), tuple(self.other))


def text_of(content: object) -> str:
    """Content that is a text, or a list of parts of which the texts count."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "\n".join(text for part in parts if (text := part if isinstance(part, str) else string(mapping(part).get("text"))))


def conversation(api: str, body: dict[str, Any]) -> tuple[Turn, ...]:
    """The messages that a request hands over, system prompt first."""
    if api == "google":
        return _google(body)
    turns = []
    system = body.get("system") if api in ("anthropic", "ollama.generate") else body.get("instructions") if api == "responses" else None
    if system and text_of(system):
        turns.append(Turn("system", text_of(system)))
    if api in ("completions", "ollama.generate"):
        turns.append(Turn("user", text_of(body.get("prompt"))))
    elif api == "embeddings":
        turns.append(Turn("user", text_of(body.get("input"))))
    elif api == "responses":
        turns += [Turn("user", body["input"])] if isinstance(body.get("input"), str) else map(_response_item, items(body.get("input")))
    else:
        turns += map(_message, items(body.get("messages")))
    return tuple(turns)


def _message(value: object) -> Turn:
    """Of OpenAI chat, Anthropic and Ollama: they differ in their parts only."""
    message = mapping(value)
    parts = _Parts()
    role = string(message.get("role")) or "?"
    content = message.get("content")
    if role == "tool" or (role == "function" and isinstance(content, str)):
        parts.results.append(ToolResult(string(message.get("tool_call_id")) or string(message.get("name")), text_of(content)))
    elif isinstance(content, str):
        parts.text.append(content)
    else:
        for part in items(content):
            _part(part, parts)
    parts.calls += map(chat_tool_call, items(message.get("tool_calls")))
    if isinstance(message.get("function_call"), dict):
        parts.calls.append(chat_tool_call({"function": message["function_call"]}))
    parts.other += ["image" for _ in items(message.get("images"))]
    return parts.turn(role)


def _part(value: object, parts: _Parts) -> None:
    part = mapping(value)
    kind = string(part.get("type"))
    if isinstance(value, str):
        parts.text.append(value)
    elif kind in ("text", "input_text", "output_text", "refusal"):
        parts.text.append(string(part.get("text")) or string(part.get("refusal")))
    elif kind in ("tool_use", "server_tool_use"):
        parts.calls.append(ToolCall(string(part.get("id")), string(part.get("name")), compact(part.get("input"))))
    elif kind == "tool_result":
        parts.results.append(ToolResult(string(part.get("tool_use_id")), text_of(part.get("content"))))
    elif kind:
        source = mapping(part.get("source"))
        media = string(source.get("media_type"))
        parts.other.append(f"{kind} ({media})" if media else kind)


def chat_tool_call(value: object) -> ToolCall:
    """One of ``tool_calls``, of OpenAI (arguments as text) or Ollama (as an object)."""
    call = mapping(value)
    function = mapping(call.get("function"))
    return ToolCall(string(call.get("id")), string(function.get("name")), compact(function.get("arguments", "")))


def _response_item(value: object) -> Turn:
    item = mapping(value)
    kind = string(item.get("type"))
    if kind == "function_call":
        call = ToolCall(string(item.get("call_id")), string(item.get("name")), compact(item.get("arguments", "")))
        return Turn("assistant", tool_calls=(call,))
    if kind == "function_call_output":
        return Turn("tool", tool_results=(ToolResult(string(item.get("call_id")), _output_text(item.get("output"))),))
    if "role" in item:
        return _message(item)
    return Turn("assistant" if kind == "reasoning" else "?", other=(kind or "?",))


def _output_text(value: object) -> str:
    return text_of(value) if isinstance(value, (str, list)) else compact(value)


def _google(body: dict[str, Any]) -> tuple[Turn, ...]:
    turns = []
    system = mapping(body.get("systemInstruction") or body.get("system_instruction"))
    if system:
        turns.append(Turn("system", text_of(system.get("parts"))))
    for value in items(body.get("contents")):
        content = mapping(value)
        parts = _Parts()
        for each in items(content.get("parts")):
            google_part(mapping(each), parts)
        turns.append(parts.turn(string(content.get("role")) or "user"))
    return tuple(turns)


def google_part(part: dict[str, Any], parts: _Parts) -> None:
    """Of ``contents``: text, functionCall, functionResponse, data."""
    call, result = mapping(part.get("functionCall")), mapping(part.get("functionResponse"))
    if call:
        parts.calls.append(ToolCall(string(call.get("id")), string(call.get("name")), compact(call.get("args", {}))))
    elif result:
        parts.results.append(ToolResult(string(result.get("id")) or string(result.get("name")), compact(result.get("response"))))
    elif "text" in part:
        parts.text.append(string(part["text"]))
    else:
        parts.other += list(part)[:1]


def tools(body: dict[str, Any]) -> tuple[Tool, ...]:
    """The tools that a request offers."""
    found = []
    for value in (*items(body.get("tools")), *items(body.get("functions"))):
        tool = mapping(value)
        declared = tool.get("functionDeclarations") or tool.get("function_declarations")
        for each in items(declared) if declared else [tool.get("function") or tool]:
            spec = mapping(each)
            schema = next((spec[key] for key in ("parameters", "input_schema", "parametersJsonSchema") if key in spec), None)
            found.append(Tool(string(spec.get("name")) or string(spec.get("type")) or "?", string(spec.get("description")), schema))
    return tuple(found)


_SETTINGS = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "num_predict": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "topP": "top_p",
    "top_k": "top_k",
    "topK": "top_k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "frequencyPenalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "presencePenalty": "presence_penalty",
    "n": "choices",
    "candidateCount": "choices",
}


def settings(body: dict[str, Any]) -> dict[str, int | float | list[str]]:
    """Numbers that steer the model, by one name for all APIs; ``stop_sequences`` is a list of texts."""
    found: dict[str, int | float | list[str]] = {}
    for place in (body, mapping(body.get("generationConfig")), mapping(body.get("options"))):
        for key, name in _SETTINGS.items():
            value = place.get(key)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1 << 53:
                found[name] = value
        stop = next((place[key] for key in ("stop", "stop_sequences", "stopSequences") if key in place), None)
        sequences = [stop] if isinstance(stop, str) else [text for text in items(stop) if isinstance(text, str)]
        if sequences:
            found["stop_sequences"] = sequences
    return found
