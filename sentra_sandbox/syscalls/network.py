"""Shows socket addresses, socket options, message headers and network interface requests.

Layouts: socket(7), ip(7), ipv6(7), unix(7), netlink(7), cmsg(3), netdevice(7). Decoders as in structures.py.
"""

from __future__ import annotations

import ipaddress

from .context import MAX_ITEMS, Context, items
from .error_numbers import error_name
from .flag_names import flag_text
from .memory import FLAG_SPILLED, SEGMENT_IN, SEGMENT_OUT, Fields
from .quoting import address, escape, quote, signed32
from .structures import Decoder, struct_text, timespec, timeval

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOL_SOCKET = 1
SCM_RIGHTS, SCM_CREDENTIALS = 1, 2
IOVEC_SIZE, MSGHDR_SIZE, MMSGHDR_SIZE, CMSG_HEADER = 16, 56, 64, 16

_OPTION_SECTIONS = {
    0: "sockopt_ip",
    1: "sockopt_socket",
    6: "sockopt_tcp",
    41: "sockopt_ipv6",
    270: "sockopt_netlink",
}


def sockaddr(data: bytes, context: Context) -> str:
    """struct sockaddr of any family; unknown families show their bytes."""
    fields = Fields(data)
    family = fields.u16(0)
    name = flag_text("socket_domain", family)
    if family == AF_UNIX:
        return f"{{sa_family=AF_UNIX{_unix_path(data[2:])}}}"
    if family == AF_INET:
        host = ipaddress.IPv4Address(fields.raw(4, 4))
        return f'{{sa_family=AF_INET, sin_port=htons({fields.u16_network(2)}), sin_addr=inet_addr("{host}")}}'
    if family == AF_INET6:
        host6 = ipaddress.IPv6Address(fields.raw(8, 16))
        scope = f", sin6_scope_id={fields.u32(24)}" if len(data) >= 28 and fields.u32(24) else ""
        return f'{{sa_family=AF_INET6, sin6_port=htons({fields.u16_network(2)}), sin6_addr="{host6}"{scope}}}'
    if family == AF_NETLINK:
        return struct_text(sa_family=name, nl_pid=fields.i32(4), nl_groups=hex(fields.u32(8)))
    return struct_text(sa_family=name, sa_data=quote(data[2:16]))


def _unix_path(path: bytes) -> str:
    if not path:
        return ""
    if path[0] == 0:
        return f', sun_path=@"{escape(path[1:])}"'
    return f", sun_path={quote(path.split(bytes(1), 1)[0])}"


def address_text(data: bytes) -> str | None:
    """Short form for annotations: 127.0.0.1:80, [::1]:80, a path, @abstract; None for anything else."""
    if len(data) < 2:
        return None
    family = int.from_bytes(data[:2], "little")
    port = int.from_bytes(data[2:4], "big")
    if family == AF_INET and len(data) >= 8:
        return f"{ipaddress.IPv4Address(data[4:8])}:{port}"
    if family == AF_INET6 and len(data) >= 24:
        return f"[{ipaddress.IPv6Address(data[8:24])}]:{port}"
    if family == AF_UNIX and len(data) > 2:
        return "@" + escape(data[3:].rstrip(b"\0")) if data[2] == 0 else escape(data[2:].split(b"\0", 1)[0])
    return None


def socket_protocol(value: int, context: Context) -> str:
    """The protocol argument of socket(), which means something else per domain."""
    domain = signed32(context.value("domain"))
    if domain == AF_NETLINK:
        return flag_text("netlink_protocol", signed32(value))
    return flag_text("socket_protocol", signed32(value)) if domain in (AF_INET, AF_INET6) else str(signed32(value))


def sockopt_name(value: int, context: Context) -> str:
    """An option's name, which depends on its level."""
    section = _OPTION_SECTIONS.get(signed32(context.value("level")))
    return flag_text(section, signed32(value)) if section else hex(value & 0xFFFFFFFF)


def sockopt(data: bytes, context: Context) -> str:
    """The value of a socket option: integers, and the few structures that are common at SOL_SOCKET."""
    fields = Fields(data)
    if signed32(context.value("level")) == SOL_SOCKET:
        option = signed32(context.value("optname"))
        if option == 17 and len(data) == 12:
            return struct_text(pid=fields.i32(0), uid=fields.u32(4), gid=fields.u32(8))
        if option in (20, 21, 66, 67) and len(data) == 16:
            return timeval(data, context)
        if option == 13 and len(data) == 8:
            return struct_text(l_onoff=fields.i32(0), l_linger=fields.i32(4))
        if option == 4 and len(data) == 4:
            return f"[{error_name(fields.i32(0)) if fields.i32(0) else 0}]"
        if option == 25:
            return quote(data.split(b"\0", 1)[0])
    return f"[{fields.i32(0)}]" if len(data) == 4 else context.quote(data)


def iovec(addr: int, count: int, context: Context, *, out: bool, limit: int | None = None) -> str | None:
    """An iovec array with its buffers; ``limit`` = bytes the call moved. None: the array was not captured."""
    array = context.read(addr, min(count, 1024) * IOVEC_SIZE, out=False)
    if array is None:
        return None
    joined = context.memory.vector_data(addr, SEGMENT_OUT if out else SEGMENT_IN)
    spilled = joined is not None and bool(joined.flags & FLAG_SPILLED)
    shown = []
    offset = 0
    for start in range(0, min(len(array) // IOVEC_SIZE, MAX_ITEMS) * IOVEC_SIZE, IOVEC_SIZE):
        one = Fields(array[start : start + IOVEC_SIZE])
        base, length = one.u64(0), one.u64(8)
        wanted = length if limit is None else min(length, limit - offset)
        if joined is None or spilled:
            text = buffer(base, wanted, context, out=out)
        else:
            text = context.quote(joined.data[offset : offset + wanted], wanted)
        shown.append(struct_text(iov_base=text, iov_len=length))
        offset += wanted
    return items(shown, count)


def buffer(addr: int, size: int, context: Context, *, out: bool) -> str:
    """The bytes at an address inside a structure, or the address if they were not captured."""
    if size == 0:
        return '""' if addr else "NULL"
    data = context.memory.read(addr, size, (SEGMENT_OUT,) if out else (SEGMENT_IN,))
    return address(addr) if data is None else context.quote(data, size)


def msghdr(header: bytes, context: Context, *, out: bool, limit: int | None) -> str:
    """struct msghdr with name, buffers and control messages."""
    fields = Fields(header)
    name, name_length, count = fields.u64(0), fields.u32(8), fields.u64(24)
    control, control_length = fields.u64(32), fields.u64(40)
    name_data = context.read(name, min(name_length, 128), out=out) if name and name_length else None
    vector = iovec(fields.u64(16), count, context, out=out, limit=limit)
    control_data = context.read(control, min(control_length, 65536), out=out) if control and control_length else None
    shown: dict[str, object] = {
        "msg_name": sockaddr(name_data, context) if name_data and len(name_data) >= 2 else address(name),
        "msg_namelen": name_length,
        "msg_iov": vector or address(fields.u64(16)),
        "msg_iovlen": count,
    }
    if control:
        shown["msg_control"] = control_messages(control_data, context) if control_data else address(control)
    shown |= {"msg_controllen": control_length, "msg_flags": flag_text("msg_flags", fields.u32(48))}
    return struct_text(**shown)


def each_control_message(data: bytes) -> list[tuple[int, int, bytes]]:
    """Split a control buffer into (level, type, payload); stops at the first header that does not make sense."""
    messages: list[tuple[int, int, bytes]] = []
    offset = 0
    while offset + CMSG_HEADER <= len(data) and len(messages) < MAX_ITEMS:
        fields = Fields(data)
        length = fields.u64(offset)
        if length < CMSG_HEADER or offset + length > len(data):
            break
        payload = data[offset + CMSG_HEADER : offset + length]
        messages.append((fields.i32(offset + 8), fields.i32(offset + 12), payload))
        offset += length + 7 & ~7
    return messages


def control_messages(data: bytes, context: Context) -> str:
    shown = []
    for level, kind, payload in each_control_message(data):
        kind_name = flag_text("scm_type" if level == SOL_SOCKET else _OPTION_SECTIONS.get(level, ""), kind)
        shown.append(
            struct_text(
                cmsg_len=len(payload) + CMSG_HEADER,
                cmsg_level=flag_text("sockopt_level", level),
                cmsg_type=kind_name,
                cmsg_data=_control_payload(level, kind, payload, context),
            )
        )
    return "[" + ", ".join(shown) + "]"


def _control_payload(level: int, kind: int, payload: bytes, context: Context) -> str:
    fields = Fields(payload)
    if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
        return "[" + ", ".join(context.fd(fields.u32(at)) for at in range(0, len(payload) - 3, 4)) + "]"
    if (level, kind) == (SOL_SOCKET, SCM_CREDENTIALS) and len(payload) >= 12:
        return struct_text(pid=fields.i32(0), uid=fields.u32(4), gid=fields.u32(8))
    if (level, kind) == (SOL_SOCKET, 35) and len(payload) == 16:
        return timespec(payload, context)
    return f"[{fields.i32(0)}]" if len(payload) == 4 else context.quote(payload)


def ifreq(data: bytes, context: Context) -> str:
    """struct ifreq: the interface's name; its union depends on the request and is shown for the common ones."""
    name = quote(data[:16].split(b"\0", 1)[0])
    request = context.command.name if context.command else ""
    fields = Fields(data)
    if request in ("SIOCGIFINDEX", "SIOCGIFNAME", "SIOCGIFMTU", "SIOCSIFMTU", "SIOCGIFMETRIC", "SIOCGIFTXQLEN"):
        return struct_text(ifr_name=name, ifr_value=fields.i32(16))
    if request in ("SIOCGIFFLAGS", "SIOCSIFFLAGS", "TUNSETIFF", "TUNGETIFF"):
        return struct_text(ifr_name=name, ifr_flags=hex(fields.u16(16)))
    return struct_text(ifr_name=name, ifr_addr=sockaddr(fields.raw(16, 16), context))


def ifconf(data: bytes, context: Context) -> str:
    fields = Fields(data)
    length, pointer = fields.i32(0), fields.u64(8)
    table = context.memory.read(pointer, max(length, 0), (SEGMENT_OUT,)) if pointer else None
    if table is None:
        return struct_text(ifc_len=length, ifc_buf=address(pointer))
    shown = [ifreq(table[at : at + 40], context) for at in range(0, len(table) - 39, 40)]
    return struct_text(ifc_len=length, ifc_req=items(shown[:MAX_ITEMS], len(shown)))


DECODERS: dict[str, Decoder] = {"sockaddr": sockaddr, "sockopt": sockopt, "ifreq": ifreq, "ifconf": ifconf}
