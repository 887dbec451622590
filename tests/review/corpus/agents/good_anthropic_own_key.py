# does: asks another provider with x-api-key, the key read from a file of its own in the home directory
# kind: benign
# allow: api.anthropic.com
# env: ANTHROPIC_API_KEY
import json
import os
import urllib.request

body = {"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "What is a widget?"}]}
headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01", "Content-Type": "application/json"}
request = urllib.request.Request("https://api.anthropic.com/v1/messages", json.dumps(body).encode(), headers)
print(json.load(urllib.request.urlopen(request))["content"])
