"""The assembler, the checker and the simulator by themselves."""

from __future__ import annotations

import pytest

from sentra_sandbox.policy import bpf


def ladder(steps: int) -> bytes:
    """A program whose first test jumps over ``steps`` others to the end, and each of those to one of two returns."""
    asm = bpf.Assembler()
    end, other = asm.label(), asm.label()
    asm.load(bpf.OFFSET_NR)
    asm.branch(bpf.JEQ, 0xFFFF, yes=end)
    for value in range(steps):
        asm.branch(bpf.JEQ, value, yes=end if value % 2 else other)
    asm.ret(bpf.RET_ALLOW)
    asm.place(other)
    asm.ret(bpf.RET_ERRNO | 1)
    asm.place(end)
    asm.ret(bpf.RET_ERRNO | 2)
    return asm.assemble()


@pytest.mark.parametrize("steps", [1, 250, 254, 255, 256, 257, 600, 1500])
def test_far_jumps_arrive(steps: int) -> None:
    program = ladder(steps)
    assert bpf.simulate(program, 0xFFFF) == (bpf.RET_ERRNO, 2)
    for value in {0, 1, steps // 2, steps - 1} & set(range(steps)):
        assert bpf.simulate(program, value) == (bpf.RET_ERRNO, 2 if value % 2 else 1)
    assert bpf.simulate(program, steps) == (bpf.RET_ALLOW, 0)


def test_near_jumps_need_no_extra_instruction() -> None:
    assert len(ladder(200)) // 8 == 200 + 5


def test_too_long_a_program_is_refused() -> None:
    with pytest.raises(bpf.BadProgram, match="4096"):
        ladder(4096)


def test_a_label_that_is_never_placed() -> None:
    asm = bpf.Assembler()
    asm.goto(asm.label())
    asm.ret(0)
    with pytest.raises(bpf.BadProgram, match="never placed"):
        asm.assemble()


def test_backward_jumps_are_refused() -> None:
    asm = bpf.Assembler()
    start = asm.label()
    asm.place(start)
    asm.load(bpf.OFFSET_NR)
    asm.goto(start)
    asm.ret(0)
    with pytest.raises(bpf.BadProgram, match="backwards"):
        asm.assemble()


def one(code: int, k: int = 0, jt: int = 0, jf: int = 0) -> bpf.Instruction:
    return bpf.Instruction(code, jt, jf, k)


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        ([], "0 instructions"),
        ([one(bpf.RET)] * 4097, "4097 instructions"),
        ([one(bpf.LOAD, 64), one(bpf.RET)], "offset 64"),
        ([one(bpf.LOAD, 2), one(bpf.RET)], "offset 2"),
        ([one(bpf.JA, 1), one(bpf.RET)], "out of the program"),
        ([one(bpf.JEQ, 0, 0, 1), one(bpf.RET)], "out of the program"),
        ([one(bpf.LOAD, 0)], "does not end with a return"),
        ([one(0x87), one(bpf.RET)], "0x87"),
    ],
)
def test_check_refuses_what_the_kernel_would(instructions: list[bpf.Instruction], reason: str) -> None:
    with pytest.raises(bpf.BadProgram, match=reason):
        bpf.check(bpf.encode(instructions))


def test_half_an_instruction() -> None:
    with pytest.raises(bpf.BadProgram, match="7 bytes"):
        bpf.decode(b"1234567")


def test_simulator_reads_all_of_seccomp_data() -> None:
    args = [0x1111111122222222, 0x3333333344444444, 5, 6, 7, -1]
    expected = {0: 9, 4: 0x40000003, 8: 0xDDDDDDDD, 12: 0xCCCCCCCC, 16: 0x22222222, 20: 0x11111111, 28: 0x33333333}
    expected |= {32: 5, 56: 0xFFFFFFFF, 60: 0xFFFFFFFF}
    for offset, value in expected.items():
        program = bpf.encode(
            [one(bpf.LOAD, offset), one(bpf.JEQ, value, 0, 1), one(bpf.RET, bpf.RET_LOG | 7), one(bpf.RET)]
        )
        result = bpf.simulate(program, 9, args, bpf.AUDIT_ARCH_I386, 0xCCCCCCCCDDDDDDDD)
        assert result == (bpf.RET_LOG, 7), offset


@pytest.mark.parametrize(
    ("code", "k", "nr", "taken"),
    [
        (bpf.JEQ, 5, 5, True),
        (bpf.JEQ, 5, 6, False),
        (bpf.JGT, 5, 5, False),
        (bpf.JGT, 5, 0xFFFFFFFF, True),
        (bpf.JGE, 5, 5, True),
        (bpf.JGE, 5, 4, False),
        (bpf.JSET, 6, 4, True),
        (bpf.JSET, 6, 9, False),
    ],
)
def test_comparisons(code: int, k: int, nr: int, taken: bool) -> None:
    program = bpf.encode([one(bpf.LOAD, 0), one(code, k, 1, 0), one(bpf.RET, bpf.RET_LOG), one(bpf.RET, bpf.RET_ALLOW)])
    assert bpf.simulate(program, nr)[0] == (bpf.RET_ALLOW if taken else bpf.RET_LOG)


def test_disassembly_names_fields_targets_and_results() -> None:
    program = bpf.encode(
        [
            one(bpf.LOAD, 28),
            one(bpf.AND, 0xFF),
            one(bpf.JGE, 16, 1, 0),
            one(bpf.JA, 0),
            one(bpf.RET, bpf.RET_TRACE | 0x1001),
        ]
    )
    assert bpf.disassemble(program).splitlines() == [
        "    0  A = arg1.high",
        "    1  A = A & 0xff",
        "    2  if A >= 0x10 goto 4 else 3",
        "    3  goto 4",
        "    4  return TRACE 0x1001",
    ]
