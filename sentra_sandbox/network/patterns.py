"""Host patterns: their grammar, and the tables that find the pattern which matches a name or an address.

    example.com          that name                        10.1.2.3, fd00::1        that address
    *.example.com        all names below it, not itself   10.0.0.0/8, fd00::/8     that network
    localhost            the host's own loopback          unix:/path, unix:/dir/*  a unix socket of the host
    *                    every name and public address
    each but unix: also with a port: example.com:443, *:443, 10.0.0.0/8:5432, [::1]:80, [fd00::]/8:80

Names are compared in lower case, without the trailing dot, non-ASCII labels in their ``xn--`` form, so either spelling of a
name matches either spelling of a pattern. Names below ``localhost`` are ``localhost`` (RFC 6761). Pure; loads no standard
module for ASCII patterns.
"""

from __future__ import annotations

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import UsageError
from sentra_sandbox.network import addresses
from sentra_sandbox.network.addresses import BITS

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, TypeAlias

    from sentra_sandbox.network.addresses import Address

    PatternKind: TypeAlias = Literal["name", "below", "any", "network", "localhost", "unix"]

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")  # what IDNA takes for a dot
LOOPBACKS = ((4, 0x7F000001), (6, 1))


@dataclass(frozen=True, slots=True)
class Pattern:
    """``name``: of ``name`` and ``below``, canonical; the path of ``unix``. ``network``: address and prefix length. ``port`` None:
    every port. ``label``: how decisions name it."""

    kind: PatternKind
    label: str
    name: str = ""
    network: tuple[Address, int] | None = None
    port: int | None = None


def canonical(name: str) -> str:
    """How a name is compared and shown: lower case, no trailing dot, non-ASCII labels as ``xn--`` (a label that has no such form stays).

    Non-transitional as in browsers and curl (UTS 46): ``ß`` stays a letter of its own and is not ``ss``.
    """
    if not name.isascii():
        import unicodedata

        name = unicodedata.normalize("NFKC", name.translate(_DOTS).lower())
        labels = unicodedata.normalize("NFC", name).split(".")
        name = ".".join(label if label.isascii() else "xn--" + label.encode("punycode", "replace").decode() for label in labels)
    name = name.lower()
    return name[:-1] if name.endswith(".") and not name.endswith("\\.") else name


def is_host_name(name: str) -> bool:
    """Whether a canonical name is one that hosts have: labels of letters, digits, ``-`` and ``_``, within DNS's lengths."""
    if not name or len(name) > 253:
        return False
    return all(label and len(label) <= 63 and _LABEL.issuperset(label) for label in name.split("."))


def is_localhost(name: str) -> bool:
    """``localhost`` and all below it (RFC 6761, 6.3)."""
    return name == "localhost" or name.endswith(".localhost")


def parse_pattern(text: str, label: str = "", *, ports: bool = True) -> Pattern:
    """Raises ``UsageError`` that names the pattern and how to write it right. ``ports`` false: a port makes no sense here."""
    label = label or text
    if not isinstance(text, str):
        raise UsageError(f"{label}: a host pattern is a text, not {text!r}.", "Put it in quotes.")
    if text.startswith("unix:"):
        path = text[5:]
        check_unix_path(path, label)
        return Pattern("unix", label, name=path)
    _refuse_other_things(text, label)
    host, port_text = _split(text, label)
    port = _port(port_text, label)
    if port is not None and not ports:
        raise UsageError(f"{label}: a port has no meaning here.", f"Write {host}.")
    return _pattern(host, port, label)


def check_unix_path(path: str, label: str) -> None:
    """The path of a unix socket, ``/*`` at its end for a directory. Raises ``UsageError``."""
    plain = path[:-2] if path.endswith("/*") else path
    if not path.startswith("/") or "\0" in path or "*" in plain or ".." in plain.split("/"):
        raise UsageError(
            f"{label}: {path!r} is not the path of a unix socket.",
            "Give an absolute path without '..', or a directory with '/*' at its end: unix:/run/user/1000/bus, unix:/tmp/agent/*.",
        )


def _refuse_other_things(text: str, label: str) -> None:
    """What people write that is not a pattern, with what they mean."""
    if not text or text != text.strip() or any(character <= " " or character == "\x7f" for character in text):
        remedy = "Write example.com, *.example.com, 10.0.0.0/8 or host:port, no spaces."
        raise UsageError(f"{label}: {text!r} is not a host pattern.", remedy)
    if "://" in text:
        scheme, _, rest = text.partition("://")
        host = rest.partition("/")[0].rpartition("@")[2]
        port = {"https": ":443", "http": ":80"}.get(scheme.lower(), "") if ":" not in host else ""
        raise UsageError(f"{label}: a host is named without a scheme.", f"Write {host}{port}." if host else "Write host or host:port.")
    if "@" in text:
        raise UsageError(f"{label}: a host is named without a user.", f"Write {text.rpartition('@')[2]}.")
    if "," in text:
        raise UsageError(f"{label}: one pattern names one host.", "Give several patterns one by one.")


def _split(text: str, label: str) -> tuple[str, str]:
    """Host (or network) and port text ("" if none)."""
    if text.startswith("["):
        inside, closed, rest = text[1:].partition("]")
        if not closed or not (not rest or rest[0] in ":/"):
            raise UsageError(f"{label}: {text!r} has no closing bracket, or more than a port after it.", "Write [fd00::1]:80.")
        if addresses.parse(inside.partition("/")[0]) is None or ":" not in inside:
            raise UsageError(f"{label}: {inside!r} is not an IPv6 address.", "Only IPv6 addresses stand in brackets: [fd00::1]:80.")
        length, _, port = rest.partition(":")
        if rest.endswith(":"):
            raise UsageError(f"{label}: the port is missing.", f"Write [{inside}]:443, or no colon.")
        return inside + length, port
    base, slash, rest = text.partition("/")
    if slash:
        length, colon, port = rest.partition(":")
        return f"{base}/{length}", port if colon else ""
    if text.count(":") > 1:
        return text, ""
    host, colon, port = text.partition(":")
    if colon and not port:
        raise UsageError(f"{label}: the port is missing.", f"Write {host}:443, or no colon.")
    return host, port


def _port(text: str, label: str) -> int | None:
    if not text or text == "*":
        return None
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:6]) < 65536 or len(text) > 5:
        raise UsageError(f"{label}: {text!r} is not a port.", "A port is one number from 1 to 65535.")
    return int(text)


def _pattern(host: str, port: int | None, label: str) -> Pattern:
    if host == "*":
        return Pattern("any", label, port=port)
    if "/" in host or ":" in host or addresses.parse(host):
        return Pattern("network", label, network=_network(host, label), port=port)
    below = host.startswith("*.")
    name = canonical(host[2:] if below else host)
    _check_name(name, host, label)
    if is_localhost(name):
        return Pattern("localhost", label, port=port)
    return Pattern("below" if below else "name", label, name=name, port=port)


def _network(text: str, label: str) -> tuple[Address, int]:
    found = addresses.parse_network(text)
    if found is None:
        remedy = "Write 10.1.2.3, 10.0.0.0/8, fd00::1, [fd00::1]:80 or fd00::/8."
        raise UsageError(f"{label}: {text!r} is not an address or a network.", remedy)
    (version, value), length = found
    shift = BITS[version] - length
    if value >> shift << shift != value:
        base = addresses.spell((version, value >> shift << shift))
        raise UsageError(
            f"{label}: {text} has bits set after its first {length}.", f"Write {base}/{length} for the network, or the address alone."
        )
    return found


def _check_name(name: str, host: str, label: str) -> None:
    aton = addresses.parse_any(name)
    if aton is not None:
        raise UsageError(f"{label}: {host!r} is an address in an unusual spelling.", f"Write {addresses.spell(aton)}.")
    if host.startswith("."):
        raise UsageError(f"{label}: {host!r} begins with a dot.", f"Write *{host} for all names below it.")
    if "*" in name:
        raise UsageError(f"{label}: in {host!r} the star is in the wrong place.", "A star stands alone or in front: *, *.example.com.")
    if not is_host_name(name):
        raise UsageError(
            f"{label}: {host!r} is not a host name.",
            "A name has labels of 1 to 63 letters, digits, '-' and '_', with dots between them, 253 characters in all.",
        )
    if name.rpartition(".")[2].isdigit():
        raise UsageError(f"{label}: {host!r} is neither a name nor an address.", "No name ends in a number; an IPv4 address has four.")


class Table:
    """Patterns made searchable. Of several that match, the most exact one is found; of equal ones the first."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._names: dict[str, list[Pattern]] = {}
        self._below: dict[str, list[Pattern]] = {}
        self._any: list[Pattern] = []
        self._localhost: list[Pattern] = []
        networks: dict[tuple[int, int], dict[int, list[Pattern]]] = {}
        for pattern in patterns:
            if pattern.kind == "name":
                self._names.setdefault(pattern.name, []).append(pattern)
            elif pattern.kind == "below":
                self._below.setdefault(pattern.name, []).append(pattern)
            elif pattern.kind == "any":
                self._any.append(pattern)
            elif pattern.kind == "localhost":
                self._localhost.append(pattern)
            elif pattern.network is not None:
                (version, value), length = pattern.network
                shift = BITS[version] - length
                networks.setdefault((version, shift), {}).setdefault(value >> shift, []).append(pattern)
        self._networks: dict[int, list[tuple[int, dict[int, list[Pattern]]]]] = {
            version: [(shift, found) for (of, shift), found in sorted(networks.items(), key=lambda item: item[0]) if of == version]
            for version in BITS
        }

    def find_name(self, name: str, port: int | None, *, some_port: bool) -> Pattern | None:
        """For a canonical name. ``some_port``: with ``port`` None, is a pattern for one port enough?"""
        if self._localhost and is_localhost(name):
            return _for_port(self._localhost, port, some_port)
        found = _for_port(self._names.get(name), port, some_port) if self._names else None
        if found is None and self._below:
            dot = name.find(".")
            while dot >= 0 and found is None:
                found = _for_port(self._below.get(name[dot + 1 :]), port, some_port)
                dot = name.find(".", dot + 1)
        return found or self.find_any(port, some_port=some_port)

    def find_any(self, port: int | None, *, some_port: bool) -> Pattern | None:
        """The pattern ``*``."""
        return _for_port(self._any, port, some_port)

    def find_address(self, address: Address, port: int | None, *, some_port: bool) -> Pattern | None:
        """The pattern that names the address or its network, the smallest first; never ``*``."""
        if self._localhost and address in LOOPBACKS:
            found = _for_port(self._localhost, port, some_port)
            if found:
                return found
        version, value = address
        for shift, patterns in self._networks[version]:
            found = _for_port(patterns.get(value >> shift), port, some_port)
            if found:
                return found
        return None


def _for_port(patterns: list[Pattern] | None, port: int | None, some_port: bool) -> Pattern | None:
    for pattern in patterns or ():
        if pattern.port is None or pattern.port == port or (port is None and some_port):
            return pattern
    return None
