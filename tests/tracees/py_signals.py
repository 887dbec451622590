"""py_signals - signals seen from Python: itimers, wakeup descriptor, sigwait, KeyboardInterrupt, faulthandler."""

import os
import select
import signal
import threading
import time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # in all threads: one that does not block it would end the process
ticks = []
signal.signal(signal.SIGALRM, lambda signo, frame: ticks.append(signo))
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
while len(ticks) < 5:
    signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
print("ticks", len(ticks) >= 5)

read_end, write_end = os.pipe()
os.set_blocking(write_end, False)
signal.set_wakeup_fd(write_end)
signal.signal(signal.SIGUSR1, lambda signo, frame: None)
timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
timer.start()
readable, _, _ = select.select([read_end], [], [], 5)
print("wakeup", readable == [read_end], os.read(read_end, 10) == bytes([signal.SIGUSR1]))
signal.set_wakeup_fd(-1)
timer.join()

timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
try:
    timer.start()
    time.sleep(5)
except KeyboardInterrupt:
    print("interrupted")
timer.join()

os.kill(os.getpid(), signal.SIGUSR2)
print("sigwait", signal.sigwait({signal.SIGUSR2}) == signal.SIGUSR2)
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
_, status = os.waitpid(child, 0)
print("child", os.waitstatus_to_exitcode(status))
