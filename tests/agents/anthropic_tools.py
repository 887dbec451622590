"""An agent on the anthropic client: streaming, and two tools, one of them a process of its own.  anthropic_tools.py URL"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import anthropic
from chance import chance

TOOLS: Any = [
    {"name": name, "description": text, "input_schema": {"type": "object", "properties": {}}}
    for name, text in {"clock": "The time, by a process.", "dice": "A number."}.items()
]


def use(name: str, arguments: Any) -> str:
    if name == "clock":
        return subprocess.run(["date", "+%s.%N"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{arguments['number']} {chance()}"


def main() -> None:
    client = anthropic.Anthropic(base_url=sys.argv[1], api_key="sk-local-demo", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "when and how many?"}]
    for _ in range(6):
        with client.messages.stream(model="talker", max_tokens=100, messages=messages, tools=TOOLS) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
            said = stream.get_final_message()
        print(f"\n{said.id}: {said.stop_reason}, {said.usage.output_tokens} words")
        if said.stop_reason != "tool_use":
            break
        results = []
        for block in said.content:
            if block.type == "tool_use":
                result = use(block.name, block.input)
                print(f"{block.name}({block.input}) = {result}")
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": result})
        messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]
    print(chance())


main()
