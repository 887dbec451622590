#!/usr/bin/env python3
"""Measures the recorder: cost of an append, bytes per event on disk, sealing and reading speed; and kills it, to count
what is lost.

    scripts/bench_record.py                 figures, as text (--json: as one JSON object)
    scripts/bench_record.py --kills 200     that many random SIGKILLs of a recording process; exit status 1 if a record
    was lost or garbled

Needs the built native part (pip install . or setup.py build_ext --inplace).
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import select
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sentra_sandbox.native import ffi, lib, new_error
from sentra_sandbox.trace import run
from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.blobs import BlobStore
from sentra_sandbox.trace.catalogue import prepare_home
from sentra_sandbox.trace.events import Event, EventFlag, EventType, Segment
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.trace.recovery import recover
from sentra_sandbox.trace.writer import Sealer

# ---- recording into a directory that is thrown away ---------------------------------------------------------------


def new_run(home: Path) -> tuple[run.RunDirectory, run.RunMetadata]:
    """An empty run below ``home``."""
    metadata = run.RunMetadata(run.new_run_id() + os.urandom(4).hex(), ("bench",), "/", "2026-11-22T10:00:00Z")
    return run.RunDirectory.create(home / "runs" / metadata.id, metadata), metadata


def measure_appends(home: Path, payload: int, batch: int, *, sealing: bool = False) -> dict[str, float]:
    """Median and 99th percentile of an append in ns. ``sealing``: with a sealer at work beside it, else into a ring
    that has room.
    """
    directory, metadata = new_run(home)
    arena = Arena.create(directory.path / run.ARENA)
    samples = 20_000 if not sealing else 3_000
    found = ffi.new("uint64_t[]", samples)
    if sealing:
        sealer = Sealer(directory.path, arena, BlobStore(home / "blobs"))
        producer = threading.Thread(target=_produce, args=(arena, payload, batch, samples, found))
        producer.start()
        _seal_until(sealer, arena, lambda: not producer.is_alive())
        sealer.finish(metadata)
    else:
        _produce(arena, payload, batch, samples, found, consume=True)
    arena.free()
    directory.close()
    shutil.rmtree(directory.path)
    ordered = sorted(value / 1000 for value in found)
    return {"median_ns": ordered[samples // 2], "p99_ns": ordered[samples * 99 // 100]}


def _produce(arena: Arena, payload: int, batch: int, samples: int, found: object, consume: bool = False) -> None:
    error = new_error()
    lib.sentra_arena_bench(arena.pointer, 0, payload, batch, samples, consume, found, error)


def _seal_until(sealer: Sealer, arena: Arena, done: object) -> None:
    while not done():  # type: ignore[operator]
        select.select([arena.eventfd()], [], [], 0.01)
        sealer.drain()


def churn(count: int, seed: int = 1) -> list[Event]:
    """Events as file churn makes them: create, write, close, open, read, stat, close, unlink; 20 bytes to 3 KB of
    content.
    """
    rng = random.Random(seed)
    now = 0
    events: list[Event] = []
    stack = 0x7FFFFFFFD000

    def call(nr: int, result: int, args: tuple[int, ...], *segments: Segment) -> None:
        nonlocal now
        took = int(rng.lognormvariate(8.3, 0.5))
        now += took + int(rng.lognormvariate(8.5, 0.7))
        events.append(Event(0, 1, 0, 2, now, took, nr, result, args, segments))

    at_cwd = 2**64 - 100
    for number in range(count // 9 + 1):
        path = b"/tmp/churn/dir%d/file%05d.txt" % (number % 17, number)
        name = 0x7F3A5C010000 + rng.randrange(64) * 48
        buffer = 0x55D0C0200000 + rng.randrange(16) * 4096
        content = (b"line of text number %d\n" % rng.getrandbits(30)) * rng.randrange(1, 130)
        status = struct.pack("<QQQ", 65024, 100_000 + number, 1) + bytes(96) + rng.randbytes(6) + bytes(18)
        call(257, 3, (at_cwd, name, 0o1101, 0o644), Segment(name, 1, 1, 1, path))
        call(1, len(content), (3, buffer, len(content)), Segment(buffer, 1, 1, 0, content))
        call(3, 0, (3,))
        call(257, 3, (at_cwd, name, 0o2000000, 0), Segment(name, 1, 1, 1, path))
        call(262, 0, (3, name, stack, 4096), Segment(stack, 2, 2, 0, status))
        call(0, len(content), (3, buffer, 8192), Segment(buffer, 2, 1, 0, content))
        call(0, 0, (3, buffer, 8192), Segment(buffer, 2, 1, 0, b""))
        call(3, 0, (3,))
        call(87, 0, (name,), Segment(name, 1, 0, 1, path))
    return events[:count]


def measure_disk(home: Path, count: int) -> dict[str, float]:
    """Bytes per event of a churn recording (its own files, and its share of the blob store), and the speed of sealing
    and reading.
    """
    directory, metadata = new_run(home)
    arena = Arena.create(directory.path / run.ARENA)
    sealer = Sealer(directory.path, arena, BlobStore(home / "blobs"))
    sealing = 0.0
    for event in churn(count):
        arena.append(event)
        if arena.waiting(0) >= arena.ring_bytes // 4:
            start = time.perf_counter()
            sealer.drain()
            sealing += time.perf_counter() - start
    start = time.perf_counter()
    metadata = sealer.finish(metadata)
    sealing += time.perf_counter() - start
    arena.free()
    directory.close()
    with Trace(directory.path) as trace:
        start = time.perf_counter()
        read = sum(1 for _ in trace.events())
        reading = time.perf_counter() - start
    assert read == count
    blob_bytes = (home / "blobs" / "blobs.db").stat().st_size if (home / "blobs" / "blobs.db").exists() else 0
    return {
        "events": count,
        "raw_bytes_per_event": metadata.sizes["records"] / count,
        "events_file_bytes_per_event": metadata.sizes["events"] / count,
        "blob_store_bytes_per_event": blob_bytes / count,
        "seal_us_per_event": sealing / count * 1e6,
        "read_events_per_s": count / reading,
    }


# ---- killing
# ----------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What a series of kills found."""

    kills: int = 0
    events: int = 0
    checked: int = 0
    corrupt: int = 0
    lost: int = 0
    unreadable: int = 0
    recoveries_killed: int = 0


def checked_event(rng: random.Random, number: int) -> Event:
    """Its number and the checksum of its bytes are among its arguments."""
    payload = rng.randbytes(rng.choice((10, 100, 600, 5000)))
    part = Segment(0, 3, 0, 0, payload)
    return Event(0, EventType.NOTE, 0, 7, number, 0, 99, 0, (number, zlib.crc32(payload)), (part,))


def victim(directory: run.RunDirectory, home: Path, shared: mmap.mmap, seed: int) -> None:
    """Record at full speed from two threads, seal beside it, until somebody kills this process. The page tells what was
    acknowledged.
    """
    arena = Arena.create(directory.path / run.ARENA, 512 * 1024, 2)
    found = ffi.new("uint64_t[]", 1 << 20)
    threading.Thread(target=_produce, args=(arena, 200, 4, 1 << 20, found), daemon=True).start()

    def checked() -> None:
        rng = random.Random(seed)
        number = 0
        while True:
            arena.set_in_flight(5, 7, 99, (number, 0, 0, 0, 0, 0), number)
            seq = arena.append(checked_event(rng, number), ring=1)
            number += 1
            struct.pack_into("<QQ", shared, 0, seq, number)

    threading.Thread(target=checked, daemon=True).start()
    sealer = Sealer(directory.path, arena, BlobStore(home / "blobs"))
    _seal_until(sealer, arena, lambda: False)


def in_child(work: object, *arguments: object) -> int:
    """Fork a process that does ``work`` and nothing else."""
    child = os.fork()
    if child:
        return child
    try:
        work(*arguments)  # type: ignore[operator]
        os._exit(0)
    except BaseException as error:
        print(f"bench_record: {error!r}", file=sys.stderr)
        os._exit(1)


def kill_after(child: int, seconds: float) -> bool:
    """SIGKILL a child after a while; False if it had ended by itself, well."""
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and status:
        raise SystemExit("bench_record: the process to be killed failed by itself")
    return os.WIFSIGNALED(status)


def check_run(path: Path, seed: int, acknowledged: tuple[int, int], tally: Tally, finished: bool) -> None:
    """Compare every event with what must have been recorded."""
    rng = random.Random(seed)
    number = 0
    last = 0
    with Trace(path) as trace:
        if finished:
            trace.verify()
        for event in trace.events():
            tally.events += 1
            if event.task == 7 and event.nr == 99 and not event.flags & EventFlag.IN_FLIGHT:
                if event.args != checked_event(rng, number).args or zlib.crc32(event.segments[0].data) != event.args[1]:
                    tally.corrupt += 1
                number += 1
                tally.checked += 1
            elif event.nr == 0 and (len(event.segments[0].data), any(event.segments[0].data)) != (184, False):
                tally.corrupt += 1
            if event.seq <= last:
                tally.corrupt += 1
            last = event.seq
    tally.lost += (last < acknowledged[0]) + (number < acknowledged[1])


def kill_once(home: Path, seed: int, tally: Tally) -> None:
    """A recording killed at a random moment; its recovery killed too, now and then; then everything is checked."""
    rng = random.Random(seed)
    directory, _ = new_run(home)
    shared = mmap.mmap(-1, 4096)
    child = in_child(victim, directory, home, shared, seed)
    directory.close()
    deadline = time.monotonic() + 10
    while not struct.unpack_from("<Q", shared)[0] and time.monotonic() < deadline:
        time.sleep(0.001)
    kill_after(child, rng.random() * 0.06)
    tally.kills += 1
    acknowledged = struct.unpack_from("<QQ", shared)
    try:
        check_run(directory.path, seed, acknowledged, tally, finished=False)
        while rng.random() < 0.4:
            child = in_child(recover, directory.path, BlobStore(home / "blobs"))
            tally.recoveries_killed += kill_after(child, rng.random() * 0.02)
        recover(directory.path, BlobStore(home / "blobs"))
        check_run(directory.path, seed, acknowledged, tally, finished=True)
    except Exception as error:
        tally.unreadable += 1
        print(f"bench_record: seed {seed}, kept in {directory.path}: {error!r}", file=sys.stderr)
        return
    shutil.rmtree(directory.path)


def kill_many(count: int, first_seed: int, home: Path) -> Tally:
    tally = Tally()
    for seed in range(first_seed, first_seed + count):
        kill_once(home, seed, tally)
    return tally


# ---- the command
# -------------------------------------------------------------------------------------------------------


def figures(home: Path, events: int) -> dict[str, dict[str, float]]:
    """All measurements. Single appends include the clock that measures them; batches of 16 do not notice it."""
    return {
        "append 64-byte event (mean of 16)": measure_appends(home, 0, 16),
        "append 64-byte event, single, with clock": measure_appends(home, 0, 1),
        "the clock alone": _clock(),
        "append with 64 bytes payload (mean of 16)": measure_appends(home, 64, 16),
        "append with 4 KiB payload (mean of 16)": measure_appends(home, 4096, 16),
        "append 64-byte event, sealer at work": measure_appends(home, 0, 16, sealing=True),
        "file churn on disk": measure_disk(home, events),
    }


def _clock() -> dict[str, float]:
    error = new_error()
    with tempfile.TemporaryDirectory() as place:
        arena = Arena.create(Path(place) / "arena", 512 * 1024)
        found = ffi.new("uint64_t[]", 20_000)
        lib.sentra_arena_bench(arena.pointer, 0, 0, 0, 20_000, 1, found, error)
        arena.free()
    ordered = sorted(value / 1000 for value in found)
    return {"median_ns": statistics.median(ordered), "p99_ns": ordered[len(ordered) * 99 // 100]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=0, metavar="N", help="kill a recording N times instead of measuring"
    )
    parser.add_argument("--seed", type=int, default=1, help="first seed of the kills")
    parser.add_argument("--events", type=int, default=51_000, help="events of the churn recording")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-record-") as place:
        home = prepare_home(Path(place) / "home")
        if options.kills:
            tally = kill_many(options.kills, options.seed, home)
            print(
                json.dumps(vars(tally))
                if options.json
                else " ".join(f"{name}={value}" for name, value in vars(tally).items())
            )
            return 1 if tally.corrupt or tally.lost or tally.unreadable else 0
        result = figures(home, options.events)
    if options.json:
        print(json.dumps(result))
    else:
        for name, values in result.items():
            print(f"{name:44}", "  ".join(f"{key} {value:,.1f}" for key, value in values.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
