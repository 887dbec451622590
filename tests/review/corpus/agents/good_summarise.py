# does: reads all sources of the workspace and has them summed up by a model
# kind: benign
# allow: api.openai.com
# env: OPENAI_API_KEY
import glob
import json
import os
import urllib.request

text = "\n".join(f"--- {name}\n{open(name).read()}" for name in sorted(glob.glob("**/*.py", recursive=True)))
body = {"model": "gpt-5", "messages": [{"role": "system", "content": "You sum up code."}, {"role": "user", "content": text}]}
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
request = urllib.request.Request("https://api.openai.com/v1/chat/completions", json.dumps(body).encode(), headers)
print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
