"""How many bits a secret, or a piece of one, is worth as proof. Estimates, on the low side."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

_WORD_BITS = 2.0  # a letter of words that can be pronounced


def entropy_bits(value: bytes) -> float:
    """Bits of the whole value: by how its bytes are distributed, no more than its alphabet can hold, little for words."""
    size = len(value)
    if size < 2:
        return 0.0
    counts = Counter(value)
    per_byte = -sum(count / size * math.log2(count / size) for count in counts.values())
    # A short sample shows fewer different bytes than its source has: the alphabet counts when they hardly repeat.
    if len(counts) >= min(size, 12) * 0.6:
        per_byte = max(per_byte, min(_alphabet_bits(value), per_byte * 1.35))
    if _looks_like_words(value):
        per_byte = min(per_byte, _WORD_BITS)
    return per_byte * size


def _alphabet_bits(value: bytes) -> float:
    chars = set(value)
    if all(c in b"0123456789" for c in chars):
        return math.log2(10)
    if all(c in b"0123456789abcdef" for c in chars) or all(c in b"0123456789ABCDEF" for c in chars):
        return 4.0
    if all(c < 128 and not chr(c).islower() for c in chars) or all(c < 128 and not chr(c).isupper() for c in chars):
        return 5.0
    return 6.0 if all(32 <= c < 127 for c in chars) else 8.0


def _looks_like_words(value: bytes) -> bool:
    """Letters of one case with vowels among them, as words are, perhaps with capitals and a few digits at the end."""
    letters = [chr(c) for c in value if chr(c).isascii() and chr(c).isalpha()]
    if len(letters) < len(value) * 0.8:
        return False
    vowels = sum(c in "aeiouAEIOU" for c in letters)
    turns = sum(a.islower() and b.isupper() for a, b in pairwise(letters))
    return 0.25 <= vowels / len(letters) <= 0.6 and turns <= len(letters) / 6
