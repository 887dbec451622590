"""Hostile programs and servers against the parts of the broker: what is refused, and that what they can make it hold is bounded."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
from http1_rig import GET, Rig, read_all, read_until
from http1_rig import run as run_rig

from sentra_sandbox.network import http1_exchange
from sentra_sandbox.network.decision import policy_of
from sentra_sandbox.network.exchange import Answering, OriginFailed, RequestHead
from sentra_sandbox.network.guard import CheckedOrigin
from sentra_sandbox.network.http2.errors import WireBroken
from sentra_sandbox.network.http2.frames import FrameCutter
from sentra_sandbox.network.udp import UdpFlows

POLICY = policy_of(["good.test"])


class Asked:
    """An origin that notes what it is asked."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []

    async def open(self, head: RequestHead) -> Answering:
        self.heads.append(head)
        raise OriginFailed(599, "asked")

    async def close(self) -> None:
        pass


def ask(target: bytes, *headers: tuple[bytes, bytes], authority: bytes = b"good.test", method: bytes = b"GET") -> tuple[int, list[RequestHead]]:
    """The status with which a request on a connection to good.test fails (599: it was passed on), and what was passed on."""
    asked = Asked()

    async def go() -> int:
        head = RequestHead(method, b"http", authority, target, list(headers), "1.1", raw=b"as it came")
        with pytest.raises(OriginFailed) as failed:
            await CheckedOrigin(asked, POLICY, frozenset(("good.test",)), 80).open(head)
        return failed.value.status

    return asyncio.run(go()), asked.heads


@pytest.mark.parametrize(
    "target",
    [b"http://localhost:9/", b"http://10.0.0.1/", b"HTTP://[::1]/", b"ws://127.0.0.1:1/x", b"a+b://localhost/", b"http://169.254.169.254?x"],
)
def test_an_absolute_target_names_the_host_that_is_decided(target: bytes) -> None:
    assert ask(target, (b"Host", b"good.test"))[0] == 403


@pytest.mark.parametrize("authority", [b"localhost:9\\@good.test", b"localhost#@good.test", b"a:b@good.test", b"good.test@localhost", b"good.test:x"])
def test_an_authority_with_two_meanings_is_refused(authority: bytes) -> None:
    assert ask(b"/", (b"Host", authority), authority=authority)[0] == 400
    assert ask(b"http://" + authority + b"/", (b"Host", b"good.test"))[0] == 400


def test_a_url_in_a_query_is_no_authority() -> None:
    status, (head,) = ask(b"/login?next=http://localhost:9/", (b"Host", b"good.test"))
    assert status == 599 and head.raw == b"as it came"


def test_a_tunnel_through_an_allowed_proxy_is_decided() -> None:
    assert ask(b"localhost:9", (b"Host", b"good.test"), method=b"CONNECT")[0] == 403


def test_a_refused_tunnel_is_told_why() -> None:
    async def go() -> None:
        rig = await Rig().start(CheckedOrigin(Asked(), POLICY, frozenset(), 80))
        rig.client.write(b"CONNECT localhost:9 HTTP/1.1\r\nHost: localhost:9\r\n\r\n")
        got, how = await read_all(rig.client)
        assert got.startswith(b"HTTP/1.1 403 ") and got.endswith(b"--allow-net localhost:9\n") and how == "end"
        await rig.finish()
        rig.check_complete()

    run_rig(go)


def test_informational_answers_without_end_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_exchange, "MOST_INFORMATIONAL", 20)

    async def go() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, b"\r\n\r\n")
        server.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 30)
        got, _ = await read_all(rig.client)
        assert got.count(b"HTTP/1.1 103 ") == 20 and b"HTTP/1.1 502 " in got
        await rig.finish()

    run_rig(go)


@pytest.mark.parametrize("offer", [b"h2c", b"websocket, H2C"])
def test_http2_is_not_offered_in_the_middle_of_a_connection(offer: bytes) -> None:
    headers = ((b"Host", b"good.test"), (b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", offer), (b"HTTP2-Settings", b"AAMAAABk"))
    status, (head,) = ask(b"/", *headers)
    assert status == 599 and head.headers == [(b"Host", b"good.test")] and not head.raw
    _, (head,) = ask(b"/", (b"Host", b"good.test"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    assert head.raw == b"as it came"


def test_a_long_frame_is_refused_before_it_has_come() -> None:
    header = struct.pack("!I", 16 * 1024 + 1)[1:] + b"\0\0\0\0\0\1"
    with pytest.raises(WireBroken):
        FrameCutter(0).feed(header, 0.0)
    assert FrameCutter(0).feed(struct.pack("!I", 16 * 1024)[1:] + header[3:], 0.0)


class SlowDns:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()

    async def answer(self, query: bytes, client: Any, server: Any, transport: str) -> bytes:
        self.asked += 1
        await self.go.wait()
        return b"late"


class CountingMaker:
    """Makes sockets, and counts them."""

    def __init__(self) -> None:
        self.made: list[socket.socket] = []

    def udp(self, local: Any, remote: Any) -> socket.socket:
        self.made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        return self.made[-1]


def test_a_late_dns_answer_makes_no_socket_that_nobody_closes() -> None:
    async def go() -> None:
        dns, maker = SlowDns(), CountingMaker()
        flows = UdpFlows(None, dns, maker)  # type: ignore[arg-type]
        for port in range(50):
            flows.take(b"query", ("198.18.0.1", 1000 + port), ("8.8.8.8", 53))
        await asyncio.sleep(0)
        assert dns.asked == 50
        flows.close()
        dns.go.set()
        await asyncio.sleep(0.01)
        assert not maker.made and not flows.flows

    asyncio.run(go())
