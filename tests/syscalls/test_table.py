"""The table is complete, says what is known to be true, and refuses mistakes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needed import missing, need

from sentra_sandbox.syscalls import table
from sentra_sandbox.syscalls.table import Direction, SizeRule, Treatment
from sentra_sandbox.syscalls.table_format import TableError, parse_calls, parse_commands, parse_kinds

ROOT = Path(__file__).resolve().parents[2]
HEADERS = [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")]
NEWEST = 471


def describe(call: str, argument: str) -> tuple[str, str, str, str, int, int]:
    """(memory, direction, size rule, name of the size argument, unit, header) of one argument."""
    row = table.call_named(call)
    assert row is not None
    arg = next(arg for arg in row.args if arg.name == argument)
    refers = arg.size in (SizeRule.ONE, SizeRule.RESULT)
    size_arg = "" if refers else row.args[arg.size_arg].name
    return arg.memory, (arg.direction.name or "").lower(), arg.size.value, size_arg, arg.unit, arg.header


def system_numbers() -> dict[str, int]:
    header = next((path for path in HEADERS if path.exists()), None)
    if header is None:
        missing("asm/unistd_64.h (linux-libc-dev) is not installed")
        return {}
    return {name: int(nr) for name, nr in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}


def test_every_call_of_the_system_headers_has_its_number() -> None:
    numbers = system_numbers()
    assert len(numbers) > 350
    for name, number in numbers.items():
        row = table.call_named(name)
        assert row is not None, name
        assert row.number == number, name


def test_no_number_is_missing() -> None:
    numbers = sorted(row.number for row in table.all_calls())
    assert numbers == [*range(337), *range(424, NEWEST + 1)]
    assert table.call(400) is None
    assert table.call(NEWEST + 1) is None


@pytest.mark.parametrize(
    ("call", "argument", "expected"),
    [
        ("read", "buf", ("bytes", "out", "RESULT", "", 1, 0)),
        ("write", "buf", ("bytes", "in", "ARG", "count", 1, 0)),
        ("readv", "iov", ("iovec", "out", "ARG", "iovcnt", 16, 0)),
        ("vmsplice", "iov", ("iovec", "inout", "ARG", "iovcnt", 16, 0)),
        ("recvfrom", "buf", ("bytes", "out", "RESULT_CAPPED", "len", 1, 0)),
        ("recvfrom", "addr", ("bytes", "out", "AT_ARG", "addrlen", 1, 0)),
        ("recvfrom", "addrlen", ("bytes", "inout", "ONE", "", 4, 0)),
        ("getxattr", "value", ("bytes", "out", "RESULT_CAPPED", "size", 1, 0)),
        ("getgroups", "list", ("bytes", "out", "RESULT_CAPPED", "size", 4, 0)),
        ("epoll_wait", "events", ("bytes", "out", "RESULT", "", 12, 0)),
        ("poll", "fds", ("bytes", "inout", "ARG", "nfds", 8, 0)),
        ("pselect6", "readfds", ("fdset", "inout", "ARG", "nfds", 1, 0)),
        ("wait4", "usage", ("bytes", "out", "ONE", "", 144, 0)),
        ("waitid", "info", ("bytes", "out", "ONE", "", 128, 0)),
        ("fstat", "st", ("bytes", "out", "ONE", "", 144, 0)),
        ("statx", "st", ("bytes", "out", "ONE", "", 256, 0)),
        ("msgsnd", "msg", ("bytes", "in", "ARG", "size", 1, 8)),
        ("msgrcv", "msg", ("bytes", "out", "RESULT", "", 1, 8)),
        ("name_to_handle_at", "handle", ("bytes", "inout", "AT_ARG", "handle", 1, 8)),
        ("mincore", "vec", ("bytes", "out", "PAGES", "len", 1, 0)),
        ("recvmsg", "msg", ("msghdr", "out", "ONE", "", 56, 0)),
        ("sendmmsg", "msgvec", ("mmsghdr", "in", "ARG", "vlen", 64, 0)),
        ("process_vm_writev", "local_iov", ("iovec", "in", "ARG", "liovcnt", 16, 0)),
        ("mbind", "nodemask", ("fdset", "in", "ARG", "maxnode", 1, 0)),
    ],
)
def test_memory_of_known_arguments(call: str, argument: str, expected: tuple[str, str, str, str, int, int]) -> None:
    assert describe(call, argument) == expected


def test_treatments() -> None:
    treatment = {row.name: row.treatment for row in table.all_calls()}
    assert [
        n
        for n in ("io_uring_setup", "io_setup", "rseq", "bpf", "userfaultfd", "ptrace", "tuxcall")
        if treatment[n] is not Treatment.REFUSE
    ] == []
    allowed = {name for name, what in treatment.items() if what is Treatment.ALLOW}
    assert allowed == {"brk", "munmap", "rt_sigaction", "set_robust_list", "sigaltstack"}
    mprotect = table.call_named("mprotect")
    assert mprotect is not None and mprotect.condition == (2, 4)


def test_allowed_calls_are_executed_in_replay() -> None:
    """A call without an event can only have the same effect again by running again."""
    for row in table.all_calls():
        if row.treatment is Treatment.ALLOW or row.condition:
            assert row.replay == "execute", row.name


def test_commands_are_found_by_the_masked_selector() -> None:
    futex = table.call_named("futex")
    ioctl = table.call_named("ioctl")
    assert futex and ioctl
    wait = table.command_for(futex, (0, 0x189, 0, 0, 0, 0))
    assert wait is not None and wait.name == "FUTEX_WAIT_BITSET" and "blocks" in wait.flags
    size = table.command_for(ioctl, (0, 0xFFFFFFFF00005413, 0))
    assert size is not None and size.args[0][1].unit == 8 and size.args[0][1].direction is Direction.OUT
    assert table.command_for(ioctl, (0, 0xDEAD, 0)) is None
    assert table.command_for(ioctl, ()) is None


def test_command_values_are_the_systems(tmp_path: Path) -> None:
    """Compile every command name that the headers know and compare its value."""
    need("gcc")
    headers = (
        "asm/ioctls asm/termbits linux/fs linux/sockios linux/if_tun linux/fcntl linux/futex asm/prctl linux/prctl"
    )
    headers += (
        " linux/keyctl linux/sem linux/msg linux/shm linux/random linux/kd linux/seccomp linux/timerfd linux/nsfs"
    )
    lines = [f"#include <{name}.h>" for name in headers.split()]
    for row in table.all_commands():
        if row.call not in ("quotactl", "quotactl_fd"):
            check = f'_Static_assert((unsigned){row.name} == {row.value:#x}u, "{row.call} {row.name}");'
            lines += [f"#ifdef {row.name}", check, "#endif"]
    source = tmp_path / "commands.c"
    source.write_text("\n".join(lines))
    compiled = subprocess.run(["gcc", "-fsyntax-only", str(source)], capture_output=True, text=True, timeout=60)
    assert compiled.returncode == 0, compiled.stderr


def test_strace_knows_the_same_names() -> None:
    strace = need("strace")
    known = set(system_numbers())
    names = [row.name for row in table.all_calls() if row.name in known]
    done = subprocess.run([strace, "-e", "trace=" + ",".join(names), "-V"], capture_output=True, text=True, timeout=20)
    assert "invalid system call" not in done.stderr
    wrong = subprocess.run([strace, "-e", "trace=nonesuch", "true"], capture_output=True, text=True, timeout=20)
    assert "invalid system call" in wrong.stderr


def generate(tables: Path, output: Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "gen_syscall_table.py"
    command = [sys.executable, str(script), "--tables", str(tables), "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def copy_tables(folder: Path) -> Path:
    folder.mkdir()
    for name in ("kinds.tbl", "syscalls.tbl", "commands.tbl"):
        shutil.copy(table.TABLE_DIRECTORY / name, folder / name)
    return folder


def test_generator_writes_only_what_changed(tmp_path: Path) -> None:
    tables, output = copy_tables(tmp_path / "tables"), tmp_path / "out"
    assert generate(tables, output).returncode == 0
    first = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert set(first) == {"syscall_names.h", "syscall_rows.h"}
    assert generate(tables, output).returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in output.iterdir()} == first


def test_generator_stops_at_a_mistake_and_writes_nothing(tmp_path: Path) -> None:
    tables = copy_tables(tmp_path / "tables")
    text = (tables / "syscalls.tbl").read_text()
    (tables / "syscalls.tbl").write_text(text.replace("buf:out[ret] count:size", "buf:out[rett] count:size"))
    done = generate(tables, tmp_path / "out")
    assert done.returncode == 1
    assert "syscalls.tbl:" in done.stderr and "rett" in done.stderr
    assert not (tmp_path / "out").exists()


C_DUMP = """
#include <inttypes.h>
#include <stdio.h>
#include "syscalls.h"
int main(void)
{
    for (uint64_t nr = 0; nr < 600; nr++) {
        const struct sentra_call_row *row = sentra_call(nr);
        if (row)
            printf("%s %" PRIu64 " %d %d\\n", row->name, nr, row->nargs, row->treatment);
    }
    for (uint32_t i = 0; i < sentra_commands_count; i++) {
        const struct sentra_command_row *row = &sentra_commands[i];
        uint64_t args[6] = {0};
        args[row->selector_arg] = row->command;
        if (sentra_command(row->nr, args) != row)
            printf("lost %u %x\\n", row->nr, row->command);
    }
    uint64_t unknown[6] = {0, 0xdead, 0xdead};
    int none = sentra_command(16, unknown) == NULL && sentra_command(1, unknown) == NULL;
    printf("commands %u %d\\n", sentra_commands_count, none);
    struct sentra_arg_row fd = sentra_call(0)->args[0];
    printf("fd %" PRIx64 "\\n", sentra_arg_value(&fd, 0xdead00000003));
    return 0;
}
"""


def test_c_finds_the_same_rows(tmp_path: Path) -> None:
    need("gcc")
    generated = tmp_path / "generated"
    assert generate(table.TABLE_DIRECTORY, generated).returncode == 0
    (tmp_path / "dump.c").write_text(C_DUMP)
    for name in ("syscalls.c", "syscalls.h"):
        shutil.copy(ROOT / "csrc" / name, tmp_path / name)
    build = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", "-fsanitize=address,undefined"]
    build += [str(tmp_path / "dump.c"), str(tmp_path / "syscalls.c"), "-o", str(tmp_path / "dump")]
    subprocess.run(build, check=True, timeout=120)
    lines = subprocess.run([str(tmp_path / "dump")], capture_output=True, text=True, check=True, timeout=20).stdout
    numbers = {Treatment.ALLOW: 1, Treatment.RECORD: 2, Treatment.REFUSE: 3, Treatment.SPECIAL: 4}
    rows = sorted(table.all_calls(), key=lambda row: row.number)
    expected = [f"{row.name} {row.number} {len(row.args)} {numbers[row.treatment]}" for row in rows]
    assert lines.splitlines() == [*expected, f"commands {len(table.all_commands())} 1", "fd 3"]


KINDS = parse_kinds("fd value 4\nsize value 8\npath text -\nbytes memory -\nmsghdr memory -\n")


@pytest.mark.parametrize(
    ("row", "mistake"),
    [
        ("a 0 fd record emulate -", "a row is"),
        ("a x fd record emulate - -", "not a number"),
        ("a 0 zoo record emulate - -", "unknown class"),
        ("a 0 - record emulate - -", "no class"),
        ("a 0 fd forget emulate - -", "unknown treatment"),
        ("a 0 fd refuse emulate - -", "error number"),
        ("a 0 fd refuse(EWHAT) emulate - -", "error number"),
        ("a 0 fd record(p&4) emulate - n:size", "condition"),
        ("a 0 fd record perhaps - -", "replay word"),
        ("a 0 fd record emulate fast -", "unknown flag"),
        ("a 0 fd record emulate blocks,blocks -", "twice"),
        ("a 0 fd record emulate - n:sise", "unknown kind"),
        ("a 0 fd record emulate - n", "is not 'name:kind'"),
        ("a 0 fd record emulate - n:bytes", "direction"),
        ("a 0 fd record emulate - b:in[n]", "refers to"),
        ("a 0 fd record emulate - b:in[2*] n:size", "not a size"),
        ("a 0 fd record emulate - b:in[ret]", "only OUT memory"),
        ("a 0 fd record emulate - b:in n:size", "[size]"),
        ("a 0 fd record emulate - m:msghdr_in[n] n:size", "[size]"),
        ("a 0 fd record emulate - b:in[70000]", "16 bits"),
        ("a 0 fd record emulate - b:in[n]:path n:size", "takes no direction"),
        ("a 0 fd record emulate - n:fd n:fd", "each named once"),
        ("a 0 fd record emulate - a:fd b:fd c:fd d:fd e:fd f:fd g:fd", "at most 6"),
        ("b 0 fd record emulate - -\na 1 fd record emulate - -", "sorted by name"),
        ("a 0 fd record emulate - -\nb 0 fd record emulate - -", "has the number"),
        ("a 1 fd record emulate - -", "no row for the number 0"),
    ],
)
def test_wrong_rows_are_refused(row: str, mistake: str) -> None:
    with pytest.raises(TableError, match=re.escape(mistake)) as error:
        parse_calls(row, KINDS)
    assert "syscalls.tbl" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "mistake"),
    [
        ("X 1 - -", "'select CALLS ARG MASK'"),
        ("select b cmd 0xff", "no call with the flag"),
        ("select a what 0xff", "no argument"),
        ("select a cmd 0xff\nX 0x100 - -", "never be found"),
        ("select a cmd 0xff\nX 1 - -\nY 1 - -", "twice"),
        ("select a cmd 0xff\nX 1 - zip:fd", "no argument 'zip'"),
        ("select a cmd 0xff\nX 1 no_return -", "unknown flag"),
        ("", "no commands for a"),
    ],
)
def test_wrong_commands_are_refused(rows: str, mistake: str) -> None:
    calls = parse_calls("a 0 fd record emulate commands cmd:fd arg:size", KINDS)
    with pytest.raises(TableError, match=re.escape(mistake)):
        parse_commands(rows, calls, KINDS)


def test_reading_the_table_needs_neither_the_extension_nor_the_sandbox() -> None:
    """Traces are read on machines that could not record."""
    code = "import sys, sentra_sandbox.syscalls.decode, sentra_sandbox.syscalls.descriptors\n"
    code += "bad = [m for m in sys.modules if m.startswith('sentra_sandbox') and ('native' in m or '.sandbox' in m)]\n"
    code += "sys.exit(repr(bad) if bad else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
