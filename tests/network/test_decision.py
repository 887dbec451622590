"""Decisions as a table: policy, question, answer. No kernel, no network."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
import time

import pytest

from sentra_sandbox.errors import UsageError
from sentra_sandbox.network import addresses
from sentra_sandbox.network.decision import Decision, NetworkPolicy, mapping, policy_of
from sentra_sandbox.network.patterns import canonical

# allow | deny | strict | address port [name] | + or - | rule (a part of it)
ADDRESSES = """
|                    |                 |   | 93.184.216.34 443              | + | default: public
|                    |                 |   | 2606:2800::1 443               | + | default: public
|                    |                 |   | 8.8.8.8 53                     | + | default: public
|                    |                 |   | 93.184.216.34 443 example.com  | + | default: public
|                    |                 |   | 127.0.0.1 80                   | - | default: host's own loopback
|                    |                 |   | 127.255.255.254 80             | - | loopback
|                    |                 |   | ::1 80                         | - | loopback
|                    |                 |   | 10.0.0.1 80                    | - | private
|                    |                 |   | 172.16.0.1 80                  | - | private
|                    |                 |   | 172.31.255.255 80              | - | private
|                    |                 |   | 172.32.0.1 80                  | + | public
|                    |                 |   | 172.15.255.255 80              | + | public
|                    |                 |   | 192.168.1.1 80                 | - | private
|                    |                 |   | 192.169.0.1 80                 | + | public
|                    |                 |   | 100.64.0.1 80                  | - | CGNAT
|                    |                 |   | 100.127.255.255 80             | - | CGNAT
|                    |                 |   | 100.128.0.1 80                 | + | public
|                    |                 |   | 100.100.100.200 80             | - | metadata
|                    |                 |   | 169.254.169.254 80             | - | metadata
|                    |                 |   | 169.254.170.2 80               | - | metadata
|                    |                 |   | 168.63.129.16 80               | - | metadata
|                    |                 |   | 192.0.0.192 80                 | - | metadata
|                    |                 |   | 169.254.1.1 80                 | - | link-local
|                    |                 |   | fd00:ec2::254 80               | - | metadata
|                    |                 |   | fd20:ce::254 80                | - | metadata
|                    |                 |   | fe80::1 80                     | - | link-local
|                    |                 |   | fe80::1%eth0 80                | - | link-local
|                    |                 |   | febf::1 80                     | - | link-local
|                    |                 |   | fec0::1 80                     | - | private
|                    |                 |   | fc00::1 80                     | - | private
|                    |                 |   | fdff::1 80                     | - | private
|                    |                 |   | 0.0.0.0 80                     | - | unspecified
|                    |                 |   | 0.1.2.3 80                     | - | unspecified
|                    |                 |   | :: 80                          | - | unspecified
|                    |                 |   | 224.0.0.251 5353               | - | multicast
|                    |                 |   | 239.255.255.250 1900           | - | multicast
|                    |                 |   | ff02::fb 5353                  | - | multicast
|                    |                 |   | 255.255.255.255 67             | - | broadcast
|                    |                 |   | 240.0.0.1 80                   | - | reserved
|                    |                 |   | 192.0.2.1 80                   | - | reserved
|                    |                 |   | 203.0.113.9 80                 | - | reserved
|                    |                 |   | 2001:db8::1 80                 | - | reserved
|                    |                 |   | 3fff::1 80                     | - | reserved
|                    |                 |   | 2001:100::1 80                 | - | reserved
|                    |                 |   | 2001:4:112::1 80               | + | public
|                    |                 |   | 2001:200::1 80                 | + | public
|                    |                 |   | 4000::1 80                     | - | reserved
|                    |                 |   | 100::1 80                      | - | reserved
|                    |                 |   | 198.18.3.4 80                  | - | benchmarking
|                    |                 |   | 198.19.255.1 80                | - | benchmarking
|                    |                 |   | 2001:2::5 80                   | - | benchmarking
|                    |                 |   | ::ffff:127.0.0.1 80            | - | loopback
|                    |                 |   | ::ffff:10.0.0.1 80             | - | private
|                    |                 |   | ::ffff:a9fe:a9fe 80            | - | metadata
|                    |                 |   | ::ffff:8.8.8.8 80              | + | public
|                    |                 |   | ::127.0.0.1 80                 | - | loopback
|                    |                 |   | ::8.8.8.8 80                   | + | public
|                    |                 |   | 64:ff9b::10.0.0.1 80           | - | private
|                    |                 |   | 64:ff9b::8.8.8.8 80            | + | public
|                    |                 |   | 64:ff9b::a9fe:a9fe 80          | - | metadata
|                    |                 |   | 64:ff9b:1::8.8.8.8 80          | - | private
|                    |                 |   | 2002:7f00:1:: 80               | - | loopback
|                    |                 |   | 2002:a00:1::1 80               | - | private
|                    |                 |   | 2002:808:808::1 80             | + | public
|                    |                 |   | 2001:0:808:808::f5ff:fffe 80   | - | private
|                    |                 |   | 2001:0:a00:1::f7f7:f7f7 80     | - | private
|                    |                 |   | 2001:0:808:808::f7f7:f7f7 80   | + | public
|                    |                 |   | 2607:f8b0::5efe:10.0.0.1 80    | - | private
|                    |                 |   | 2607:f8b0::200:5efe:7f00:1 80  | - | loopback
|                    |                 |   | 2130706433 80                  | - | loopback
|                    |                 |   | 0x7f000001 80                  | - | loopback
|                    |                 |   | 0177.0.0.1 80                  | - | loopback
|                    |                 |   | 127.1 80                       | - | loopback
|                    |                 |   | 0xa9fea9fe 80                  | - | metadata
|                    |                 |   | 0xA.0.0.1 80                   | - | private
|                    |                 |   | 134744072 53                   | + | public
|                    |                 |   | not-an-address 80              | - | addresses
|                    |                 |   | 1.2.3.4.5 80                   | - | addresses
|                    |                 |   | 256.1.1.1.1 80                 | - | addresses
| 10.1.2.3:5432      |                 |   | 10.1.2.3 5432                  | + | --allow-net 10.1.2.3:5432
| 10.1.2.3:5432      |                 |   | 10.1.2.3 5433                  | - | private
| 10.1.2.3:5432      |                 |   | ::ffff:10.1.2.3 5432           | + | --allow-net
| 10.1.2.3:5432      |                 |   | 64:ff9b::10.1.2.3 5432         | + | --allow-net
| 10.1.2.3:5432      |                 |   | 2002:a01:203::1 5432           | - | private
| 10.1.2.3           |                 |   | 10.1.2.3 1                     | + | --allow-net
| 10.0.0.0/8:5432    |                 |   | 10.255.255.255 5432            | + | --allow-net 10.0.0.0/8:5432
| 10.0.0.0/8:5432    |                 |   | 11.0.0.0 5432                  | + | default: public
| 10.0.0.0/8:5432    |                 |   | 10.0.0.0 80                    | - | private
| 10.0.0.0/8         |                 | s | 10.9.9.9 80                    | + | --allow-net
| 0.0.0.0/0          |                 |   | 192.168.1.1 80                 | + | --allow-net
| 0.0.0.0/0          |                 |   | fd00::1 80                     | - | private
| ::/0               |                 |   | fd00::1 80                     | + | --allow-net
| ::/0               |                 |   | 10.0.0.1 80                    | - | private
| ::ffff:10.0.0.0/104 |                |   | 10.5.5.5 80                    | + | --allow-net
| fd00::/8           |                 |   | fd12:3456::1 80                | + | --allow-net
| [fd00::]/8:80      |                 |   | fd12:3456::1 80                | + | --allow-net
| [fd00::/8]:80      |                 |   | fd12:3456::1 81                | - | private
| [::1]:80           |                 |   | ::1 80                         | + | --allow-net [::1]:80
| [::1]:80           |                 |   | 127.0.0.1 80                   | - | loopback
| localhost:11434    |                 |   | 127.0.0.1 11434                | + | --allow-net localhost:11434
| localhost:11434    |                 |   | ::1 11434                      | + | --allow-net
| localhost:11434    |                 |   | 127.0.0.1 11435                | - | loopback
| localhost          |                 |   | 127.0.0.1 1                    | + | --allow-net localhost
| localhost          |                 |   | 127.0.0.2 1                    | - | loopback
| 127.0.0.1:8080     |                 |   | 127.0.0.1 8080 localhost       | + | --allow-net 127.0.0.1:8080
| *                  |                 |   | 10.0.0.1 80                    | - | private
| *                  |                 |   | 127.0.0.1 80 localhost         | - | loopback
| *                  |                 | s | 8.8.8.8 80                     | + | --allow-net *
| *:443              |                 | s | 8.8.8.8 443                    | + | --allow-net *:443
| *:443              |                 | s | 8.8.8.8 80                     | - | strictAllowlist
| *                  |                 | s | 169.254.169.254 80             | - | metadata
|                    |                 | s | 8.8.8.8 443                    | - | strictAllowlist
| example.com        |                 | s | 93.184.216.34 443              | - | strictAllowlist
| example.com        |                 | s | 93.184.216.34 443 example.com  | + | --allow-net example.com
| example.com:443    |                 | s | 93.184.216.34 80 example.com   | - | strictAllowlist
| 93.184.216.34      |                 | s | 93.184.216.34 80 other.com     | - | strictAllowlist
| db.corp.example    |                 |   | 10.1.2.3 5432 db.corp.example  | + | --allow-net db.corp.example
| db.corp.example:5432 |               |   | 10.1.2.3 80 db.corp.example    | - | private
| db.corp.example    |                 |   | fd00::5 5432 db.corp.example   | + | --allow-net
| db.corp.example    |                 |   | 100.64.1.1 80 db.corp.example  | + | --allow-net
| db.corp.example    |                 |   | 127.0.0.1 80 db.corp.example   | - | loopback
| db.corp.example    |                 |   | 169.254.169.254 80 db.corp.example | - | metadata
| db.corp.example    |                 |   | 0.0.0.0 80 db.corp.example     | - | unspecified
| db.corp.example    |                 |   | fe80::1 80 db.corp.example     | - | link-local
| *.corp.example     |                 |   | 10.1.2.3 80 db.corp.example    | - | private
| *.corp.example     |                 |   | 8.8.8.8 80 db.corp.example     | + | --allow-net *.corp.example
|                    |                 |   | 10.1.2.3 80 db.corp.example    | - | private
| 10.0.0.0/8         |                 |   | 10.1.2.3 80 db.corp.example    | + | --allow-net 10.0.0.0/8
| db.corp.example 127.0.0.1:80 |       |   | 127.0.0.1 80 db.corp.example   | + | --allow-net 127.0.0.1:80
|                    | evil.com        |   | 6.6.6.6 80 evil.com            | - | deniedDomains[0] evil.com
|                    | evil.com        |   | 6.6.6.6 80 www.evil.com        | + | public
|                    | *.evil.com      |   | 6.6.6.6 80 www.evil.com        | - | deniedDomains[0] *.evil.com
|                    | 6.6.6.6         |   | 6.6.6.6 80 nice.com            | - | deniedDomains[0] 6.6.6.6
|                    | 6.6.6.0/24:80   |   | 6.6.6.6 80                     | - | deniedDomains
|                    | 6.6.6.0/24:80   |   | 6.6.6.6 443                    | + | public
|                    | 6.6.6.6         |   | ::ffff:6.6.6.6 80              | - | deniedDomains
|                    | 6.6.6.6         |   | 64:ff9b::6.6.6.6 80            | - | deniedDomains
|                    | 6.6.6.6         |   | 2002:606:606::1 80             | - | deniedDomains
|                    | 6.6.6.6         |   | 0x06060606 80                  | - | deniedDomains
|                    | *:25            |   | 8.8.8.8 25                     | - | deniedDomains[0] *:25
|                    | *:25            |   | 8.8.8.8 26                     | + | public
|                    | *               |   | 8.8.8.8 80                     | - | deniedDomains
| 8.8.8.8            | *               |   | 8.8.8.8 80                     | - | deniedDomains
| 10.1.2.3           | 10.0.0.0/8      |   | 10.1.2.3 80                    | - | deniedDomains
| localhost:80       | localhost       |   | 127.0.0.1 80 localhost         | - | deniedDomains
"""

# allow | deny | strict | name [port] | + or - | rule
NAMES = """
|                    |                 |   | example.com                    | + | default: public
|                    |                 |   | example.com 443                | + | default: public
|                    |                 |   | localhost 80                   | - | default: loopback
|                    |                 |   | app.localhost 80               | - | default: loopback
|                    |                 |   | LOCALHOST. 80                  | - | default: loopback
|                    |                 |   | notlocalhost 80                | + | default: public
| localhost:80       |                 |   | app.localhost 80               | + | --allow-net localhost:80
| app.localhost:80   |                 |   | localhost 80                   | + | --allow-net app.localhost:80
| 127.0.0.1:80       |                 | s | localhost 80                   | + | --allow-net 127.0.0.1:80
| [::1]:80           |                 | s | localhost 80                   | + | --allow-net [::1]:80
| *                  |                 |   | localhost 80                   | - | default: loopback
|                    | 127.0.0.0/8     |   | localhost 80                   | - | deniedDomains
|                    |                 | s | example.com                    | - | strictAllowlist
|                    |                 | s | example.com 443                | - | strictAllowlist
| example.com        |                 | s | example.com                    | + | --allow-net example.com
| example.com        |                 | s | EXAMPLE.Com. 80                | + | --allow-net example.com
| Example.COM.       |                 | s | example.com 80                 | + | --allow-net Example.COM.
| example.com        |                 | s | www.example.com                | - | strictAllowlist
| example.com        |                 | s | example.com.evil.org           | - | strictAllowlist
| example.com        |                 | s | notexample.com                 | - | strictAllowlist
| example.com        |                 | s | example.com..                  | - | strictAllowlist
| *.example.com      |                 | s | www.example.com                | + | --allow-net *.example.com
| *.example.com      |                 | s | a.b.c.example.com 1            | + | --allow-net *.example.com
| *.example.com      |                 | s | example.com                    | - | strictAllowlist
| *.example.com      |                 | s | notexample.com                 | - | strictAllowlist
| *.example.com      |                 | s | www.example.com.evil.org       | - | strictAllowlist
| *.com              |                 | s | example.com                    | + | --allow-net *.com
| example.com:443    |                 | s | example.com                    | + | --allow-net example.com:443
| example.com:443    |                 | s | example.com 443                | + | --allow-net example.com:443
| example.com:443    |                 | s | example.com 80                 | - | strictAllowlist
| example.com:*      |                 | s | example.com 80                 | + | --allow-net example.com:*
| *                  |                 | s | anything.at.all 1              | + | --allow-net *
| *:443              |                 | s | anything.at.all 443            | + | --allow-net *:443
| *:443              |                 | s | anything.at.all 80             | - | strictAllowlist
|                    | example.com     |   | example.com                    | - | deniedDomains[0] example.com
|                    | example.com:25  |   | example.com                    | + | default: public
|                    | example.com:25  |   | example.com 25                 | - | deniedDomains[0] example.com:25
| example.com        | example.com     | s | example.com                    | - | deniedDomains
| example.com        | *.com           |   | example.com                    | - | deniedDomains[0] *.com
|                    | *               |   | example.com                    | - | deniedDomains[0] *
|                    | *               |   | localhost 80                   | - | deniedDomains[0] *
| münchen.de         |                 | s | xn--mnchen-3ya.de              | + | --allow-net
| xn--mnchen-3ya.de  |                 | s | münchen.de                     | + | --allow-net
| MÜNCHEN.de         |                 | s | XN--MNCHEN-3YA.DE.             | + | --allow-net
| *.münchen.de       |                 | s | www.xn--mnchen-3ya.de          | + | --allow-net
| münchen.de         |                 | s | munchen.de                     | - | strictAllowlist
| straße.de          |                 | s | strasse.de                     | - | strictAllowlist
| straße.de          |                 | s | xn--strae-oqa.de               | + | --allow-net
| example。com       |                 | s | example.com                    | + | --allow-net
| \uff45\uff58ample.com |                 | s | example.com                    | + | --allow-net
| example.com        |                 | s | \u0435xample.com                    | - | strictAllowlist
| _dmarc.example.com |                 | s | _dmarc.example.com             | + | --allow-net
|                    |                 | s | a\\046b                        | - | strictAllowlist
| b                  |                 | s | a\\046b                        | - | strictAllowlist
| *.b                |                 | s | a\\046b                        | - | strictAllowlist
|                    |                 |   | 127.0.0.1 80                   | - | loopback
|                    |                 |   | 127.0.0.1                      | - | loopback
|                    |                 |   | 0x7f.1 80                      | - | loopback
|                    |                 |   | 2130706433 80                  | - | loopback
|                    |                 |   | 017700000001 80                | - | loopback
|                    |                 |   | 8.8.8.8 80                     | + | public
|                    |                 |   | [::1] 80                       | - | loopback
|                    |                 |   | fd00::1 80                     | - | private
|                    |                 |   | 8.8.8.8.nip.io 80              | + | public
|                    |                 |   | 127.0.0.1.nip.io 80            | + | public
| 8.8.8.8:53         |                 | s | 8.8.8.8 53                     | + | --allow-net
"""


def rows(table: str) -> list[tuple[str, ...]]:
    return [tuple(cell.strip() for cell in line.split("|")[1:]) for line in table.strip().splitlines()]


def policy(allow: str, deny: str, strict: str) -> NetworkPolicy:
    return NetworkPolicy(allow=tuple(allow.split()), deny=tuple(deny.split()), strict=strict == "s")


def check(decision: Decision, wanted: str, rule: str) -> None:
    assert decision.allowed == (wanted == "+"), decision
    assert rule in decision.rule, decision
    assert decision.reason
    assert bool(decision.remedy) == (not decision.allowed) or rule == "addresses", decision


@pytest.mark.parametrize(("allow", "deny", "strict", "asked", "wanted", "rule"), rows(ADDRESSES))
def test_addresses(allow: str, deny: str, strict: str, asked: str, wanted: str, rule: str) -> None:
    address, port, *name = asked.split()
    decision = policy(allow, deny, strict).decide_address(address, int(port), *name)
    check(decision, wanted, rule)


@pytest.mark.parametrize(("allow", "deny", "strict", "asked", "wanted", "rule"), rows(NAMES))
def test_names(allow: str, deny: str, strict: str, asked: str, wanted: str, rule: str) -> None:
    name, *port = asked.split()
    check(policy(allow, deny, strict).decide_name(name.replace("\\\\", "\\"), *map(int, port)), wanted, rule)


REFUSED = [row for row in rows(ADDRESSES) if row[4] == "-" and not row[1] and row[5] != "addresses"]


@pytest.mark.parametrize(("allow", "deny", "strict", "asked", "wanted", "rule"), REFUSED)
def test_the_remedy_is_the_option_that_allows_it(allow: str, deny: str, strict: str, asked: str, wanted: str, rule: str) -> None:
    address, port, *name = asked.split()
    for _ in range(2):  # with strict, first the name and then its address
        decision = policy(allow, deny, strict).decide_address(address, int(port), *name)
        if decision.allowed:
            break
        option, _, pattern = decision.remedy.partition(" ")
        assert option == "--allow-net"
        allow = f"{allow} {pattern}"
    assert policy(allow, deny, strict).decide_address(address, int(port), *name).allowed


def test_the_words_of_refusals() -> None:
    refused = NetworkPolicy().decide_address("10.1.2.3", 5432, "db.corp.example")
    assert refused.reason == "db.corp.example resolves to 10.1.2.3, which is a private address; it is reached only where the address is named"
    assert refused.remedy == "--allow-net 10.1.2.3:5432"
    assert NetworkPolicy().decide_address("fd00::1", 80).remedy == "--allow-net [fd00::1]:80"
    assert NetworkPolicy().decide_address("::1", 11434).remedy == "--allow-net localhost:11434"
    assert NetworkPolicy().decide_name("localhost", 11434).remedy == "--allow-net localhost:11434"
    assert NetworkPolicy(strict=True).decide_name("x.com", 443).remedy == "--allow-net x.com:443"
    from_file = NetworkPolicy(allow=("a.com", "*.b.com", "c.com"), allow_from_file=2)
    assert from_file.decide_name("x.b.com", 443).rule == "allowedDomains[1] *.b.com"
    assert from_file.decide_name("c.com", 443).rule == "--allow-net c.com"


# pattern | part of the message | part of the remedy
BAD = [
    ("", "not a host pattern", "example.com"),
    ("exa mple.com", "not a host pattern", "no spaces"),
    (" example.com", "not a host pattern", "no spaces"),
    ("https://example.com/x", "without a scheme", "Write example.com:443."),
    ("http://example.com:8080", "without a scheme", "Write example.com:8080."),
    ("user@example.com", "without a user", "Write example.com."),
    ("a.com,b.com", "one host", "one by one"),
    (".example.com", "begins with a dot", "Write *.example.com"),
    ("foo*.example.com", "star", "*.example.com"),
    ("a.*.com", "star", "*.example.com"),
    ("**", "star", "*.example.com"),
    ("example.com:", "port is missing", "example.com:443"),
    ("example.com:0", "not a port", "1 to 65535"),
    ("example.com:65536", "not a port", "1 to 65535"),
    ("example.com:http", "not a port", "1 to 65535"),
    ("example.com:80-90", "not a port", "one number"),
    ("example.com:99999999999999999999", "not a port", "1 to 65535"),
    ("a..b", "not a host name", "labels"),
    ("a" * 64 + ".com", "not a host name", "63"),
    ("a." * 130 + "com", "not a host name", "253"),
    ("exa!mple.com", "not a host name", "labels"),
    ("127.1", "unusual spelling", "Write 127.0.0.1."),
    ("0x7f.0.0.1", "unusual spelling", "Write 127.0.0.1."),
    ("010.1.2.3", "unusual spelling", "Write 8.1.2.3."),
    ("1.2.3.4.5", "neither a name nor an address", "four"),
    ("10.0.0.1/8", "bits set after its first 8", "10.0.0.0/8"),
    ("10.0.0.0/33", "not an address or a network", "10.0.0.0/8"),
    ("10.0.0.0/", "not an address or a network", "10.0.0.0/8"),
    ("10.0.0.0/-1", "not an address or a network", "10.0.0.0/8"),
    ("example.com/24", "not an address or a network", "10.0.0.0/8"),
    ("fd00::1/8", "bits set", "fd00::/8"),
    ("[::1", "closing bracket", "[fd00::1]:80"),
    ("[::1]80", "closing bracket", "[fd00::1]:80"),
    ("[::1]:", "port is missing", "[::1]:443"),
    ("[1.2.3.4]:80", "not an IPv6 address", "brackets"),
    ("1:2:3", "not an address or a network", "fd00::1"),
    ("unix:relative", "not the path", "absolute"),
    ("unix:/a/../b", "not the path", "'..'"),
    ("unix:/a*/b", "not the path", "/*"),
    ("x\0y", "not a host pattern", "no spaces"),
]


@pytest.mark.parametrize(("pattern", "message", "remedy"), BAD)
def test_bad_patterns_are_named_with_how_to_write_them(pattern: str, message: str, remedy: str) -> None:
    with pytest.raises(UsageError) as error:
        NetworkPolicy(allow=(pattern,))
    assert message in error.value.message and remedy in error.value.remedy
    assert error.value.message.startswith(f"--allow-net {pattern}")
    with pytest.raises(UsageError, match=r"deniedDomains\[1\]"):
        NetworkPolicy(deny=("good.com", pattern))


def test_other_bad_settings() -> None:
    for settings in (
        {"tls": "mitm"}, {"tls_refused": "maybe"}, {"tls_exclude": ("a.com:443",)}, {"unix": ("x",)}, {"deny": ("unix:/x",)},
        {"maps": (("*.a.com", "b:1"),)}, {"maps": (("a.com", "10.0.0.0/8"),)}, {"maps": (("a.com", "http://b"),)}, {"allow": (5,)},
    ):
        with pytest.raises(UsageError):
            NetworkPolicy(**settings)  # type: ignore[arg-type]
    for text in ("a.com", "=b:1", "a.com=", "a.com=b=c"):
        with pytest.raises(UsageError):
            mapping(text)


def test_maps() -> None:
    made = policy_of(maps=("api.openai.com=127.0.0.1:8443", "API.x.com:443=localhost:1", "x.com=[::1]:2", "9.9.9.9:53=10.0.0.1", "api.x.com=y.com"))
    assert made.mapped("api.OpenAI.com.", 443) == ("127.0.0.1", 8443)
    assert made.mapped("api.x.com", 443) == ("localhost", 1)
    assert made.mapped("api.x.com", 80) == ("y.com", 80)
    assert made.mapped("x.com", 1) == ("::1", 2)
    assert made.mapped("9.9.9.9", 53) == made.mapped("::ffff:9.9.9.9", 53) == ("10.0.0.1", 53)
    assert made.mapped("9.9.9.9", 54) is None and made.mapped("other.com", 1) is None
    assert made.maps_name("API.x.com") and made.maps_name("9.9.9.9") and not made.maps_name("y.com")
    assert made.decide_name("api.openai.com").rule == "--map api.openai.com"
    strict = NetworkPolicy(maps=made.maps, strict=True)
    assert strict.decide_name("api.openai.com", 443).allowed and strict.decide_address("9.9.9.9", 53).allowed
    denied = NetworkPolicy(maps=made.maps, deny=("api.openai.com", "9.9.9.9"))
    assert denied.mapped("api.openai.com", 443) is None and denied.mapped("9.9.9.9", 53) is None
    assert not denied.decide_name("api.openai.com", 443).allowed


def test_tls_modes() -> None:
    made = NetworkPolicy(tls_exclude=("*.bank.com", "10.0.0.0/8", "::1"), insecure_upstream=("self.signed.com", "localhost"))
    assert made.tls_mode("www.bank.com") == made.tls_mode("10.2.3.4") == made.tls_mode("[::1]") == "passthrough"
    assert made.tls_mode("bank.com") == made.tls_mode("") == made.tls_mode("11.0.0.1") == "intercept"
    assert NetworkPolicy(tls="passthrough").tls_mode("x.com") == "passthrough"
    assert NetworkPolicy(tls_exclude=("*",)).tls_mode("11.0.0.1") == "passthrough"
    assert not made.verifies("Self.Signed.com.") and not made.verifies("127.0.0.1") and made.verifies("signed.com")


def test_local_ports_and_unix_paths() -> None:
    made = NetworkPolicy(allow=("localhost:2", "127.0.0.1:1", "[::1]:3", "127.0.0.0/8:4", "localhost", "10.0.0.1:9", "unix:/a"), unix=("/b/*",))
    assert made.local_ports == (1, 2, 3, 4)
    assert made.unix_paths == ("/b/*", "/a")


def test_a_policy_survives_json_pickle_and_copy() -> None:
    made = NetworkPolicy(allow=("a.com",), maps=(("b.com", "c.com:1"),), strict=True)
    for other in (
        NetworkPolicy(**json.loads(json.dumps(dataclasses.asdict(made)))), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)
    ):
        assert other == made and hash(other) == hash(made)
        assert other.decide_name("a.com").allowed and other.mapped("b.com", 5) == ("c.com", 1)
    assert not dataclasses.replace(made, allow=()).decide_name("a.com").allowed


def test_decisions_of_a_long_policy_are_quick() -> None:
    made = NetworkPolicy(
        allow=tuple(f"*.site{i}.example.com:443" for i in range(5000)) + tuple(f"10.{i}.0.0/16" for i in range(256)),
        deny=tuple(f"bad{i}.example.com" for i in range(5000)),
        strict=True,
    )
    start = time.process_time()
    for _ in range(2000):
        assert made.decide_address("10.7.1.1", 443, "www.site77.example.com").allowed
    assert (time.process_time() - start) / 2000 < 200e-6


def test_loading_is_light() -> None:
    """It runs before each recorded program that is started with a host option."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "from sentra_sandbox.network.decision import policy_of\n"
        "policy_of(['*.example.com:443', '[::1]:80', '10.0.0.0/8'], ['a.com=127.0.0.1:1'])\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    made = subprocess.run([sys.executable, "-S", "-c", code], check=True, capture_output=True, text=True, cwd=".", timeout=30)
    loaded = set(made.stdout.split()) - {"sentra_sandbox", "_socket", "_operator", "__future__", "operator"}
    assert not loaded & {"typing", "dataclasses", "enum", "re", "socket", "json", "ipaddress", "pathlib", "asyncio"}, loaded


@pytest.mark.parametrize("text", ["1.1.1.1", "10.0.0.0", "255.255.255.255", "::1", "fd00::1", "2606:4700:4700::1111"])
def test_addresses_are_spelled_as_read(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None and addresses.spell(address) == text


def test_canonical_names() -> None:
    assert canonical("ExAmple.COM.") == "example.com"
    assert canonical(".") == canonical("") == ""
    assert canonical("a\\.") == "a\\."
    assert canonical("\ud800.com").endswith(".com")


def test_there_are_enough_rows() -> None:
    assert len(rows(ADDRESSES)) + len(rows(NAMES)) >= 150
