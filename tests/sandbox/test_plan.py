"""Plans as data: what is in them, how they read, how they reach the native side. Nothing is launched here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sentra_sandbox.errors import UsageError
from sentra_sandbox.native import ffi
from sentra_sandbox.sandbox import plan as plans
from sentra_sandbox.sandbox.capabilities import NAMES, capability_mask, capability_names
from sentra_sandbox.sandbox.native_plan import plan_to_native
from sentra_sandbox.sandbox.one_cpu import first_processor, single_cpu_stat
from sentra_sandbox.sandbox.plan import Namespace, SetupKind, SetupOp, default_plan, describe


def test_default_plan_in_words() -> None:
    lines = describe(default_plan(["true"], cwd="/", net="none"))
    assert lines[0] == "create namespaces: mnt, cgroup, uts, ipc, user, pid, net"
    assert lines[2] == "keep mounts at / and everything below private"
    assert lines[3] == "mount proc on /proc (nosuid,nodev,noexec)"
    assert "bring the loopback interface up" in lines
    assert "enter /" in lines
    assert lines[-1].startswith("execute ")


def test_every_kind_of_operation_reads_well() -> None:
    kinds = [number for name, number in vars(SetupKind).items() if name.isupper()]
    assert len(kinds) == 10
    for kind in kinds:
        text = str(SetupOp(kind, a="/a", b="/b", c="tmpfs"))
        assert text and "None" not in text


def test_network_namespace_only_when_asked() -> None:
    assert not Namespace.NET & default_plan(["true"]).namespaces
    assert Namespace.NET & default_plan(["true"], net="none").namespaces


def test_kernel_protection_is_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def protected() -> bool:
        return any(op.b == "/proc/sys" for op in default_plan(["true"]).ops)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert protected()
    assert not any(op.b == "/proc/sys" for op in default_plan(["true"], protect_kernel=False).ops)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not protected()


def test_id_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    assert plans.id_maps() == plans.IdMaps("1000 1000 1", "100 100 1", deny_setgroups=True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(plans, "_effective_capabilities", lambda: 0)
    assert plans.id_maps().deny_setgroups  # a root without CAP_SETUID may map itself alone


def test_root_maps_what_is_mapped_here(tmp_path: Path) -> None:
    """Inside a user namespace only the inner numbers count."""
    table = tmp_path / "uid_map"
    table.write_text("         0       1000          1\n         1     100000      65536\n")
    assert plans._identity(str(table)) == "0 0 1\n1 1 65536\n"


def test_missing_working_directory() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        default_plan(["true"], cwd="/nowhere")
    with pytest.raises(UsageError, match="is not a directory"):
        default_plan(["true"], cwd="/etc/passwd")
    with pytest.raises(UsageError, match="No command"):
        default_plan([])


def test_script_without_interpreter_line_goes_to_the_shell(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo $1\n")
    script.chmod(0o755)
    plan = default_plan(["./script", "x"], cwd=str(tmp_path))
    assert (plan.path, plan.argv) == ("/bin/sh", ("/bin/sh", "./script", "x"))


def test_ignored_signals_without_pythons_own() -> None:
    code = "from sentra_sandbox.sandbox.plan import inherited_ignored_signals as f; print(sorted(f()))"
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=ignore,
        capture_output=True,
        text=True,
        timeout=20,
        cwd=root,
        check=True,
    )
    assert done.stdout == f"[{int(signal.SIGHUP)}]\n"


def test_capability_names_are_the_kernels() -> None:
    assert NAMES[0] == "CHOWN" and NAMES[21] == "SYS_ADMIN" and NAMES[31] == "SETFCAP"
    assert len(NAMES) == 41 and NAMES[40] == "CHECKPOINT_RESTORE"
    assert capability_names(capability_mask({"KILL", "BPF"})) == {"KILL", "BPF"}
    with pytest.raises(KeyError):
        capability_mask({"FLY"})


def test_one_processor_is_cut_out() -> None:
    text = first_processor()
    assert text.startswith("processor") and text.endswith("\n\n") and "\n\n" not in text[:-2]
    rows = dict((line.split("\t")[0].strip(), line.split(": ", 1)[-1]) for line in text.splitlines() if ":" in line)
    assert rows.get("siblings", "1") == "1" and rows.get("cpu cores", "1") == "1"


def test_stat_has_one_cpu() -> None:
    lines = single_cpu_stat().splitlines()
    assert lines[0].startswith("cpu  ") and lines[1].startswith("cpu0 ")
    assert lines[0].split()[1:] == lines[1].split()[1:]
    assert not any(line.startswith("cpu") for line in lines[2:])
    assert {"ctxt", "btime", "processes"} <= {line.split()[0] for line in lines}


def test_native_options_say_what_the_plan_says() -> None:
    plan = replace(
        default_plan(["/bin/echo", "a b", "ä"], env={"K": "v"}, cwd="/"),
        blocked_signals=frozenset({2, 64}),
        ignored_signals=frozenset({1}),
        keep_fds=(7, 9),
        filter=bytes(range(16)),
        cpu=1,
        capabilities=frozenset({"KILL"}),
        stdio=(3, -1, 5),
    )
    native = plan_to_native(ffi, plan)
    options = native.options
    assert ffi.string(options.path) == b"/bin/echo"
    assert [ffi.string(options.argv[i]) for i in range(3)] == [b"/bin/echo", b"a b", "ä".encode()]
    assert options.argv[3] == ffi.NULL
    assert ffi.string(options.envp[0]) == b"K=v" and options.envp[1] == ffi.NULL
    assert (options.sigmask, options.ignored_signals) == (1 << 63 | 1 << 1, 1)
    assert [options.keep_fds[i] for i in range(options.keep_fds_count)] == [7, 9]
    assert (options.filter_count, bytes(ffi.buffer(options.filter, 16))) == (2, bytes(range(16)))
    assert (options.cpu, options.keep_capabilities, list(options.stdio)) == (1, 1 << 5, [3, -1, 5])
    assert options.ops_count == len(plan.ops)
    for index, op in enumerate(plan.ops):
        found = options.ops[index]
        assert (found.kind, found.flags, found.value) == (op.kind, op.flags, op.value)
        assert (found.b == ffi.NULL) == (op.b is None)
        assert op.b is None or ffi.string(found.b) == os.fsencode(op.b)


def test_what_cannot_be_handed_over_is_refused() -> None:
    plan = default_plan(["true"])
    with pytest.raises(ValueError, match="NUL"):
        plan_to_native(ffi, replace(plan, argv=("true", "a\0b")))
    with pytest.raises(ValueError, match="whole number"):
        plan_to_native(ffi, replace(plan, filter=b"123"))
