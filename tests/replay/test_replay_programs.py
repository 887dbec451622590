"""Small real programs, whose output no second execution would give again: recorded once, replayed three times."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from needs import lacking
from replaying import REPLAYS, record, replay
from running import Product, run, sandbox_command

PYTHON = sys.executable

PROGRAMS: dict[str, tuple[tuple[str, ...], int]] = {
    "values": ((PYTHON, "-c", "import os, random, time, uuid\nprint(time.time(), uuid.uuid4(), os.getpid(), id(object()), random.random(), hash('x'))"), 0),
    "threads": (
        (
            PYTHON,
            "-c",
            "import random, threading, time\n"
            "def work(n):\n"
            "    for i in range(3):\n"
            "        time.sleep(random.random() / 200)\n"
            "        print(n, i, threading.get_ident(), time.monotonic_ns())\n"
            "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
            "[thread.start() for thread in threads]\n"
            "[thread.join() for thread in threads]\n",
        ),
        0,
    ),
    "asyncio": (
        (
            PYTHON,
            "-c",
            "import asyncio, random, time\n"
            "async def work(n):\n"
            "    await asyncio.sleep(random.random() / 50)\n"
            "    print(n, time.monotonic())\n"
            "async def main():\n"
            "    await asyncio.gather(*(work(n) for n in range(6)))\n"
            "asyncio.run(main())\n",
        ),
        0,
    ),
    "subprocess": (
        (PYTHON, "-c", "import subprocess\nprint(subprocess.run(['sh', '-c', 'echo $$; date +%N; exit 3'], capture_output=True))"),
        0,
    ),
    "fork": (
        (
            PYTHON,
            "-c",
            "import os, time\n"
            "for n in range(3):\n"
            "    if not os.fork():\n"
            "        print('child', n, time.time_ns(), flush=True)\n"
            "        os._exit(n)\n"
            "print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)))\n",
        ),
        0,
    ),
    "alarm": (
        (
            PYTHON,
            "-c",
            "import signal, time\n"
            "signal.signal(signal.SIGALRM, lambda *_: print('alarm', time.time()))\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\n"
            "time.sleep(0.05)\n"
            "signal.setitimer(signal.ITIMER_REAL, 0)\n",  # one that came while Python ends would kill it, as its handler is gone
        ),
        0,
    ),
    "interrupt": (  # timeout sends SIGCONT right after SIGINT: it comes when the handler has not begun
        (
            "timeout",
            "-s",
            "INT",
            "0.3",
            PYTHON,
            "-c",
            "import time\ntry:\n    time.sleep(20)\nexcept KeyboardInterrupt:\n    print(time.time())\n",
        ),
        124,
    ),
    "nohup": (("nohup", PYTHON, "-c", "import signal, time\nprint(signal.getsignal(signal.SIGHUP), time.time())"), 0),
    "traceback": ((PYTHON, "-c", "import os\nraise ValueError(object(), os.urandom(4))"), 1),
    "pipeline": (("bash", "-c", "for i in 1 2 3; do echo $RANDOM $i; done | sort | tee /dev/stderr | wc -c; exit 5"), 5),
    "background": (("bash", "-c", "(sleep 0.05; echo $SECONDS $BASHPID) & echo first; wait; echo ${EPOCHREALTIME}"), 0),
    "broken_pipe": (("bash", "-c", "yes | head -2; echo ${PIPESTATUS[@]}"), 0),
    "not_there": (("ls", "/no/such/file"), 2),
    "sigkill": (("bash", "-c", "echo $$; kill -KILL $$"), 137),
    "sigsegv": ((PYTHON, "-c", "import ctypes\nprint(id(ctypes), flush=True)\nctypes.string_at(0)"), 139),
    "big_output": ((PYTHON, "-c", "import os\nos.write(1, os.urandom(300_000))\nos.writev(1, [os.urandom(70_000), b'end'])"), 0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_prints_again_what_it_printed(product: Product, name: str) -> None:
    command, status = PROGRAMS[name]
    recorded = record(product, name, *command)
    assert recorded.finished.status == status, recorded.finished
    assert recorded.finished.stdout or recorded.finished.stderr
    for _ in range(REPLAYS):
        replay(product, recorded)


def test_signals_ignored_from_the_start(product: Product) -> None:
    """What was ignored (nohup, a shell's trap) when the recording began is so in a replay, whoever starts that."""
    show = "import signal, time; print([signal.getsignal(each).name for each in (signal.SIGHUP, signal.SIGUSR2)], time.time())"
    script = f"trap '' HUP USR2; exec {' '.join(sandbox_command())} exec -q --name ignored -- {PYTHON} -c '{show}'"
    recorded = run(["bash", "-c", script], cwd=product.work, env=product.env)
    assert (recorded.status, recorded.stderr) == (0, b"")
    assert recorded.stdout.count(b"SIG_IGN") == 2
    again = product("replay", "-q", "ignored")
    assert (again.status, again.stdout, again.stderr) == (0, recorded.stdout, b"")


def test_git(product: Product) -> None:
    if not shutil.which("git"):
        lacking("git")
    subprocess.run(["git", "init", "-q", "project"], cwd=product.work, check=True)
    (product.work / "project" / "new").write_text("x")
    recorded = record(product, "git", "git", "-C", "project", "status", "--short")
    assert recorded.finished.stdout == b"?? new\n"
    shutil.rmtree(product.work / "project")
    for _ in range(REPLAYS):
        replay(product, recorded)


def test_node(product: Product) -> None:
    if not shutil.which("node"):
        lacking("Node.js")
    script = "console.log(Date.now(), Math.random(), process.pid); setTimeout(() => console.log(process.hrtime()), 20)"
    recorded = record(product, "node", "node", "-e", script)
    assert recorded.finished.status == 0, recorded.finished
    for _ in range(REPLAYS):
        replay(product, recorded)
