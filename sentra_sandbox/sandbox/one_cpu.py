"""The files that tell a program how many CPUs there are, made to say: one.

Runtimes that see two CPUs start threads that spin for each other's locks; under a recorder that runs one thread at a
time they hang. A program learns the number from sched_getaffinity (answered by the engine), /proc/cpuinfo, /proc/stat
and /sys/devices/system/{cpu,node}. The substitutes are written to a private tmpfs inside the sandbox's mount
namespace, bound over the originals, and the tmpfs is then taken out of sight: nothing is left on the host. Identity
of the processor (model, flags, cache sizes) stays true. cgroup limits are not touched: they can only say less.

/proc/stat is a snapshot from the start of the run; its counters do not advance.
"""

from __future__ import annotations

import os

from sentra_sandbox.errors import HostError
from sentra_sandbox.sandbox.setup_op import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    SetupOp,
    bind,
    make_directory,
    mount,
    unmount,
    write_file,
)

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_DIRECTORY = "/sys/devices/system/cpu"
NODE_DIRECTORY = "/sys/devices/system/node"

# Directories one of which exists everywhere: hidden below the tmpfs for the length of the setup, then visible again.
STAGES = ("/run", "/tmp", "/mnt", "/var")

_CPU_FILES = {"online": "0", "possible": "0", "present": "0", "offline": "", "isolated": "", "kernel_max": "0"}
_ID_FILES = ("core_id", "die_id", "physical_package_id")
_SIBLING_FILES = ("core_cpus", "core_siblings", "die_cpus", "package_cpus", "thread_siblings")
_NODE_FILES = ("online", "possible", "has_cpu", "has_memory", "has_normal_memory")


def one_cpu_ops() -> Iterator[SetupOp]:
    """The operations, to be carried out after the sandbox's own /proc is mounted."""
    stage = next((path for path in STAGES if os.path.isdir(path) and not os.path.islink(path)), None)
    if stage is None:
        raise HostError(f"None of {', '.join(STAGES)} exists here, and the setup needs one.", "Create one of them.")
    quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC
    # size=0 means no limit; with no total either, df(1) leaves the file system out as it does for other kernel ones.
    yield mount("tmpfs", stage, "tmpfs", quiet, "mode=755,size=0")
    yield write_file(f"{stage}/cpuinfo", first_processor())
    yield write_file(f"{stage}/stat", single_cpu_stat())
    shown = [("/proc/cpuinfo", f"{stage}/cpuinfo"), ("/proc/stat", f"{stage}/stat")]
    if os.path.isdir(CPU_DIRECTORY):
        yield from _cpu_directory(f"{stage}/cpu")
        shown.append((CPU_DIRECTORY, f"{stage}/cpu"))
    if os.path.isdir(NODE_DIRECTORY):
        yield from _node_directory(f"{stage}/node")
        shown.append((NODE_DIRECTORY, f"{stage}/node"))
    yield mount(None, stage, None, MS_REMOUNT | MS_RDONLY | quiet)
    for target, source in shown:
        yield bind(source, target, MS_REC)
    yield unmount(stage)


def first_processor() -> str:
    """The first processor's paragraph of /proc/cpuinfo; reading stops there (a machine may list hundreds)."""
    text = b""
    with open("/proc/cpuinfo", "rb", buffering=0) as file:
        while b"\n\n" not in text:
            more = file.read(4096)
            if not more:
                break
            text += more
    lines = text.split(b"\n\n", 1)[0].decode("ascii", "replace").splitlines()
    alone = ("siblings", "cpu cores")
    return "\n".join(f"{line.split(':')[0]}: 1" if line.startswith(alone) else line for line in lines) + "\n\n"


def single_cpu_stat() -> str:
    """/proc/stat with one CPU: the total is that CPU's, its line is called cpu0, the others are left out."""
    with open("/proc/stat", encoding="utf-8") as file:
        lines = file.read().splitlines()
    each = (line.split(" ", 1)[1] for line in lines if line.startswith("cpu") and not line.startswith("cpu "))
    first = next(each, None)
    if first is not None:
        lines = [f"cpu  {first}", f"cpu0 {first}", *(line for line in lines if not line.startswith("cpu"))]
    return "\n".join(lines) + "\n"


def _cpu_directory(at: str) -> Iterator[SetupOp]:
    yield make_directory(at)
    for name, value in _CPU_FILES.items():
        yield write_file(f"{at}/{name}", value + "\n")
    yield make_directory(f"{at}/cpu0")
    yield make_directory(f"{at}/cpu0/topology")
    for name in _ID_FILES:
        yield write_file(f"{at}/cpu0/topology/{name}", "0\n")
    for name in _SIBLING_FILES:
        yield write_file(f"{at}/cpu0/topology/{name}", "1\n")
        yield write_file(f"{at}/cpu0/topology/{name}_list", "0\n")
    yield from _cache_directory(f"{CPU_DIRECTORY}/cpu0/cache", f"{at}/cpu0/cache")
    if os.path.isdir(f"{CPU_DIRECTORY}/vulnerabilities"):
        yield make_directory(f"{at}/vulnerabilities")
        yield bind(f"{CPU_DIRECTORY}/vulnerabilities", f"{at}/vulnerabilities")


def _cache_directory(real: str, at: str) -> Iterator[SetupOp]:
    """The true caches, except that no other CPU shares them."""
    try:
        levels = sorted(name for name in os.listdir(real) if name.startswith("index"))
    except OSError:
        return
    yield make_directory(at)
    yield bind(real, at)
    topology = f"{os.path.dirname(at)}/topology"
    for level in levels:
        yield bind(f"{topology}/core_cpus_list", f"{at}/{level}/shared_cpu_list")
        yield bind(f"{topology}/core_cpus", f"{at}/{level}/shared_cpu_map")


def _node_directory(at: str) -> Iterator[SetupOp]:
    yield make_directory(at)
    for name in _NODE_FILES:
        yield write_file(f"{at}/{name}", "0\n")
    yield make_directory(f"{at}/node0")
    yield write_file(f"{at}/node0/cpulist", "0\n")
    yield write_file(f"{at}/node0/cpumap", "1\n")
    yield write_file(f"{at}/node0/distance", "10\n")
    if os.path.isfile(f"{NODE_DIRECTORY}/node0/meminfo"):
        yield write_file(f"{at}/node0/meminfo", "")
        yield bind(f"{NODE_DIRECTORY}/node0/meminfo", f"{at}/node0/meminfo")
