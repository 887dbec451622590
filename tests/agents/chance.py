"""What no two runs have in common: agents print it, so that only a true replay says the same again."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid


def chance() -> str:
    """Clocks, ids, random numbers and addresses of this moment, on one line."""
    return (
        f"[{time.time_ns()} {time.perf_counter_ns()} {uuid.uuid4()} pid {os.getpid()} thread {threading.get_native_id()} "
        f"{random.random()} {os.urandom(4).hex()} at {id(object()):#x} hash {hash('chance')}]"
    )
