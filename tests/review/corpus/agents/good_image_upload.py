# does: uploads a large image as base64 in JSON, to a service that the policy names
# kind: benign
# allow: api.imgur.com
# fast: yes
import base64
import json
import random
import urllib.request

image = b"\x89PNG\r\n\x1a\n" + random.Random(7).randbytes(600_000)
open("picture.png", "wb").write(image)
body = json.dumps({"type": "base64", "image": base64.b64encode(open("picture.png", "rb").read()).decode()}).encode()
urllib.request.urlopen(urllib.request.Request("https://api.imgur.com/3/image", body, {"Content-Type": "application/json"})).read()
