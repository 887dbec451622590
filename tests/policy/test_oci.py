"""Reading profiles: what is accepted, and that every mistake is an error naming file, place and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.policy.oci import load_profile, parse_profile
from sentra_sandbox.policy.rules import CAPABILITIES, Action, Comparison, Condition, Scope

HERE = Path(__file__).parent


def parse(**rule: Any) -> Any:
    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW"} | rule
    return parse_profile(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}), "p.json").rules[0]


def test_a_profile_of_dockers_shape_loads_unchanged() -> None:
    profile = load_profile(HERE / "profiles" / "docker_shaped.json")
    assert profile.default_action is Action.ERRNO
    assert profile.default_errno == 1
    first = profile.rules[0]
    assert "openat2" in first.names
    assert "_llseek" not in first.names, "calls of other architectures have no meaning here"
    clone3 = next(rule for rule in profile.rules if rule.errno == 38)
    assert clone3.names == ("clone3",)
    assert clone3.excludes == Scope(caps=("CAP_SYS_ADMIN",))


def test_a_rule_in_full() -> None:
    rule = parse(
        names=["ioctl", "ioctl"],
        action="SCMP_ACT_ERRNO",
        errnoRet=13,
        args=[{"index": 1, "value": 0xFFFFFFFF, "valueTwo": 0x5412, "op": "SCMP_CMP_MASKED_EQ"}],
        comment="TIOCSTI",
        includes={"caps": ["CAP_BPF"], "arches": ["amd64"], "minKernel": "5.10"},
        excludes={},
    )
    assert rule.names == ("ioctl",)
    assert (rule.action, rule.errno, rule.comment) == (Action.ERRNO, 13, "TIOCSTI")
    assert rule.conditions == (Condition(1, Comparison.MASKED_EQ, 0xFFFFFFFF, 0x5412),)
    assert rule.includes == Scope(("CAP_BPF",), ("amd64",), (5, 10))
    assert rule.excludes == Scope()
    assert rule.applies(frozenset({"CAP_BPF"}), (5, 10))
    assert not rule.applies(frozenset({"CAP_BPF"}), (5, 9))
    assert not rule.applies(frozenset(), (5, 10))


def test_error_names_of_podman() -> None:
    text = '{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "defaultErrnoRet": 38, "syscalls": [%s]}'
    profile = parse_profile(text % '{"name": "mount", "action": "SCMP_ACT_ERRNO", "errno": "EXDEV"}', "p.json")
    assert profile.default_errno == 38
    assert profile.rules[0].errno == 18


def test_rules_without_errno_take_the_default() -> None:
    text = (
        '{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":5,"syscalls":[{"name":"mount","action":"SCMP_ACT_ERRNO"}]}'
    )
    assert parse_profile(text, "p.json").rules[0].errno == 5


@pytest.mark.parametrize("action", list(Action))
def test_every_action_is_known(action: Action) -> None:
    assert parse(action=action.value).action is action


def test_capabilities_are_in_the_kernels_order() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert len(CAPABILITIES) == 41
    assert last <= 40
    assert (CAPABILITIES[0], CAPABILITIES[21], CAPABILITIES[40]) == (
        "CAP_CHOWN",
        "CAP_SYS_ADMIN",
        "CAP_CHECKPOINT_RESTORE",
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"names": ["opennat"]}, "syscalls[0].names[0]: there is no system call 'opennat'. Did you mean openat"),
        ({"names": ["read", 7]}, "syscalls[0].names[1]: 7 is not a string"),
        ({"names": []}, "syscalls[0]: no system call is named"),
        ({"name": "read"}, "syscalls[0]: both name and names"),
        ({"names": "read"}, "syscalls[0].names: a list is needed, not a string"),
        ({"acton": 1}, "syscalls[0]: unknown key 'acton'. Did you mean action?"),
        ({"action": "SCMP_ACT_DENY"}, "syscalls[0].action: 'SCMP_ACT_DENY' is not known. Use one of SCMP_ACT_ALLOW"),
        ({"action": ["SCMP_ACT_ALLOW"]}, "syscalls[0].action: ['SCMP_ACT_ALLOW'] is not known"),
        ({"errnoRet": 4096}, "syscalls[0].errnoRet: 4096 is not a whole number from 0 to 4095"),
        ({"errnoRet": True}, "syscalls[0].errnoRet: True is not"),
        ({"errnoRet": 1, "errno": "ENOSYS"}, "syscalls[0].errno: ENOSYS is 38 and errnoRet says 1"),
        ({"errno": "EFOO"}, "syscalls[0].errno: 'EFOO' is not the name of an error"),
        ({"errno": "errorcode"}, "syscalls[0].errno: 'errorcode' is not the name of an error"),
        (
            {"args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]},
            "args[0].index: 6 is not a whole number from 0 to 5",
        ),
        (
            {"args": [{"index": 0, "value": 1 << 64, "op": "SCMP_CMP_EQ"}]},
            "syscalls[0].args[0].value: 18446744073709551616",
        ),
        ({"args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}, "syscalls[0].args[0].value: -1 is not"),
        ({"args": [{"index": 0, "value": 1.5, "op": "SCMP_CMP_EQ"}]}, "syscalls[0].args[0].value: 1.5 is not"),
        ({"args": [{"index": 0, "value": 1}]}, "syscalls[0].args[0]: op is missing"),
        ({"args": [{"index": 0, "value": 1, "op": "EQ"}]}, "syscalls[0].args[0].op: 'EQ' is not known"),
        ({"args": {"index": 0}}, "syscalls[0].args: a list is needed, not an object"),
        (
            {"args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}]},
            "args[0].valueTwo: only SCMP_CMP_MASKED_EQ uses it",
        ),
        (
            {"args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]},
            "args[0]: valueTwo 0x2 has bits outside the mask 0x1",
        ),
        (
            {"args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}] * 2},
            "args: one argument is tested twice in one rule",
        ),
        (
            {"includes": {"caps": ["SYS_ADMIN"]}},
            "syscalls[0].includes.caps: 'SYS_ADMIN' is not known. Did you mean CAP_SYS",
        ),
        ({"excludes": {"arches": ["amd46"]}}, "syscalls[0].excludes.arches: 'amd46' is not known. Did you mean amd64"),
        ({"includes": {"minKernel": "4"}}, "syscalls[0].includes.minKernel: '4' is not a kernel version"),
        ({"includes": {"cap": []}}, "syscalls[0].includes: unknown key 'cap'. Did you mean caps?"),
        ({"comment": 5}, "syscalls[0].comment: a string is needed, not a number"),
    ],
)
def test_mistakes_in_a_rule(rule: dict[str, Any], expected: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(**rule)
    text = str(caught.value)
    assert text.startswith("Seccomp profile p.json, syscalls[0]")
    assert expected in text
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not valid JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        ("[]", "top level: a JSON object is needed, not a list"),
        ("{}", "defaultAction is missing"),
        ('{"defaultAction": "ALLOW"}', "defaultAction: 'ALLOW' is not known"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "sycalls": []}', "unknown key 'sycalls'. Did you mean syscalls?"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_ERRNO"}', "'defaultAction' appears twice"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [3]}', "syscalls[0]: a JSON object is needed, not a number"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "read"}]}', "syscalls[0]: action is missing"),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["LOG"]}',
            "flags: 'LOG' is not known. Use SECCOMP_FILTER_FLAG_LOG,",
        ),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s"}', "listenerPath: no listener is run here"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X86"]}', "architectures: 'X86' is not known"),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_46"}]}',
            "archMap[0].architecture: 'SCMP_ARCH_X86_46' is not known. Did you mean SCMP_ARCH_X86_64",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "archMap": [{}]}',
            "both architectures and archMap",
        ),
        pytest.param("[" * 100000, "nested too deeply", id="deep"),
    ],
)
def test_mistakes_in_the_file(text: str, expected: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_profile(text, "p.json")
    assert expected in str(caught.value)
    assert caught.value.remedy


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nothing\.json cannot be read: No such file"):
        load_profile(tmp_path / "nothing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(PolicyError, match="not UTF-8"):
        load_profile(tmp_path / "binary.json")
    (tmp_path / "huge.json").write_bytes(b" " * ((4 << 20) + 1))
    with pytest.raises(PolicyError, match="larger than"):
        load_profile(tmp_path / "huge.json")
