"""Conversations with language models: of each call what is new since the one before it, the answer, and the tools it called."""

from __future__ import annotations

from sentra_sandbox.review.report.page.events import Anchors
from sentra_sandbox.review.report.page.markup import Room, block, code, esc, more, slug
from sentra_sandbox.review.report.shown import Shown
from sentra_sandbox.review.report.text import count_text, duration_text, moment_text
from sentra_sandbox.views.llm import LlmCall
from sentra_sandbox.views.llm_requests import ToolCall, Turn

_TEXT_MAX = 6000
_TURNS_MAX = 60
_TOOLS_MAX = 100


def models_section(shown: Shown, anchors: Anchors, room: Room) -> str:
    """All calls in order."""
    calls = shown.does.llm
    last: dict[tuple[str, int], tuple[Turn, ...]] = {}
    parts = []
    for number, call in enumerate(calls):
        key = (call.server, call.task)
        known = _common(last.get(key, ()), call.turns)
        last[key] = call.turns
        part = _call(shown, anchors, call, known, number < 3)
        if not room.take(part):
            parts.append(more(len(calls) - number, "calls", f"sentra-sandbox show {shown.run.id} --net"))
            break
        parts.append(part)
    parts.append(more(shown.does.llm_unread, "requests that were not looked into", f"sentra-sandbox show {shown.run.id} --net"))
    return "".join(parts)


def _common(before: tuple[Turn, ...], after: tuple[Turn, ...]) -> int:
    """How many turns at the start are the same."""
    count = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        count += 1
    return count


def _call(shown: Shown, anchors: Anchors, call: LlmCall, known: int, is_open: bool) -> str:
    usage = call.usage
    tokens = (
        f", {usage.input_tokens or 0:,} tokens in, {usage.output_tokens or 0:,} out" if usage.input_tokens or usage.output_tokens else ""
    )
    took = duration_text(max(call.ended_ns - call.began_ns, 0))
    process = shown.process(shown.facts.process_of(call.task, 0)) if call.task else ""
    about = f"at {moment_text(call.began_ns)}, {took}{tokens}{f', by {process}' if process else ''}"
    tools = "".join(f' <span class="badge s2">{esc(shown.masked(tool.name[:60]))}</span>' for tool in call.tool_calls[:8])
    head = f"<b>{esc(shown.masked(call.model[:100] or '?'))}</b> at {code(shown.masked(call.server[:200]))}{tools}"
    head += f' <span class="dim">{esc(about)}</span>'
    parts = [f'<p class="dim">{anchors.exchange(call.exchange, f"exchange {call.exchange}")}</p>']
    if call.tools:
        names = ", ".join(code(shown.masked(tool.name[:100])) for tool in call.tools[:_TOOLS_MAX])
        parts.append(f'<p class="dim">{count_text(len(call.tools), "tool")} offered: {names}</p>')
    if known:
        parts.append(f'<p class="dim">{count_text(known, "message")} as in the call before</p>')
    turns = call.turns[known:]
    parts += [_turn(shown, turn) for turn in turns[:_TURNS_MAX]]
    if len(turns) > _TURNS_MAX:
        parts.append(more(len(turns) - _TURNS_MAX, "messages", f"sentra-sandbox show {shown.run.id} --http {call.exchange}"))
    parts.append(_answer(shown, call))
    opened = " open" if is_open else ""
    return f'<details class="row"{opened} id="l{call.exchange}"><summary>{head}</summary>\n{"".join(parts)}</details>\n'


def _turn(shown: Shown, turn: Turn) -> str:
    parts = [_text(shown, turn.text)] + [_tool_call(shown, call) for call in turn.tool_calls[:_TOOLS_MAX]]
    parts += [
        f'<p class="dim">result of {code(shown.masked(result.id[:80]))}</p>{_text(shown, result.text)}'
        for result in turn.tool_results[:_TOOLS_MAX]
    ]
    parts += [f'<p class="dim">{esc(shown.masked(other[:200]))}</p>' for other in turn.other[:20]]
    role = slug(turn.role[:20])
    return f'<div class="turn {role}"><span class="who">{esc(shown.masked(turn.role[:40]))}</span>{"".join(parts)}</div>\n'


def _text(shown: Shown, text: str) -> str:
    return block(shown.masked(text[: 2 * _TEXT_MAX]), _TEXT_MAX) if text else ""


def _tool_call(shown: Shown, call: ToolCall) -> str:
    return f'<p><span class="badge s2">calls</span> <b>{esc(shown.masked(call.name[:100]))}</b></p>{_text(shown, call.arguments)}'


def _answer(shown: Shown, call: LlmCall) -> str:
    parts = [f'<details><summary class="dim">reasoning</summary>{_text(shown, call.thinking)}</details>'] if call.thinking else []
    parts += [_text(shown, call.text), *(_tool_call(shown, tool) for tool in call.tool_calls[:_TOOLS_MAX])]
    if call.error:
        words = " ".join(filter(None, (str(call.error.status or ""), call.error.type, call.error.message)))
        parts.append(f'<p class="s3">{esc(shown.masked(words[:600]))}</p>')
    if not call.complete:
        parts.append('<p class="dim">the answer did not come to its end</p>')
    return f'<div class="turn assistant"><span class="who">answer</span>{"".join(parts)}</div>\n'
