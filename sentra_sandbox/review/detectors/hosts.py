"""Hosts by what they are for, and what of a run's connections the policy named. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from sentra_sandbox.review.facts import Facts
from sentra_sandbox.views.connections import Connection

METADATA_NAMES = frozenset(
    {"metadata.google.internal", "metadata", "metadata.goog", "instance-data", "instance-data.ec2.internal", "metadata.azure.internal"}
)
METADATA_ADDRESSES = frozenset(
    {"169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", "fd20:ce::254"}
)
REGISTRIES = (
    "pypi.org", "pythonhosted.org", "pypi.python.org", "npmjs.org", "npmjs.com", "yarnpkg.com", "crates.io", "rubygems.org",
    "golang.org", "proxy.golang.org",
    "sum.golang.org", "packagist.org", "repo.maven.apache.org", "repo1.maven.org", "nodejs.org", "jsr.io", "conda.io", "anaconda.org",
    "anaconda.com",
    "deb.debian.org", "security.debian.org", "archive.ubuntu.com", "security.ubuntu.com", "dl-cdn.alpinelinux.org", "index.crates.io",
    "static.crates.io",
    "hex.pm", "nuget.org",
)  # fmt: skip
# Where packages get built parts from: usual in install scripts.
DOWNLOADS = (
    "github.com",
    "githubusercontent.com",
    "codeload.github.com",
    "objects.githubusercontent.com",
    "gitlab.com",
    "storage.googleapis.com",
    "electronjs.org",
)
DOH = frozenset({
    "cloudflare-dns.com", "one.one.one.one", "mozilla.cloudflare-dns.com", "dns.google", "dns.google.com", "dns.quad9.net",
    "doh.opendns.com", "dns.nextdns.io",
    "doh.cleanbrowsing.org", "dns.adguard-dns.com", "dns.adguard.com", "doh.dns.sb", "dns.alidns.com", "doh.pub", "freedns.controld.com",
    "dns.mullvad.net",
})  # fmt: skip
POOL_WORDS = (
    "minexmr", "supportxmr", "nanopool", "moneroocean", "xmrpool", "hashvault", "f2pool", "ethermine", "nicehash", "2miners", "unmineable",
    "dwarfpool", "minergate", "antpool", "slushpool", "viabtc", "monerohash", "c3pool", "cryptonight", "stratum", "herominers", "hashcity",
)  # fmt: skip
_TWO_PART = frozenset({"co", "com", "net", "org", "ac", "gov", "edu", "or", "ne"})


def bare(host: str) -> str:
    """Lower case, without port, brackets and the final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].split("]", 1)[0]
    if host.count(":") == 1:
        host = host.split(":", 1)[0]
    return host.rstrip(".")


def ends_in(host: str, names: Iterable[str]) -> bool:
    """Whether the host is one of the names or below it."""
    host = bare(host)
    return any(host == name or host.endswith(f".{name}") for name in names)


def registrable(host: str) -> str:
    """The part that somebody registered, as far as that can be told without a list: ``a.b.example.co.uk`` → ``example.co.uk``."""
    labels = bare(host).split(".")
    count = 3 if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _TWO_PART else 2
    return ".".join(labels[-count:])


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(bare(host).split("%", 1)[0])
    except ValueError:
        return None


def is_metadata(host: str) -> bool:
    host = bare(host)
    found = as_address(host)
    return host in METADATA_NAMES or (found is not None and str(found) in METADATA_ADDRESSES)


def is_loopback(host: str) -> bool:
    found = as_address(host)
    return bare(host) in ("localhost", "ip6-localhost") or (found is not None and found.is_loopback)


def is_private(host: str) -> bool:
    """Addresses of the owner's own networks. The sandbox's synthetic addresses are none: they stand for names."""
    found = as_address(host)
    return found is not None and (found.is_private or found.is_link_local) and not found.is_loopback and not is_synthetic(host)


_SYNTHETIC = (ipaddress.ip_network("198.18.0.0/15"), ipaddress.ip_network("2001:2::/48"))


def is_synthetic(host: str) -> bool:
    """Addresses that the sandbox's DNS gives to names."""
    found = as_address(host)
    return found is not None and any(found.version == network.version and found in network for network in _SYNTHETIC)


def declared(connection: Connection) -> bool:
    """Whether a rule of the user allowed it, not a default."""
    return connection.allowed and bool(connection.rule) and not connection.rule.startswith("default")


def declared_hosts(facts: Facts) -> set[str]:
    """Hosts that rules of the user allowed, of those the run talked to."""
    return {bare(connection.host) for connection in facts.network.connections.values() if declared(connection)}
