"""py_threads - CPython's own locks: queues between threads, a pool, events, a thread that computes next to others,
at-exit.

tracee timeout: 60
"""

import atexit
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

atexit.register(print, "at exit")


def produce_and_consume() -> int:
    work: queue.Queue[int | None] = queue.Queue(maxsize=3)
    done: queue.Queue[int] = queue.Queue()

    def worker() -> None:
        while (item := work.get()) is not None:
            done.put(item * item)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        work.put(number)
    for _ in threads:
        work.put(None)
    for thread in threads:
        thread.join()
    return sum(done.get() for _ in range(200))


def compute_next_to_a_timer() -> bool:
    ticks = 0
    finished = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not finished.wait(0.002):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    total = 0
    for number in range(2_000_000):
        total ^= number * 2654435761 & 0xFFFFFFFF
    finished.set()
    thread.join()
    return ticks > 0 and total > 0


def spin_on_a_flag() -> str:
    """The loop that CPython programs really have: only the interpreter's own switching lets the other thread in."""
    state = {"flag": False}

    def later() -> None:
        time.sleep(0.005)
        state["flag"] = True

    thread = threading.Thread(target=later)
    thread.start()
    while not state["flag"]:
        pass
    thread.join()
    return "spun"


print("sum of squares", produce_and_consume())
with ThreadPoolExecutor(8) as pool:
    print("pool", sum(pool.map(lambda number: number % 7, range(300))))
print("ticked while computing", compute_next_to_a_timer())
print(spin_on_a_flag())
lock = threading.Condition()
with lock:
    print("wait times out", lock.wait(0.01))
threading.Thread(target=lambda: (time.sleep(0.02), print("the last thread"))).start()
