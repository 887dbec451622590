from __future__ import annotations

import json
import random
from typing import Any

import pytest
from network_by_hand import MS, Broker, sse

from sentra_sandbox.views.llm import LlmCall, llm_call, llm_calls
from sentra_sandbox.views.llm_requests import ToolCall

TEXT = "Grüße, 世界 🌍!"
ARGUMENTS = '{"city": "Zürich 🏔", "days": [1, 2], "deep": {"a": "\\"}"}}'
CALL = ToolCall("call_1", "weather", ARGUMENTS)
Case = tuple[str, str, dict[str, Any], bool]
EVENTS, JSON, NDJSON = {"Content-Type": "text/event-stream"}, {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}


def cut(text: str) -> list[str]:
    """In pieces of one character, as models may send it."""
    return list(text)


def chat_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"id": "c1", "model": "gpt-x-2", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHAT = {"model": "gpt-x", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]}], "tools": [{"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": {"type": "object"}}}], "temperature": 0.5}
CHAT_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}}
CHAT_ANSWER = {"id": "c1", "model": "gpt-x-2", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": TEXT, "tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": ARGUMENTS}}]}}], "usage": CHAT_USAGE}
CHAT_STREAM = [
    chat_chunk({"role": "assistant", "content": ""}),
    *(chat_chunk({"content": piece}) for piece in cut(TEXT)),
    chat_chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}}]}),
    *(chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in cut(ARGUMENTS)),
    chat_chunk({}, "tool_calls"),
    {"id": "c1", "choices": [], "usage": CHAT_USAGE},
    "[DONE]",
]

RESPONSES = {"model": "gpt-x", "instructions": "Be brief.", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}], "tools": [{"type": "function", "name": "weather", "description": "of a city", "parameters": {"type": "object"}}], "temperature": 0.5}
RESPONSE = {"id": "c1", "model": "gpt-x-2", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": TEXT}]}, {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ARGUMENTS}], "usage": {"input_tokens": 11, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 5}}}
RESPONSES_STREAM = [
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}},
    *({"type": "response.output_text.delta", "output_index": 0, "delta": piece} for piece in cut(TEXT)),
    {"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ""}},
    *({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": piece} for piece in cut(ARGUMENTS)),
    {"type": "response.completed", "response": RESPONSE},
]

ANTHROPIC = {"model": "gpt-x", "max_tokens": 99, "system": [{"type": "text", "text": "Be brief."}], "messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "weather", "description": "of a city", "input_schema": {"type": "object"}}], "temperature": 0.5}
ANTHROPIC_ANSWER = {"type": "message", "id": "c1", "model": "gpt-x-2", "stop_reason": "tool_use", "content": [{"type": "text", "text": TEXT}, {"type": "tool_use", "id": "call_1", "name": "weather", "input": json.loads(ARGUMENTS)}], "usage": {"input_tokens": 6, "cache_read_input_tokens": 5, "output_tokens": 7}}
ANTHROPIC_STREAM = [
    {"type": "message_start", "message": {**ANTHROPIC_ANSWER, "content": [], "stop_reason": None, "usage": {"input_tokens": 6, "cache_read_input_tokens": 5, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in cut(TEXT)),
    {"type": "ping"},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}},
    *({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": piece}} for piece in cut(ARGUMENTS)),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]

GOOGLE = {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "tools": [{"functionDeclarations": [{"name": "weather", "description": "of a city", "parameters": {"type": "object"}}]}], "generationConfig": {"temperature": 0.5}}


def google_part(part: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"responseId": "c1", "modelVersion": "gpt-x-2", "candidates": [{"content": {"role": "model", "parts": [part]}, **more}]}


GOOGLE_CALL = {"functionCall": {"id": "call_1", "name": "weather", "args": json.loads(ARGUMENTS)}}
GOOGLE_USAGE = {"usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 4, "thoughtsTokenCount": 3, "cachedContentTokenCount": 5}}
GOOGLE_ANSWER = {**google_part({}, finishReason="STOP"), **GOOGLE_USAGE}
GOOGLE_ANSWER["candidates"][0]["content"]["parts"] = [{"text": TEXT}, GOOGLE_CALL]
GOOGLE_STREAM = [*(google_part({"text": piece}) for piece in cut(TEXT)), {**google_part(GOOGLE_CALL, finishReason="STOP"), **GOOGLE_USAGE}]

OLLAMA = {**CHAT, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}], "options": {"temperature": 0.5}}
OLLAMA_CALL = {"function": {"name": "weather", "arguments": json.loads(ARGUMENTS)}}
OLLAMA_END = {"model": "gpt-x-2", "done": True, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 7}
OLLAMA_STREAM = [*({"model": "gpt-x-2", "message": {"role": "assistant", "content": piece}, "done": False} for piece in cut(TEXT)), {"model": "gpt-x-2", "message": {"content": "", "tool_calls": [OLLAMA_CALL]}}, {**OLLAMA_END, "message": {"content": ""}}]
OLLAMA_ANSWER = {**OLLAMA_END, "message": {"content": TEXT, "tool_calls": [OLLAMA_CALL]}}

# name: path, request, header of the answer, answer (an object, or the objects of a stream)
SHAPES: dict[str, tuple[str, dict[str, Any], dict[str, str], Any]] = {
    "chat": ("/v1/chat/completions", CHAT, JSON, CHAT_ANSWER),
    "chat, streamed": ("/v1/chat/completions", {**CHAT, "stream": True}, EVENTS, CHAT_STREAM),
    "chat at a strange path": ("/proxy/llm", CHAT, JSON, CHAT_ANSWER),
    "azure": ("/openai/deployments/gpt-x/chat/completions?api-version=1", CHAT, JSON, CHAT_ANSWER),
    "responses": ("/v1/responses", RESPONSES, JSON, RESPONSE),
    "responses, streamed": ("/v1/responses", {**RESPONSES, "stream": True}, EVENTS, RESPONSES_STREAM),
    "anthropic": ("/v1/messages", ANTHROPIC, JSON, ANTHROPIC_ANSWER),
    "anthropic, streamed": ("/v1/messages?beta=true", {**ANTHROPIC, "stream": True}, EVENTS, ANTHROPIC_STREAM),
    "google": ("/v1beta/models/gpt-x:generateContent", GOOGLE, JSON, GOOGLE_ANSWER),
    "google, streamed": ("/v1beta/models/gpt-x:streamGenerateContent?alt=sse", GOOGLE, EVENTS, GOOGLE_STREAM),
    "google, one array": ("/v1beta/models/gpt-x:streamGenerateContent", GOOGLE, JSON, "array"),
    "ollama": ("/api/chat", {**OLLAMA, "stream": False}, JSON, OLLAMA_ANSWER),
    "ollama, streamed": ("/api/chat", OLLAMA, NDJSON, OLLAMA_STREAM),
}


def body_of(answer: Any, header: dict[str, str]) -> bytes:
    if answer == "array":
        return json.dumps(GOOGLE_STREAM, ensure_ascii=False).encode()
    if header is EVENTS:
        return b"".join(sse(*answer, names=True))
    if header is NDJSON:
        return b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in answer)
    return json.dumps(answer, ensure_ascii=False).encode()


def call_of(path: str, body: dict[str, Any] | bytes, header: dict[str, str], answer: bytes, size: int = 10**9, **more: Any) -> LlmCall | None:
    b = Broker()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    chunks = [answer[at : at + size] for at in range(0, len(answer), size)]
    b.exchange(b.open(), "POST", path, headers={"Content-Type": "application/json", **more.pop("headers", {})}, body=data, answer=header, chunks=chunks, **more)
    return llm_call(b.network().exchanges[1])


@pytest.mark.parametrize("size", [1, 5, 10**9])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, size: int) -> None:
    path, request, header, answer = SHAPES[name]
    call = call_of(path, request, header, body_of(answer, header), size)
    assert call is not None
    streamed = "streamed" in name or "array" in name
    assert (call.model, call.answered_model, call.streamed, call.complete, call.error) == ("gpt-x", "gpt-x-2", streamed, True, None)
    assert call.text == TEXT
    (tool,) = call.tool_calls
    assert (tool.name, json.loads(tool.arguments)) == ("weather", json.loads(ARGUMENTS))
    if "ollama" not in name:
        assert (call.id, tool.id) == ("c1", "call_1")
    assert [(turn.role, turn.text) for turn in call.turns] == [("system", "Be brief."), ("user", "hi")]
    assert [(tool.name, tool.description, tool.parameters) for tool in call.tools] == [("weather", "of a city", {"type": "object"})]
    assert call.settings["temperature"] == 0.5
    assert (call.usage.input_tokens, call.usage.output_tokens) == (11, 7)
    if "ollama" not in name:
        assert call.usage.cached_tokens == 5
    assert call.stop_reason in ("tool_calls", "completed", "tool_use", "STOP", "stop")
    assert call.first_token_ns and call.first_token_after_ns is not None and call.first_token_after_ns >= 10 * MS
    assert bool(call.tokens_per_s) == (not streamed or size < 10**9)


def test_an_api_of_a_local_server_is_known_by_its_shape() -> None:
    call = call_of("/v1/chat/completions", CHAT, JSON, body_of(CHAT_ANSWER, JSON), authority="localhost:8000", scheme="http")
    assert call and (call.provider, call.server, call.operation) == ("openai", "localhost:8000", "chat")
    call = call_of("/v1/messages", ANTHROPIC, JSON, b"{}", authority="api.anthropic.com")
    assert call and call.provider == "anthropic" and not call.complete


def test_a_conversation_with_tools_of_each_api() -> None:
    chat = [{"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "42"}]
    anthropic = [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "42"}]}]}]
    responses = [{"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "1", "output": "42"}]
    google = [{"role": "model", "parts": [{"functionCall": {"id": "1", "name": "f", "args": {}}}]}, {"role": "user", "parts": [{"functionResponse": {"id": "1", "name": "f", "response": "42"}}]}]
    for path, body in (
        ("/v1/chat/completions", {**CHAT, "messages": chat}),
        ("/v1/messages", {**ANTHROPIC, "system": None, "messages": anthropic}),
        ("/v1/responses", {"model": "x", "input": responses}),
        ("/v1/models/x:generateContent", {"contents": google}),
    ):
        call = call_of(path, body, JSON, b"{}")
        assert call is not None
        asked, given = call.turns
        assert asked.tool_calls == (ToolCall("1", "f", "{}"),), path
        assert [(result.id, result.text) for result in given.tool_results] == [("1", "42")], path


@pytest.mark.parametrize(
    ("status", "header", "body", "expected"),
    [
        (429, {**JSON, "Retry-After": "20"}, b'{"error": {"message": "slow down", "type": "rate_limit"}}', ("rate_limit", "slow down", "20")),
        (429, {**JSON, "retry-after-ms": "1500"}, b'{"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}', ("rate_limit_error", "m", "1.5")),
        (404, JSON, b'{"error": "model not found"}', ("", "model not found", "")),
        (400, JSON, b'{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}', ("INVALID_ARGUMENT", "bad", "")),
        (502, {"Content-Type": "text/html"}, b"<html>", ("", "", "")),
    ],
)
def test_errors(status: int, header: dict[str, str], body: bytes, expected: tuple[str, str, str]) -> None:
    call = call_of("/v1/chat/completions", CHAT, header, body, status=status)
    assert call and call.error and call.complete
    assert (call.error.status, call.error.type, call.error.message, call.error.retry_after) == (status, *expected)


def test_an_error_in_the_middle_of_a_stream_and_one_that_breaks_off() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    call = call_of("/v1/messages", ANTHROPIC, EVENTS, b"".join(sse(*ANTHROPIC_STREAM[:5], error)))
    assert call and call.error and (call.error.status, call.error.type, call.text) == (0, "overloaded_error", TEXT[:3])
    call = call_of("/v1/messages", ANTHROPIC, EVENTS, b"".join(sse(*ANTHROPIC_STREAM[:5])), ends=False)
    assert call and not call.complete and call.error is None and call.text == TEXT[:3]


def test_first_token_and_rate() -> None:
    chunks = sse(*(chat_chunk({"content": piece}) for piece in ("", "a", "b", "c")), {"choices": [], "usage": {"completion_tokens": 30}})
    b = Broker()
    b.exchange(b.open(), "POST", "/v1/chat/completions", headers=JSON, body=json.dumps(CHAT).encode(), answer=EVENTS, chunks=chunks, first_ms=100, every_ms=50)
    (call,) = llm_calls(list(b.network().exchanges.values()))
    assert call.first_token_after_ns == 150 * MS
    assert call.tokens_per_s == pytest.approx(300)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b""),
        ("/v1/chat/completions", b"no json"),
        ("/v1/chat/completions", b"[1]"),
        ("/v1/chat/completions", b"[" * 100_000),
        ("/v1/chat/completions", b'{"model": "x"}'),
        ("/messages", b'{"messages": ["hello"], "model": "x"}'),
        ("/api/generate", b'{"prompt": "x"}'),
    ],
)
def test_what_is_no_call(path: str, body: bytes) -> None:
    assert call_of(path, body, JSON, b"{}") is None


def damaged(value: Any, random_: random.Random) -> Any:
    if random_.random() < 0.15:
        return random_.choice([None, True, -1, 1e400, 10**40, "", "\udcff", [], {}, [[]], {"a": 1}])
    if isinstance(value, dict):
        return {key: damaged(item, random_) for key, item in value.items()}
    return [damaged(item, random_) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [name for name in SHAPES if "array" not in name])
def test_hostile_calls_are_read(name: str) -> None:
    path, request, header, answer = SHAPES[name]
    random_ = random.Random(name)
    found = 0
    for _ in range(60):
        body = json.dumps(damaged(request, random_)).encode()
        hostile = damaged(answer, random_)
        data = b"".join(sse(*hostile)) if header is EVENTS and isinstance(hostile, list) else json.dumps(hostile).encode()
        call = call_of(path, body, header, data)
        if call is not None:
            found += 1
            assert isinstance(call.text, str) and isinstance(call.model, str) and call.usage.as_dict() is not None
            assert call.tokens_per_s is None or call.tokens_per_s > 0
    assert found
