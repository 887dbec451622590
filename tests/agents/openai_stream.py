"""An agent on the openai client: a streamed conversation with a tool, over plain HTTP.  openai_stream.py URL"""

from __future__ import annotations

import sys
import time
from typing import Any

from chance import chance
from openai import OpenAI

LOOK_UP: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def main() -> None:
    client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="sk-local-demo", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": f"what is {chance()}"}]
    for turn in range(5):
        started, text, name, arguments, call_id = time.monotonic(), "", "", "", ""
        for chunk in client.chat.completions.create(model="talker", messages=messages, tools=[LOOK_UP], stream=True):
            delta = chunk.choices[0].delta
            text += delta.content or ""
            print(delta.content or "", end="", flush=True)
            for piece in delta.tool_calls or []:
                call_id, name = piece.id or call_id, (piece.function and piece.function.name) or name
                arguments += (piece.function and piece.function.arguments) or ""
        print(f"\nturn {turn}: {chunk.id}, {time.monotonic() - started:.9f} s, calls {name} {arguments}")
        if not name:
            break
        call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        messages += [
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": chance()},
        ]
    print(chance())


main()
