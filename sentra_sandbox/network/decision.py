"""What may be reached: a pure function of the policy, a name and an address. No I/O here, and nothing slow to load.

The order: a name or address that is denied is refused; one that is named in ``allow`` is allowed; with ``strict`` nothing else is; else
public addresses are allowed, and the host's own services, private, link-local and metadata addresses are refused with the option that
would allow them.

**A name's addresses are decided too**, whoever allowed the name: else the owner of any allowed name could point it at the host's
loopback or at a metadata service (DNS rebinding). What a pattern opens:

    pattern                 public addresses    private, CGNAT, unique local     loopback, link-local, metadata, multicast, 0.0.0.0, ...
    none (not strict)       yes                 no                               no
    ``*``, ``*.example.com``  yes               no                               no
    ``db.example.com``      yes                 yes                              no
    ``10.0.0.0/8``, ``localhost``, an address: exactly these, whatever they are, and whichever name resolves to them

A host named exactly may have a private address: companies' own names do. It may not be loopback, link-local or metadata: no honest name
is, so the user says the address (``--allow-net 169.254.169.254:80``) or maps the name (``--map name=127.0.0.1:8443``). IPv6 addresses that
carry an IPv4 address (mapped, NAT64, 6to4, Teredo, ISATAP) are what that address is.
"""

from __future__ import annotations

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.errors import UsageError
from sentra_sandbox.network import addresses
from sentra_sandbox.network.patterns import LOOPBACKS, Pattern, Table, canonical, check_unix_path, is_localhost, parse_pattern

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, TypeAlias

    from sentra_sandbox.network.addresses import Address

    TlsMode: TypeAlias = Literal["intercept", "passthrough"]
else:
    TlsMode = str


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` names what decided (``default: public``, ``allowedDomains[2] *.example.com``, ``--allow-net localhost:11434``), ``reason``
    says it in words, ``remedy`` is the option that would allow it ("" if allowed).
    """

    allowed: bool
    rule: str
    reason: str = ""
    remedy: str = ""


class Rules:
    """A policy's patterns, made searchable once."""

    def __init__(self, policy: NetworkPolicy) -> None:
        allow = [parse_pattern(text, _label(policy, index, text)) for index, text in enumerate(policy.allow)]
        self.allow = Table(allow)
        self.deny = Table(_denied(text, f"deniedDomains[{index}] {text}") for index, text in enumerate(policy.deny))
        self.pass_through = Table(parse_pattern(text, f"tls.exclude[{i}] {text}", ports=False) for i, text in enumerate(policy.tls_exclude))
        insecure = enumerate(policy.insecure_upstream)
        self.insecure = Table(parse_pattern(text, f"tls.insecure[{i}] {text}", ports=False) for i, text in insecure)
        self.maps = dict(_mapping(source, target) for source, target in policy.maps)
        self.mapped_hosts = {host for host, _ in self.maps}
        for path in policy.unix:
            check_unix_path(path, f"allowUnixSockets {path}")
        self.unix = (*policy.unix, *(pattern.name for pattern in allow if pattern.kind == "unix"))
        self.local_ports = tuple(sorted({pattern.port for pattern in allow if pattern.port and _is_loopback(pattern)}))


class _Compiled:
    __slots__ = ("_rules",)
    _rules: Rules


@dataclass(frozen=True, slots=True)
class NetworkPolicy(_Compiled):
    """Rules as given, checked when made (``UsageError`` names the bad one). Lists, as JSON makes them, are taken too.

    ``allow``, ``deny``: ``example.com``, ``*.example.com`` (names below it), ``host:port``, addresses, CIDRs with or without port,
    ``[::1]:80``, ``localhost``, ``unix:/path``, ``*`` (every name, every public address); grammar in ``patterns``. ``strict``: only what
    ``allow`` names. ``maps``: name or name:port → host[:port] to go to instead; mapping is permission. ``tls``, ``tls_exclude``: mode, and
    the host patterns that pass through; ``tls_refused``: what happens to a host whose client refused our certificate, from its next
    connection on; ``unix``: paths of unix sockets of the host that may be used (also directories with ``/*``). ``allow_from_file``: so many
    of ``allow`` come first from a policy file, the others from the command line (for the wording of decisions).
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    strict: bool = False
    maps: tuple[tuple[str, str], ...] = ()
    tls: TlsMode = "intercept"
    tls_exclude: tuple[str, ...] = ()
    tls_refused: Literal["fail", "passthrough"] = "fail"
    insecure_upstream: tuple[str, ...] = ()  # host patterns whose certificates are not verified
    unix: tuple[str, ...] = ()
    allow_from_file: int = 0

    def __post_init__(self) -> None:
        for name in ("allow", "deny", "tls_exclude", "insecure_upstream", "unix"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "maps", tuple((source, target) for source, target in self.maps))
        if self.tls not in ("intercept", "passthrough"):
            raise UsageError(f"tls mode {self.tls!r} does not exist.", "It is intercept or passthrough.")
        if self.tls_refused not in ("fail", "passthrough"):
            raise UsageError(f"tls onRefused {self.tls_refused!r} does not exist.", "It is fail or passthrough.")
        object.__setattr__(self, "_rules", Rules(self))

    def __setstate__(self, state: tuple[object, ...]) -> None:
        for name, value in zip(NetworkPolicy.__match_args__, state, strict=True):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_rules", Rules(self))

    @property
    def local_ports(self) -> tuple[int, ...]:
        """Ports of the host's loopback that ``allow`` names one by one: on these the sandbox's own localhost leads outside."""
        return self._rules.local_ports

    @property
    def unix_paths(self) -> tuple[str, ...]:
        """Unix sockets of the host that may be used: ``unix``, and ``unix:`` patterns of ``allow``."""
        return self._rules.unix

    def decide_name(self, name: str, port: int | None = None) -> Decision:
        """May this name be asked for (``port`` None) or connected to? Whether its addresses may is decided when they are known.

        An address as name, in any spelling, is decided as that address.
        """
        name = canonical(name)
        if _may_be_address(name):
            address = addresses.parse_any(name)
            if address is not None:
                return self._decide_address(address, port, "")
        return self._denied_name(name, port) or self._decide_name(name, port)[0]

    def decide_address(self, address: str, port: int | None, name: str = "") -> Decision:
        """May this address, which ``name`` resolved to ("" for a bare address), be connected to? ``port`` None: may it on any port?

        Complete: the name is decided too. Not for the targets of ``maps``, which are allowed by being named there.
        """
        parsed = addresses.parse_any(address)
        if parsed is None:
            return Decision(False, "default: addresses", f"{address!r} is not an IP address")
        return self._decide_address(parsed, port, canonical(name))

    def mapped(self, name: str, port: int) -> tuple[str, int] | None:
        """Where ``maps`` sends this name (or address), or None, also if it is denied. A mapping of ``name:port`` beats one of the name."""
        maps = self._rules.maps
        if not maps:
            return None
        host = _host(name)
        target = maps.get((host, port)) or maps.get((host, None))
        if target is None or self._denied_host(host, port):
            return None
        return target[0], target[1] or port

    def maps_name(self, name: str) -> bool:
        """Whether ``maps`` names it, on any port: such a name exists, with both families, and is never asked for outside."""
        return bool(self._rules.maps) and _host(name) in self._rules.mapped_hosts

    def tls_mode(self, name: str) -> TlsMode:
        """How TLS to this host (SNI, or the name of the address) is treated."""
        return "passthrough" if self.tls == "passthrough" or _holds(self._rules.pass_through, name) else "intercept"

    def verifies(self, name: str) -> bool:
        """Whether the certificate of this host is verified upstream."""
        return not _holds(self._rules.insecure, name)

    def _denied_host(self, host: str, port: int) -> Decision | None:
        address = addresses.parse(host) if _may_be_address(host) else None
        return self._denied_address(address, port, host) if address else self._denied_name(host, port)

    def _denied_name(self, name: str, port: int | None) -> Decision | None:
        found = self._rules.deny.find_name(name, port, some_port=False)
        if found is None and is_localhost(name):
            found = _find_loopback(self._rules.deny, port, some_port=False)
        return _denial(found, _at(name, port)) if found else None

    def _decide_name(self, name: str, port: int | None) -> tuple[Decision, Pattern | None]:
        """For a name that is not denied; with the pattern that allows it, if one does."""
        if self.maps and ((name, port) in self._rules.maps or (name, None) in self._rules.maps or (port is None and self.maps_name(name))):
            return Decision(True, f"--map {name}", f"{name} is mapped"), None
        found = self._rules.allow.find_name(name, port, some_port=True)
        local = is_localhost(name)
        if local and (found is None or found.kind == "any"):
            found = _find_loopback(self._rules.allow, port, some_port=True)
        if found:
            return Decision(True, found.label, f"{_at(name, port)} is named by {found.label}"), found
        if local:
            reason = f"{_at(name, port)} is the host's own loopback, which is reached only where it is named"
            return Decision(False, "default: loopback", reason, f"--allow-net {_at('localhost', port)}"), None
        if self.strict:
            where = _at(name, port)
            return Decision(False, "strictAllowlist", f"{where} is not among the allowed hosts", f"--allow-net {where}"), None
        return _PUBLIC_NAME, None

    def _decide_address(self, address: Address, port: int | None, name: str) -> Decision:
        rules = self._rules
        where = addresses.with_port(address, port)
        denied = (name and self._denied_name(name, port)) or self._denied_address(address, port, where)
        if denied:
            return denied
        if self.maps and not name and self.maps_name(addresses.spell(address)):
            return Decision(True, f"--map {addresses.spell(address)}", f"{where} is mapped")
        found = rules.allow.find_address(address, port, some_port=True)
        translated = addresses.translated(address)
        if found is None and translated:
            found = rules.allow.find_address(translated, port, some_port=True)
        by_name: Pattern | None = None
        if name:
            decision, by_name = self._decide_name(name, port)
            if not decision.allowed and not (found and is_localhost(name)):
                return decision
        if found:
            return Decision(True, found.label, f"{where} is named by {found.label}")
        by_name = by_name or rules.allow.find_any(port, some_port=True)
        return self._by_kind(address, port, name, by_name)

    def _denied_address(self, address: Address, port: int | None, where: str) -> Decision | None:
        deny = self._rules.deny
        found = deny.find_any(port, some_port=False) or deny.find_address(address, port, some_port=False)
        for inner in addresses.embedded(address):
            found = found or deny.find_address(inner, port, some_port=False)
        return _denial(found, where) if found else None

    def _by_kind(self, address: Address, port: int | None, name: str, pattern: Pattern | None) -> Decision:
        """For an address that no pattern names; ``pattern`` allows its name, or everything public."""
        kind = addresses.kind_of(address)
        where = addresses.with_port(address, port)
        remedy = f"--allow-net {_at('localhost', port) if address in LOOPBACKS else where}"
        if kind.public or (kind.by_name and pattern is not None and pattern.kind == "name"):
            if pattern:
                return Decision(True, pattern.label, f"{_at(name, port) if name else where} is named by {pattern.label}")
            if self.strict:
                return Decision(False, "strictAllowlist", f"{where} is not among the allowed hosts", remedy)
            return Decision(True, "default: public", f"{where} is {kind.what}")
        what = f"{name} resolves to {addresses.spell(address)}, which is {kind.what}" if name else f"{where} is {kind.what}"
        unless = "reached only where the address is named"
        if pattern and pattern.kind == "name":
            unless = f"not opened by naming the host ({pattern.label})"
        elif pattern:
            unless = f"not opened by {pattern.label}"
        rule = kind.what.partition(",")[0].removeprefix("a ").removeprefix("the ")
        return Decision(False, f"default: {rule}", f"{what}; it is {unless}", remedy)


_PUBLIC_NAME = Decision(True, "default: public", "names of public addresses are allowed")


def _find_loopback(table: Table, port: int | None, *, some_port: bool) -> Pattern | None:
    """Who names 127.0.0.1 names ``localhost``."""
    for address in LOOPBACKS:
        found = table.find_address(address, port, some_port=some_port)
        if found:
            return found
    return None


def _label(policy: NetworkPolicy, index: int, text: str) -> str:
    return f"allowedDomains[{index}] {text}" if index < policy.allow_from_file else f"--allow-net {text}"


def _denied(text: str, label: str) -> Pattern:
    pattern = parse_pattern(text, label)
    if pattern.kind == "unix":
        raise UsageError(f"{label}: unix sockets of the host are refused unless they are allowed.", "Leave it out.")
    return pattern


def _denial(pattern: Pattern, where: str) -> Decision:
    remedy = f"take {pattern.label.partition(' ')[2]} out of deniedDomains"
    return Decision(False, pattern.label, f"{where} is denied by {pattern.label}", remedy)


def _is_loopback(pattern: Pattern) -> bool:
    return pattern.kind == "localhost" or (pattern.network is not None and pattern.network[0] in LOOPBACKS) or (
        pattern.network == ((4, 0x7F000000), 8)
    )


def _mapping(source: str, target: str) -> tuple[tuple[str, int | None], tuple[str, int | None]]:
    """One entry of ``maps``, both sides taken apart."""
    label = f"--map {source}={target}"
    ends = []
    for text, side in ((source, "name"), (target, "target")):
        pattern = parse_pattern(text, label)
        if pattern.kind in ("any", "below", "unix") or (pattern.network and pattern.network[1] != addresses.BITS[pattern.network[0][0]]):
            remedy = "Write --map api.example.com=127.0.0.1:8443, with one name and one host:port."
            raise UsageError(f"{label}: the {side} is one host.", remedy)
        host = addresses.spell(pattern.network[0]) if pattern.network else pattern.name or "localhost"
        ends.append((host, pattern.port))
    return ends[0], ends[1]


def _host(name: str) -> str:
    """A name, or an address in its usual spelling, as ``maps`` holds it."""
    name = canonical(name)
    address = addresses.parse(name) if _may_be_address(name) else None
    return addresses.spell(address) if address else name


def _holds(table: Table, name: str) -> bool:
    name = canonical(name)
    address = addresses.parse_any(name) if _may_be_address(name) else None
    if address:
        return bool(table.find_address(address, None, some_port=True) or table.find_any(None, some_port=True))
    return bool(name and table.find_name(name, None, some_port=True))


def _may_be_address(name: str) -> bool:
    """Cheap: only a name whose last label begins with a digit, or one with colons, can be an address in some spelling."""
    last = name[name.rfind(".") + 1 :]
    return ":" in name or (last[:1].isdigit() and last[:1].isascii())


def _at(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


def mapping(text: str) -> tuple[str, str]:
    """``name=host:port`` as ``--map`` takes it, in two parts, checked. Raises ``UsageError``."""
    source, equals, target = text.partition("=")
    if not equals or not source or not target:
        raise UsageError(f"--map {text}: not a mapping.", "Write --map name=host:port, for example --map api.openai.com=127.0.0.1:8443.")
    _mapping(source, target)
    return source, target


def policy_of(allow_net: Sequence[str] = (), maps: Sequence[str] = ()) -> NetworkPolicy:
    """The policy that the command line alone makes. Raises ``UsageError``."""
    return NetworkPolicy(allow=tuple(allow_net), maps=tuple(mapping(text) for text in maps))
