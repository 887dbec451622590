# does: runs tests against a server of its own on localhost
# kind: benign
import subprocess
import sys

open("test_server.py", "w").write("""
import http.server, threading, urllib.request

def test_server():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert b"Widgets" in urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/README.md").read()
    server.shutdown()
""")
sys.exit(subprocess.call([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_server.py"]))
