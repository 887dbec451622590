# does: an agent's loop: the user asks for a listing, the model calls the shell tool, the agent runs it and sends the output back
# kind: benign
# allow: api.openai.com
# env: OPENAI_API_KEY
# fast: yes
import json
import os
import subprocess
import urllib.request

TOOLS = [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}}]
messages = [{"role": "user", "content": "List the sources.\nRUN: ls -la src | head -30"}]
while True:
    headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
    body = json.dumps({"model": "gpt-5", "messages": messages, "tools": TOOLS}).encode()
    answer = json.load(urllib.request.urlopen(urllib.request.Request("https://api.openai.com/v1/chat/completions", body, headers)))
    message = answer["choices"][0]["message"]
    messages.append(message)
    if not message.get("tool_calls"):
        break
    for call in message["tool_calls"]:
        command = json.loads(call["function"]["arguments"])["command"]
        output = subprocess.run(command, shell=True, capture_output=True, text=True).stdout
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": output})
print(messages[-1]["content"])
