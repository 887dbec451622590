"""What a run told language models, and what they asked for, reduced to what is new in each call. Pure.

Every call of an agent carries the whole conversation so far. Keeping only what no earlier call said makes looking through all of it linear,
and its memory bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sentra_sandbox.review.content.search import Sighting
from sentra_sandbox.review.detectors.derived import once
from sentra_sandbox.review.facts import Facts
from sentra_sandbox.views.exchanges import Exchange
from sentra_sandbox.views.llm import LlmCall, llm_calls
from sentra_sandbox.views.llm_requests import Tool, ToolCall

TEXT_MAX = 32 << 20  # characters of all prompts together that are looked at


@dataclass(frozen=True, slots=True)
class Said:
    """A text in a prompt: ``role`` is its turn's, ``tool`` where it is the result of a tool."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One call: what it said that no earlier one did, the tools it offered, the tool calls that the model answered with."""

    exchange: Exchange
    server: str
    said: tuple[Said, ...]
    tools: tuple[Tool, ...]
    tool_calls: tuple[ToolCall, ...]
    answered_seq: int

    @property
    def seq(self) -> int:
        return self.exchange.request.seq

    @property
    def last_seq(self) -> int:
        """Of the answer's last piece."""
        pieces = self.exchange.response.pieces
        return pieces[-1].seq if pieces else self.answered_seq


def prompts(facts: Facts) -> list[Prompt]:
    """All calls of models in the run, in their order."""
    return once(facts, "prompts", lambda facts: list(_prompts(facts)))


def is_prompt(facts: Facts, sighting: Sighting) -> bool:
    """Whether bytes that left were in the body of a call of a model."""
    exchanges = once(facts, "prompt exchanges", lambda facts: frozenset(prompt.exchange.number for prompt in prompts(facts)))
    return sighting.channel == "http-body" and sighting.exchange in exchanges


def _prompts(facts: Facts) -> Iterator[Prompt]:
    seen: set[bytes] = set()
    room = TEXT_MAX
    for call in llm_calls(list(facts.network.exchanges.values())):
        said = []
        for text in _texts(call):
            digest = hashlib.blake2b(text.text.encode("utf-8", "replace"), digest_size=12).digest()
            if digest not in seen and room > 0:
                seen.add(digest)
                room -= len(text.text)
                said.append(text)
        exchange = facts.network.exchanges[call.exchange]
        yield Prompt(exchange, call.server, tuple(said), call.tools, call.tool_calls, exchange.response.seq)


def _texts(call: LlmCall) -> Iterator[Said]:
    for turn in call.turns:
        if turn.text:
            yield Said(turn.role, turn.text)
        for result in turn.tool_results:
            if result.text:
                yield Said("tool", result.text)
