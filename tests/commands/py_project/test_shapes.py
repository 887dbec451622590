import subprocess
import sys

import pytest
from shapes import area


@pytest.mark.parametrize("side", range(1, 6))
def test_square(side):
    assert area(side, side) == side**2


def test_files(tmp_path):
    (tmp_path / "f").write_text("x")
    assert (tmp_path / "f").read_text() == "x"


def test_subprocess():
    assert subprocess.check_output([sys.executable, "-S", "-c", "print(6 * 7)"]) == b"42\n"


def test_that_fails():
    assert area(2, 3) == 7
