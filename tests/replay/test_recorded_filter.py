"""A filter that a trace brings along never lets more through than our own."""

from __future__ import annotations

import struct

import pytest

from sentra_sandbox.policy import bpf
from sentra_sandbox.policy.filter import compile_filter
from sentra_sandbox.replay.recorded_filter import guarded

ALLOW, TRACE = 0x7FFF0000, 0x7FF00000
X86_64 = 0xC000003E


def ret(value: int) -> bytes:
    return struct.pack("=HBBI", 0x06, 0, 0, value)


@pytest.mark.parametrize("nr", [0, 1, 2, 9, 12, 13, 41, 42, 59, 101, 165, 257, 435])
def test_an_open_filter_is_closed_by_ours(nr: int) -> None:
    ours = compile_filter(None)
    expected = bpf.simulate(ours, nr, (0,) * 6, X86_64, 0)
    assert bpf.simulate(guarded(ret(ALLOW), ours), nr, (0,) * 6, X86_64, 0) == expected


def test_a_stop_stays_a_stop() -> None:
    program = guarded(ret(TRACE), compile_filter(None))
    assert bpf.simulate(program, 12, (0,) * 6, X86_64, 0)[0] == TRACE  # brk: ours would let it run


@pytest.mark.parametrize("program", [b"", b"\0" * 7, struct.pack("=HBBI", 0x16, 0, 0, 0), ret(ALLOW) * 5000])
def test_programs_that_cannot_be_guarded(program: bytes) -> None:
    with pytest.raises(ValueError):
        guarded(program, compile_filter(None))
