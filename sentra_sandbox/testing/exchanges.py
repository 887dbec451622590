"""HTTP exchanges of a run as a test looks at them. Data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sentra_sandbox.views.network import Network


@dataclass(frozen=True, slots=True)
class HttpExchange:
    """One request and its response; bodies without content coding. ``status`` is 0 if there was no response."""

    method: str
    url: str
    status: int
    request_headers: tuple[tuple[str, str], ...]
    request_body: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def text(self) -> str:
        """The response's body."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The response's body. Raises ``ValueError`` if it is no JSON."""
        return json.loads(self.body)

    @property
    def request_json(self) -> Any:
        """The request's body. Raises ``ValueError`` if it is no JSON."""
        return json.loads(self.request_body)


def exchanges_of(network: Network) -> tuple[HttpExchange, ...]:
    """All of a run, in order. The trace must be open."""
    return tuple(
        HttpExchange(
            method=each.request.method,
            url=each.url,
            status=each.response.status,
            request_headers=tuple(each.request.headers),
            request_body=each.request.decoded().data,
            headers=tuple(each.response.headers),
            body=each.response.decoded().data,
        )
        for each in network.exchanges.values()
        if each.request.seen
    )
