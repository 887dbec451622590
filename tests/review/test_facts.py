"""Facts of real runs: programs do something in the sandbox, and the facts say what it was."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from running import Product

from sentra_sandbox.review.facts import Facts, FileAccess, collect
from sentra_sandbox.trace.reader import Trace

PYTHON = sys.executable
Record = Callable[..., Facts]


@pytest.fixture
def facts_of(product: Product, monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """Runs a Python program with ``work`` as its directory; its facts."""
    monkeypatch.setenv("SENTRA_SANDBOX_HOME", product.env["SENTRA_SANDBOX_HOME"])
    with ExitStack() as stack:

        def record(code: str, *options: str, **env: str) -> Facts:
            directory = product.work / "run"
            script = product.work / "agent.py"
            script.write_text(code)
            finished = product("exec", "-q", "-o", str(directory), *options, "--", PYTHON, "-S", "-E", str(script), **env)
            assert finished.status == 0, finished
            return collect(stack.enter_context(Trace(directory)))

        yield record


def of(facts: Facts, kind: str, end: str) -> list[FileAccess]:
    return [access for access in facts.files if access.kind == kind and any(name.endswith(end) for name in access.names)]


def test_a_file_is_the_same_under_all_its_names(facts_of: Record, work: Path) -> None:
    facts = facts_of(
        "import os\n"
        "open('secret', 'w').write('the content')\n"
        "os.symlink('secret', 'soft'); os.link('secret', 'hard')\n"
        "here = os.open('.', os.O_RDONLY)\n"
        "os.read(os.open('soft', os.O_RDONLY, dir_fd=here), 100)\n"
        "os.read(os.open('hard', os.O_RDONLY), 100)\n"
        "fd = os.open('secret', os.O_RDONLY); os.read(os.open(f'/proc/self/fd/{fd}', os.O_RDONLY), 100)\n"
        "os.rename('secret', 'moved'); os.read(os.open('moved', os.O_RDONLY), 100)\n"
    )
    reads = [access for access in of(facts, "read", "/secret") if access.size == 11]
    assert [Path(access.path).name for access in reads] == ["secret", "hard", "secret", "moved"]
    assert {facts.content_hash(access) for access in reads} == {hashlib.sha256(b"the content").hexdigest()}
    assert [Path(access.target).name for access in of(facts, "rename", "/secret")] == ["moved"]
    (written,) = [access for access in of(facts, "write", "/secret") if access.size]
    assert facts.bytes_of(written.seqs[0]) == b"the content"


def test_what_was_created_deleted_and_changed_is_in_order(facts_of: Record) -> None:
    facts = facts_of(
        "import os\n"
        "os.mkdir('d'); os.close(os.open('d/f', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)); os.chmod('d/f', 0o755)\n"
        "os.truncate('d/f', 3); os.unlink('d/f'); os.rmdir('d')\n"
        "try: open('/etc/not-there')\n"
        "except OSError: pass\n"
    )
    kinds = [access.kind for access in facts.files if "/d" in access.path and access.path.endswith(("/d", "/d/f"))]
    assert [kind for kind in kinds if kind != "stat"] == ["mkdir", "create", "write", "chmod", "truncate", "delete", "delete"]
    assert of(facts, "chmod", "/d/f")[0].mode == 0o755
    assert of(facts, "read", "/etc/not-there")[0].failed == "ENOENT"


def test_processes_images_and_flows(facts_of: Record) -> None:
    facts = facts_of(
        "import os, subprocess\n"
        "open('s.sh', 'w').write('#!/bin/sh\\nread line; echo $line\\n'); os.chmod('s.sh', 0o755)\n"
        "print(subprocess.run(['./s.sh'], input=b'by a pipe\\n', stdout=subprocess.PIPE).stdout)\n"
    )
    first, script = facts.processes[1], facts.processes[2]
    assert (script.parent, script.name, script.wait_status) == (1, "s.sh", 0)
    image = script.images[-1]
    assert image.interpreter.endswith(("sh", "dash")) and image.argv[1] == "./s.sh" and len(image.sha256) == 64
    assert image.stdio[0].startswith("pipe:")
    assert [fact.number for fact in facts.lineage(2)] == [2, 1]
    assert {(flow.source, flow.target, flow.size) for flow in facts.flows if flow.kind == "pipe"} == {(1, 2, 10), (2, 1, 10)}
    assert any(flow.kind == "file" and flow.source == 1 and flow.target == 2 and flow.name.endswith("s.sh") for flow in facts.flows)
    assert facts.process_of(script.pid, image.seq) == 2 and facts.process_of(first.pid, 1) == 1


def test_a_program_without_a_file_is_seen_as_such(facts_of: Record) -> None:
    facts = facts_of(
        "import os\n"
        "fd = os.memfd_create('cache'); os.write(fd, open('/bin/true', 'rb').read())\n"
        "if os.fork() == 0: os.execve(fd, ['[kworker/0:1]'], {})\n"
        "os.wait()\n"
    )
    image = facts.processes[2].images[-1]
    assert image.fileless and image.argv == ("[kworker/0:1]",)
    assert image.sha256 == hashlib.sha256(Path("/bin/true").read_bytes()).hexdigest()
    assert [call.name for call in facts.calls if not call.refused] == ["memfd_create", "execveat"]


def test_large_and_vectored_buffers_are_whole(facts_of: Record) -> None:
    facts = facts_of(
        "import os\n"
        "fd = os.open('big', os.O_CREAT | os.O_RDWR, 0o600)\n"
        "os.write(fd, bytes(range(256)) * 4096); os.writev(fd, [b'one ', b'two']); os.pread(fd, 1 << 21, 0)\n"
        "a = os.open('copy', os.O_CREAT | os.O_WRONLY, 0o600); os.sendfile(a, fd, 0, 1 << 20)\n"
    )
    whole = bytes(range(256)) * 4096
    (written,) = of(facts, "write", "/big")
    assert [facts.bytes_of(seq) for seq in written.seqs] == [whole, b"one two"]
    (read,) = [access for access in of(facts, "read", "/big") if access.size > 4096]
    assert facts.bytes_of(read.seqs[0]) == whole + b"one two"
    (copy,) = of(facts, "write", "/copy")
    assert facts.content_hash(copy) == hashlib.sha256(whole).hexdigest()


def test_refused_calls_and_signals_to_others(facts_of: Record) -> None:
    facts = facts_of(
        "import os, signal, time\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(60)\n"
        "os.kill(child, signal.SIGTERM); os.wait()\n"
    )
    assert (facts.processes[2].killed_by, facts.processes[2].wait_status) == (1, 15)
    assert [call.detail for call in facts.calls if call.name == "kill"] == [f"kill({facts.processes[2].pid}, SIGTERM)"]


def test_raw_bytes_to_a_host_are_transfers(facts_of: Record) -> None:
    """In a network of the run's own, without anybody who listens outside: the datagram left, and its bytes are known."""
    facts = facts_of(
        "import socket\n"
        "a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.sendto(b'a datagram', ('198.51.100.7', 9999))\n"
        "server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname())\n"
        "peer, _ = server.accept(); client.sendall(b'inside'); peer.recv(100)\n"
    )
    outgoing = [transfer for transfer in facts.transfers if transfer.outgoing]
    assert [(t.address, t.port, t.protocol, t.size) for t in outgoing] == [("198.51.100.7", 9999, "udp", 10)]
    assert facts.bytes_of(outgoing[0].seqs[0]) == b"a datagram"


def test_a_damaged_trace_gives_what_is_there(facts_of: Record, work: Path) -> None:
    events = facts_of("import os\nfor _ in range(4000): os.stat('/')\n").events
    path = work / "run" / "events"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with Trace(work / "run") as trace:
        facts = collect(trace)
    assert 0 < facts.events < events and any("damaged" in gap for gap in facts.gaps)
