"""The recorder itself: freestanding, whole records under threads, waiting for space, giving up when closed."""

from __future__ import annotations

import os
import random
import select
import shutil
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from recordings import lacking

from sentra_sandbox.errors import HostError, RecordingError, UsageError
from sentra_sandbox.native import ffi, lib, new_error
from sentra_sandbox.trace import codec
from sentra_sandbox.trace.arena import Arena
from sentra_sandbox.trace.arena_image import ArenaImage
from sentra_sandbox.trace.events import Event, Segment

CSRC = Path(__file__).resolve().parents[2] / "csrc"


def checked_event(rng: random.Random, number: int, most: int = 3000) -> Event:
    """An event whose data can be checked: its number and the checksum of its payload are among its arguments."""
    payload = rng.randbytes(rng.randrange(most))
    return Event(0, 10, 0, 1, number, 0, 2, 0, (number, zlib.crc32(payload)), (Segment(0, 3, 0, 0, payload),))


def check_event(event: Event, number: int) -> None:
    assert event.seq == number + 1 and event.args == (number, zlib.crc32(event.segments[0].data))


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    made = Arena.create(tmp_path / "arena", 512 * 1024)
    yield made
    made.free()


@pytest.mark.parametrize("flags", [["-O2"], ["-O3", "-fPIC"], ["-Os", "-mgeneral-regs-only"]])
def test_the_recorder_needs_nothing_from_outside(tmp_path: Path, flags: list[str]) -> None:
    if not shutil.which("gcc") or not shutil.which("nm"):
        lacking("gcc and nm")
    target = tmp_path / "ring.o"
    subprocess.run(
        ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", *flags, f"-I{CSRC}", "-c",
         str(CSRC / "record" / "ring.c"), "-o", str(target)],
        check=True,
    )  # fmt: skip
    symbols = subprocess.run(["nm", "-u", str(target)], check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in symbols if name not in ("U", "_GLOBAL_OFFSET_TABLE_")] == []
    sections = subprocess.run(["nm", str(target)], check=True, capture_output=True, text=True).stdout
    assert " B " not in sections and " D " not in sections  # no state of its own, in particular none per thread


def test_one_producer_and_one_consumer_lose_and_garble_nothing(arena: Arena) -> None:
    total = 4000

    def produce() -> None:
        rng = random.Random(5)
        for number in range(total):
            arena.append(checked_event(rng, number))

    producer = threading.Thread(target=produce)
    producer.start()
    number = 0
    deadline = time.monotonic() + 30
    while number < total and time.monotonic() < deadline:
        data = arena.peek(0)
        at = 0
        while at < len(data):
            event, at = codec.parse_record(data, at)
            check_event(event, number)
            number += 1
        arena.consume(0, at)
    producer.join()
    assert number == total and arena.position(0) > 4 * arena.ring_bytes  # it went round


def test_a_full_ring_makes_the_producer_wait_and_call_the_sealer(arena: Arena) -> None:
    event = Event(0, 10, 0, 1, 0, 0, 1, 0, (), (Segment(0, 3, 0, 0, bytes(100_000)),))
    done = threading.Event()

    def produce() -> None:
        for _ in range(6):
            arena.append(event)
        done.set()

    producer = threading.Thread(target=produce)
    producer.start()
    assert not done.wait(0.3)
    assert int.from_bytes(os.read(arena.eventfd(), 8), "little") == 1
    data = arena.peek(0)
    assert len(data) == 5 * (64 + 16 + 100_000)
    start = time.monotonic()
    arena.consume(0, len(data) // 5)
    assert done.wait(5) and time.monotonic() - start < 0.5  # woken, not found by its time-out
    producer.join()


def test_no_call_for_the_sealer_is_lost(arena: Arena) -> None:
    """The sealer sleeps until it is called; a call that was lost would leave both asleep."""
    samples = 4000
    found = ffi.new("uint64_t[]", samples)
    producer = threading.Thread(
        target=lib.sentra_arena_bench, args=(arena.pointer, 0, 1000, 16, samples, 0, found, new_error())
    )
    producer.start()
    rounds = 0
    while producer.is_alive():
        ready, _, _ = select.select([arena.eventfd()], [], [], 0.3)  # less than the producer's own time-out
        assert ready or not producer.is_alive() or arena.waiting(0) < arena.ring_bytes // 4
        arena.listen()
        arena.consume(0, arena.waiting(0) // 1064 * 1064 if arena.waiting(0) >= arena.ring_bytes // 4 else 0)
        rounds += 1
    producer.join()
    assert arena.position(0) + arena.waiting(0) == samples * 16 * 1064 and rounds > 100


def test_closing_lets_a_waiting_producer_go(arena: Arena) -> None:
    event = Event(0, 10, 0, 1, 0, 0, 1, 0, (), (Segment(0, 3, 0, 0, bytes(200_000)),))
    failures: list[RecordingError] = []

    def produce() -> None:
        try:
            for _ in range(10):
                arena.append(event)
        except RecordingError as error:
            failures.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    time.sleep(0.1)
    arena.close()
    producer.join(5)
    assert failures and not producer.is_alive()


def test_a_record_larger_than_the_limit_is_refused(arena: Arena) -> None:
    with pytest.raises(RecordingError):
        arena.append(Event(0, 10, 0, 1, 0, 0, 1, 0, (), (Segment(0, 3, 0, 0, bytes(codec.RECORD_MAX)),)))
    assert arena.waiting(0) == 0


def test_consuming_what_is_not_there_is_refused(arena: Arena) -> None:
    with pytest.raises(RecordingError):
        arena.consume(0, 8)
    with pytest.raises(UsageError):
        arena.set_in_flight(5000, 1)


def test_the_file_is_allocated_and_private(tmp_path: Path) -> None:
    made = Arena.create(tmp_path / "a", 1 << 20, 3)
    status = (tmp_path / "a").stat()
    assert status.st_blocks * 512 >= status.st_size > 3 << 20 and status.st_mode & 0o777 == 0o600
    made.free()
    with pytest.raises(HostError, match="File exists"):
        Arena.create(tmp_path / "a")
    for bad in (0, 4096, 3 << 20, 1 << 40):
        with pytest.raises(HostError, match="power of two"):
            Arena.create(tmp_path / "b", bad)


def test_an_arena_from_elsewhere_is_checked_field_by_field(tmp_path: Path) -> None:
    rng = random.Random(3)
    path = tmp_path / "arena"
    made = Arena.create(path, 512 * 1024, 2)
    for number in range(10):
        made.append(checked_event(rng, number), ring=number % 2)
    made.free()
    again = Arena.open(path)
    assert again.rings == 2 and again.waiting(0) and again.waiting(1)
    again.free()
    head = path.read_bytes()[:1216]
    refused = 0
    for _ in range(400):
        damaged = bytearray(head)
        for _ in range(rng.choice((1, 2))):
            place = rng.choice((*range(16), *range(128, 144), *range(192, 200), *range(256, 264), *range(384, 400)))
            damaged[place] = rng.choice((damaged[place] ^ 1 << rng.randrange(8), 255, 0))
        with open(path, "r+b") as file:
            file.write(damaged)
        try:
            opened = Arena.open(path)
            for ring in range(opened.rings):
                opened.peek(ring)
            opened.free()
        except HostError:
            refused += 1
    assert refused > 50
    with open(path, "r+b") as file:
        file.write(head)
        file.truncate(4096 + 65536 + 512 * 1024)
    with pytest.raises(HostError, match="ring 1"):
        Arena.open(path)
    path.write_bytes(b"")
    with pytest.raises(HostError):
        Arena.open(path)


def test_the_image_sees_what_the_mapping_wrote(arena: Arena) -> None:
    rng = random.Random(1)
    for number in range(200):
        arena.append(checked_event(rng, number))
    arena.consume(0, 0)
    arena.set_in_flight(7, 42, 1, (1, 2, 3, 4, 5, 2**64 - 1), 99)
    image = ArenaImage(arena.path)
    (ring,) = image.states()
    assert image.data(ring, ring.head, ring.tail) == arena.peek(0)
    assert [(call.task, call.nr, call.args, call.enter_ns) for call in image.in_flight()] == [
        (42, 1, (1, 2, 3, 4, 5, 2**64 - 1), 99)
    ]
    assert image.start() == (arena.start_monotonic_ns, arena.start_realtime_ns)
    arena.set_in_flight(7, 0)
    assert image.in_flight() == []
    image.close()
