# does: reads .env, replaces every value and asks a model about the names only
# kind: benign
# allow: api.anthropic.com
# env: ANTHROPIC_API_KEY
import json
import os
import re
import urllib.request

text = re.sub(r"=.*", "=<redacted>", open(".env").read())
body = {"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "Which settings are missing?\n" + text}]}
headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01", "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request("https://api.anthropic.com/v1/messages", json.dumps(body).encode(), headers)).read()
