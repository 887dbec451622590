"""Exchanges over HTTP/1, from a program through the front and the live origin to a server, and back."""

from __future__ import annotations

import asyncio

import pytest
from http1_rig import EMPTY, GET, OK, Rig, read_all, read_count, read_until, run

from sentra_sandbox.network.exchange import RequestHead
from sentra_sandbox.network.stream import Stream
from sentra_sandbox.trace.network_events import Flag, NetworkType


def test_an_exchange_and_its_events() -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        assert await read_until(server, EMPTY) == GET
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()
        kinds = [(NetworkType(event.type).name, event.direction, event.connection, event.exchange) for event in rig.events()]
        assert kinds == [("REQUEST", 0, 1, 1), ("END", 0, 1, 1), ("RESPONSE", 1, 1, 1), ("BODY", 1, 1, 1), ("END", 1, 1, 1)]
        request, _, response, body, _ = rig.events()
        assert request.data == GET and response.data + body.data == OK
        assert request.fields["path"] == "/a?b=c" and request.fields["headers"][1] == ["X-Mixed-CASE", "kept"]
        assert (request.fields["authority"], request.fields["method"], request.fields["version"]) == ("h.example", "GET", "1.1")
        assert (response.fields["status"], response.fields["reason"]) == (200, "Fine") and "from" not in response.fields

    run(test)


def test_the_connection_to_the_server_is_kept() -> None:
    async def test() -> None:
        rig = await Rig().start()
        server = None
        for _ in range(3):
            rig.client.write(GET)
            server = server or await rig.server()
            assert await read_until(server, EMPTY) == GET
            server.write(OK)
            assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        assert rig.opened == 1
        assert server is not None and await read_all(server) == (b"", "end")
        rig.check_complete()

    run(test)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def test() -> None:
        rig = await Rig().start()
        requests = [b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%d" % (number, number) for number in range(5)]
        rig.client.write(b"".join(requests))
        server = await rig.server()
        for number, request in enumerate(requests):
            assert await read_count(server, len(request)) == request
            await asyncio.sleep(0.01)
            with pytest.raises(asyncio.TimeoutError):  # the next one waits for this one's answer
                await asyncio.wait_for(server.read(), 0.01)
            server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        got = await read_count(rig.client, 5 * 39)
        assert [got[at + 38 : at + 39] for at in range(0, 195, 39)] == [b"0", b"1", b"2", b"3", b"4"]
        await rig.finish()
        rig.check_complete()

    run(test)


def test_events_of_a_stream_pass_one_by_one() -> None:
    """Each piece arrives before the server sends the next: nothing waits for more."""

    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(GET)
        server = await rig.server()
        await read_until(server, EMPTY)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        server.write(head)
        assert await read_until(rig.client, EMPTY) == head
        for piece in (b"9\r\n", b"data: 1\n\n", b"\r\n", b"5;x=y\r\nda", b"ta:", b"\r\n", b"0\r\n", b"X-T: 1\r\n", b"\r\n"):
            server.write(piece)
            if piece == b"X-T: 1\r\n":
                continue  # trailers are read whole
            if piece == b"\r\n" and rig.body(1, 1).endswith(b"data:"):
                assert await read_until(rig.client, piece)
                continue
            if piece == b"0\r\n":
                assert await read_count(rig.client, 3) == piece
                continue
            assert await read_until(rig.client, piece)
        await rig.finish()
        rig.check_complete()
        assert rig.body(1, 1) == b"data: 1\n\ndata:"
        assert rig.events(NetworkType.END)[-1].fields == {"trailers": [["X-T", "1"]]}

    run(test)


def test_a_request_streams_up_while_its_answer_streams_down() -> None:
    async def test() -> None:
        rig = await Rig().start()
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        rig.client.write(head)
        server = await rig.server()
        assert await read_until(server, EMPTY) == head
        server.write(answer)
        assert await read_until(rig.client, EMPTY) == answer
        for number in range(5):
            piece = b"1\r\n%d\r\n" % number
            rig.client.write(piece)
            assert await read_count(server, len(piece)) == piece
            server.write(piece)
            assert await read_count(rig.client, len(piece)) == piece
        rig.client.write(b"0\r\n\r\n")
        assert await read_until(server, EMPTY) == b"0\r\n\r\n"
        server.write(b"0\r\n\r\n")
        assert await read_until(rig.client, EMPTY) == b"0\r\n\r\n"
        rig.client.write(GET)  # and the connection goes on
        assert await read_until(server, EMPTY) == GET
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()
        assert rig.body(1, 0) == rig.body(1, 1) == b"01234"

    run(test)


def test_expect_100_continue() -> None:
    async def test() -> None:
        rig = await Rig().start()
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        rig.client.write(head)
        server = await rig.server()
        assert await read_until(server, EMPTY) == head
        server.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert await read_until(rig.client, EMPTY) == b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        assert await read_until(rig.client, EMPTY) == b"HTTP/1.1 100 Continue\r\n\r\n"
        rig.client.write(b"abc")
        assert await read_count(server, 3) == b"abc"
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()
        statuses = [(event.fields["status"], event.fields.get("informational")) for event in rig.events(NetworkType.RESPONSE)]
        assert statuses == [(103, True), (100, True), (200, None)]

    run(test)


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"),
        (b"GET http://h/x HTTP/1.1\r\nHost: other\r\n\r\n", OK),
    ],
)
def test_answers_that_keep_the_connection(request_head: bytes, answer: bytes) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(request_head)
        server = await rig.server()
        assert await read_until(server, EMPTY) == request_head
        server.write(answer)
        assert await read_count(rig.client, len(answer)) == answer
        rig.client.write(GET)
        assert await read_until(server, EMPTY) == GET
        server.write(OK)
        assert await read_count(rig.client, len(OK)) == OK
        await rig.finish()
        rig.check_complete()

    run(test)


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (GET, b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
        (GET, b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"),
        (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
    ],
)
def test_answers_that_end_the_connection(request_head: bytes, answer: bytes) -> None:
    async def test() -> None:
        rig = await Rig().start()
        rig.client.write(request_head)
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(answer)
        await server.close()
        assert await read_all(rig.client) == (answer, "end")
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        assert "error" not in rig.events(NetworkType.END)[-1].fields

    run(test)


def test_upgrade_to_an_unknown_protocol() -> None:
    async def test() -> None:
        rig = await Rig().start(scheme="https")
        rig.client.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nfirst")
        server = await rig.server()
        await read_until(server, EMPTY)
        answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"
        server.write(answer + b"second")
        assert await read_until(rig.client, b"second") == answer + b"second"
        assert await read_count(server, 5) == b"first"
        server.write(b"third")
        server.write_eof()
        assert await read_all(rig.client) == (b"third", "end")
        rig.client.write(b"fourth")
        rig.client.write_eof()
        assert await read_all(server) == (b"fourth", "end")
        await asyncio.wait_for(rig.task, 5)
        rig.check_complete()
        data = [(event.direction, event.data, event.flags) for event in rig.events(NetworkType.DATA)]
        assert sorted(data) == [(0, b"first", 0), (0, b"fourth", 0), (1, b"second", 0), (1, b"third", 0)]

    run(test)


def test_bytes_of_plain_upgrades_are_counted_only() -> None:
    async def test() -> None:
        rig = await Rig().start(scheme="http")
        rig.client.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nabc")
        await read_until(rig.client, b"abc")
        server.write_eof()
        await rig.finish()
        assert [(e.data, e.size, e.flags) for e in rig.events(NetworkType.DATA)] == [(b"", 3, Flag.NO_BYTES)]

    run(test)


@pytest.mark.parametrize("looked_into", [True, False])
def test_connect(looked_into: bool) -> None:
    async def test() -> None:
        heads: list[RequestHead] = []

        async def tunnel(client: Stream, upstream: Stream, head: RequestHead) -> None:
            heads.append(head)
            upstream.write(await client.read())
            client.write(await upstream.read())
            await upstream.close()

        rig = await Rig().start(tunnel=tunnel if looked_into else None)
        rig.client.write(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        server = await rig.server()
        await read_until(server, EMPTY)
        server.write(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno")
        assert (await read_until(rig.client, b"\r\n\r\nno")).startswith(b"HTTP/1.1 407")
        rig.client.write(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        await read_until(server, EMPTY)
        server.write(b"HTTP/1.1 200 Established\r\n\r\n")
        assert await read_until(rig.client, EMPTY) == b"HTTP/1.1 200 Established\r\n\r\n"
        rig.client.write(b"ping")
        assert await read_count(server, 4) == b"ping"
        server.write(b"pong")
        assert await read_count(rig.client, 4) == b"pong"
        server.write_eof()
        await rig.finish()
        rig.check_complete()
        assert [head.target for head in heads] == ([b"h:443"] if looked_into else [])
        assert bool(rig.events(NetworkType.DATA)) == (not looked_into)

    run(test)
