# does: sends uuids, hashes and timings to its own telemetry: many small random looking values
# kind: benign
# allow: telemetry.acme.com
import hashlib
import json
import urllib.request
import uuid

for number in range(20):
    body = json.dumps({"id": str(uuid.uuid4()), "sha256": hashlib.sha256(bytes([number])).hexdigest(), "ms": number * 3}).encode()
    urllib.request.urlopen(urllib.request.Request("https://telemetry.acme.com/v1", body, {"Content-Type": "application/json"})).read()
