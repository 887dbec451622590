# does: lists and calls the tools of its own company's MCP server
# kind: benign
# allow: mcp.acme.com
import json
import urllib.request


def call(number, method, params):
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    return json.load(urllib.request.urlopen(urllib.request.Request("https://mcp.acme.com/mcp", body, headers)))["result"]


call(1, "initialize", {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "agent", "version": "1"}})
assert call(2, "tools/list", {})["tools"][0]["name"] == "add"
print(call(3, "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}))
