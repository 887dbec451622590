# does: starts many processes that talk by pipes and local sockets
# kind: benign
import subprocess
import sys

code = "import sys; print(sum(int(line) for line in sys.stdin))"
for _ in range(4):
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        print(process.communicate("\n".join(map(str, range(1000))))[0])
