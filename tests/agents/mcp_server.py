"""A tool server on the MCP SDK, spoken to over its standard streams; started by mcp_client.py."""

from __future__ import annotations

import asyncio

from chance import chance
from mcp.server.mcpserver import MCPServer

server = MCPServer("chance", log_level="ERROR")


@server.tool()
async def draw(number: int) -> str:
    """What this process has of chance, after a while."""
    await asyncio.sleep(0.002 * (number % 3))
    return f"{number} {chance()}"


server.run()
