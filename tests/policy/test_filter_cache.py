"""The cache of compiled filters: right, quick, light, and not to be fooled by damaged or foreign files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentra_sandbox.errors import PolicyError
from sentra_sandbox.policy import cache
from sentra_sandbox.policy.cache import cached_filter, running_kernel
from sentra_sandbox.policy.filter import compile_filter
from sentra_sandbox.policy.oci import load_profile
from sentra_sandbox.policy.profiles import find_profile

DEFAULT = find_profile("default")


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_the_cached_filter_is_the_compiled_one(tmp_path: Path) -> None:
    expected = compile_filter(load_profile(DEFAULT), kernel=running_kernel())
    assert cached_filter(DEFAULT, tmp_path / "new" / "cache") == expected
    assert cached_filter(DEFAULT, tmp_path / "new" / "cache") == expected
    assert only_file(tmp_path / "new" / "cache").stat().st_mode & 0o777 == 0o600
    assert cached_filter(None, tmp_path) == compile_filter(None, kernel=running_kernel())


def test_a_hit_is_what_the_file_says(tmp_path: Path) -> None:
    """Proves that the second call reads the file at all: a planted, valid file is what comes back."""
    cached_filter(DEFAULT, tmp_path)
    planted = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    only_file(tmp_path).write_bytes(cache._MAGIC + cache._digest(planted) + planted)
    assert cached_filter(DEFAULT, tmp_path) == planted


def test_key_depends_on_text_capabilities_and_presence(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    where = tmp_path / "cache"
    first = cached_filter(profile, where)
    profile.write_text('{"defaultAction": "SCMP_ACT_ERRNO"}')
    assert cached_filter(profile, where) != first
    cached_filter(profile, where, capabilities=frozenset({"CAP_BPF"}))
    cached_filter(None, where)
    assert len(list(where.iterdir())) == 4


def damage_truncate(data: bytes) -> bytes:
    return data[:-8]


def damage_bit(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def damage_magic(data: bytes) -> bytes:
    return b"X" + data[1:]


def damage_empty(data: bytes) -> bytes:
    return b""


def damage_header_only(data: bytes) -> bytes:
    return data[:24]


def damage_longer(data: bytes) -> bytes:
    return data + b"\0" * (5000 * 8)


@pytest.mark.parametrize(
    "damage", [damage_truncate, damage_bit, damage_magic, damage_empty, damage_header_only, damage_longer]
)
def test_damaged_files_are_replaced(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    expected = cached_filter(DEFAULT, tmp_path)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert cached_filter(DEFAULT, tmp_path) == expected
    assert only_file(tmp_path).read_bytes() == whole


def test_files_that_others_can_write_are_not_trusted(tmp_path: Path) -> None:
    expected = cached_filter(DEFAULT, tmp_path)
    planted = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    path = only_file(tmp_path)
    path.write_bytes(cache._MAGIC + cache._digest(planted) + planted)
    path.chmod(0o666)
    assert cached_filter(DEFAULT, tmp_path) == expected
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert cached_filter(DEFAULT, tmp_path / "file" / "cache") == compile_filter(
        load_profile(DEFAULT), kernel=running_kernel()
    )


def test_wrong_profiles_are_errors_and_not_cached(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        cached_filter(tmp_path / "nothing.json", tmp_path / "cache")
    bad = tmp_path / "bad.json"
    bad.write_text('{"defaultAction": 1}')
    with pytest.raises(PolicyError, match="defaultAction"):
        cached_filter(bad, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_hit_imports_neither_table_nor_compiler(tmp_path: Path) -> None:
    cached_filter(DEFAULT, tmp_path)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sentra_sandbox.policy.cache import cached_filter\n"
        "from sentra_sandbox.policy.profiles import find_profile\n"
        f"cached_filter(find_profile('default'), Path({str(tmp_path)!r}))\n"
        "print([m for m in sys.modules if m.startswith('sentra_sandbox.') or m in ('json', 'tempfile', 'difflib')])\n"
    )
    root = Path(__file__).parent.parent.parent
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(eval(result.stdout))
    assert loaded == {
        "sentra_sandbox.errors",
        "sentra_sandbox.policy",
        "sentra_sandbox.policy.cache",
        "sentra_sandbox.policy.profiles",
    }


def test_a_hit_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    cached_filter(DEFAULT, tmp_path)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        cached_filter(DEFAULT, tmp_path)
        times.append(time.perf_counter() - start)
    assert sorted(times)[10] < 0.001
