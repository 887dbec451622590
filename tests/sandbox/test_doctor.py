"""The doctor, by breaking things around it: a container's filter, a tracer, no namespaces left, an ordinary user."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time
from errno import EINVAL, ENOSPC, ENOSYS, EPERM
from pathlib import Path

import pytest

from sentra_sandbox.policy import bpf, filter
from sentra_sandbox.policy.calls import table_calls
from sentra_sandbox.policy.decision import ALLOW, Call, Treatment
from sentra_sandbox.policy.oci import parse_profile
from sentra_sandbox.sandbox import doctor, own_network_trial, trial
from sentra_sandbox.sandbox.doctor import Host, Probe, as_json, probe, render
from sentra_sandbox.sandbox.trial import Result, StepFailed, attempt

ROOT = Path(__file__).parent.parent.parent
LIBC = ctypes.CDLL(None, use_errno=True)
CLEAN = Host(1000, 0, 0, 0, False, False, None, 15000, None, None)


def failed(probes: list[Probe]) -> set[str]:
    return {one.name for one in probes if not one.ok} - {"native part"}


def doctor_in_child(setup: str) -> dict[str, Probe]:
    """Run the doctor in a process of its own after ``setup`` (Python text)."""
    script = setup + "\nfrom sentra_sandbox.sandbox.doctor import as_json, probe\nprint(as_json(probe()))\n"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd="/", capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return {one["name"]: Probe(**one) for one in json.loads(result.stdout)["probes"]}


def refusing(*names: str) -> str:
    """Python text that installs a filter which refuses these calls with EPERM, as a container's profile does."""
    rules = [{"names": list(names), "action": "SCMP_ACT_ERRNO"}]
    profile = parse_profile(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}), "outer.json")
    calls = [Call(call.number, call.name, Treatment(ALLOW)) for call in table_calls()]
    rows = []
    for one in bpf.decode(filter.compile_filter(profile, calls=calls)):
        if one.code == bpf.RET and one.k == bpf.RET_TRACE | filter.FILTER_REFUSE | EPERM:
            one = bpf.Instruction(one.code, 0, 0, bpf.RET_ERRNO | EPERM)
        rows.append(one)
    return f"from sentra_sandbox.sandbox import trial\ntrial._install_filter({bpf.encode(rows)!r})\n"


def test_on_this_machine(tmp_path: Path) -> None:
    start = time.monotonic()
    probes = probe(tmp_path / "not" / "yet")
    assert time.monotonic() - start < 5
    names = [one.name for one in probes]
    assert len(set(names)) == len(names) == 23
    for one in probes:
        assert one.ok or one.remedy, one
        assert not (one.ok and one.remedy), one
        assert one.detail
    assert f"work in {tmp_path}" in {one.detail for one in probes}
    assert list(tmp_path.iterdir()) == []


def test_the_machine_is_as_before() -> None:
    links = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in trial.NAMESPACES}
    affinity, seccomp = os.sched_getaffinity(0), "Seccomp:\t0" in Path("/proc/self/status").read_text()
    probe()
    assert {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in trial.NAMESPACES} == links
    assert os.sched_getaffinity(0) == affinity
    assert ("Seccomp:\t0" in Path("/proc/self/status").read_text()) == seccomp
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left


def test_under_a_filter_that_refuses_namespaces() -> None:
    probes = doctor_in_child(refusing("unshare"))
    assert failed(list(probes.values())) >= {f"{kind} namespace" for kind in trial.NAMESPACES} | {"proc"}
    assert probes["ptrace"].ok and probes["seccomp trace"].ok
    assert "--security-opt seccomp=unconfined" in probes["user namespace"].remedy
    assert "unshare the user namespace: Operation not permitted" in probes["user namespace"].detail
    assert probes["not nested"].ok and "1 seccomp filter around us" in probes["not nested"].detail


def test_the_network_is_tried_by_connecting() -> None:
    for tproxy, words in ((True, "TPROXY takes connections to every port"), (False, "no TPROXY (not tried): listeners are made port by port")):
        result = attempt(lambda: own_network_trial.own_network(tproxy=tproxy))  # noqa: B023 (called at once)
        assert result.ok and result.detail.startswith(words), result


@pytest.mark.parametrize(
    ("call", "detail"),
    [("unshare", "unshare the user namespace"), ("setsockopt", "make a transparent socket"), ("sendto", "set up the sandbox's network")],
)
def test_a_network_that_cannot_be_built_has_a_remedy(call: str, detail: str) -> None:
    network = doctor_in_child(refusing(call))["network"]
    assert not network.ok and not network.required
    assert network.detail == f"{detail}: Operation not permitted"
    assert "--net host" in network.remedy and "--net none" in network.remedy and "seccomp=unconfined" in network.remedy


def test_under_a_filter_that_refuses_tracing() -> None:
    probes = doctor_in_child(refusing("ptrace", "process_vm_readv"))
    assert failed(list(probes.values())) == {"ptrace", "seccomp trace", "read memory"}
    assert "--cap-add SYS_PTRACE" in probes["ptrace"].remedy


def test_under_a_filter_that_refuses_personality_and_mount() -> None:
    probes = doctor_in_child(refusing("personality", "mount", "prctl"))
    assert failed(list(probes.values())) >= {"fixed addresses", "proc", "time stamp counter", "seccomp trace"}
    assert "systempaths=unconfined" in probes["proc"].remedy
    assert "refuses personality" in probes["fixed addresses"].remedy


def test_when_no_user_namespace_is_left() -> None:
    """In a user namespace of its own a process may set the limit for the namespaces in it."""
    if not attempt(lambda: trial.namespace("user")).ok:
        pytest.skip("no user namespaces here")
    probes = doctor_in_child(
        "from sentra_sandbox.sandbox import trial\ntrial._become_root_of_user_namespace()\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
    )
    user = probes["user namespace"]
    assert not user.ok
    assert "max_user_namespaces is 0" in user.remedy
    assert "sysctl -w user.max_user_namespaces=" in user.remedy


def test_under_a_tracer() -> None:
    """A traced process cannot be sure to trace: the doctor names the tracer."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        LIBC.ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
        os.write(
            writer, json.dumps([one.detail for one in probe() if one.name == "not nested" and not one.ok]).encode()
        )
        os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            break
        LIBC.ptrace(7, pid, 0, os.WSTOPSIG(status) if os.WSTOPSIG(status) != signal.SIGTRAP else 0)  # PTRACE_CONT
    with os.fdopen(reader, "rb") as file:
        assert json.loads(file.read()) == [f"this process is traced by process {os.getpid()}"]


def test_as_an_ordinary_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("we are one already")

    def as_nobody() -> str:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        LIBC.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as after the execve of a login
        return as_json(probe())

    result = attempt(as_nobody, seconds=20)
    assert result.ok, result
    theirs = {one["name"]: Probe(**one) for one in json.loads(result.detail)["probes"]}
    for one in probe(tmp_path):
        assert theirs[one.name].ok >= one.ok, theirs[one.name]


def test_a_directory_that_cannot_hold_runs() -> None:
    probes = {one.name: one for one in probe(Path("/proc/self"))}
    assert not probes["mapped files"].ok
    assert "SENTRA_SANDBOX_HOME" in probes["mapped files"].remedy


# ---- trials


def test_a_trial_that_hangs_is_ended() -> None:
    start = time.monotonic()
    result = attempt(lambda: time.sleep(60) or "", seconds=0.3)
    assert not result.ok
    assert result.detail == "no answer within 0.3 s"
    assert time.monotonic() - start < 5


def test_a_trial_that_dies_is_a_failure() -> None:
    def die() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    assert attempt(die).detail == "the trial ended without an answer (wait status 0x9)"


def test_a_trial_that_raises_is_a_failure() -> None:
    def fail() -> str:
        raise StepFailed("mount proc", EPERM)

    def wrong() -> str:
        raise KeyError("x")

    assert attempt(fail) == Result(False, "mount proc: Operation not permitted", EPERM)
    assert attempt(wrong) == Result(False, "KeyError: 'x'", 0)


def test_a_trial_leaves_no_process() -> None:
    reader, writer = os.pipe()

    def leave() -> str:
        pid = trial._fork_sleeper()
        os.write(writer, struct.pack("=i", pid))
        return "left one"

    assert attempt(leave).ok
    (pid,) = struct.unpack("=i", os.read(reader, 4))
    os.close(reader)
    os.close(writer)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and alive(pid):
        time.sleep(0.01)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


# ---- remedies, for machines that are not this one


def host(**changes: object) -> Host:
    return Host(**{**{name: getattr(CLEAN, name) for name in Host.__slots__}, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "errno", "where", "expected"),
    [
        ("user", ENOSPC, host(max_user_namespaces=0), "sysctl -w user.max_user_namespaces=15000"),
        ("net", ENOSPC, host(), "The limit of net namespaces is reached: sysctl -w user.max_net_namespaces"),
        ("cgroup", EINVAL, host(), "built without cgroup namespaces"),
        ("user", EPERM, host(unprivileged_userns_clone=0), "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("mnt", EPERM, host(apparmor_restricts_userns=1), "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("user", EPERM, host(seccomp_filters=1, in_container=True), "--security-opt seccomp=unconfined"),
        ("user", EPERM, host(seccomp_filters=1, euid=0, apparmor_restricts_userns=1), "seccomp=unconfined"),
        ("user", EPERM, host(in_container=True), "--security-opt apparmor=unconfined"),
        ("user", EPERM, host(), "dmesg"),
        ("user", EPERM, host(in_our_sandbox=True, seccomp_filters=1), "already inside a sandbox of sentra-sandbox"),
    ],
)
def test_namespace_remedies(kind: str, errno: int, where: Host, expected: str) -> None:
    assert expected in doctor.namespace_remedy(kind, Result(False, "unshare", errno), where)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (host(tracer_pid=77), "Process 77 traces this one"),
        (host(yama_scope=3), "ptrace_scope 3, which holds until the next boot"),
        (host(yama_scope=2), "sysctl -w kernel.yama.ptrace_scope=1"),
        (host(yama_scope=1, in_container=True), "--cap-add SYS_PTRACE"),
    ],
)
def test_ptrace_remedies(where: Host, expected: str) -> None:
    assert expected in doctor.ptrace_remedy(Result(False, "ptrace seize a child", EPERM), where)


@pytest.mark.parametrize(
    ("scope", "capabilities", "ok"),
    [(None, 0, True), (0, 0, True), (1, 0, True), (2, 0, False), (2, 1 << 19, True), (3, 1 << 19, False)],
)
def test_yama(scope: int | None, capabilities: int, ok: bool) -> None:
    result = doctor._yama(host(yama_scope=scope, effective_capabilities=capabilities))
    assert result.ok == ok
    assert bool(result.remedy) != ok


def test_landlock_remedies() -> None:
    assert "5.13" in doctor.landlock_remedy(Result(False, "", ENOSYS))
    assert "lsm=" in doctor.landlock_remedy(Result(False, "", 95))


# ---- output

PROBES = [
    Probe("kernel", True, "Linux 6.18"),
    Probe(
        "user namespace", False, "unshare: Operation not permitted", "do " + "something " * 12 + "--cap-add SYS_ADMIN"
    ),
    Probe("landlock", False, "no", "newer kernel", required=False),
]


def test_render() -> None:
    text = render(PROBES, width=80)
    lines = text.splitlines()
    assert lines[0] == "ok  kernel          Linux 6.18"
    assert lines[1].startswith("NO  user namespace  unshare:")
    assert lines[2].startswith("                    remedy: do something")
    assert any(line.startswith("-   landlock") for line in lines)
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "Recording cannot work here; missing: user namespace."
    assert render([PROBES[0], PROBES[2]]).endswith("\nRecording works here.\n")


def test_the_same_remedy_is_told_once() -> None:
    text = render(
        [Probe("user", False, "no", "mend it"), Probe("pid", False, "no", "mend it"), Probe("x", False, "no", "z")]
    )
    assert text.count("mend it") == 1
    assert "remedy: as for user" in text
    assert "remedy: z" in text


def test_inside_a_sandbox_of_ours() -> None:
    """Process 1 of a sandbox is called sentra-init; here a process that takes its place says so."""
    if not attempt(lambda: trial.namespace("pid")).ok:
        pytest.skip("no pid namespaces here")

    def inside() -> str:
        trial._become_root_of_user_namespace()
        assert LIBC.unshare(0x20000000 | 0x00020000) == 0

        def init() -> str:
            LIBC.prctl(15, b"sentra-init", 0, 0, 0)  # PR_SET_NAME
            assert LIBC.mount(None, b"/", None, 0x44000, None) == 0
            assert LIBC.mount(b"proc", b"/proc", b"proc", 0, None) == 0
            return doctor._nested(doctor.read_host()).remedy

        return attempt(init).detail

    assert "already inside a sandbox of sentra-sandbox" in attempt(inside).detail


def test_json() -> None:
    document = json.loads(as_json(PROBES))
    assert document["ok"] is False
    assert document["probes"][0] == {
        "name": "kernel",
        "ok": True,
        "detail": "Linux 6.18",
        "remedy": "",
        "required": True,
    }
    assert json.loads(as_json([PROBES[0], PROBES[2]]))["ok"] is True
