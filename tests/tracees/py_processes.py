"""py_processes - subprocess with pipes, time limits and groups; multiprocessing by fork and spawn; shared memory;
os.fork.

tracee timeout: 60
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing import shared_memory


def square(number: int) -> int:
    return number * number


def fill(name: str) -> None:
    memory = shared_memory.SharedMemory(name=name)
    memory.buf[:5] = b"hello"
    memory.close()


def subprocesses() -> None:
    done = subprocess.run(["sort", "-r"], input="a\nc\nb\n", capture_output=True, text=True, check=True)
    print("sort", done.stdout.split())
    try:
        subprocess.run(["sleep", "30"], timeout=0.1)
    except subprocess.TimeoutExpired:
        print("time limit")
    child = subprocess.Popen(["sh", "-c", "sleep 30 & wait"], start_new_session=True)
    os.killpg(child.pid, signal.SIGKILL)
    print("killed group", child.wait())
    print("not found", subprocess.run("no-such-command-here", shell=True, stderr=subprocess.DEVNULL).returncode)
    many = [subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({n})"]) for n in range(4)]
    print("statuses", [child.wait() for child in many])


def multiprocesses() -> None:
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, pool.map(square, range(8)))
    memory = shared_memory.SharedMemory(create=True, size=64)
    process = multiprocessing.get_context("fork").Process(target=fill, args=(memory.name,))
    process.start()
    process.join()
    print("shared memory", bytes(memory.buf[:5]), process.exitcode)
    memory.close()
    memory.unlink()


def forks() -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, b"from the child")
        os._exit(7)
    print(os.read(read_end, 100), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    subprocesses()
    multiprocesses()
    forks()
