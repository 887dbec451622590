"""An exchange that is asked again where the server says that it did not look at it (RFC 9113, 8.7), as clients of their own accord do.

That happens in ordinary operation: a server that restarts, or that has answered enough on one connection, sends GOAWAY, and requests
that were on their way go to a new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

from sentra_sandbox.network.exchange import Answering, Headers, OriginFailed, RequestHead, ResponseHead
from sentra_sandbox.network.http2.errors import Http2Failed
from sentra_sandbox.network.stream import Stream

KEPT_BODY = 64 * 1024
TRIES = 3


class Repeating:
    """An ``Answering``: ``inner``, until that fails unprocessed and what was sent is still at hand; then what ``again`` opens."""

    def __init__(self, again: Callable[[RequestHead], Awaitable[Answering]], head: RequestHead, inner: Answering) -> None:
        self.inner = inner
        self._again = again
        self._head = head
        self._kept: list[bytes] | None = []
        self._size = 0
        self._finished: Headers | None = None
        self._tries = 1
        self._sending = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        """See ``Answering``."""
        async with self._sending:
            self._size += len(data)
            if self._kept is not None:
                self._kept.append(data)
                if self._size > KEPT_BODY:
                    self._kept = None
            with self._or_again():
                await self.inner.send(data)

    async def finish(self, trailers: Headers) -> None:
        """See ``Answering``."""
        async with self._sending:
            self._finished = trailers
            with self._or_again():
                await self.inner.finish(trailers)

    @contextlib.contextmanager
    def _or_again(self) -> Iterator[None]:
        """A failure while sending is no matter if ``head``, which finds it too, will ask again."""
        try:
            yield
        except Http2Failed as failure:
            if not self._may(failure):
                raise

    def _may(self, failure: Http2Failed) -> bool:
        return failure.unprocessed and self._kept is not None and self._tries < TRIES

    async def head(self) -> ResponseHead:
        """See ``Answering``."""
        while True:
            try:
                head = await self.inner.head()
            except Http2Failed as failure:
                if not self._may(failure):
                    raise
                await self._repeat()
                continue
            self._kept = None
            return head

    async def _repeat(self) -> None:
        self._tries += 1
        async with self._sending:
            fresh = await self._again(self._head)
            self.inner = fresh.inner if isinstance(fresh, Repeating) else fresh
            with contextlib.suppress(OriginFailed):  # the next ``head`` says it
                for data in self._kept or ():
                    await self.inner.send(data)
                if self._finished is not None:
                    await self.inner.finish(self._finished)

    async def read(self) -> bytes:
        """See ``Answering``."""
        return await self.inner.read()

    def trailers(self) -> Headers:
        """See ``Answering``."""
        return self.inner.trailers()

    async def upgraded(self) -> Stream:
        """See ``Answering``."""
        return await self.inner.upgraded()

    def abort(self) -> None:
        """See ``Answering``."""
        self._kept = None
        self.inner.abort()
