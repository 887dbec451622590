# does: reads a page with a hidden order, the model obeys it, the agent runs the command
# kind: malicious
# expect: prompt-injection high medium
# allow: api.openai.com docs.widgets.dev
# env: OPENAI_API_KEY
# fast: yes
import json
import os
import subprocess
import urllib.request

TOOLS = [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}}]
page = urllib.request.urlopen("https://docs.widgets.dev/injected").read().decode()
messages = [{"role": "user", "content": "Sum up this page:\n" + page}]
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
