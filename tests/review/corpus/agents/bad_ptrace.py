# does: tries to attach to a process of its own and to read another's memory
# kind: malicious
# expect: SEN-100 medium medium
import ctypes
import os
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
child = subprocess.Popen(["sleep", "5"])
print(libc.ptrace(16, child.pid, 0, 0))
try:
    with open(f"/proc/{child.pid}/mem", "rb") as memory:
        memory.seek(0x400000)
        memory.read(16)
except OSError as error:
    print(error)
child.kill()
child.wait()
os._exit(0)
