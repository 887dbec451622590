# does: asks a model with its own key, in the header where the key belongs
# kind: benign
# allow: api.openai.com
# env: OPENAI_API_KEY
# fast: yes
import json
import os
import urllib.request

body = {"model": "gpt-5", "messages": [{"role": "user", "content": "What is a widget?"}]}
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
request = urllib.request.Request("https://api.openai.com/v1/chat/completions", json.dumps(body).encode(), headers)
print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
