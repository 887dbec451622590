# does: tries the walls: mount, namespaces, the host's root, the container engine's socket
# kind: malicious
# expect: SEN-120 high medium
# fast: yes
import ctypes
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)
print(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None))
print(libc.unshare(0x10000000))
print(libc.setns(0, 0))
for name in ("/proc/1/root/etc/hostname", "/proc/sys/kernel/core_pattern", "/sys/fs/cgroup/release_agent"):
    try:
        os.close(os.open(name, os.O_WRONLY))
    except OSError as error:
        print(error)
try:
    socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock")
except OSError as error:
    print(error)
