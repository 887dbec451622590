"""Carrying bytes between two streams after an upgrade, untouched, past an observer that notes what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sentra_sandbox.network.journal import Journal
from sentra_sandbox.network.stream import Stream, StreamReset
from sentra_sandbox.trace.network_events import Direction, Flag, NetworkType

Observer = Callable[[Direction, bytes], None]


async def splice(client: Stream, server: Stream, observe: Observer) -> str:
    """Until both directions have ended, or one side is reset (then the other is too). Returns "" or what went wrong. Both are closed."""
    ways = [
        asyncio.ensure_future(_carry(client, server, Direction.TO_SERVER, observe)),
        asyncio.ensure_future(_carry(server, client, Direction.TO_CLIENT, observe)),
    ]
    error = ""
    try:
        await asyncio.gather(*ways)
        await client.close()
        await server.close()
    except StreamReset as reset:
        error = str(reset) or "The connection was reset."
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        client.abort()  # no effect after close
        server.abort()
    return error


async def _carry(source: Stream, target: Stream, direction: Direction, observe: Observer) -> None:
    while data := await source.read():
        observe(direction, data)
        target.write(data)
        await target.drain()
    if getattr(source, "truncated", False):  # TLS that ended without a word ends so on the other leg too
        getattr(target, "truncate", target.write_eof)()
    else:
        target.write_eof()


def opaque(journal: Journal, connection: int, exchange: int, *, keep: bool) -> Observer:
    """Notes DATA events; ``keep``: with the bytes, where the program's own calls show them encrypted only."""

    def observe(direction: Direction, data: bytes) -> None:
        journal.write(
            NetworkType.DATA,
            None,
            data if keep else b"",
            connection=connection,
            exchange=exchange,
            direction=direction,
            flags=0 if keep else Flag.NO_BYTES,
            size=len(data),
        )

    return observe
