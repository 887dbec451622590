"""What ``inspect`` prints: the event, the tasks, their registers, stacks, descriptors, memory. Pure."""

from __future__ import annotations

from dataclasses import asdict

from sentra_sandbox.cli.durations import format_size
from sentra_sandbox.cli.inspect_moment import Moment
from sentra_sandbox.cli.messages import printable
from sentra_sandbox.replay.inspect import TaskView, mapped_files
from sentra_sandbox.replay.memory import HeldTask
from sentra_sandbox.views.lines import call_name, quote_command

_SHOWN_REGISTERS = (
    ("rip", "rsp", "rbp", "eflags"),
    ("rax", "rbx", "rcx", "rdx"),
    ("rsi", "rdi", "r8", "r9"),
    ("r10", "r11", "r12", "r13"),
    ("r14", "r15", "fs_base", "orig_rax"),
)
_STATES = {
    "running": "in its own code",
    "answered": "after a call, before a signal is delivered",
    "clone": "making a task",
    "vfork": "waiting for the child of its vfork",
    "tsc": "at a time stamp instruction",
    "fault": "at a fault",
    "let go": "ending",
    "exiting": "ending",
    "dead": "ended",
}


def state_text(task: HeldTask) -> str:
    """What the task is doing, in words."""
    return f"at its call of {call_name(task.nr)}" if task.state == "call" else _STATES.get(task.state, task.state)


def report_lines(moment: Moment, views: list[TaskView], current: int) -> list[str]:
    """The whole report; the task of the event is marked with ``>``."""
    of = f" of {moment.total:,}" if moment.total else ""
    when = moment.event.time_ns / 1e9
    lines = [
        f"before event {moment.seq:,}{of}, {when:.6f} s after the start, task {moment.event.task}:",
        f"  {moment.text}",
    ]
    shown: set[int] = set()
    for view in views:
        lines += ["", *_task_lines(moment, view, marked=view.task.inner_tid == current)]
        if view.task.inner_tgid not in shown and not view.problem:
            shown.add(view.task.inner_tgid)
            lines += _process_lines(moment, view)
    return [printable(line) for line in lines]


def _task_lines(moment: Moment, view: TaskView, *, marked: bool) -> list[str]:
    task = view.task
    command = moment.command(task.inner_tid)
    process = f" of process {task.inner_tgid}" if task.inner_tgid != task.inner_tid else ""
    lines = [
        f"{'>' if marked else ' '} task {task.inner_tid}{process}: {quote_command(command) if command else '?'}",
        f"    state: {state_text(task)}",
    ]
    if view.problem:
        return [*lines, f"    {view.problem}"]
    lines.append("    registers:")
    for row in _SHOWN_REGISTERS:
        lines.append("      " + "  ".join(f"{name:>8} {task.registers[name]:016x}" for name in row))
    if view.python_stack:
        lines += ["    python stack, innermost first:", *(f"      {frame}" for frame in view.python_stack)]
    if view.native_stack:
        lines += ["    native stack, innermost first:", *(f"      {frame}" for frame in view.native_stack)]
    return lines


def _process_lines(moment: Moment, view: TaskView) -> list[str]:
    descriptors = moment.descriptors.get(view.task.inner_tid, {})
    lines = [f"    descriptors of process {view.task.inner_tgid}, as recorded:"]
    lines += [f"      {fd:4} {name}" for fd, name in descriptors.items()] or ["      (none)"]
    lines.append(f"    memory of process {view.task.inner_tgid}:")
    for item in mapped_files(view.ranges):
        where = f"{item.start:012x}-{item.end:012x}" if item.path else " " * 25
        name = item.path or f"(without a file, {item.count} areas)"
        lines.append(f"      {where} {format_size(item.size):>8}  {item.access:12} {name}")
    return lines


def report_object(moment: Moment, views: list[TaskView], current: int) -> dict[str, object]:
    """The report for JSON; numbers that are addresses are strings in hexadecimal."""
    event = moment.event
    return {
        "seq": moment.seq,
        "time_ns": event.time_ns,
        "task": event.task,
        "current": current,
        "text": moment.text,
        "tasks": [_task_object(moment, view) for view in views],
    }


def _task_object(moment: Moment, view: TaskView) -> dict[str, object]:
    task = view.task
    return {
        "task": task.inner_tid,
        "process": task.inner_tgid,
        "host_tid": task.tid,
        "command": list(moment.command(task.inner_tid)),
        "state": task.state,
        "state_text": state_text(task),
        "call": call_name(task.nr) if task.state == "call" else None,
        "problem": view.problem or None,
        "registers": {name: hex(value) for name, value in task.registers.items()},
        "python_stack": [asdict(frame) for frame in view.python_stack],
        "native_stack": [{**asdict(frame), "address": hex(frame.address)} for frame in view.native_stack],
        "descriptors": {str(fd): name for fd, name in moment.descriptors.get(task.inner_tid, {}).items()},
        "maps": [
            {
                "start": hex(item.start),
                "end": hex(item.end),
                "access": item.access,
                "offset": item.offset,
                "path": item.path,
            }
            for item in view.ranges
        ],
    }


def area_lines(task: HeldTask, address: int, data: bytes) -> list[str]:
    """A hexadecimal dump."""
    lines = ["", f"memory of task {task.inner_tid} at {address:#x}, {len(data)} bytes:"]
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"  {address + at:016x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{text}|")
    return lines


def area_object(task: HeldTask, address: int, data: bytes) -> dict[str, object]:
    """The same for JSON."""
    return {"task": task.inner_tid, "address": hex(address), "hex": data.hex()}
