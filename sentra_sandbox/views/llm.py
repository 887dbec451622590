"""Calls of language models among the HTTP exchanges of a run, recognised by the shape of the request rather than by the host. Pure.

A local server that speaks OpenAI's API is a model as much as OpenAI is. What is no JSON object, too large or of an unknown shape is no
call; an answer that breaks off or is an error leaves a call with what was there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.json_values import items, mapping, parse, string
from sentra_sandbox.views.llm_answers import Answer, Usage
from sentra_sandbox.views.llm_requests import Tool, ToolCall, Turn, conversation, settings, tools
from sentra_sandbox.views.server_sent_events import events_of, lines_of

BODY_MAX = 32 << 20  # of a request or an answer, decoded
# As in OpenTelemetry's gen_ai.provider.name; by the host's ending, else what the shape tells.
_PROVIDERS = (
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("amazonaws.com", "aws.bedrock"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.cohere.com", "cohere"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together_ai"),
)
_PROVIDER_OF_SHAPE = {"anthropic": "anthropic", "google": "gcp.gemini", "ollama.chat": "ollama", "ollama.generate": "ollama"}
_OPERATIONS = {"google": "generate_content", "completions": "text_completion", "ollama.generate": "text_completion"}


@dataclass(frozen=True, slots=True)
class LlmError:
    """``status`` is 0 where the error came inside a stream; ``retry_after`` as the server says it (seconds, or a date)."""

    status: int
    type: str
    message: str
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class LlmCall:
    """One call. ``api``: ``chat``, ``completions``, ``responses``, ``embeddings`` (OpenAI's shapes), ``anthropic``, ``google``,
    ``ollama.chat``, ``ollama.generate``.

    Times are those of the run; ``first_token_ns`` is 0 if no output came, and of an answer that is not streamed the time of all of it.
    ``complete``: the answer came to its end.
    """

    exchange: int
    task: int
    api: str
    provider: str
    server: str
    model: str
    answered_model: str
    id: str
    streamed: bool
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...]
    settings: dict[str, int | float | list[str]]
    text: str
    thinking: str
    tool_calls: tuple[ToolCall, ...]
    choices: int
    usage: Usage
    stop_reason: str
    error: LlmError | None
    complete: bool
    began_ns: int
    first_token_ns: int
    last_token_ns: int
    ended_ns: int

    @property
    def operation(self) -> str:
        """As in OpenTelemetry's gen_ai.operation.name."""
        return "embeddings" if self.api == "embeddings" else _OPERATIONS.get(self.api, "chat")

    @property
    def first_token_after_ns(self) -> int | None:
        """From the request to the first piece of output, None if there was none."""
        return max(self.first_token_ns - self.began_ns, 0) if self.first_token_ns else None

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens by the time they took: from the first piece to the last, or the whole call if it was not streamed."""
        count = self.usage.output_tokens
        took = self.last_token_ns - self.first_token_ns if self.streamed else self.ended_ns - self.began_ns
        return count / (took / 1e9) if count and took > 0 else None


def llm_call(exchange: Exchange) -> LlmCall | None:
    """The call that an exchange is, or None. Reads its bodies."""
    request, response = exchange.request, exchange.response
    api = _api_by_path(exchange.path)
    if request.method != "POST" or not request.size or not (api or _may_be_json(request.media_type)):
        return None
    body = mapping(parse(request.decoded(BODY_MAX).data))
    api = _api(api, body, request.header("anthropic-version"))
    if not api:
        return None
    answer = Answer(api)
    streamed = _feed(answer, exchange)
    began = request.ended_ns or request.time_ns
    error = _error(answer, exchange)
    return LlmCall(
        exchange=exchange.number,
        task=exchange.task,
        api=api,
        provider=_provider(exchange, api),
        server=exchange.authority,
        model=string(body.get("model")) or _model_in_path(exchange.path),
        answered_model=answer.model,
        id=answer.id,
        streamed=streamed or body.get("stream") is True,
        turns=conversation(api, body),
        tools=tools(body),
        settings=settings(body),
        text=answer.text,
        thinking=answer.thinking,
        tool_calls=answer.tool_calls,
        choices=answer.choices,
        usage=answer.usage,
        stop_reason=answer.stop_reason,
        error=error,
        complete=bool(response.ended_ns) and not response.error and (answer.done or error is not None),
        began_ns=began,
        first_token_ns=answer.first_token_ns,
        last_token_ns=answer.last_token_ns,
        ended_ns=response.last_ns,
    )


def llm_calls(exchanges: Iterator[Exchange] | list[Exchange]) -> Iterator[LlmCall]:
    """The calls among the exchanges, in their order."""
    return (call for exchange in exchanges if (call := llm_call(exchange)) is not None)


def _may_be_json(media_type: str) -> bool:
    return media_type in ("", "text/plain") or media_type.endswith("json")


def _api_by_path(path: str) -> str:
    path = path.rstrip("/")
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return "google"
    endings = {
        "/chat/completions": "chat",
        "/completions": "completions",
        "/responses": "responses",
        "/embeddings": "embeddings",
        "/v1/messages": "anthropic",
        "/api/chat": "ollama.chat",
        "/api/generate": "ollama.generate",
    }
    return next((api for ending, api in endings.items() if path.endswith(ending)), "")


_NEEDED = {
    "google": "contents",
    "chat": "messages",
    "completions": "prompt",
    "responses": "input",
    "embeddings": "input",
    "anthropic": "messages",
    "ollama.chat": "messages",
    "ollama.generate": "prompt",
}


def _api(by_path: str, body: dict[str, Any], anthropic_version: str) -> str:
    """The path tells, when the body agrees; else a body that only such a call has."""
    messages = items(body.get("messages"))
    if (anthropic_version or string(body.get("anthropic_version"))) and messages:
        return "anthropic"
    if by_path:
        return by_path if _NEEDED[by_path] in body and (by_path == "google" or "model" in body or "deployments" in body or messages) else ""
    if messages and string(body.get("model")) and all("role" in mapping(message) for message in messages):
        return "chat"
    return ""


def _model_in_path(path: str) -> str:
    """Google: ``.../models/NAME:generateContent``; Bedrock: ``/model/NAME/invoke``; Azure: ``/deployments/NAME/...``."""
    for marker in ("/models/", "/model/", "/deployments/"):
        _, found, rest = path.partition(marker)
        if found:
            return unquote(rest.split("/", 1)[0]).split(":generateContent")[0].split(":streamGenerateContent")[0]
    return ""


def _provider(exchange: Exchange, api: str) -> str:
    host = exchange.authority.rsplit(":", 1)[0].lower()
    for ending, name in _PROVIDERS:
        if host == ending or host.endswith(f".{ending}"):
            return name
    return _PROVIDER_OF_SHAPE.get(api, "openai")


def _feed(answer: Answer, exchange: Exchange) -> bool:
    """Give the answer its objects; whether it was a stream."""
    response = exchange.response
    decoded = response.decoded(BODY_MAX)
    media = response.media_type
    if media == "text/event-stream":
        for event in events_of(decoded.chunks):
            answer.feed(parse(event.data), event.time_ns)
        return True
    if "ndjson" in media or media == "application/jsonl":
        for time_ns, line, _ in lines_of(decoded.chunks):
            answer.feed(parse(line), time_ns)
        return answer.objects > 1
    value = parse(decoded.data)
    if isinstance(value, list):  # Google's streams without alt=sse are one array, element by element
        starts = _times_of_elements(decoded.chunks, len(value))
        for element, time_ns in zip(value, starts, strict=True):
            answer.feed(element, time_ns)
        return True
    answer.feed(value, response.last_ns)
    return False


def _times_of_elements(chunks: tuple[tuple[int, bytes], ...], count: int) -> list[int]:
    """When each element of a JSON array was there, as text."""
    text = b"".join(data for _, data in chunks).decode("utf-8", "replace")
    ends: list[int] = []  # in bytes
    decoder, at, end = json.JSONDecoder(), text.find("[") + 1, 0
    counted = 0
    while len(ends) < count:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            _, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        end += len(text[counted:at].encode("utf-8", "replace"))
        counted = at
        ends.append(end)
    times, passed, upcoming = [], 0, iter([*chunks, (chunks[-1][0] if chunks else 0, b"")])
    time_ns = 0
    for end in ends:
        while passed < end:
            chunk = next(upcoming, None)
            if chunk is None:
                break
            time_ns, passed = chunk[0], passed + len(chunk[1])
        times.append(time_ns)
    return times + [time_ns] * (count - len(times))


def _error(answer: Answer, exchange: Exchange) -> LlmError | None:
    response = exchange.response
    if response.status >= 400:
        wait = response.header("retry-after-ms")
        retry = f"{int(wait) / 1000:g}" if wait.isascii() and wait.isdigit() and len(wait) < 12 else response.header("retry-after")
        return LlmError(response.status, answer.error_type, answer.error_message or response.reason, retry)
    if answer.error_message:
        return LlmError(0, answer.error_type, answer.error_message)
    return None
