"""What the sandbox takes away: privileges, other CPUs, pid 1, the kernel's settings, the host's network."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from launching import Launcher

from sentra_sandbox.sandbox.capabilities import ROOT_KEEPS, capability_mask

PYTHON = "/usr/bin/python3"


def status_of(sandbox: Launcher, *fields: str, **options: object) -> dict[str, int]:
    out = sandbox(["cat", "/proc/self/status"], **options).out
    values = dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)
    return {field: int(values[field], 16) for field in fields}


def test_capabilities_and_privileges_are_dropped(sandbox: Launcher) -> None:
    kept = capability_mask(ROOT_KEEPS) if sandbox.who == "root" else 0
    assert status_of(sandbox, "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs") == {
        "CapInh": 0,
        "CapPrm": kept,
        "CapEff": kept,
        "CapBnd": kept,
        "CapAmb": 0,
        "NoNewPrivs": 1,
    }


def test_capabilities_survive_for_an_ordinary_user_only_when_kept(as_user: Launcher) -> None:
    wanted = capability_mask({"NET_BIND_SERVICE"})
    found = status_of(
        as_user,
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        edit=lambda plan: replace(plan, capabilities=frozenset({"NET_BIND_SERVICE"})),
    )
    assert found == dict.fromkeys(("CapPrm", "CapEff", "CapBnd", "CapAmb"), wanted)


def test_root_without_capabilities_gets_none_by_executing(as_root: Launcher) -> None:
    found = status_of(as_root, "CapPrm", "CapEff", "CapBnd", edit=lambda plan: replace(plan, capabilities=frozenset()))
    assert found == {"CapPrm": 0, "CapEff": 0, "CapBnd": 0}


@pytest.mark.parametrize(
    "attempt",
    [
        "mount(b'none', b'/mnt', b'tmpfs', 0, 0)",
        "umount2(b'/proc/cpuinfo', 2)",
        "mknod(b'/tmp/sentra-null', 0o020666, 259)",
        "chroot(b'/')",
        "sethostname(b'x', 1)",
        "setns(os.open('/proc/1/ns/net', os.O_RDONLY), 0)",
        "socket(17, 3, 0)",
    ],
)
def test_privileged_calls_are_refused(sandbox: Launcher, attempt: str) -> None:
    script = f"import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\nprint(c.{attempt}, ctypes.get_errno())"
    if attempt.startswith("setns"):  # the namespace files of init cannot even be looked at
        assert f"[Errno {errno.EACCES}]" in sandbox([PYTHON, "-c", script]).err
    else:
        assert sandbox([PYTHON, "-c", script]).out == f"-1 {errno.EPERM}\n"


def test_file_work_as_root_behaves_as_outside(as_root: Launcher, shared_dir: Path) -> None:
    result = as_root(
        ["sh", "-c", f"cd {shared_dir} && : > f && chown 1:2 f && chmod 600 f && echo x > f && stat -c %u:%g f"]
    )
    assert result.out == "1:2\n"
    assert (shared_dir / "f").stat().st_uid == 1


def test_kernel_settings_are_out_of_roots_reach(as_root: Launcher) -> None:
    for path in ("/proc/sys/kernel/core_pattern", "/sys/kernel/mm/transparent_hugepage/enabled"):
        if os.path.exists(path):
            script = f"import os\ntry: os.open({path!r}, os.O_WRONLY)\nexcept OSError as e: print(e.errno)"
            assert as_root([PYTHON, "-c", script]).out == f"{errno.EROFS}\n", path


def test_one_cpu_is_shown(sandbox: Launcher) -> None:
    script = "import os; print(os.cpu_count(), len(os.sched_getaffinity(0)), os.sysconf('SC_NPROCESSORS_CONF'))"
    assert sandbox([PYTHON, "-c", script], cpu=0).out == "1 1 1\n"
    assert sandbox(["nproc"], cpu=0).out == "1\n"
    assert sandbox(["grep", "-c", "^processor", "/proc/cpuinfo"]).out == "1\n"
    assert sandbox(["grep", "-c", "^cpu[0-9]", "/proc/stat"]).out == "1\n"
    assert sandbox(["cat", "/sys/devices/system/cpu/online"]).out == "0\n"
    assert sandbox(["sh", "-c", "ls -d /sys/devices/system/cpu/cpu[0-9]*"]).out == "/sys/devices/system/cpu/cpu0\n"


def test_cpu_files_keep_telling_the_truth_about_the_processor(as_user: Launcher) -> None:
    with open("/proc/cpuinfo") as file:
        model = next(line for line in file if line.startswith("model name"))
    assert model in as_user(["cat", "/proc/cpuinfo"]).out
    level = "/sys/devices/system/cpu/cpu0/cache/index0"
    if os.path.exists(f"{level}/size"):
        assert as_user(["cat", f"{level}/size"]).out == Path(f"{level}/size").read_text()
        assert as_user(["cat", f"{level}/shared_cpu_list"]).out == "0\n"
    assert as_user(["grep", "btime", "/proc/stat"]).out.split()[1].isdigit()


def test_node_sees_one_cpu(as_user: Launcher) -> None:
    if not shutil.which("node"):
        pytest.skip("no node here")
    assert as_user(["node", "-p", "require('os').cpus().length"], cpu=0).out == "1\n"


def test_all_cpus_without_hiding(as_user: Launcher) -> None:
    with open("/proc/cpuinfo") as file:
        processors = sum(line.startswith("processor") for line in file)
    assert as_user(["grep", "-c", "^processor", "/proc/cpuinfo"], hide_cpus=False).out == f"{processors}\n"


def test_nothing_of_the_setup_stays_visible(sandbox: Launcher) -> None:
    for stage in ("/run", "/tmp"):
        assert set(sandbox(["ls", "-A", stage]).out.split()) == set(os.listdir(stage))
    assert "cpuinfo" not in os.listdir("/run")
    result = sandbox(["sh", "-c", "echo x > /proc/cpuinfo"])
    assert result.code != 0


def test_init_is_out_of_reach(sandbox: Launcher) -> None:
    script = """
import ctypes, os, signal, time
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, 1, 0, 0), ctypes.get_errno())
for name in ('mem', 'environ', 'maps'):
    try:
        os.read(os.open(f'/proc/1/{name}', os.O_RDONLY), 1)
        print(name, 'readable')
    except OSError as error:
        print(name, error.errno)
for number in range(1, 65):
    if number not in (32, 33):
        os.kill(1, number)
time.sleep(0.1)
print(open('/proc/1/comm').read().strip(), open('/proc/1/stat').read().split()[2])
"""
    lines = sandbox([PYTHON, "-c", script]).out.splitlines()
    assert lines[0] == f"-1 {errno.EPERM}"
    assert lines[1:4] == [f"{name} {errno.EACCES}" for name in ("mem", "environ", "maps")]
    assert lines[4] == "sentra-init S"


def test_init_is_small(sandbox: Launcher) -> None:
    """Its inherited copy of the supervisor's memory is gone."""
    out = sandbox(["sh", "-c", "sleep 0.2; grep -E 'VmRSS|VmSize|RssAnon' /proc/1/status"]).out
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in out.splitlines()}
    assert sizes["RssAnon"] <= 64, out
    assert sizes["VmSize"] <= 2048, out


def test_network_none_is_loopback_alone(sandbox: Launcher) -> None:
    script = """
import os, socket
print(sorted(name for _, name in socket.if_nameindex()))
for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    with socket.socket(family) as server:
        server.bind((address, 0)); server.listen()
        socket.create_connection(server.getsockname()[:2], 2).close()
try:
    socket.create_connection(('192.0.2.1', 80), 2)
except OSError as error:
    print(error.errno)
"""
    assert sandbox([PYTHON, "-c", script], net="none").out.splitlines() == ["['lo']", str(errno.ENETUNREACH)]


def test_filter_is_installed(sandbox: Launcher) -> None:
    """mkdir (83 on x86-64) answers EXDEV, which nothing else would."""
    program = b"".join(
        struct.pack("HBBI", *row)
        for row in ((0x20, 0, 0, 0), (0x15, 0, 1, 83), (0x06, 0, 0, 0x00050000 | errno.EXDEV), (0x06, 0, 0, 0x7FFF0000))
    )
    script = "import os\ntry: os.mkdir('/tmp/sentra-never')\nexcept OSError as e: print(e.errno)"
    result = sandbox([PYTHON, "-c", script], edit=lambda plan: replace(plan, filter=program))
    assert result.out == f"{errno.EXDEV}\n"


def test_works_without_namespaces(sandbox: Launcher) -> None:
    """The tier for hosts that refuse user namespaces: filter, no_new_privs and init still hold."""
    edit = lambda plan: replace(plan, namespaces=0, uid_map=None, gid_map=None, ops=())  # noqa: E731
    result = sandbox(["sh", "-c", "grep NoNewPrivs /proc/self/status; readlink /proc/self/ns/pid; exit 9"], edit=edit)
    assert result.out.split() == ["NoNewPrivs:", "1", os.readlink("/proc/self/ns/pid")]
    assert result.code == 9
