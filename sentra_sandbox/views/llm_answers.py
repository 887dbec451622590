"""What language models answer: whole answers and streams put together into text, tool calls, usage and the reason to stop. Pure.

An ``Answer`` is fed objects of the answer in order with the time of each: the one of a plain answer, or each one of a stream. Tool calls
come in pieces that are cut anywhere in their JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentra_sandbox.views.json_values import compact, items, mapping, natural, string
from sentra_sandbox.views.llm_requests import ToolCall, chat_tool_call


class Usage:
    """Tokens, None where the answer does not say. ``input_tokens`` counts cached ones too, ``output_tokens`` those of reasoning."""

    __slots__ = ("cache_write_tokens", "cached_tokens", "input_tokens", "output_tokens", "reasoning_tokens")

    def __init__(self) -> None:
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.cache_write_tokens: int | None = None
        self.reasoning_tokens: int | None = None

    def as_dict(self) -> dict[str, int]:
        """What is known."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


class Answer:
    """What has come so far. ``first_token_ns`` and ``last_token_ns`` are the times of the first and last piece of output, 0 if none."""

    def __init__(self, api: str) -> None:
        self.id = self.model = self.stop_reason = self.error_type = self.error_message = ""
        self.choices = 0
        self.objects = 0
        self.deltas = 0
        self.done = False
        self.usage = Usage()
        self.first_token_ns = self.last_token_ns = 0
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[object, list[str]] = {}  # index → id, name, arguments in pieces
        self._time_ns = 0
        self._feeder: Callable[[dict[str, Any]], None] = {
            "chat": self._chat,
            "completions": self._chat,
            "responses": self._responses,
            "anthropic": self._anthropic,
            "google": self._google,
            "ollama.chat": self._ollama,
            "ollama.generate": self._ollama,
        }.get(api, self._usage_only)

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def thinking(self) -> str:
        """What the model showed of its reasoning."""
        return "".join(self._thinking)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(ToolCall(id, name, "".join(pieces)) for id, name, *pieces in self._calls.values())

    def feed(self, value: object, time_ns: int) -> None:
        """The next object of the answer."""
        object_ = mapping(value)
        if not object_:
            return
        self.objects += 1
        self._time_ns = time_ns
        error = object_.get("error")
        if error:
            details = mapping(error)
            self.error_message = string(error) or string(details.get("message")) or compact(error)
            self.error_type = string(details.get("type")) or string(details.get("status")) or string(details.get("code"))
        self._feeder(object_)

    # ---- pieces

    def _add(self, pieces: list[str], value: object) -> None:
        if isinstance(value, str) and value:
            pieces.append(value)
            self._token()

    def _token(self) -> None:
        self.deltas += 1
        self.first_token_ns = self.first_token_ns or self._time_ns
        self.last_token_ns = self._time_ns

    def _call(self, index: object, id: object = "", name: object = "", arguments: object = "") -> None:
        """A piece of a tool call; id and name come once."""
        call = self._calls.setdefault(index, ["", ""])
        call[0] = call[0] or string(id)
        call[1] = call[1] or string(name)
        text = compact(arguments) if arguments not in (None, "") else ""
        if text:
            call.append(text)
        if text or name:
            self._token()

    def _named(self, object_: dict[str, Any], id: str = "id", model: str = "model") -> None:
        self.id = string(object_.get(id)) or self.id
        self.model = string(object_.get(model)) or self.model

    def _stop(self, reason: object) -> None:
        if isinstance(reason, str) and reason:
            self.stop_reason = reason
            self.done = True

    def _count(self, usage: dict[str, Any], **names: str) -> None:
        for name, path in names.items():
            value: object = usage
            for key in path.split("."):
                value = mapping(value).get(key)
            if (count := natural(value)) is not None:
                setattr(self.usage, name, count)

    # ---- OpenAI chat completions and completions

    def _chat(self, object_: dict[str, Any]) -> None:
        self._named(object_)
        for position, value in enumerate(items(object_.get("choices"))):
            choice = mapping(value)
            index = natural(choice.get("index"))
            self.choices = max(self.choices, (position if index is None else index) + 1)
            if index:  # the others are counted, not shown
                continue
            message = mapping(choice.get("delta") or choice.get("message"))
            content = message.get("content")
            self._add(self._thinking, message.get("reasoning_content") or message.get("reasoning"))
            self._add(self._text, choice.get("text") or (content if isinstance(content, str) else message.get("refusal")))
            for part in items(content):
                self._add(self._text, mapping(part).get("text"))
            for number, call in enumerate(items(message.get("tool_calls"))):
                key = natural(mapping(call).get("index"))
                made = chat_tool_call(call)
                self._call(number if key is None else key, made.id, made.name, made.arguments)
            function = mapping(message.get("function_call"))
            if function:
                self._call("function", "", function.get("name"), function.get("arguments"))
            self._stop(choice.get("finish_reason"))
        self._openai_usage(mapping(object_.get("usage")))

    def _openai_usage(self, usage: dict[str, Any]) -> None:
        self._count(
            usage,
            input_tokens="prompt_tokens",
            output_tokens="completion_tokens",
            cached_tokens="prompt_tokens_details.cached_tokens",
            reasoning_tokens="completion_tokens_details.reasoning_tokens",
        )

    def _usage_only(self, object_: dict[str, Any]) -> None:
        self._named(object_)
        self._openai_usage(mapping(object_.get("usage")))
        self.done = "data" in object_

    # ---- OpenAI responses

    def _responses(self, object_: dict[str, Any]) -> None:
        kind = string(object_.get("type"))
        if not kind:
            return self._response(object_, whole=True)
        index = natural(object_.get("output_index"))
        delta = object_.get("delta")
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self._add(self._text, delta)
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            self._add(self._thinking, delta)
        elif kind == "response.output_item.added":
            item = mapping(object_.get("item"))
            if item.get("type") == "function_call":
                self._call(index, item.get("call_id"), item.get("name"), item.get("arguments"))
        elif kind == "response.function_call_arguments.delta":
            self._call(index, arguments=delta)
        elif kind == "error":
            self.error_message, self.error_type = string(object_.get("message")) or self.error_message, string(object_.get("code"))
        elif isinstance(object_.get("response"), dict):
            ended = kind in ("response.completed", "response.incomplete", "response.failed")
            self._response(object_["response"], whole=ended and not self.deltas)
            self.done = self.done or ended
        return None

    def _response(self, response: dict[str, Any], whole: bool) -> None:
        self._named(response)
        if whole:
            for number, value in enumerate(items(response.get("output"))):
                item = mapping(value)
                if item.get("type") == "function_call":
                    self._call(number, item.get("call_id"), item.get("name"), item.get("arguments"))
                for part in items(item.get("content")):
                    self._add(self._text, mapping(part).get("text") or mapping(part).get("refusal"))
                for part in items(item.get("summary")):
                    self._add(self._thinking, mapping(part).get("text"))
        if (status := string(response.get("status"))) not in ("", "in_progress", "queued"):
            self._stop(string(mapping(response.get("incomplete_details")).get("reason")) or status)
        failed = mapping(response.get("error"))
        if failed:
            self.error_message, self.error_type = string(failed.get("message")), string(failed.get("code"))
        self._count(
            mapping(response.get("usage")),
            input_tokens="input_tokens",
            output_tokens="output_tokens",
            cached_tokens="input_tokens_details.cached_tokens",
            reasoning_tokens="output_tokens_details.reasoning_tokens",
        )

    # ---- Anthropic messages

    def _anthropic(self, object_: dict[str, Any]) -> None:
        kind = string(object_.get("type"))
        index = natural(object_.get("index"))
        if kind == "content_block_start":
            self._block(index, mapping(object_.get("content_block")), streamed=True)
        elif kind == "content_block_delta":
            delta = mapping(object_.get("delta"))
            self._add(self._text, delta.get("text"))
            self._add(self._thinking, delta.get("thinking"))
            if "partial_json" in delta:
                self._call(index, arguments=delta["partial_json"])
        elif kind == "message_delta":
            self._stop(mapping(object_.get("delta")).get("stop_reason"))
            self._anthropic_usage(mapping(object_.get("usage")))
        elif kind == "message_stop":
            self.done = True
        elif kind in ("message_start", "message"):
            message = mapping(object_.get("message")) if kind == "message_start" else object_
            self._named(message)
            for number, block in enumerate(items(message.get("content"))):
                self._block(number, mapping(block), streamed=False)
            self._stop(message.get("stop_reason"))
            self._anthropic_usage(mapping(message.get("usage")))

    def _block(self, index: int | None, block: dict[str, Any], *, streamed: bool) -> None:
        self._add(self._text, block.get("text"))
        self._add(self._thinking, block.get("thinking"))
        if string(block.get("type")) in ("tool_use", "server_tool_use", "mcp_tool_use"):
            # In a stream the input is an empty object here and comes in pieces.
            given = block.get("input")
            self._call(index, block.get("id"), block.get("name"), given if given or not streamed else "")

    def _anthropic_usage(self, usage: dict[str, Any]) -> None:
        """Input tokens come without those of the cache: together they are what the others count."""
        self._count(
            usage, output_tokens="output_tokens", cached_tokens="cache_read_input_tokens", cache_write_tokens="cache_creation_input_tokens"
        )
        if (fresh := natural(usage.get("input_tokens"))) is not None:
            self.usage.input_tokens = fresh + (self.usage.cached_tokens or 0) + (self.usage.cache_write_tokens or 0)

    # ---- Google generateContent

    def _google(self, object_: dict[str, Any]) -> None:
        self._named(object_, "responseId", "modelVersion")
        candidates = items(object_.get("candidates"))
        self.choices = max(self.choices, len(candidates))
        candidate = mapping(candidates[0]) if candidates else {}
        for value in items(mapping(candidate.get("content")).get("parts")):
            part = mapping(value)
            call = mapping(part.get("functionCall"))
            if call:
                self._call(len(self._calls), call.get("id"), call.get("name"), call.get("args", {}))
            self._add(self._thinking if part.get("thought") is True else self._text, part.get("text"))
        self._stop(candidate.get("finishReason") or mapping(object_.get("promptFeedback")).get("blockReason"))
        usage = mapping(object_.get("usageMetadata"))
        self._count(
            usage,
            input_tokens="promptTokenCount",
            output_tokens="candidatesTokenCount",
            cached_tokens="cachedContentTokenCount",
            reasoning_tokens="thoughtsTokenCount",
        )
        if (said := natural(usage.get("candidatesTokenCount"))) is not None:
            self.usage.output_tokens = said + (self.usage.reasoning_tokens or 0)

    # ---- Ollama

    def _ollama(self, object_: dict[str, Any]) -> None:
        self._named(object_)
        message = mapping(object_.get("message"))
        self._add(self._thinking, message.get("thinking") or object_.get("thinking"))
        self._add(self._text, message.get("content") or object_.get("response"))
        for value in items(message.get("tool_calls")):
            call = chat_tool_call(value)
            self._call(len(self._calls), call.id, call.name, call.arguments)
        if object_.get("done") is True:
            self.done = True
            self._stop(object_.get("done_reason") or "stop")
            self._count(object_, input_tokens="prompt_eval_count", output_tokens="eval_count")
