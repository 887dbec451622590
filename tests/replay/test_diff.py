"""``diff``: two runs that did the same although nothing in them is the same, and runs that did not."""

from __future__ import annotations

import json
import socket
import sys
import threading
from typing import Any

from replaying import record
from running import Product, complaint

PYTHON = sys.executable
SAME, DIFFERENT, TROUBLE = 0, 1, 2
VARYING = (
    "import os, subprocess, tempfile, time\n"
    "print('pid', os.getpid(), 'at', hex(id(object())), time.time(), time.strftime('%F %T'))\n"
    "with tempfile.NamedTemporaryFile('w') as file:\n"
    "    file.write('x' * 10)\n"
    "    file.flush()\n"
    "    subprocess.run(['cat', file.name])\n"
    "print(open(f'/proc/{os.getpid()}/comm').read())\n"
)


def differing(product: Product, left: str, right: str) -> list[dict[str, Any]]:
    """The differences as data; the text names the first of them."""
    finished = product("diff", "--json", left, right)
    assert finished.status == DIFFERENT, finished
    result = json.loads(finished.stdout)
    assert result["same"] is False
    text = product("diff", left, right).stdout.decode()
    first = result["differences"][0]
    assert text.startswith(f"{first['kind']}: {first['what']}"[:100])
    found = result["differences"]
    assert isinstance(found, list)
    return found


def test_same_behaviour(product: Product) -> None:
    record(product, "one", PYTHON, "-c", VARYING)
    record(product, "two", PYTHON, "-c", VARYING)
    finished = product("diff", "one", "two")
    assert (finished.status, finished.stdout, finished.stderr) == (SAME, b"", b"")
    assert json.loads(product("diff", "--json", "one", "two").stdout)["same"] is True
    assert product("diff", "--strict", "one", "two").status == DIFFERENT
    assert product("diff", "--strict", "one", "one").status == SAME


def test_output(product: Product) -> None:
    record(product, "one", "sh", "-c", "echo first; cat data 2>/dev/null; echo last")
    (product.work / "data").write_text("second\n")
    record(product, "two", "sh", "-c", "echo first; cat data 2>/dev/null; echo last")
    found = {item["what"]: item for item in differing(product, "one", "two") if item["kind"] == "output"}
    assert (found["stdout, line 2"]["left"], found["stdout, line 2"]["right"]) == ("last\n", "second\n")


def test_processes(product: Product) -> None:
    record(product, "one", "sh", "-c", "/bin/true; /bin/echo a >/dev/null; exit 0")
    record(product, "two", "sh", "-c", "/bin/true; /bin/echo b >/dev/null; exit 1")
    found = [item for item in differing(product, "one", "two") if item["kind"] == "process"]
    texts = json.dumps(found)
    assert "/bin/echo a" in texts and "/bin/echo b" in texts and "exited with 1" in texts
    assert all(item["left_seq"] > 0 and item["right_seq"] > 0 for item in found)


def test_files(product: Product) -> None:
    script = "import os, sys\nname = os.environ['NAME']\nopen(name, 'w').write(name)\n"
    for run, name in (("one", "a"), ("two", "bb")):
        finished = product("exec", "-q", "--name", run, "-e", f"NAME={name}", "--", PYTHON, "-c", script)
        assert finished.status == 0
    found = {item["what"]: item for item in differing(product, "one", "two")}
    path = f"{product.work}/"
    made = {what.rpartition("/")[2]: item for what, item in found.items() if item["kind"] == "file"}
    assert made["a"]["left"].startswith("written") and made["a"]["right"] == "not opened", (path, found)
    assert made["bb"]["left"] == "not opened" and made["bb"]["right"].startswith("written")


def test_network(product: Product) -> None:
    script = "import os, socket\ns = socket.create_connection(('127.0.0.1', int(os.environ['PORT'])))\ns.close()\n"
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        for server in (one, two):
            threading.Thread(target=server.accept, daemon=True).start()
        ports = [server.getsockname()[1] for server in (one, two)]
        for run, port in zip(("one", "two"), ports, strict=True):
            finished = product("exec", "-q", "--net", "host", "--name", run, "-e", f"PORT={port}", "--", PYTHON, "-c", script)
            assert finished.status == 0
    found = [item for item in differing(product, "one", "two") if item["kind"] == "network"]
    assert [item["what"] for item in found] == [f"127.0.0.1:{port}" for port in ports]
    assert found[0]["left"] == "contacted" and found[0]["right"] == "not contacted"


def test_trouble(product: Product) -> None:
    record(product, "one", "true")
    finished = product("diff", "one", "no-such-run")
    assert finished.status == TROUBLE
    assert "no-such-run" in complaint(finished)
    assert product("diff", "one").status == TROUBLE
