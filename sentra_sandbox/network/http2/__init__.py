"""HTTP/2 on both sides, on the h2 library.

    front.py    ``serve``: the side towards the program; each stream an exchange
    origin.py   ``Http2Origin``: one upstream connection, many exchanges at once
    repeating.py  asking again where the server did not look at a request
    wire.py     what both sides share: an h2 connection on a ``Stream``, flow control, back-pressure
    heads.py    field lists ↔ heads, checked, and what changes when the versions of the two sides differ; pure
    frames.py   a look at frame headers before the library sees them, and what bounds a flood of them; pure
    errors.py   what failed, with the protocol's code

Flow control is the back-pressure: the window is given back as the other side takes the data, never before.
"""

from sentra_sandbox.network.http2.errors import Http2Failed
from sentra_sandbox.network.http2.front import serve
from sentra_sandbox.network.http2.origin import Http2Origin
from sentra_sandbox.network.http2.repeating import Repeating

__all__ = ["Http2Failed", "Http2Origin", "Repeating", "serve"]
