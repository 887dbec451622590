"""Synthetic addresses: the same in every run, in their networks, never given twice, and their number bounded."""

from __future__ import annotations

import ipaddress
import subprocess
import sys

import pytest

from sentra_sandbox.network import names
from sentra_sandbox.network.names import NamesExhausted, NameTable

FOUR, SIX = ipaddress.ip_network("198.18.0.0/15"), ipaddress.ip_network("2001:2::/48")


def test_a_name_has_the_same_addresses_in_every_run() -> None:
    code = "from sentra_sandbox.network.names import NameTable; print(*NameTable().addresses('api.openai.com'))"
    made = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1] == "198.19.72.243 2001:2:0:1::c613:48f3\n"


def test_addresses_are_in_their_networks_and_lead_back() -> None:
    table = NameTable()
    given = set()
    for index in range(5000):
        name = f"host{index}.example.com"
        four, six = table.addresses(name)
        assert ipaddress.ip_address(four) in FOUR and ipaddress.ip_address(six) in SIX
        assert not four.endswith((".0", ".255")) and not four.startswith(("198.18.0.", "198.19.255."))
        assert table.name_of(four) == table.name_of(six) == table.name_of(f"::ffff:{four}") == name
        given.update((four, six))
    assert len(given) == 10000 and len(table) == 5000
    assert table.addresses("host7.example.com") == NameTable().addresses("host7.example.com")


def test_every_place_is_used_once_before_names_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "BLOCKS", 8)
    monkeypatch.setattr(names, "PLACES", 8 * names.PER_BLOCK)
    table = NameTable(10**9)
    given = {table.addresses(str(index))[0] for index in range(names.PLACES)}
    assert len(given) == names.PLACES
    with pytest.raises(NamesExhausted, match=str(names.PLACES)):
        table.addresses("one more")
    assert table.addresses("17")[0] in given


@pytest.mark.parametrize(
    "address", ["198.18.0.1", "198.18.1.0", "198.18.1.255", "198.19.255.7", "198.17.255.255", "198.20.0.1", "2001:2::1", "2001:2:0:1::1", "8.8.8.8", "x", ""]
)
def test_other_addresses_have_no_name(address: str) -> None:
    table = NameTable()
    for index in range(1000):
        table.addresses(str(index))
    assert table.name_of(address) == ""
