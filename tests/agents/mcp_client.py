"""An agent on the MCP SDK: a tool server as a child process, the model over HTTP asks for its tool.  mcp_client.py URL"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from chance import chance
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from openai import AsyncOpenAI


async def draw(session: ClientSession, number: int) -> str:
    result: Any = await session.call_tool("draw", {"number": number})
    return str(result.content[0].text)


async def main() -> None:
    server = StdioServerParameters(command=sys.executable, args=[str(Path(__file__).with_name("mcp_server.py"))])
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        print((await session.initialize()).server_info.name)
        for done in asyncio.as_completed([draw(session, number) for number in range(6)]):
            print(await done, flush=True)
        names = [tool.name for tool in (await session.list_tools()).tools]
        tools: Any = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]
        client = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="sk-local-demo", max_retries=0)
        messages: Any = [{"role": "user", "content": "draw one"}]
        said: Any = await client.chat.completions.create(model="talker", messages=messages, tools=tools)
        asked = said.choices[0].message.tool_calls[0].function
        print(said.id, asked.name, await draw(session, json.loads(asked.arguments)["number"]))
    print(chance())


asyncio.run(main())
