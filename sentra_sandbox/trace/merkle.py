"""Proofs that one block is in the tree of a run's blocks: RFC 6962 section 2.1.1, checked as in RFC 9162 section 2.1.3.2. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sentra_sandbox.trace.digest import sha256
from sentra_sandbox.trace.format import MerkleTree


def audit_path(leaves: Sequence[bytes], number: int) -> list[bytes]:
    """The hashes that lead from leaf ``number`` (from 0) to the root, lowest first."""
    path = []
    start, end = 0, len(leaves)
    while end - start > 1:
        split = start + _split(end - start)
        if number < split:
            path.append(_root(leaves[split:end]))
            end = split
        else:
            path.append(_root(leaves[start:split]))
            start = split
    return path[::-1]


def root_from_path(leaf: bytes, number: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root of a tree of ``count`` leaves that the path leads to; None if path and numbers do not fit together."""
    if not 0 <= number < count:
        return None
    node, last = sha256(b"\0" + leaf).digest(), count - 1
    for other in path:
        if last == 0:
            return None
        if number & 1 or number == last:
            node = sha256(b"\1" + other + node).digest()
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            node = sha256(b"\1" + node + other).digest()
        number, last = number >> 1, last >> 1
    return node if last == 0 else None


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    tree = MerkleTree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()
