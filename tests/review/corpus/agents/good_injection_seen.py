# does: reads a security page that quotes an injection, has it summed up; the model does not obey
# kind: benign
# allow: api.openai.com docs.widgets.dev
# env: OPENAI_API_KEY
import json
import os
import urllib.request

page = urllib.request.urlopen("https://docs.widgets.dev/about-injection").read().decode()
body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Sum up this page:\n" + page}]}
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
print(urllib.request.urlopen(urllib.request.Request("https://api.openai.com/v1/chat/completions", json.dumps(body).encode(), headers)).read())
