"""SHA-256, with as little to load as the amount of data justifies.

``hashlib`` loads OpenSSL: 3 ms at once, and four times the speed afterwards. A short run hashes a few kilobytes; so
Python's own small implementation does the first ones, and hashlib everything once there is more.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from hashlib import _Hash

    def _small(data: bytes | memoryview = b"") -> _Hash: ...

else:
    try:
        from _sha2 import sha256 as _small  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256 as _small
        except ImportError:  # another Python, or one built without it
            from hashlib import sha256 as _small

_LARGE_BYTES = 128 * 1024
_hashed_bytes = 0


def sha256(data: bytes | memoryview = b"") -> _Hash:
    """``hashlib.sha256(data)``."""
    global _hashed_bytes
    _hashed_bytes += memoryview(data).nbytes
    if _hashed_bytes > _LARGE_BYTES:
        import hashlib

        return hashlib.sha256(data)
    return _small(data)
