"""The doctor's trial of the sandbox's own network: builds it, connects to a public address inside, and sees the connection arrive.

Runs in a forked child (trial.attempt) and, like all trials, without the C extension: the operations are the launcher's own, carried
out here by Python. Nothing leaves: the address is connected to in a network namespace that has only lo.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from sentra_sandbox.sandbox.own_network import LISTENER_PORT, LISTENER_V4, LISTENER_V6, NetworkFlag, network_ops
from sentra_sandbox.sandbox.setup_op import SetupKind, SetupOp
from sentra_sandbox.sandbox.trial import StepFailed, unshare_network

_PUBLIC_V4, _PUBLIC_V6, _PORT = "93.184.216.34", "2606:2800:220:1::1", 443
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_ABSENT = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
_ABSENT_TPROXY, _ABSENT_V6 = (*_ABSENT, errno.ENOENT), (*_ABSENT, errno.EACCES, errno.ENODEV)


def own_network(*, tproxy: bool = True) -> str:
    """Connections to any address arrive at our listener: by TPROXY, or at a listener on the port where the kernel lacks that."""
    unshare_network()
    have, reason = _build(tproxy)
    if have & NetworkFlag.TPROXY:
        _arrives(socket.AF_INET, LISTENER_V4, LISTENER_PORT, _PUBLIC_V4)
        how = "TPROXY takes connections to every port"
    else:
        _arrives(socket.AF_INET, "0.0.0.0", _PORT, _PUBLIC_V4)
        how = f"no TPROXY ({reason}): listeners are made port by port"
    if not have & NetworkFlag.IPV6:
        return f"{how}; this host has no IPv6"
    if have & NetworkFlag.TPROXY and not have & NetworkFlag.TPROXY_V6:
        return f"{how}, except over IPv6, which is refused"
    v6 = (LISTENER_V6, LISTENER_PORT) if have & NetworkFlag.TPROXY_V6 else ("::", _PORT)
    _arrives(socket.AF_INET6, *v6, _PUBLIC_V6)
    return f"{how}, over IPv4 and IPv6"


def _build(tproxy: bool) -> tuple[int, str]:
    """What there is of ``NetworkFlag``, and why TPROXY is not."""
    have, reason = 0, "not tried"
    for op in network_ops(tproxy=tproxy):
        if op.kind != SetupKind.NETLINK or (op.flags == NetworkFlag.TPROXY_V6 and not have & NetworkFlag.TPROXY):
            continue
        number = _send(op)
        if not number:
            have |= op.flags
            continue
        if number not in {NetworkFlag.IPV6: _ABSENT_V6, 0: ()}.get(op.flags, _ABSENT_TPROXY):
            raise StepFailed(op.a or "set up the network", number)
        if op.flags == NetworkFlag.TPROXY:
            reason = os.strerror(number)
    return have, reason


def _send(op: SetupOp) -> int:
    """0, or the errno of the first message that the kernel refused."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, op.value) as netlink:
            netlink.sendto(op.data, (0, 0))
            return _first_error(netlink)
    except OSError as error:
        return error.errno or errno.EIO


def _first_error(netlink: socket.socket) -> int:
    while True:
        try:
            answers = netlink.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        while len(answers) >= 20:
            length, kind, error = struct.unpack_from("=IH10xi", answers)
            if kind == 2 and error:  # NLMSG_ERROR
                return int(-error)
            answers = answers[length + 3 & ~3 :]


def _arrives(family: int, address: str, port: int, public: str) -> None:
    level, option = (socket.IPPROTO_IP, _IP_TRANSPARENT) if family == socket.AF_INET else (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT)
    with socket.socket(family) as listener, socket.socket(family) as program:
        try:
            listener.setsockopt(level, option, 1)
        except OSError as error:
            raise StepFailed("make a transparent socket", error.errno or 0) from error
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen()
        for one in (listener, program):
            one.settimeout(2)
        try:
            program.connect((public, _PORT))
            accepted, _ = listener.accept()
        except OSError as error:
            raise StepFailed(f"connect to {public} inside", error.errno or 0) from error
        with accepted:
            meant = accepted.getsockname()[:2]
        if meant != (public, _PORT):
            raise StepFailed(f"a connection to {public} arrived as one to {meant[0]} port {meant[1]}")
