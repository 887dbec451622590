"""The messages of the sandbox's network, read back from the kernel by another implementation of netlink."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import pytest
from launching import become

pytest.importorskip("pyroute2")
from pyroute2 import IPRoute
from pyroute2.nftables.main import NFTables

from sentra_sandbox.sandbox import netlink, own_network_trial
from sentra_sandbox.sandbox.trial import attempt, unshare_network


def read_back() -> dict[str, Any]:
    """Build the network in this (forked) process and list what is there."""
    unshare_network()
    have, reason = own_network_trial._build(tproxy=True)
    with IPRoute() as route:
        lo = route.get_links(1)[0]
        addresses = [(dict(one["attrs"]).get("IFA_ADDRESS"), one["prefixlen"], one["flags"]) for one in route.get_addr(index=1)]
        routes = [
            (dict(one["attrs"]).get("RTA_PREFSRC"), one["table"], one["type"], one["scope"])
            for family in (socket.AF_INET, socket.AF_INET6)
            for one in route.get_routes(family=family, dst_len=0)
            if one["dst_len"] == 0 and one["table"] == 255
        ]
        devices = len(route.get_links())
    tables, chains, rules = [], [], []
    for family in (netlink.AF_INET, netlink.AF_INET6):
        with NFTables(nfgen_family=family) as nft:
            tables += [one.get_attr("NFTA_TABLE_NAME") for one in nft.get_tables()]
            for one in nft.get_chains():
                hook = one.get_attr("NFTA_CHAIN_HOOK")
                numbers = hook.get_attr("NFTA_HOOK_HOOKNUM"), hook.get_attr("NFTA_HOOK_PRIORITY")
                chains.append((one.get_attr("NFTA_CHAIN_NAME"), one.get_attr("NFTA_CHAIN_TYPE"), one.get_attr("NFTA_CHAIN_POLICY"), *numbers))
            rules.append([[expression(e) for e in one.get_attr("NFTA_RULE_EXPRESSIONS")] for one in nft.get_rules()])
    return {
        "have": have, "reason": reason, "devices": devices, "up": lo["flags"] & 1, "addresses": addresses, "routes": routes,
        "tables": tables, "chains": chains, "rules": rules,
    }  # fmt: skip


@pytest.mark.parametrize("who", ["root", "user"])
def test_the_kernel_has_what_was_meant(who: str) -> None:
    if who == "root" and os.geteuid() != 0:
        pytest.skip("needs root")

    def work() -> str:
        become(who)
        return json.dumps(read_back())

    result = attempt(work)
    assert result.ok, result
    found = json.loads(result.detail)
    permanent, no_dad = 0x80, 0x02
    assert (found["have"], found["devices"], found["up"]) == (7, 1, 1)
    assert ["192.0.2.1", 32, permanent] in found["addresses"] and ["2001:db8::1", 128, permanent | no_dad] in found["addresses"]
    assert found["routes"] == [["192.0.2.1", 255, 2, 254], ["2001:db8::1", 255, 2, 0]]  # table local, type local
    assert found["tables"] == ["sentra"] * 2
    assert found["chains"] == [["to_broker", "filter", 1, 0, -150]] * 2  # policy accept, prerouting
    assert found["rules"] == [rules_of(16, "7f", "c0000201", 1, 8, "c0000202", 2), rules_of(24, "0" * 31 + "1", V6 + "1", 58, 128, V6 + "2", 10)]


V6 = "20010db8" + "0" * 23


def rules_of(destination: int, loopback: str, own: str, icmp: int, echo: int, listener: str, family: int) -> list[list[Any]]:
    """What nft list ruleset would print, as registers."""
    network, transport, protocol = "NFT_PAYLOAD_NETWORK_HEADER", "NFT_PAYLOAD_TRANSPORT_HEADER", ["meta", "NFT_META_L4PROTO"]
    equal, other = "NFT_CMP_EQ", "NFT_CMP_NEQ"
    accept, drop = ["verdict", "NF_ACCEPT"], ["verdict", "NF_DROP"]
    return [
        [["payload", network, destination, len(loopback) // 2], ["cmp", equal, loopback], accept],
        [["payload", network, destination, len(own) // 2], ["cmp", equal, own], accept],
        [protocol, ["cmp", equal, f"{icmp:02x}"], ["payload", transport, 0, 1], ["cmp", equal, f"{echo:02x}"], drop],
        [protocol, ["cmp", other, "06"], ["cmp", other, "11"], accept],
        [protocol, ["cmp", equal, "11"], ["payload", transport, 2, 2], ["cmp", equal, "01bb"], accept],
        [["immediate", listener], ["immediate", "0001"], ["tproxy", family, "NFT_REG_1", "NFT_REG_2"]],
    ]


def expression(one: Any) -> list[Any]:
    name, data = one.get_attr("NFTA_EXPR_NAME"), one.get_attr("NFTA_EXPR_DATA")
    get = data.get_attr
    if name == "payload":
        return [name, get("NFTA_PAYLOAD_BASE"), get("NFTA_PAYLOAD_OFFSET"), get("NFTA_PAYLOAD_LEN")]
    if name == "meta":
        return [name, get("NFTA_META_KEY")]
    if name == "cmp":
        return [name, get("NFTA_CMP_OP"), get("NFTA_CMP_DATA").get_attr("NFTA_DATA_VALUE").hex()]
    if name == "tproxy":
        family = {"NFT_REG_2": 2, "NFT_REG32_02": 10}[get("NFTA_TPROXY_FAMILY")]  # pyroute2 reads the number as a register's
        return [name, family, get("NFTA_TPROXY_REG_ADDR"), get("NFTA_TPROXY_REG_PORT")]
    verdict = get("NFTA_IMMEDIATE_DATA").get_attr("NFTA_DATA_VERDICT")
    if verdict:
        return ["verdict", verdict.get_attr("NFTA_VERDICT_CODE")]
    return [name, get("NFTA_IMMEDIATE_DATA").get_attr("NFTA_DATA_VALUE").hex()]
