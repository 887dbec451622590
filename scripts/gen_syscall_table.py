"""Writes the system call table as C: csrc/generated/syscall_names.h (enums) and csrc/generated/syscall_rows.h (data).

Input are the .tbl files of sentra_sandbox/syscalls, read by the parser that lies beside them. Every number that the
system's headers know is proved by a _Static_assert. Files are written only when their content changes, so that nothing
is compiled needlessly.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ORIGIN = "/* Made by scripts/gen_syscall_table.py from the tables in sentra_sandbox/syscalls. Do not edit. */\n"
ANY = 255  # condition_arg of a row without a condition


def load_parser() -> ModuleType:
    """Load table_format.py by path: the package cannot be imported before its extension is built."""
    name = "sentra_table_format"
    path = ROOT / "sentra_sandbox" / "syscalls" / "table_format.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def argument_row(argument: Any) -> str:
    """One struct sentra_arg_row initialiser."""
    memory = f"SENTRA_MEM_{argument.memory.upper()}"
    size = f"SENTRA_SIZE_{argument.size.value}" + (" | SENTRA_SIZE_PLUS8" if argument.header else "")
    fields = (memory, int(argument.direction), size, argument.size_arg, argument.unit, kind_name(argument.kind))
    return f"{{ {', '.join(map(str, fields))} }}"


def kind_name(kind: str) -> str:
    return f"KIND_{kind.upper()}"


def flag_words(flags: frozenset[str], *more: str) -> str:
    words = [f"SENTRA_CALL_{flag.upper()}" for flag in (*sorted(flags), *more)]
    return " | ".join(words) or "0"


def names_header(calls: list[Any], kinds: dict[str, Any]) -> str:
    lines = [ORIGIN, "#ifndef SENTRA_SYSCALL_NAMES_H", "#define SENTRA_SYSCALL_NAMES_H", "", "enum sentra_arg_kind {"]
    lines += [f"    {kind_name(kind.name)} = {kind.number}," for kind in kinds.values()]
    lines += ["};", "", "enum sentra_nr {"]
    lines += [f"    SENTRA_NR_{call.name} = {call.number}," for call in calls]
    lines += ["};", "", "#endif", ""]
    return "\n".join(lines)


def call_row(call: Any) -> list[str]:
    arg, mask = call.condition or (ANY, 0)
    flags = flag_words(call.flags, *(["EXECUTE"] if call.replay == "execute" else []))
    lines = [
        f"    [{call.number}] = {{",
        f'        .name = "{call.name}", .nargs = {len(call.args)}, .treatment = SENTRA_TREAT_{call.treatment.name},',
        f"        .condition_arg = {arg}, .condition_mask = {mask:#x}, .refuse_errno = {call.refuse_errno},",
        f"        .flags = {flags},",
    ]
    if call.args:
        rows = (f"            {argument_row(argument)}, /* {argument.name} */" for argument in call.args)
        lines += ["        .args = {", *rows, "        },"]
    return [*lines, "    },"]


def command_row(command: Any, number: int) -> list[str]:
    lines = [
        f"    {{ /* {command.call} {command.name} */",
        f"        .nr = {number}, .command = {command.value:#x}, .selector_arg = {command.selector_arg}, "
        f".selector_mask = {command.selector_mask:#x},",
        f"        .flags = {flag_words(command.flags)}, .rows = {len(command.args)},",
    ]
    if command.args:
        rows = (f"            {{ {index}, {argument_row(arg)} }}, /* {arg.name} */" for index, arg in command.args)
        lines += ["        .args = {", *rows, "        },"]
    return [*lines, "    },"]


def rows_header(calls: list[Any], commands: list[Any], kinds: dict[str, Any]) -> str:
    numbers = {call.name: call.number for call in calls}
    narrow = [kind.name for kind in kinds.values() if kind.width == 4]
    lines = [ORIGIN, f"static const uint8_t kind_is_narrow[{len(kinds) + 1}] = {{"]
    lines += [f"    [{kind_name(name)}] = 1," for name in narrow]
    lines += ["};", "", "const struct sentra_call_row sentra_calls[] = {"]
    for call in sorted(calls, key=lambda call: call.number):
        lines += call_row(call)
    lines += ["};", "", "const struct sentra_command_row sentra_commands[] = {"]
    for command in sorted(commands, key=lambda command: (numbers[command.call], command.value)):
        lines += command_row(command, numbers[command.call])
    lines += ["};", ""]
    for call in calls:
        lines += [
            f"#ifdef __NR_{call.name}",
            f'_Static_assert(__NR_{call.name} == {call.number}, "{call.name}");',
            "#endif",
        ]
    return "\n".join([*lines, ""])


def write_if_changed(path: Path, text: str) -> None:
    """Replace the file in one step, and only if its content differs."""
    if path.exists() and path.read_text(encoding="ascii") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)


def read_table(tables: Path, parser: ModuleType) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Parse the three tables in folder ``tables``: (calls, commands, kinds). Raises the parser's TableError."""

    def parse(name: str, parse_text: Callable[..., Any], *args: Any) -> Any:
        return parse_text((tables / name).read_text(encoding="ascii"), *args)

    kinds = parse("kinds.tbl", parser.parse_kinds)
    calls = parse("syscalls.tbl", parser.parse_calls, kinds)
    return calls, parse("commands.tbl", parser.parse_commands, calls, kinds), kinds


def main(argv: list[str]) -> int:
    """Generate both headers; 0 = done (or nothing to do), 1 = a table is wrong (told on stderr), nothing written."""
    options = argparse.ArgumentParser(description="Write the system call table as C headers.")
    options.add_argument(
        "--tables", type=Path, default=ROOT / "sentra_sandbox" / "syscalls", help="where the tables are"
    )
    options.add_argument("--output", type=Path, default=ROOT / "csrc" / "generated", help="where the headers go")
    chosen = options.parse_args(argv)
    parser = load_parser()
    try:
        calls, commands, kinds = read_table(chosen.tables, parser)
    except parser.TableError as error:
        print(f"gen_syscall_table: {error}", file=sys.stderr)
        return 1
    write_if_changed(chosen.output / "syscall_names.h", names_header(calls, kinds))
    write_if_changed(chosen.output / "syscall_rows.h", rows_header(calls, commands, kinds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
