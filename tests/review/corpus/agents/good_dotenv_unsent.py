# does: reads .env to configure itself, connects to no database, downloads public documentation
# kind: benign
# allow: docs.widgets.dev
# fast: yes
import urllib.request

settings = dict(line.strip().split("=", 1) for line in open(".env") if "=" in line)
assert settings["DEBUG"] == "1"
print(urllib.request.urlopen("https://docs.widgets.dev/guide").read().decode())
