"""``inspect``: replay a run up to an event and show its tasks there. A thin shell over ``replay.held``."""

from __future__ import annotations

import json

import click

from sentra_sandbox.cli.messages import say
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.cli.terminal import write_line
from sentra_sandbox.errors import Divergence, UsageError
from sentra_sandbox.trace.reader import Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sentra_sandbox.cli.inspect_moment import Moment
    from sentra_sandbox.replay.held import HeldReplay
    from sentra_sandbox.replay.memory import HeldTask

MEMORY_MAX = 1 << 20

HELP = """Replay RUN up to an event and show what its tasks look like just before it.

For each task: what it is about to do, its registers, the Python stack (CPython 3.8 to 3.13) and the native stack. For
each process: its descriptors as recorded, and its memory map. A native frame that had to be guessed says so.

\b
Examples:
  sentra-sandbox inspect last --at 1234
  sentra-sandbox inspect last --next-syscall connect
  sentra-sandbox inspect last --at 500 --path '*/.ssh/*' --task 2
  sentra-sandbox inspect last --next-syscall write --memory rsi:64
  sentra-sandbox inspect last --at 1234 --json | jq '.tasks[0].python_stack'
"""


@click.command("inspect", help=HELP, short_help="Show stacks, registers and memory at an event.")
@click.option("--at", "seq", type=click.IntRange(min=1), default=None, metavar="SEQ", help="Stop before this event.")
@click.option("--next-syscall", "syscall", default="", metavar="NAMES", help="Stop before the first of these calls from there on.")
@click.option("--path", default="", metavar="TEXT", help="Stop before the first call from there on whose path contains TEXT.")
@click.option("--task", type=int, default=None, metavar="T", help="Only this process or thread.")
@click.option("--memory", "areas", multiple=True, metavar="ADDR:LEN", help="Dump memory; ADDR may be a register (repeatable).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("run", metavar="RUN")
def command(seq: int | None, syscall: str, path: str, task: int | None, areas: tuple[str, ...], as_json: bool, run: str) -> int:
    if seq is None and not syscall and not path:
        raise UsageError("Where to stop is missing.", "Give --at SEQ, --next-syscall NAME or --path TEXT.")
    wanted = [_area(text) for text in areas]
    with open_run(run) as trace:
        from sentra_sandbox.cli.inspect_moment import find_moment
        from sentra_sandbox.cli.replay import announce
        from sentra_sandbox.replay.held import HeldReplay

        announce(trace, quiet=as_json)
        moment = find_moment(trace, seq or 1, syscall, path, task)
        with HeldReplay(trace) as held:
            diverged = _run_to(trace, held, moment)
            _show(held, moment, task, wanted, as_json=as_json)
            if diverged:
                _say_divergence(trace, held)
        return Divergence.exit_status if diverged else 0


def _area(text: str) -> tuple[str, int]:
    """``ADDR:LEN``. Raises ``UsageError``."""
    place, _, length = text.rpartition(":")
    try:
        size = int(length, 0)
    except ValueError:
        size = 0
    if not place or not 0 < size <= MEMORY_MAX:
        raise UsageError(f"'{text}' is no piece of memory.", "Write ADDR:LEN, such as 0x7ffe1000:64 or rsi:64, at most 1 MiB.")
    return place, size


def _run_to(trace: Trace, held: HeldReplay, moment: Moment) -> bool:
    """True when the replay diverged on the way. Raises ``UsageError`` when it ended before."""
    from sentra_sandbox.replay.memory import Hold

    place = held.run_to(moment.seq)
    if place == Hold.ENDED:
        last = held.finish().last_seq
        raise UsageError(f"Run {trace.meta.id} ends with event {last}; there is nothing to see at {moment.seq}.")
    return place == Hold.DIVERGED


def _show(held: HeldReplay, moment: Moment, task: int | None, areas: list[tuple[str, int]], *, as_json: bool) -> None:
    from sentra_sandbox.cli.inspect_report import area_lines, area_object, report_lines, report_object
    from sentra_sandbox.replay.inspect import look

    current = held.diverging() or moment.actor
    tasks = [item for item in held.tasks() if task is None or task in (item.inner_tid, item.inner_tgid)]
    if task is not None and not tasks:
        known = ", ".join(str(item.inner_tid) for item in held.tasks())
        raise UsageError(f"There is no task {task} at event {moment.seq}.", f"There are: {known or 'none'}.")
    tasks.sort(key=lambda item: item.inner_tid != current)
    dumps = _dumps(held, tasks, areas)
    views = [look(held, item) for item in tasks]
    if as_json:
        memory = [area_object(item, address, data) for item, address, data in dumps]
        write_line(json.dumps({**report_object(moment, views, current), "memory": memory}))
        return
    for line in report_lines(moment, views, current):
        write_line(line)
    for item, address, data in dumps:
        for line in area_lines(item, address, data):
            write_line(line)


def _dumps(held: HeldReplay, tasks: list[HeldTask], areas: list[tuple[str, int]]) -> list[tuple[HeldTask, int, bytes]]:
    """The wanted memory of the first task. Raises ``UsageError`` for what cannot be read."""
    from sentra_sandbox.replay.inspect import place_of
    from sentra_sandbox.replay.memory import Unreadable

    found = []
    for text, size in areas:
        item = next((item for item in tasks if item.stopped), None)
        address = place_of(item, text) if item else None
        if item is None or address is None:
            raise UsageError(f"'{text}' is neither an address nor a register.", "Write 0x7ffe1000, or rsi.")
        try:
            with held.memory(item) as memory:
                data = memory.read_some(address, size)
        except Unreadable as error:
            raise UsageError(f"The memory cannot be read: {error}.") from error
        if not data:
            raise UsageError(f"Task {item.inner_tid} has no memory at {address:#x}.", "Its memory map shows what it has.")
        found.append((item, address, data))
    return found


def _say_divergence(trace: Trace, held: HeldReplay) -> None:
    from sentra_sandbox.cli.replay_report import divergence_lines

    for line in divergence_lines(trace, held.finish()):
        say(line)
